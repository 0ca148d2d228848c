"""The parent of ``nodes``: it binds the listening sockets, starts the workers and takes no mail.

All workers accept from the same sockets: a connection goes to whoever is free to take it, none
waits for a worker that is busy or has died, and sockets handed over by systemd work as well. (With
a socket for each, by SO_REUSEPORT, the kernel would bind connections to workers by a hash.)

Failure policy: a socket that cannot be bound stops the start. A worker that ends is started anew,
after a time that grows when it happens again and again. At the end all workers get the time that
the settings give them, and are killed after that.
"""

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from attrs import evolve
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Factory, ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from smtpforward.config.settings import Settings
from smtpforward.figures import Observation
from smtpforward.net.clock import Clock
from smtpforward.net.listening import let_go, listening, ports
from smtpforward.questions import Question
from smtpforward.reload import TAKES_A_RESTART, lasting, takes_a_restart
from smtpforward.workers.book import Book
from smtpforward.workers.channel import Channel, factory_of
from smtpforward.workers.child import CONTROL
from smtpforward.workers.lines import STDERR, STDOUT, RecordReader
from smtpforward.workers.messages import (
    Apply,
    Give,
    Message,
    Put,
    Said,
    Seen,
    Start,
    Stop,
    Told,
    Up,
    Want,
)
from smtpforward.workers.rounds import Rounds
from smtpforward.workers.shares import Shares

FIRST_PAUSE = 0.125  # and then twice as long each time
LONGEST_PAUSE = 60.0
KILL_TIME = 5.0
GATHER = 0.01  # seconds between two looks at what a worker logs; a pipe holds 64 KiB
FULL = 8192  # bytes that Twisted reads at once: behind as many there are more
STEADY = 60.0  # a worker that has lived so long starts at the first pause again


class Process(ProcessProtocol):
    """One worker process in the parent's eyes.

    :ivar number: its place, from 1; its successor has the same. ``born``: clock time.
    :ivar gone: the process has ended, and all that it wrote was read. ``up``: it has taken mail.
    """

    def __init__(self, number: int, parent: "Parent", born: float) -> None:
        self.number = number
        self.born = born
        self.channel = Channel(self._received, lambda: None)
        self.gone = False
        self.up = False
        self._parent = parent
        self._records = RecordReader(str(number))

    def _received(self, message: Message) -> None:
        if not self.gone:
            self._parent.received(self, message)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """See ProcessProtocol."""
        self._records.received(childFD, data)
        if len(data) >= FULL:
            return  # Left in there, it would soon fill the pipe, and a worker wait for us.
        # What comes next may gather: to be woken for each line would cost more than the line.
        transport: Any = self.transport
        transport.pauseProducing()
        self._parent.clock.callLater(GATHER, transport.resumeProducing)

    def processEnded(self, reason: Failure) -> None:
        """See ProcessProtocol."""
        self._records.ended()
        if self.channel.transport is not None:
            self.channel.transport.loseConnection()
        self.gone = True
        self._parent.ended(self, reason)

    def kill(self) -> None:
        """End it at once."""
        if self.transport is not None:
            with contextlib.suppress(ProcessExitedAlready):
                self.transport.signalProcess("KILL")


