"""The forwarding target: hands each job to a backend of its next hop, over pooled connections.

Failure policy: the servers of a next hop are tried one after the other, those that rest last,
within the job's deadline, as long as none was reached. A reused connection that ends before our dot
is replaced once by a fresh one, in silence; a fresh one's end is the answer. After our dot nothing
is ever tried again.
"""

import enum
from collections.abc import Callable, Container, Iterable, Sequence
from functools import partial
from typing import Any

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from smtpforward.client.connect import Connector
from smtpforward.client.errors import ConnectFailed
from smtpforward.client.hosts import RestingHosts
from smtpforward.client.pool import Pool
from smtpforward.client.rests import Rests
from smtpforward.client.session import BackendSession
from smtpforward.client.slots import Slots, own_slots
from smtpforward.client.waiters import Life
from smtpforward.counts import Counts
from smtpforward.interfaces import IDeliver
from smtpforward.job import TLS, Event, Job, NextHop, Outcome, PoolBounds, Server, Stage
from smtpforward.net.clock import Clock

STALE = frozenset({Event.DROPPED, Event.CLOSING})
# What says nothing about the server.
NOT_THE_SERVER = frozenset({Event.POOL_FULL, Event.FAULT})
DOWN_FOR = 60.0  # it may be up again, and nobody has asked
SAME_OUTAGE = 600.0  # from one failure to the next
MOST_OUT_OF_REACH = 1000


class Health(enum.Enum):
    """What is known of a server."""

    UP = "up"
    RESTING = "resting"  # others are tried first, and it is probed
    UNREACHABLE = "unreachable"  # found so of late
    UNKNOWN = "unknown"  # no connection lives, and nobody has tried in vain of late


@frozen
class Standing:
    """How a server stands.

    :ivar since: clock time from which on it could not be reached, if it could not when it was last
        wanted. ``why``: what was said then.
    """

    health: Health
    since: float | None = None
    why: str = ""


@frozen
class Loss:
    """A server that could not be reached: last at ``at``, the first time at ``since``."""

    at: float
    since: float
    why: str


@frozen
class Probe:
    """What a probe asks a pool for: a connection, soon, and no message waits for it.

    :ivar wait: seconds that it waits for a slot.
    """

    next_hop: NextHop
    deadline: float
    wait: float


