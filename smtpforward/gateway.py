"""The gateway as a Twisted service: the edge, the target, the queue, wired by the settings.

Failure policy: an address that cannot be listened on fails the start; what cannot be brought to its
end in time when the service stops is broken off, and said.
"""

import gc
import resource
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from attrs import fields
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.logger import Logger
from twisted.python.failure import Failure

from smtpforward.client.connect import Connector
from smtpforward.client.slots import Slots, own_slots
from smtpforward.client.target import ForwardTarget
from smtpforward.config.outbound import in_words
from smtpforward.config.settings import Settings
from smtpforward.counts import Counts
from smtpforward.dispatch import Dispatcher
from smtpforward.facts import Fact
from smtpforward.figures import Observation
from smtpforward.job import TLS, NextHop, Server
from smtpforward.learned import LearnedRefusals
from smtpforward.limits import connections_within
from smtpforward.net.clock import Clock
from smtpforward.net.listening import let_go, listening, ports
from smtpforward.net.tls import ClientContexts
from smtpforward.outbound.queue import OutboundQueue
from smtpforward.questions import Question
from smtpforward.queueing import Queueing
from smtpforward.record import new_id
from smtpforward.reload import (
    TAKES_A_RESTART,
    lasting,
    takes_a_restart,
)
from smtpforward.server.factory import GatewayFactory
from smtpforward.web.answering import Answering
from smtpforward.web.gathering import Gatherer

QUIT_TIME = 10.0
USES_TLS = frozenset({TLS.OFFERED, TLS.REQUIRED, TLS.IMPLICIT})
# The parts of the settings that may change while the gateway runs.
RELOADED = tuple(
    part.name
    for part in fields(Settings)
    if part.eq and part.name != "warnings" and part.name not in TAKES_A_RESTART
)
GC_THRESHOLD = 10_000


