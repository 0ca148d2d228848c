"""The connections to one backend: a bound, waiters in order, expiry by timer.

The pool knows slots, waiters and time; it does not know SMTP. Its rules:

- connecting + busy + idle + closing <= ``max_connections``, or this process's share of it, which
  may change at any time; each connection in one state;
- waiters exist only while no slot is free, or as many connect as may at once; they are served in
  order, and wait for a bounded time;
- a job whose own connection still opens takes another that becomes free before: a server may leave
  connections unanswered while it has as many as it serves. What opens then is for the next job;
- a connect that fails fails its own job, if that still waits, and is not tried again; only where it
  says that the server is full, and others live, the job waits like one at the bound and the pool
  stays as it is;
- what lies idle too long, or is too old, is closed when that time comes, not at the next traffic;
- bounds may change at any time: a connection beyond them ends with its transaction.
"""

import itertools
from bisect import insort
from collections import deque
from collections.abc import Callable
from typing import Generic

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from smtpforward.client.errors import ConnectFailed, PoolExhausted
from smtpforward.client.idle import IdleConnections
from smtpforward.client.limit import Limit
from smtpforward.client.slots import OwnSlots, Slots
from smtpforward.client.waiters import C, Life, Request, Waiter
from smtpforward.job import Event, PoolBounds
from smtpforward.net.clock import Clock, Watch

# How long a connection lies idle while others wait for its slot: the next job may be on its way,
# and to close and open costs more than to wait so long.
SPARED_FOR = 0.02