class Parent(MultiService):
    """The service of a gateway with several processes.

    :param listen: endpoints, or descriptions of some.
    :param spare: seconds that the workers have for their end, beside ``force_shutdown_timeout``.
    :param module: what each worker runs, as ``python -m``.
    :param succeeds: whether another gateway hands over to this one.
    :ivar settings: what workers get that start from now on.
    :ivar shares: who may have how many connections to each backend.
    """

    log = Logger()

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        listen: Sequence[Any],
        clock: Clock,
        module: str,
        spare: float,
        succeeds: bool = False,
    ) -> None:
        MultiService.__init__(self)
        self.settings = settings
        self.shares = Shares(settings.nodes, self._say, clock)
        self._book = Book(self._say, clock)
        self._rounds = Rounds(self._say, clock)
        self._reactor = reactor
        self.clock: Any = clock
        self._command = [sys.executable, "-P", "-m", module]
        self._spare = spare
        self._succeeds = succeeds
        self._workers: dict[int, Process] = {}
        self._pauses: dict[int, float] = {}
        self._restarts: dict[int, IDelayedCall] = {}
        self._stopping = False
        self._up: set[int] = set()
        self._ready: Deferred[None] = Deferred()
        self._last: Deferred[None] | None = None
        for description in listen:
            listening(description, _Unused(), reactor).setServiceParent(self)

    @property
    def workers(self) -> dict[int, int | None]:
        """The process id of each worker that there is, by number."""
        return {number: one.transport.pid for number, one in self._workers.items() if one.transport}

    # -- the beginning

    def privilegedStartService(self) -> None:
        """Bind the sockets, and accept nothing."""
        MultiService.privilegedStartService(self)
        for port in self.ports():
            port.stopReading()

    def startService(self) -> None:
        """Say what is unusual about the settings, and start the workers."""
        self._warn()
        MultiService.startService(self)
        # A process that ends is noticed only while the reactor runs.
        self._reactor.callWhenRunning(self._start_all)

    def _warn(self) -> None:
        for warning in self.settings.warnings:
            self.log.warn("{text}", text=warning)

    def ports(self) -> list[Any]:
        """The listening ports, once they listen."""
        return ports(self)

    def ready(self) -> "Deferred[None]":
        """Fires when all workers have taken up their work, each for the first time."""
        return self._ready

    def _start_all(self) -> None:
        for number in range(1, self.settings.nodes + 1):
            self._start(number)

    def _start(self, number: int) -> None:
        self._restarts.pop(number, None)
        if self._stopping:
            return
        worker = Process(number, self, self.clock.seconds())
        try:
            self._spawn(worker)
        except OSError as error:
            self._start_later(worker, f"could not be started ({error})")
            return
        self._workers[number] = worker
        listeners = tuple(range(CONTROL + 1, CONTROL + 1 + len(self.ports())))
        start = Start(
            number, self.settings.nodes, self._part(self.settings), listeners, self._succeeds
        )
        worker.channel.say(start)
        self.log.info("worker {number}: process {pid}", number=number, pid=self.workers[number])

    def _spawn(self, worker: Process) -> None:
        own, its = socket.socketpair()
        with own, its, open(os.devnull, "rb") as nothing:
            descriptors: dict[int, Any] = {0: nothing.fileno(), STDOUT: "r", STDERR: "r"}
            descriptors[CONTROL] = its.fileno()
            for number, port in enumerate(self.ports(), CONTROL + 1):
                descriptors[number] = port.fileno()
            self._reactor.spawnProcess(
                worker, self._command[0], self._command, env=_environment(), childFDs=descriptors
            )
            factory = factory_of(worker.channel)
            self._reactor.adoptStreamConnection(own.fileno(), socket.AF_UNIX, factory)

    # -- settings

    def _part(self, settings: Settings) -> Settings:
        """What each worker gets: its part of what one process may take. The warnings were given."""
        limits, nodes = settings.limits, settings.nodes
        most = limits.connections
        part = evolve(
            limits,
            connections=None if most is None else -(-most // nodes),
            memory=limits.memory // nodes,
        )
        return evolve(settings, limits=part, warnings=())

    def apply(self, settings: Settings) -> None:
        """Let ``settings`` hold in all workers from now on."""
        self.prepare(settings)()

    def prepare(self, settings: Settings) -> Callable[[], None]:
        """What lets ``settings`` hold in all workers, the message for them made. In any thread."""
        old = self.settings
        lasts = {part: getattr(old, part) for part in TAKES_A_RESTART}
        new = evolve(lasting(old, settings), **lasts)
        restart = list(takes_a_restart(old, settings))
        return partial(self._hold, new, Apply.of(self._part(new)), restart)

    def _hold(self, settings: Settings, message: Apply, restart: Sequence[str]) -> None:
        self.settings = settings
        for what in restart:
            self.log.warn("{what} has changed: that takes a restart", what=what)
        self._warn()
        for worker in self._workers.values():
            for piece in message.pieces():
                worker.channel.say(piece)

    # -- what workers say

    def observe(self) -> "Deferred[Observation]":
        """What is to be seen of all workers, as of one gateway."""
        return self._book.ask(self._workers.keys())

    def ask(self, question: Question) -> "Deferred[list[Any]]":
        """The answers of the workers; of one of them, the first, where it answers for all."""
        workers = sorted(self._workers)
        asked = workers[:1] if question.of_one else workers
        asking: Deferred[Any] = self._rounds.ask(
            asked, lambda number: Put(number, question), question.patience
        )
        return asking.addCallback(lambda answers: list(answers.values()))

    def received(self, worker: Process, message: Message) -> None:
        """A message of a worker that lives."""
        if isinstance(message, Want | Give):
            self.shares.received(worker.number, message)
        elif isinstance(message, Seen):
            self._book.answered(worker.number, message)
        elif isinstance(message, Said):
            self._rounds.answered(worker.number, message.number, message.answer)
        elif isinstance(message, Up):
            worker.up = True
            self._up.add(worker.number)
            if len(self._up) == self.settings.nodes and not self._ready.called:
                self._ready.callback(None)
        elif isinstance(message, Told):
            for other in self._workers.values():
                if other is not worker:
                    other.channel.say(message)

    def _say(self, number: int, message: Message) -> None:
        worker = self._workers.get(number)
        if worker is not None:
            worker.channel.say(message)

    def ended(self, worker: Process, reason: Failure) -> None:
        """A worker's process has gone, and its connections with it."""
        number = worker.number
        del self._workers[number]
        self.shares.gone(number)
        self._book.gone(number)
        self._rounds.gone(number)
        if not self._stopping:
            self._start_later(worker, f"has ended ({_how(reason)})")
        elif not self._workers and self._last is not None and not self._last.called:
            self._last.callback(None)

    def _start_later(self, worker: Process, why: str) -> None:
        number = worker.number
        lived = self.clock.seconds() - worker.born
        # What kills one that takes mail may well be a mail: the others of the gateway still come.
        good = worker.up or lived >= STEADY
        pause = FIRST_PAUSE if good else self._pauses.get(number, FIRST_PAUSE)
        self._pauses[number] = min(LONGEST_PAUSE, pause * 2)
        self.log.error(
            "worker {number} {why}; the next one starts in {pause:g} seconds",
            number=number,
            why=why,
            pause=pause,
        )
        self._restarts[number] = self.clock.callLater(pause, self._start, number)

    # -- the end

    def stopService(self) -> "Deferred[None]":
        """Accept nothing more; fires when all workers have brought to an end what they had."""
        return Deferred.fromCoroutine(self._stop())

    def leave(self) -> "Deferred[None]":
        """Accept nothing more where others do; fires when all workers have gone, or had their time.

        Clients that are here may go on as long as transactions may at the end.
        """
        for port in self.ports():
            let_go(port)
        self._say_stop(leaving=True)
        patience = 2 * self.settings.force_shutdown_timeout + self._spare
        return Deferred.fromCoroutine(self._all_gone(patience)).addCallback(lambda _: None)

    def _say_stop(self, leaving: bool = False) -> None:
        self._stopping = True
        for restart in self._restarts.values():
            restart.cancel()
        self._restarts.clear()
        for worker in self._workers.values():
            worker.channel.say(Stop(leaving))

    async def _stop(self) -> None:
        self._say_stop()
        await MultiService.stopService(self)
        patience = self.settings.force_shutdown_timeout + self._spare
        if not await self._all_gone(patience):
            self.log.error("not all workers ended within {seconds} seconds", seconds=patience)
            for worker in self._workers.values():
                worker.kill()
            await self._all_gone(KILL_TIME)
        self.shares.stop()
        self._book.stop()
        self._rounds.stop()

    async def _all_gone(self, seconds: float) -> bool:
        """Whether no worker is left within that time."""
        if self._workers:
            self._last = last = Deferred[None]()
            try:
                await last.addTimeout(seconds, self.clock)
            except DeferredTimeout:
                return False
        return True


class _Unused(Factory):
    """The factory of a port that accepts nothing."""

    noisy = False

    def logPrefix(self) -> str:
        """See ILoggingContext."""
        return "the port of all workers"


def _environment() -> dict[str, str]:
    """This process's own, and its module path: twistd has put more on it than Python would."""
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    return {**os.environ, "PYTHONPATH": path}


def _how(reason: Failure) -> str:
    """Why a process has ended, in words."""
    number = getattr(reason.value, "signal", None)
    if number is not None:
        return f"signal {signal.Signals(number).name}"
    return f"exit code {getattr(reason.value, 'exitCode', None)}"