class Gateway(MultiService):
    """The whole gateway as one service.

    :param listen: endpoints or descriptions of some, in place of the settings' own.
    :param clock: what is asked for the time with every read, where it is not ``reactor`` itself.
    :param slots: how many connections to a backend are this process's, where there are several.
    :param delivers: whether this process delivers what is in the outbound queue: one of them does.
    :param succeeds: whether another gateway hands over to this one, and may still do that.
    :ivar factory: the edge. ``target``: the forwarding client with its pools.
    :ivar counts: what has been counted.
    """

    log = Logger()

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        listen: Sequence[Any] = (),
        clock: Clock | None = None,
        slots: Callable[[Server, int], Slots] = own_slots,
        delivers: bool = True,
        succeeds: bool = False,
    ) -> None:
        MultiService.__init__(self)
        clock = clock or reactor
        self.settings = settings
        self._reactor = reactor
        self._clock = clock
        self._contexts = ClientContexts(settings.client_tls)
        self._connector = Connector(reactor, settings.own_name, self._contexts, clock)
        self.counts = Counts()
        self.target = ForwardTarget(self._connector, clock, slots, counts=self.counts)
        self.target.show(settings.shown_servers)
        self._learned = LearnedRefusals(clock)
        self._dispatcher = Dispatcher(self.target, self._learned, clock, counts=self.counts)
        self._most = _most_connections()
        self.factory = GatewayFactory(
            settings, self._dispatcher, clock, most=self._most, counts=self.counts
        )
        for place in listen or settings.listen:
            listening(place, self.factory, reactor).setServiceParent(self)
        self._delivers, self._succeeds = delivers, succeeds
        self._gatherer: Gatherer | None = None
        self._places: Collection[tuple[str, int]] | None = None
        self.queueing: Queueing | None = None
        if settings.outbound is not None:
            self._add_queueing(settings)
        self._answering: Answering | None = None
        if settings.http is not None:
            self._answering = Answering(
                *(self.counts, self.target, self._queue, self._hops, reactor), smart=self._smart
            )
            self._answering.setServiceParent(self)

    def _smart(self) -> NextHop | None:
        outbound = self.settings.outbound
        return None if outbound is None else outbound.smart_host

    def _hops(self) -> Iterable[NextHop]:
        return self.settings.routes.next_hops()

    def _add_queueing(self, settings: Settings) -> Queueing:
        queueing = self.queueing = Queueing(
            settings,
            self._reactor,
            self._clock,
            self._connector,
            self.target,
            self._listened_on,
            self._delivers,
            self.counts,
            self._succeeds,
        )
        self._dispatcher.queue = queueing.queue
        return queueing

    def _listened_on(self) -> Collection[tuple[str, int]]:
        """The TCP addresses and ports that this gateway takes mail on, or did to its end."""
        if self._places is not None:
            return self._places
        hosts = (port.getHost() for port in self.ports())
        return [(host.host, host.port) for host in hosts if hasattr(host, "port")]

    def observe(self) -> "Deferred[Observation]":
        """What is to be seen of this process."""
        if self._gatherer is None:
            self._gatherer = Gatherer(
                self.counts,
                self.factory,
                self.target,
                self._queue,
                lambda: (s for hop in self._hops() for s in hop.servers),
                lambda: bool(self.running) and all(self.ports()),
                self._reactor,
                self._smart,
            )
        return self._gatherer.observe()

    def answer(self, question: Question) -> "Deferred[Any]":
        """What this process answers; only with ``http.ini``."""
        assert self._answering is not None, "nobody asks where nothing is shown"
        return self._answering.answer(question)

    def ask(self, question: Question) -> "Deferred[list[Any]]":
        """The answers of all processes: there is one."""
        return self.answer(question).addCallback(lambda answer: [answer])

    def _queue(self) -> tuple[OutboundQueue, ForwardTarget] | None:
        queueing = self.queueing
        return None if queueing is None else (queueing.queue, queueing.direct)

    @property
    def facts(self) -> Mapping[str, Fact]:
        """What the processes of a gateway tell each other, by kind."""
        return {
            "learned refusals": self._learned,
            "resting hosts": self.target.hosts,
            "hosts without TLS": self.target.connector.clear,
            "failed logins": self.factory.failed_logins,
        }

    def startService(self) -> None:
        """Say what is unusual about the settings, and begin."""
        self._warn()
        MultiService.startService(self)
        if self.queueing is not None:
            self.queueing.queue.start()
        self._say_where_to()
        self._say_queue()

    def _warn(self) -> None:
        for warning in self.settings.warnings:
            # Not ``warning``: observers take an event with that field for one of Python's warnings.
            self.log.warn("{text}", text=warning)
        asked = self.settings.limits.connections
        if asked and self._most and asked > self._most:
            self.log.warn(
                "[max] connections={asked}: this process has file descriptors for {most} clients",
                asked=asked,
                most=self._most,
            )

    def _say_where_to(self) -> None:
        default = self.settings.routes.default
        self.log.info("{me} forwards to {hop}", me=self.settings.me, hop=str(default.next_hop))

    def _say_queue(self) -> None:
        if self.settings.outbound is not None:
            self.log.info("outbound queue: {what}", what=in_words(self.settings.outbound))

    def apply(self, settings: Settings) -> None:
        """Let ``settings`` hold for connections and transactions that begin from now on.

        Transactions in progress keep what they began with, and pools whose backend is unchanged
        keep their connections. The addresses that are listened on stay as they are.
        """
        self.prepare(settings)()

    def prepare(self, settings: Settings) -> Callable[[], None]:
        """Compare ``settings`` with those that hold; what lets them hold. In any thread."""
        old, new = self.settings, lasting(self.settings, settings)
        parts = [part for part in RELOADED if getattr(old, part) != getattr(new, part)]
        restart = list(takes_a_restart(old, settings))
        return partial(self._hold, new, parts, restart)

    def _hold(self, settings: Settings, parts: Sequence[str], restart: Sequence[str]) -> None:
        fresh_tls = "client_tls" in parts
        contexts = ClientContexts(settings.client_tls) if fresh_tls else self._contexts
        self.factory.settings = settings
        self.settings, self._contexts = settings, contexts
        self._connector.adopt(settings.own_name, contexts)
        self.target.adopt(settings.routes.next_hops(), USES_TLS if fresh_tls else ())
        self.target.show(settings.shown_servers)
        if self.queueing is not None:
            self.queueing.adopt(settings, USES_TLS if fresh_tls else frozenset())
        elif settings.outbound is not None:
            self._add_queueing(settings).queue.start()
        self.log.info(
            "the settings were read again, and hold from id={id} on; changed: {parts}",
            id=new_id(),
            parts=", ".join(parts) or "nothing",
        )
        for what in restart:
            self.log.warn("{what} has changed: that takes a restart", what=what)
        self._warn()
        if "routes" in parts:
            self._say_where_to()
        if "outbound" in parts:
            self._say_queue()

    def ports(self) -> list[Any]:
        """The listening ports, once they listen."""
        return ports(self)

    def ready(self) -> "Deferred[None]":
        """Fires when mail is taken: at once, where all services have started."""
        return succeed(None)

    def leave(self) -> "Deferred[None]":
        """Accept nothing more where others do; fires when all clients have gone.

        Those that are here may go on as long as transactions may at the end.
        """
        self._places = self._listened_on()
        for port in self.ports():
            let_go(port)
        end = self._clock.seconds() + self.settings.force_shutdown_timeout
        return Deferred.fromCoroutine(self._within(end, self.factory.emptied()))

    def stopService(self) -> "Deferred[None]":
        """Accept nothing more, let transactions in flight end, say good-bye to backends."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self.queueing is not None and self._places is None:
            # What is still attempted asks for it.
            self._places = self._listened_on()
        await MultiService.stopService(self)
        self.target.wind_down()
        end = self._clock.seconds() + self.settings.force_shutdown_timeout
        await self._within(end, self.factory.drain())
        self.factory.abort()
        targets = [self.target]
        if self.queueing is not None:
            targets.append(self.queueing.direct)
            await self._within(end, self.queueing.queue.end())
        end = self._clock.seconds() + QUIT_TIME
        if self.queueing is not None:
            await self._within(end, self.queueing.queue.break_off())
            await self._within(end, Deferred.fromCoroutine(self.queueing.close()))
        await self._within(end, DeferredList([target.end() for target in targets]))
        for target in targets:
            target.abort()

    async def _within(self, end: float, ending: "Deferred[Any]") -> None:
        """Wait for ``ending``, but not beyond ``end``: then it is left to itself."""
        ended: Deferred[None] = Deferred()

        def has_ended(result: object) -> None:
            if isinstance(result, Failure):
                self.log.failure("what was to end has failed", result)
            if not ended.called:
                ended.callback(None)

        ending.addBoth(has_ended)
        try:
            await ended.addTimeout(max(0.0, end - self._clock.seconds()), self._reactor)
        except DeferredTimeout:
            self.log.warn("not all ended in time")


def _most_connections() -> int | None:
    """How many clients there may be, by the descriptors that this process may have."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if descriptors == resource.RLIM_INFINITY else connections_within(descriptors)


def spare_collector() -> None:
    """Let Python look for cycles less often.

    What is there by now stays, and what a message leaves is freed by its count of references.
    """
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 20)
