"""One worker process, from the parent's first message to its end.

It runs the whole gateway on sockets that the parent has bound. What it shares with the other
workers goes over the control channel: slots (``leases.py``) and facts (``facts.py``).

Failure policy: when the parent has gone, or says so, the worker accepts nothing more, lets what is
in flight end, and goes; a gateway that does not start ends the worker with a traceback in the log.
"""

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from twisted.application.service import IService
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.endpoints import AdoptedStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from smtpforward.background import beside_the_reactor
from smtpforward.config.settings import Settings
from smtpforward.facts import Fact
from smtpforward.figures import Observation
from smtpforward.questions import Question, Refused
from smtpforward.workers.channel import Channel, factory_of
from smtpforward.workers.facts import Facts
from smtpforward.workers.leases import Leases
from smtpforward.workers.messages import (
    Apply,
    Ask,
    Cap,
    Grant,
    Message,
    Piece,
    Put,
    Said,
    Scarce,
    Seen,
    Start,
    Stop,
    Told,
    Up,
)

Hold = Callable[[], None]
CONTROL = 3  # the channel's file descriptor; the listening sockets follow


class Serving(Protocol):
    """The gateway, as far as a worker deals with it: a service with facts."""

    @property
    def facts(self) -> Mapping[str, Fact]:
        """Those of the whole gateway, by kind."""

    def prepare(self, settings: Settings) -> Callable[[], None]:
        """What lets ``settings`` hold from now on; called in a thread."""

    def observe(self) -> "Deferred[Observation]":
        """What is to be seen of it."""

    def answer(self, question: Question) -> "Deferred[Any]":
        """Its answer, made of what can be pickled."""

    def leave(self) -> "Deferred[None]":
        """Accept no client; fires when those that are here have gone, or had their time."""


class Worker:
    """What the process does.

    :param make: from the parent's message, endpoints and slots to the service that takes mail.
    :param in_thread: calls a function in a thread.
    :ivar exit_code: of the process.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        make: Callable[[Start, Sequence[Any], Leases], Serving],
        in_thread: "Callable[[Callable[[], Hold]], Deferred[Hold]]",
    ) -> None:
        self._reactor = reactor
        self._in_thread = in_thread
        # Settings hold in the order in which they came.
        self._applying = DeferredLock()
        self._pieces: list[bytes] = []
        self._make = make
        self._channel = Channel(self._received, self._parent_gone)
        self._leases: Leases | None = None
        self._facts: Facts | None = None
        self._serving: Serving | None = None
        self._stopping = False
        self.exit_code = 0

    def begin(self, control: int = CONTROL) -> None:
        """Listen to the parent."""
        self._reactor.adoptStreamConnection(control, socket.AF_UNIX, factory_of(self._channel))
        os.close(control)

    def _received(self, message: Message) -> None:
        if isinstance(message, Start):
            # Not in here: what it logs would stand under the name of the channel.
            self._reactor.callLater(0, self._start, message)
        elif isinstance(message, Grant | Cap | Scarce) and self._leases is not None:
            self._leases.received(message)
        elif isinstance(message, Told) and self._facts is not None:
            self._facts.received(message)
        elif isinstance(message, Piece | Apply):
            self._collect(message)
        elif isinstance(message, Ask) and self._serving is not None:
            self._observe(self._serving, message.number)
        elif isinstance(message, Put) and self._serving is not None:
            self._answer(self._serving, message)
        elif isinstance(message, Stop) and message.leaving and self._serving is not None:
            self._serving.leave().addBoth(lambda _: self.stop())
        elif isinstance(message, Stop):
            self.stop()

    def _collect(self, message: Piece | Apply) -> None:
        self._pieces.append(message.data)
        if isinstance(message, Apply):
            pieces, self._pieces = self._pieces, []
            # Behind the start, which waits for its turn in the same way.
            self._reactor.callLater(0, self._apply, pieces)

    def _start(self, start: Start) -> None:
        if self._stopping:
            return
        self._leases = Leases(start.nodes, self._channel.say)
        try:
            endpoints = [self._adopt(descriptor) for descriptor in start.listeners]
            service: Any = self._make(start, endpoints, self._leases)
            self._facts = Facts(service.facts, self._channel.say)
            self._serving = service
            IService(service).privilegedStartService()
            service.startService()
        except Exception:
            self.log.failure("worker {number} cannot start", number=start.number)
            self.exit_code = 1
            self.stop()
            return
        self._reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
        self._channel.say(Up())

    def _observe(self, serving: Serving, number: int) -> None:
        seeing = serving.observe()
        seeing.addCallback(lambda seen: self._channel.say(Seen(number, seen)))
        seeing.addErrback(lambda failure: self.log.failure("nothing can be seen", failure))

    def _answer(self, serving: Serving, put: Put) -> None:
        answering = serving.answer(put.question)
        answering.addErrback(self._no_answer, put.question.kind)
        answering.addCallback(lambda answer: self._channel.say(Said(put.number, answer)))

    def _no_answer(self, failure: Failure, kind: str) -> Refused:
        self.log.failure("a fault while answering: {kind}", failure, kind=kind)
        return Refused(500, "a fault of the gateway's own")

    def _apply(self, pieces: Sequence[bytes]) -> None:
        if self._serving is not None and not self._stopping:
            prepare = partial(self._prepare, self._serving, pieces)
            applying: Deferred[Any] = self._applying.run(self._in_thread, prepare)
            applying.addCallback(self._hold)
            applying.addErrback(partial(self.log.failure, "the settings could not be taken"))

    @staticmethod
    def _prepare(serving: Serving, pieces: Sequence[bytes]) -> Hold:
        with beside_the_reactor():
            return serving.prepare(Apply(b"".join(pieces)).settings)

    def _hold(self, hold: Hold) -> None:
        if not self._stopping:
            hold()

    def _adopt(self, descriptor: int) -> AdoptedStreamServerEndpoint:
        with socket.socket(fileno=os.dup(descriptor)) as looked_at:
            family = looked_at.family
        return AdoptedStreamServerEndpoint(self._reactor, descriptor, family)

    def _parent_gone(self) -> None:
        if not self._stopping:
            self.log.error("the parent has gone")
            self.stop()

    def stop(self) -> None:
        """Bring to an end what there is, and go; once."""
        if not self._stopping:
            self._stopping = True
            self._reactor.stop()