class Pool(Generic[C]):
    """The connections to one backend.

    :param connect: makes a connection that is ready; its failure is a :class:`ConnectFailed`.
    :param emptied: called when there is nothing left in the pool.
    :param slots: how many connections there may be, where ``bounds`` does not say it alone.
    """

    log = Logger()

    def __init__(
        self,
        name: str,
        connect: Callable[[Request], "Deferred[C]"],
        bounds: PoolBounds,
        clock: Clock,
        emptied: Callable[[], None],
        slots: Slots | None = None,
    ) -> None:
        self.name = name
        self._connect = connect
        self._bounds = bounds
        self._clock = clock
        self._emptied = emptied
        self._connecting: set[Waiter[C]] = set()
        # Those of them whose jobs would take another connection, in order.
        self._hopeful: dict[Waiter[C], None] = {}
        self._busy: set[C] = set()
        self._closing: set[C] = set()
        self._idle: IdleConnections[C] = IdleConnections()
        # Busy or still opening: to be closed instead of lying idle.
        self._outdated: set[C | Waiter[C]] = set()
        self._waiting: deque[Waiter[C]] = deque()
        self._numbers = itertools.count()
        # Connections that came back within the turn of a job that they were just given to.
        self._returned: deque[C] = deque()
        self._in_turn = self._taking_turns = False
        self._expiry = Watch(clock, self._expire)
        slots = slots or OwnSlots(bounds.max_connections)
        self._limit = Limit(slots, clock, self._serve, self._resized)
        self._serving = False
        self._life = Life.OPEN
        # Whether nobody else waits for slots.
        self._plenty = not self._limit.scarce

    def __repr__(self) -> str:
        counts = " ".join(f"{name}={count}" for name, count in self.counts().items())
        return f"<Pool {self.name} {counts}>"

    def counts(self) -> dict[str, int]:
        """How many there are in each state."""
        return {
            "connecting": len(self._connecting),
            "idle": len(self._idle),
            "busy": len(self._busy),
            "closing": len(self._closing),
            "waiting": len(self._waiting),
        }

    @property
    def _size(self) -> int:
        return len(self._connecting) + len(self._busy) + len(self._idle) + len(self._closing)

    @property
    def outstanding(self) -> int:
        """How many jobs it has; a connection that opens counts like one."""
        return len(self._busy) + len(self._connecting) + len(self._waiting)

    @property
    def _room_to_come(self) -> int:
        """Free slots, when all that closes is gone."""
        return self._limit.now - self._size + len(self._closing)

    # -- jobs come

    def take(self) -> C | None:
        """An idle connection at once, the most recently used one; ``None`` where none is."""
        now = self._clock.seconds()
        while self._life is not Life.ENDING and (taken := self._idle.take()) is not None:
            connection, until = taken
            if now < until and not connection.is_worn(self._bounds, now):
                self._busy.add(connection)
                return connection
            self._retire(connection)
        return None

    def acquire(self, request: Request, fresh: bool = False) -> "Deferred[C]":
        """A connection, as soon as there is one.

        :param fresh: it must be a new one.
        :return: Deferred; fails with :class:`ConnectFailed`. Cancelling leaves no trace.
        """
        connection = None if fresh else self.take()
        if connection is not None:
            return succeed(connection)
        until = min(self._clock.seconds() + request.wait, request.deadline)
        waiter = Waiter(next(self._numbers), request, fresh, until, self._left)
        if self._life is Life.ENDING:
            waiter.result.errback(self._shutting_down())
        elif self._has_room():
            self._open(waiter)
        else:
            self._enqueue(waiter)
        return waiter.result

    def _has_room(self) -> bool:
        return not self._waiting and self._may_connect

    @property
    def _may_connect(self) -> bool:
        few = len(self._connecting) < self._bounds.max_connecting
        return few and self._size < self._limit.now

    def _enqueue(self, waiter: Waiter[C]) -> None:
        insort(self._waiting, waiter, key=lambda other: other.number)
        delay = max(0.0, waiter.until - self._clock.seconds())
        waiter.timer = self._clock.callLater(delay, self._waited_enough, waiter)
        if waiter.fresh and self._idle and self._size >= self._limit.now:
            # All slots are taken, some by connections that this job may not have.
            self._retire_oldest()
        self._tell()

    def _waited_enough(self, waiter: Waiter[C]) -> None:
        waiter.timer = None
        self._waiting.remove(waiter)
        waiter.result.errback(PoolExhausted(f"{self!r}: no free connection in time"))
        self._tell()
        self._forget_if_empty()

    def _left(self, waiter: Waiter[C]) -> None:
        self._leave_queue(waiter)
        self._tell()
        self._forget_if_empty()

    def _leave_queue(self, waiter: Waiter[C]) -> None:
        self._waiting.remove(waiter)
        if waiter.timer is not None:
            waiter.timer.cancel()
            waiter.timer = None

    # -- connecting

    def _open(self, waiter: Waiter[C]) -> None:
        self._connecting.add(waiter)
        if not waiter.fresh:
            self._hopeful[waiter] = None
        waiter.opening = self._connect(waiter.request)
        waiter.opening.addCallbacks(
            self._opened, self._not_opened, callbackArgs=(waiter,), errbackArgs=(waiter,)
        )

    def _opened(self, connection: C, waiter: Waiter[C]) -> None:
        self._no_longer_connecting(waiter)
        waiter.opening = None
        connection.owner = self
        self._busy.add(connection)
        if waiter in self._outdated:
            self._outdated.discard(waiter)
            self._outdated.add(connection)
        if self._life is Life.ENDING:
            connection.abort()
            if not waiter.served:
                waiter.result.errback(self._shutting_down())
        elif waiter.served:
            connection.spare = True
            self.idle(connection)
        else:
            waiter.result.callback(connection)
        if self._waiting:
            self._serve()

    def _no_longer_connecting(self, waiter: Waiter[C]) -> None:
        self._connecting.discard(waiter)
        self._hopeful.pop(waiter, None)

    def _not_opened(self, failure: Failure, waiter: Waiter[C]) -> None:
        self._no_longer_connecting(waiter)
        self._outdated.discard(waiter)
        abandoned = waiter.opening is None
        waiter.opening = None
        error = failure.value
        if abandoned:
            pass  # Who abandoned it tells the job.
        elif not isinstance(error, ConnectFailed):
            self.log.failure("{pool}: connecting failed", failure, pool=self)
            if not waiter.served:
                waiter.result.errback(ConnectFailed(Event.FAULT, failure.getErrorMessage()))
        elif error.full and (self._busy or self._idle) and self._life is not Life.ENDING:
            self._limit.lower(len(self._busy) + len(self._idle))
            self.log.info("{pool}: the server takes no more connections", pool=self)
            if not waiter.served:
                # Nothing lies idle that it would take: it would have it by now.
                self._enqueue(waiter)
        elif waiter.served:
            self.log.info("{pool}: one more connection: {why}", pool=self, why=error.detail)
        else:
            waiter.result.errback(error)
        self._serve()
        self._forget_if_empty()

    # -- slots

    @property
    def _slots_wanted_back(self) -> int:
        """How many connections are to end because the share has become smaller."""
        return self._size - len(self._closing) - self._limit.share

    def _resized(self) -> None:
        """The share has changed."""
        while self._idle and self._slots_wanted_back > 0:
            self._retire_oldest()
        if self._plenty and self._limit.scarce:
            self._hurry()
        self._plenty = not self._limit.scarce
        self._serve()

    def _hurry(self) -> None:
        """Others wait: what lies idle has less time for it."""
        earlier = max(0.0, self._bounds.idle - SPARED_FOR)
        self._idle.hurry(earlier)
        self._expire()

    def _tell(self) -> None:
        """Say what is used and who waits. What is not needed may go back at once."""
        self._limit.tell(self._size, len(self._waiting), self._bounds.max_connections)

    # -- connections report

    def idle(self, connection: C) -> None:
        """A connection has ended its transaction cleanly."""
        if self._in_turn:
            self._returned.append(connection)
            return
        self._busy.discard(connection)
        now = self._clock.seconds()
        if self._has_served_its_time(connection, now):
            self._retire(connection)
            return
        if self._hopeful:
            waiter = next(iter(self._hopeful))
            del self._hopeful[waiter]
            self._busy.add(connection)
            self._hand_over(connection, waiter)
            return
        before = self._fresh_ones_first() if self._waiting else 0
        if before and before >= self._room_to_come:
            # The jobs that came first want new connections: make room for one.
            self._retire(connection)
        elif before < len(self._waiting):
            waiter = self._waiting[before]
            self._leave_queue(waiter)
            self._busy.add(connection)
            if not self._waiting:
                self._tell()
            self._hand_over(connection, waiter)
        elif self._life is Life.WINDING_DOWN:
            self._retire(connection)
        else:
            spared = self._bounds.idle if self._plenty else min(self._bounds.idle, SPARED_FOR)
            due = self._idle.add(connection, now + spared, connection.worn_at(self._bounds))
            expiry = self._expiry.due
            if expiry is None or due < expiry:
                self._expiry.arm_until(due)

    def _hand_over(self, connection: C, waiter: Waiter[C]) -> None:
        """Give a connection to a job.

        A job that no command has to be sent for ends within its turn, and gives it back. The next
        one's turn comes when that one's is over: within it, a long queue would be deeper than the
        stack.
        """
        self._in_turn = True
        try:
            waiter.result.callback(connection)
        finally:
            self._in_turn = False
        if self._taking_turns:
            return
        self._taking_turns = True
        try:
            while self._returned:
                returned = self._returned.popleft()
                if returned in self._busy:  # It may have ended since.
                    self.idle(returned)
        finally:
            self._taking_turns = False

    def _has_served_its_time(self, connection: C, now: float) -> bool:
        limit = self._limit
        if limit.reduced:
            # This one is neither busy nor closing: it is one more.
            limit.reduced = self._slots_wanted_back >= 0
        return (
            limit.reduced
            or self._life is Life.ENDING
            or connection.is_worn(self._bounds, now)
            or connection in self._outdated
        )

    def _fresh_ones_first(self) -> int:
        """How many jobs at the head of the queue want a new connection."""
        return sum(1 for _ in itertools.takewhile(lambda waiter: waiter.fresh, self._waiting))

    def closing(self, connection: C) -> None:
        """A connection takes no further message; it holds its slot until it is gone."""
        self._busy.discard(connection)
        self._idle.discard(connection)
        self._closing.add(connection)

    def gone(self, connection: C) -> None:
        """A connection is closed: its slot is free."""
        for state in (self._busy, self._closing, self._outdated):
            state.discard(connection)
        self._idle.discard(connection)
        self._serve()
        self._forget_if_empty()

    def _serve(self) -> None:
        """Open a connection for each waiter that has a slot now."""
        if self._serving:
            return  # An attempt that fails at once comes back here; the loop goes on below.
        self._serving = True
        try:
            while self._waiting and self._may_connect:
                waiter = self._waiting[0]
                self._leave_queue(waiter)
                self._open(waiter)
        finally:
            self._serving = False
        self._tell()

    # -- expiry

    def _retire(self, connection: C) -> None:
        self._idle.discard(connection)
        self._closing.add(connection)
        connection.quit()

    def _retire_oldest(self) -> None:
        self._retire(self._idle.oldest())

    def _expire(self) -> None:
        for connection in self._idle.due(self._clock.seconds()):
            self._retire(connection)
        due = self._idle.next_due()
        if due is not None:
            self._expiry.arm_until(due)

    # -- new settings

    def adjust(self, bounds: PoolBounds) -> None:
        """Hold ``bounds`` from now on, and keep idle connections if that had ended."""
        self._bounds = bounds
        if self._life is Life.WINDING_DOWN:
            self._life = Life.OPEN
        self._shorten_idle_times()
        self._tell()
        self._resized()

    def _shorten_idle_times(self) -> None:
        latest = self._clock.seconds() + self._bounds.idle
        self._idle.shorten(latest, lambda connection: connection.worn_at(self._bounds))
        self._expire()

    def renew(self) -> None:
        """Use none of the present connections for another message."""
        for connection in list(self._idle):
            self._retire(connection)
        self._outdated.update(self._busy, self._connecting)

    # -- the end

    def wind_down(self) -> None:
        """Jobs are still served, but nothing lies idle any more."""
        if self._life is Life.OPEN:
            self._life = Life.WINDING_DOWN
        for connection in list(self._idle):
            self._retire(connection)

    def end(self) -> None:
        """Nothing new begins: idle ones say good-bye, waiters are told, busy ones finish."""
        self._life = Life.ENDING
        self.wind_down()
        while self._waiting:
            waiter = self._waiting[0]
            self._leave_queue(waiter)
            waiter.result.errback(self._shutting_down())
        self._forget_if_empty()

    def _shutting_down(self) -> PoolExhausted:
        return PoolExhausted(f"{self.name}: shutting down")

    def abort(self) -> None:
        """Close everything at once."""
        self.end()
        for waiter in list(self._connecting):
            waiter.abandon()
            if not waiter.served:
                waiter.result.errback(self._shutting_down())
        for connection in [*self._busy, *self._closing]:
            connection.abort()

    def _forget_if_empty(self) -> None:
        if not self._size and not self._waiting:
            self._expiry.stop()
            self._limit.release()
            self._emptied()