@implementer(IDeliver)
class ForwardTarget:
    """Delivers jobs to their next hops; keeps one pool for each backend.

    :param connector: opens connections.
    :param slots: from a backend and its ``max_connections`` to how many this process may open.
    :param hosts: what keeps which servers rest; without it they are probed.
    :param counts: what is counted: how long jobs wait, and how long backends take.
    :ivar hosts: which servers rest.
    """

    log = Logger()

    def __init__(
        self,
        connector: Connector,
        clock: Clock,
        slots: Callable[[Server, int], Slots] = own_slots,
        hosts: Rests | None = None,
        counts: Counts | None = None,
    ) -> None:
        self.connector = connector
        self._slots = slots
        self._clock = clock
        self._pools: dict[Server, Pool[BackendSession]] = {}
        self._bounds: dict[Server, PoolBounds] | None = None
        self.hosts: Rests = hosts or RestingHosts(clock, self._probe)
        self.counts = counts or Counts()
        # When each server was last found out of reach; bounded, the oldest goes.
        self._out_of_reach: dict[Server, Loss] = {}
        self._life = Life.OPEN
        self._ends: list[Deferred[None]] = []

    @property
    def pools(self) -> Sequence[Pool[BackendSession]]:
        """The pools that hold something; their ``counts`` tell what."""
        return tuple(self._pools.values())

    def outstanding(self, server: Server) -> int:
        """How many jobs ``server`` has."""
        return self._pools[server].outstanding if server in self._pools else 0

    def pool(self, server: Server, next_hop: NextHop) -> Pool[BackendSession]:
        """The pool of one backend."""
        pool = self._pools.get(server)
        return self._new_pool(server, next_hop.bounds) if pool is None else pool

    def _new_pool(self, server: Server, bounds: PoolBounds) -> Pool[BackendSession]:
        known = self._bounds is None or server in self._bounds
        if self._bounds is not None:
            bounds = self._bounds.get(server, bounds)
        pool = self._pools[server] = Pool(
            str(server),
            partial(self.connector.connect, server),
            bounds,
            self._clock,
            lambda: self._emptied(server),
            self._slots(server, bounds.max_connections),
        )
        if self._life is Life.ENDING:
            pool.end()
        elif self._life is Life.WINDING_DOWN or not known:
            pool.wind_down()
        return pool

    def adopt(self, next_hops: Iterable[NextHop], renewed: Container[TLS]) -> None:
        """New routes: backends that are still among them keep their connections.

        Those that are not serve the jobs that have them, and keep no connection idle.

        :param renewed: connections of servers with these policies are not used again.
        """
        hops = list(next_hops)
        self._bounds = {server: hop.bounds for hop in hops for server in hop.servers}
        self.hosts.keep(self._bounds)
        self.renew(renewed)
        for server, pool in list(self._pools.items()):
            bounds = self._bounds.get(server)
            if bounds is None:
                pool.wind_down()
            elif self._life is Life.OPEN:
                pool.adjust(bounds)

    def rebound(self, bounds: PoolBounds) -> None:
        """Let ``bounds`` hold for all pools: for a target whose next hops have the same ones."""
        if self._life is Life.OPEN:
            for pool in self.pools:
                pool.adjust(bounds)

    def renew(self, policies: Container[TLS]) -> None:
        """Use no present connection of servers with these TLS policies for another message."""
        for server, pool in list(self._pools.items()):
            if server.tls in policies:
                pool.renew()

    def show(self, servers: frozenset[Server]) -> None:
        """Have the dialogues with ``servers`` in the log, and with no others, from now on.

        A connection is shown, or not, from its beginning: those that have the other form are used
        for no further message.
        """
        changed = servers ^ self.connector.shown
        self.connector.shown = servers
        for server in changed & self._pools.keys():
            self._pools[server].renew()

    def _emptied(self, server: Server) -> None:
        self._pools.pop(server, None)
        while self._ends and not self._pools:
            self._ends.pop().callback(None)

    def _probe(self, server: Server, next_hop: NextHop) -> "Deferred[object]":
        timeouts = next_hop.timeouts
        deadline = self._clock.seconds() + timeouts.connect + timeouts.reply
        pool = self.pool(server, next_hop)
        # Where all slots are taken the server is there; an empty pool may wait for its share.
        wait = 0.0 if any(pool.counts().values()) else timeouts.connect
        probing: Deferred[Any] = pool.acquire(Probe(next_hop, deadline, wait), fresh=True)
        return probing.addCallback(lambda session: session.quit())

    def deliver(self, job: Job) -> Deferred[list[Outcome]]:
        """See :class:`smtpforward.interfaces.IDeliver`."""
        return HandOver(job, self, self._clock).start()

    def lost(self, server: Server, why: str = "") -> None:
        """A job could not reach ``server``."""
        now, before = self._clock.seconds(), self._out_of_reach.pop(server, None)
        since = before.since if before is not None and now < before.at + SAME_OUTAGE else now
        self._out_of_reach[server] = Loss(now, since, why)
        if len(self._out_of_reach) > MOST_OUT_OF_REACH:
            del self._out_of_reach[next(iter(self._out_of_reach))]

    def found(self, server: Server) -> None:
        """``server`` has taken a connection of a job."""
        if self._out_of_reach:
            self._out_of_reach.pop(server, None)
        self.hosts.reached(server)

    def is_down(self, server: Server) -> bool:
        """Whether ``server`` is known to be out of reach: it rests, or was so of late."""
        return not self._lives(server) and (
            self._lost_lately(server) is not None or server in self.hosts.resting
        )

    def _lives(self, server: Server) -> bool:
        """Whether a connection to it does."""
        counts = self._pools[server].counts() if server in self._pools else {}
        return bool(counts.get("busy") or counts.get("idle"))

    def _lost_lately(self, server: Server) -> Loss | None:
        loss = self._out_of_reach.get(server)
        return loss if loss is not None and self._clock.seconds() < loss.at + DOWN_FOR else None

    def standing(self, server: Server) -> Standing:
        """How ``server`` stands, as far as this process knows."""
        if self._lives(server):
            return Standing(Health.UP)
        loss = self._out_of_reach.get(server)
        about = (loss.since, loss.why) if loss is not None else ()
        if server in self.hosts.resting:
            return Standing(Health.RESTING, *about)
        lately = self._lost_lately(server) is not None
        return Standing(Health.UNREACHABLE if lately else Health.UNKNOWN, *about)

    def wind_down(self) -> None:
        """The edge is closing: serve what it still brings, and keep no connection idle."""
        self._life = Life.WINDING_DOWN
        for pool in self.pools:
            pool.wind_down()

    def end(self) -> "Deferred[None]":
        """Let idle connections say good-bye; fires when all are closed."""
        self._life = Life.ENDING
        self.hosts.stop()
        done: Deferred[None] = Deferred()
        if not self._pools:
            done.callback(None)
            return done
        self._ends.append(done)
        for pool in self.pools:
            pool.end()
        return done

    def abort(self) -> None:
        """Close all connections at once."""
        self.hosts.stop()
        for pool in self.pools:
            pool.abort()


def _found_stale(outcomes: Sequence[Outcome]) -> bool:
    """Whether the connection had ended while it lay idle.

    421 to the dot says nothing of the kind: the message has been judged.
    """
    for outcome in outcomes:
        event = outcome.event
        if event is not Event.ACCEPTED and event in STALE and outcome.stage is not Stage.DOT:
            return True
    return False


