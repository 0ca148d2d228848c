"""The figures of one process, put together when they are asked for.

The outbound queue's numbers are asked of its store, at most every ``STATS_FOR`` seconds, and are
waited for a moment; a store that does not answer in time leaves the ones from before.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from smtpforward.client.target import ForwardTarget
from smtpforward.counts import MX, Counts, Times, backend_of
from smtpforward.figures import Figures, Key, Observation
from smtpforward.job import NextHop, Server
from smtpforward.net.clock import Clock
from smtpforward.outbound.entry import Stats
from smtpforward.outbound.queue import OutboundQueue
from smtpforward.server.factory import GatewayFactory
from smtpforward.web.backends import MOST, MOST_HOPS

STATS_FOR = 10.0
PATIENCE = 1.0
STATES = ("due", "deferred", "held", "leased")


class QueueStats:
    """The numbers of the queue's store, as of late.

    :param most: destinations that are wanted.
    """

    def __init__(self, clock: Clock, most: int = 0) -> None:
        self._clock: Any = clock
        self._most = most
        self._stats: Stats | None = None
        self._asked: float | None = None
        self._asking: Deferred[None] | None = None

    def of(self, queue: OutboundQueue) -> "Deferred[Stats | None]":
        """Those of ``queue``; ``None`` where none were ever to be had."""
        now = self._clock.seconds()
        if self._asking is None and (self._asked is None or now - self._asked >= STATS_FOR):
            self._asked = now
            self._ask(queue)
        if self._asking is None:
            return succeed(self._stats)
        waiting: Deferred[Stats | None] = Deferred()
        timer = self._clock.callLater(PATIENCE, self._enough, waiting)
        self._asking.addCallback(lambda _: self._answered(waiting, timer))
        return waiting

    def forget(self) -> None:
        """Something has changed: ask anew when somebody wants to know."""
        self._asked = None

    def _ask(self, queue: OutboundQueue) -> None:
        asking: Deferred[Any] = queue.store.stats(self._most)
        done: Deferred[None] = Deferred()
        self._asking = done
        asking.addCallbacks(self._told, self._not_told).addBoth(self._ended, done)

    def _ended(self, _: object, done: "Deferred[None]") -> None:
        self._asking = None
        done.callback(None)

    def _told(self, stats: Stats) -> None:
        self._stats = stats

    def _not_told(self, failure: Failure) -> None:
        """The queue itself says in the log what its store lacks; these numbers are not worth it."""
        self._stats = None

    def _enough(self, waiting: "Deferred[Stats | None]") -> None:
        waiting.callback(self._stats)

    def _answered(self, waiting: "Deferred[Stats | None]", timer: Any) -> None:
        if timer.active():
            timer.cancel()
            waiting.callback(self._stats)


class Gatherer:
    """Puts them together.

    :param queue: the outbound queue and the target of its mail hosts, where there is one.
    :param servers: the backends of the settings. ``smart``: the smart host, where they name one.
    :param listens: whether mail is listened for.
    """

    def __init__(
        self,
        counts: Counts,
        factory: GatewayFactory,
        target: ForwardTarget,
        queue: Callable[[], tuple[OutboundQueue, ForwardTarget] | None],
        servers: Callable[[], Iterable[Server]],
        listens: Callable[[], bool],
        clock: Clock,
        smart: Callable[[], NextHop | None] = lambda: None,
    ) -> None:
        self._smart = smart
        self._counts = counts
        self._factory = factory
        self._target = target
        self._queue = queue
        self._servers = servers
        self._listens = listens
        self._stats = QueueStats(clock)

    def observe(self) -> "Deferred[Observation]":
        """All that there is to be seen now, or in a moment."""
        queue = self._queue()
        if queue is None or not queue[0].is_open or not queue[0].delivers:
            return succeed(self._seen(queue, None))
        return self._stats.of(queue[0]).addCallback(lambda stats: self._seen(queue, stats))

    def _seen(
        self, queue: tuple[OutboundQueue, ForwardTarget] | None, stats: Stats | None
    ) -> Observation:
        values = dict(self._counted())
        values.update(_pools(self._target, None))
        values.update(self._down())
        if queue is not None:
            values.update(_pools(queue[1], MX))
            smart = self._smart()
            for server in smart.servers if smart else ():
                key = ("backend_down", (backend_of(str(server)),))
                values[key] = max(values.get(key, 0.0), float(queue[1].is_down(server)))
        if queue is not None and stats is not None:
            values.update(_queued(stats, queue[0].store.now()))
        counts = self._counts
        named = {"edge": counts.edge, "wait": counts.wait, "backend": counts.backend}
        times = {phase: _times(one) for phase, one in named.items()}
        return Observation(Figures(values, times), tuple(self._reasons(queue)))

    def _counted(self) -> Iterator[tuple[Key, float]]:
        counts, factory = self._counts, self._factory
        yield ("connections_total", ()), counts.connections
        yield ("open_connections", ()), factory.connections.total
        yield ("received_bytes_total", ()), counts.octets
        yield ("failed_logins_total", ()), factory.failed_logins.total
        yield ("message_memory_bytes", ()), factory.memory.held
        for name, by_one in (
            ("connections_refused_total", counts.turned_away),
            ("refusals_total", counts.refusals),
            ("tls_handshakes_total", counts.handshakes),
        ):
            yield from (((name, (label,)), count) for label, count in by_one.items())
        for name, by_two in (
            ("transactions_total", counts.transactions),
            ("deliveries_total", counts.deliveries),
        ):
            yield from (((name, labels), count) for labels, count in by_two.items())

    def _down(self) -> dict[Key, float]:
        """For the first of the backends, whether it is known to be out of reach."""
        found: dict[Key, float] = {}
        for server in dict.fromkeys(islice(self._servers(), MOST_HOPS)):
            key = ("backend_down", (backend_of(str(server)),))
            if key not in found and len(found) >= MOST:
                break
            found[key] = max(found.get(key, 0.0), float(self._target.is_down(server)))
        return found

    def _reasons(self, queue: tuple[OutboundQueue, ForwardTarget] | None) -> Iterator[str]:
        if self._factory.draining:
            yield "shutting down"
        elif not self._listens():
            yield "not listening"
        if queue is not None and not queue[0].is_open:
            yield "the store of the outbound queue is not open"
        # Most often the first one is up; there may be very many.
        if all(map(self._target.is_down, self._servers())):
            names = sorted({str(server) for server in self._servers()})
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            yield f"no backend can be reached: {', '.join(names[:3])}{more}"


def _times(times: Times) -> tuple[tuple[int, ...], float]:
    return tuple(times.buckets), times.total


def _pools(target: ForwardTarget, label: str | None) -> dict[Key, float]:
    """The connections by backend and state: pools of one backend together, or all under a label."""
    found: dict[Key, float] = {}
    for pool in target.pools:
        name = label or backend_of(pool.name)
        for state, count in pool.counts().items():
            waiting = state == "waiting"
            key = ("pool_waiting", (name,)) if waiting else ("pool_connections", (name, state))
            found[key] = found.get(key, 0) + count
    return found


def _queued(stats: Stats, now: float) -> Iterator[tuple[Key, float]]:
    for state in STATES:
        yield ("queue_entries", (state,)), getattr(stats, state)
    yield ("queue_messages", ()), stats.messages
    yield ("queue_bytes", ()), stats.octets
    age = 0.0 if stats.oldest is None else max(0.0, now - stats.oldest)
    yield ("queue_oldest_age_seconds", ()), age