class HandOver:
    """One job on its way: which server, which connection, and what came of it."""

    __slots__ = (
        "_clock",
        "_job",
        "_next_server",
        "_ready",
        "_result",
        "_reused",
        "_servers",
        "_session",
        "_since",
        "_target",
        "_waiting",
    )

    log = Logger()

    def __init__(self, job: Job, target: ForwardTarget, clock: Clock) -> None:
        self._job = job
        self._target = target
        self._clock = clock
        self._servers = target.hosts.order(job.next_hop, target.outstanding)
        self._next_server = 0
        # When it began to wait for a connection, if it had to, and when it had one.
        self._since: float | None = None
        self._ready = 0.0
        self._reused = False
        self._session: BackendSession | None = None
        self._waiting: Deferred[Any] | None = None
        self._result: Deferred[list[Outcome]] = Deferred(self._cancelled)

    def start(self) -> "Deferred[list[Outcome]]":
        """Try the first server."""
        self._try_next()
        return self._result

    @property
    def _server(self) -> Server:
        return self._servers[self._next_server]

    def _try_next(self, fresh: bool = False) -> None:
        pool = self._target.pool(self._server, self._job.next_hop)
        session = None if fresh else pool.take()
        if session is not None:
            self._send(session)
            return
        if self._since is None:
            self._since = self._clock.seconds()
        self._waiting = pool.acquire(self._job, fresh)
        self._waiting.addCallbacks(self._acquired, self._not_acquired).addErrback(self._fault)

    def _acquired(self, session: BackendSession) -> None:
        self._waiting = None
        self._target.found(self._server)
        self._send(session)

    def _not_acquired(self, failure: Failure) -> None:
        self._waiting = None
        if failure.check(CancelledError):
            return
        failure.trap(ConnectFailed)
        error: ConnectFailed = failure.value  # type: ignore[assignment]
        in_time = self._clock.seconds() < self._job.deadline
        if in_time and error.event not in NOT_THE_SERVER:
            why = error.detail.removeprefix(f"{self._server}: ")
            self._target.lost(self._server, why)
            self._target.hosts.failed(self._server, self._job.next_hop, why)
        if in_time and self._next_server + 1 < len(self._servers):
            self._next_server += 1
            self._try_next()
            return
        if self._since is not None:
            self._target.counts.wait.note(self._clock.seconds() - self._since)
        self._finish([self._unsent(recipient, error) for recipient in self._recipients])

    @property
    def _recipients(self) -> Sequence[Any]:
        return self._job.envelope.recipients

    def _unsent(self, recipient: Any, error: ConnectFailed) -> Outcome:
        stage = Stage.WAIT if error.event is Event.POOL_FULL else Stage.CONNECT
        peer = str(self._server)
        return Outcome(recipient, error.event, stage, error.reply, peer, error.detail)

    def _send(self, session: BackendSession) -> None:
        self._session = session
        self._reused = session.messages > 0 or session.spare
        self._ready = self._clock.seconds()
        try:
            session.send(self._job, self._sent)
        except Exception:
            self._fault(Failure())

    def _sent(self, outcomes: list[Outcome]) -> None:
        """The session is done; what goes wrong in here is nothing of its."""
        self._session = None
        try:
            self._weigh(outcomes)
        except Exception:
            self._fault(Failure())

    def _weigh(self, outcomes: list[Outcome]) -> None:
        stale = self._reused and _found_stale(outcomes)
        if stale and self._clock.seconds() < self._job.deadline:
            self._try_next(fresh=True)
        else:
            self._count()
            self._finish(outcomes)

    def _count(self) -> None:
        counts, ready = self._target.counts, self._ready
        counts.backend.note(self._clock.seconds() - ready)
        if self._since is None:
            counts.wait.buckets[0] += 1  # there was a connection at once
        else:
            counts.wait.note(ready - self._since)

    def _finish(self, outcomes: list[Outcome]) -> None:
        if not self._result.called:
            self._result.callback(outcomes)
            return
        first = outcomes[0]
        self.log.info(
            "id={id} relay={peer}: after the client went away: {event} ({reply})",
            id=self._job.id,
            peer=first.peer,
            event=first.event.value,
            reply=first.reply.text if first.reply else first.detail,
        )

    def _fault(self, failure: Failure) -> None:
        if not self._result.called:
            self._result.errback(failure)
        else:
            self.log.failure("id={id}: hand-over failed", failure, id=self._job.id)

    def _cancelled(self, result: "Deferred[list[Outcome]]") -> None:
        """The client has gone: close the connection, unless our dot is out."""
        if self._waiting is not None:
            self._waiting.cancel()
        elif self._session is not None and not self._session.past_dot:
            self._session.give_up()
