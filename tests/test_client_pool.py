"""The pool: every rule of its bounds, its waiters and its time, on fake connections."""

from typing import Any

from attrs import evolve
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.client.errors import ConnectFailed, PoolExhausted
from smtpforward.client.limit import FULL_FOR
from smtpforward.client.pool import SPARED_FOR, Pool
from smtpforward.job import Event, Job, PoolBounds, Timeouts
from tests.clientsupport import FakeConnection, Opening, make_job, run_machine

BOUNDS = PoolBounds(max_connections=3, idle=30.0, max_age=240.0)
FOREVER = 1e9


class Jobs:
    """A pool on a clock, with fake connections that a test opens and ends."""

    def __init__(self, bounds: PoolBounds = BOUNDS) -> None:
        self.clock = Clock()
        self.openings: list[Opening] = []
        self.emptied = 0
        self.pool: Pool[FakeConnection] = Pool(
            "backend:25", self._connect, bounds, self.clock, self._emptied
        )

    def _connect(self, request: Any) -> "Deferred[FakeConnection]":
        opening = Opening(request, f"c{len(self.openings)}", self.clock)
        self.openings.append(opening)
        return opening.result

    def _emptied(self) -> None:
        self.emptied += 1


class PoolCase(SynchronousTestCase):
    """One pool."""

    bounds = BOUNDS

    def setUp(self) -> None:
        """It is empty."""
        self.jobs = Jobs(self.bounds)
        self.pool = self.jobs.pool
        self.clock = self.jobs.clock

    def acquire(self, fresh: bool = False, **changes: Any) -> "Deferred[FakeConnection]":
        """A job wants a connection."""
        return self.pool.acquire(make_job(**{"deadline": FOREVER, **changes}), fresh)

    def busy(self, count: int = 1) -> list[FakeConnection]:
        """``count`` jobs with a connection each."""
        acquired = [self.acquire() for _ in range(count)]
        for opening in self.jobs.openings[-count:]:
            opening.succeed()
        return [self.successResultOf(each) for each in acquired]

    def gone(self, *connections: FakeConnection) -> None:
        """They are closed."""
        for connection in connections:
            self.pool.gone(connection)

    def assert_counts(self, **counts: int) -> None:
        """The pool holds exactly ``counts``."""
        nothing = {"connecting": 0, "idle": 0, "busy": 0, "closing": 0, "waiting": 0}
        self.assertEqual(self.pool.counts(), nothing | counts)

    def why(self, deferred: "Deferred[Any]") -> ConnectFailed:
        """Why a job got no connection."""
        failure: Failure = self.failureResultOf(deferred, ConnectFailed)
        return failure.value  # type: ignore[return-value]


class BoundTests(PoolCase):
    """Never more than ``max_connections``, each in one state."""

    def test_repr(self) -> None:
        """``repr`` shows the counts."""
        self.busy(3)
        self.acquire()
        self.assertEqual(
            repr(self.pool),
            "<Pool backend:25 connecting=0 idle=0 busy=3 closing=0 waiting=1>",
        )

    def test_states(self) -> None:
        """Connecting, busy, idle, closing, gone: one after the other."""
        acquired = self.acquire()
        self.assert_counts(connecting=1)
        connection = self.jobs.openings[0].succeed()
        self.assertIs(self.successResultOf(acquired), connection)
        self.assert_counts(busy=1)
        self.pool.idle(connection)
        self.assert_counts(idle=1)
        self.pool.closing(connection)
        self.assert_counts(closing=1)
        self.gone(connection)
        self.assert_counts()

    def test_owner(self) -> None:
        """A connection reports to its pool."""
        [connection] = self.busy()
        self.assertIs(connection.owner, self.pool)

    def test_jobs_of_one_moment(self) -> None:
        """Each of several jobs opens its own connection, up to the bound."""
        for _ in range(5):
            self.acquire()
        self.assertEqual(len(self.jobs.openings), 3)
        self.assert_counts(connecting=3, waiting=2)

    def test_closing_counts(self) -> None:
        """A connection holds its slot until it is gone."""
        connections = self.busy(3)
        self.pool.closing(connections[0])
        self.acquire()
        self.assert_counts(busy=2, closing=1, waiting=1)
        self.gone(connections[0])
        self.assert_counts(busy=2, connecting=1)

    def test_reuse(self) -> None:
        """The most recently used idle connection is taken first."""
        first, second = self.busy(2)
        self.pool.idle(second)
        self.pool.idle(first)
        self.assertIs(self.successResultOf(self.acquire()), first)
        self.assertIs(self.pool.take(), second)
        self.assertIsNone(self.pool.take())
        self.assert_counts(busy=2)

    def test_request(self) -> None:
        """Who connects knows for what."""
        job = make_job()
        self.pool.acquire(job)
        self.assertIs(self.jobs.openings[0].request, job)

    def test_a_bound_of_zero(self) -> None:
        """A pool that may hold nothing holds one: else no job would ever be served."""
        self.jobs = Jobs(PoolBounds(max_connections=0))
        self.jobs.pool.acquire(make_job())
        self.assertEqual(self.jobs.pool.counts()["connecting"], 1)


class FakeSlots:
    """A share of the bound, as a test gives it; it notes what the pool says."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.scarce = False
        self.changed: Any = None
        self.told: list[tuple[int, int]] = []
        self.released = 0

    def tell(self, used: int, lacking: int, bound: int) -> None:
        """See Slots."""
        assert bound == BOUNDS.max_connections
        self.told.append((used, lacking))

    def release(self) -> None:
        """See Slots."""
        self.released += 1

    def resize(self, limit: int, scarce: bool = False) -> None:
        """The share changes."""
        self.limit, self.scarce = limit, scarce
        self.changed()


class ShareTests(PoolCase):
    """A pool that has only a share of the bound, which changes."""

    def setUp(self) -> None:
        """The share is nothing yet."""
        PoolCase.setUp(self)
        self.slots = FakeSlots(0)
        jobs = self.jobs
        self.pool = jobs.pool = Pool(
            "backend:25", jobs._connect, BOUNDS, self.clock, jobs._emptied, self.slots
        )

    def test_nothing(self) -> None:
        """With nothing jobs wait, and the pool says how many; when some comes it opens."""
        self.acquire()
        self.acquire()
        self.assert_counts(waiting=2)
        self.assertEqual(self.slots.told, [(0, 1), (0, 2)])
        self.slots.resize(1)
        self.assert_counts(connecting=1, waiting=1)
        self.assertEqual(self.slots.told[-1], (1, 1))

    def test_nothing_said_of_messages(self) -> None:
        """As long as the slots suffice the pool says nothing at all."""
        self.slots.resize(3)
        [connection] = self.busy()
        self.slots.told.clear()
        for _ in range(5):
            self.pool.idle(connection)
            self.assertIs(self.pool.take(), connection)
        self.assertEqual(self.slots.told, [])

    def test_smaller(self) -> None:
        """What lies idle goes first; what is busy after its message, though jobs wait."""
        self.slots.resize(3)
        first, second, third = self.busy(3)
        self.pool.idle(third)
        self.slots.resize(1)
        self.assertEqual(third.did, ["quit"])
        self.acquire()
        self.pool.idle(first)
        self.assertEqual(first.did, ["quit"])
        self.assert_counts(busy=1, closing=2, waiting=1)
        self.pool.idle(second)
        self.assert_counts(busy=1, closing=2)
        self.assertEqual(second.did, [])

    def test_smaller_for_a_moment(self) -> None:
        """One that closes by itself counts: no further one has to."""
        self.slots.resize(2)
        first, second = self.busy(2)
        self.slots.resize(1)
        self.pool.closing(first)
        self.pool.idle(second)
        self.assertEqual(second.did, [])

    def test_scarce(self) -> None:
        """While others wait nothing lies idle for more than a moment; later it does again."""
        self.slots.resize(3)
        first, second, third = self.busy(3)
        self.pool.idle(first)
        self.clock.advance(2 * SPARED_FOR)
        self.pool.idle(second)
        self.slots.resize(3, scarce=True)
        self.assertEqual([first.did, second.did], [["quit"], []])
        self.clock.advance(SPARED_FOR / 2)
        self.pool.idle(third)
        self.clock.advance(SPARED_FOR * 0.75)
        self.assertEqual([second.did, third.did], [["quit"], []])
        self.clock.advance(SPARED_FOR / 2)
        self.assertEqual(third.did, ["quit"])
        self.gone(first, second, third)
        self.slots.resize(3)
        [fourth] = self.busy()
        self.pool.idle(fourth)
        self.clock.advance(BOUNDS.idle - 1)
        self.assertEqual(fourth.did, [])

    def test_scarce_again(self) -> None:
        """Who hears it a second time closes nothing the sooner."""
        self.slots.resize(1, scarce=True)
        [connection] = self.busy()
        self.pool.idle(connection)
        self.slots.resize(1, scarce=True)
        self.assertEqual(connection.did, [])
        self.assertIs(self.pool.take(), connection)

    def test_told_when_free(self) -> None:
        """A slot is free when its connection has gone, and all are released with the last."""
        self.slots.resize(2)
        first, second = self.busy(2)
        self.gone(first)
        self.assertEqual(self.slots.told[-1], (1, 0))
        self.assertEqual(self.slots.released, 0)
        self.gone(second)
        self.assertEqual(self.slots.released, 1)

    def test_full_server(self) -> None:
        """A job that waits because the server is full asks for no slot."""
        self.slots.resize(2)
        self.busy()
        self.acquire(timeouts=Timeouts(connect=FOREVER))
        self.jobs.openings[-1].fail(full=True)
        self.assert_counts(busy=1, waiting=1)
        self.assertEqual(self.slots.told[-1], (1, 0))
        self.clock.advance(FULL_FOR)
        self.assert_counts(busy=1, connecting=1)

    def test_winding_down(self) -> None:
        """A larger share makes nothing lie idle that should not."""
        self.slots.resize(1)
        [connection] = self.busy()
        self.pool.wind_down()
        self.slots.resize(2)
        self.pool.idle(connection)
        self.assertEqual(connection.did, ["quit"])


class WaitingTests(PoolCase):
    """Waiters exist while the pool is full, are served in order, and wait for a bounded time."""

    def test_order(self) -> None:
        """First come, first served, by connections that become idle and by free slots."""
        one, two, three = self.busy(3)
        first, second, third = (self.acquire() for _ in range(3))
        self.pool.idle(two)
        self.assertIs(self.successResultOf(first), two)
        self.assertNoResult(second)
        self.gone(one)
        self.assert_counts(connecting=1, busy=2, waiting=1)
        self.pool.idle(three)
        self.assertIs(self.successResultOf(second), three)
        self.assertIs(self.jobs.openings[-1].succeed(), self.successResultOf(third))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_time(self) -> None:
        """A waiter waits ``connect_timeout`` and then hears what was full."""
        self.busy(3)
        waiting = self.acquire()
        self.clock.advance(29)
        self.assertNoResult(waiting)
        self.clock.advance(1)
        error = self.why(waiting)
        self.assertIsInstance(error, PoolExhausted)
        self.assertIs(error.event, Event.POOL_FULL)
        self.assertIn("busy=3", error.detail)
        self.assert_counts(busy=3)

    def test_deadline(self) -> None:
        """Nor does it wait beyond its deadline."""
        self.busy(3)
        waiting = self.acquire(deadline=10.0)
        self.clock.advance(10)
        self.why(waiting)

    def test_each_its_own_time(self) -> None:
        """A later one waits longer."""
        self.busy(3)
        early = self.acquire()
        self.clock.advance(20)
        late = self.acquire()
        self.clock.advance(10)
        self.why(early)
        self.assertNoResult(late)
        self.clock.advance(20)
        self.why(late)

    def test_cancelled(self) -> None:
        """A cancelled waiter leaves no trace, and those behind it move up."""
        [connection, *_] = self.busy(3)
        first, second = self.acquire(), self.acquire()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assert_counts(busy=3, waiting=1)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.pool.idle(connection)
        self.assertIs(self.successResultOf(second), connection)

    def test_slow_connect(self) -> None:
        """The time of waiting ends when the connecting begins."""
        [connection, *_] = self.busy(3)
        waiting = self.acquire()
        self.clock.advance(29)
        self.gone(connection)
        self.clock.advance(100)
        self.assertNoResult(waiting)
        self.jobs.openings[-1].succeed()
        self.successResultOf(waiting)


class ConnectingTests(PoolCase):
    """A connect that fails, or is not wanted any more."""

    def test_failed(self) -> None:
        """It fails its own job, and nobody dials again."""
        acquired = self.acquire()
        self.jobs.openings[0].fail()
        self.assertIs(self.why(acquired).event, Event.UNREACHABLE)
        self.assertEqual(len(self.jobs.openings), 1)
        self.assert_counts()

    def test_failed_and_waiters(self) -> None:
        """Its slot goes to the next waiter."""
        first, *_, fourth = (self.acquire() for _ in range(4))
        self.jobs.openings[0].fail()
        self.why(first)
        self.assert_counts(connecting=3)
        self.assertNoResult(fourth)
        self.jobs.openings[3].succeed()
        self.successResultOf(fourth)

    def test_failed_at_once(self) -> None:
        """A connect that fails before it returns is a failure like any other."""
        pool: Pool[FakeConnection] = Pool(
            *("x", lambda _: fail(ConnectFailed(Event.UNREACHABLE, "no")), BOUNDS, self.clock),
            lambda: None,
        )
        self.why(pool.acquire(make_job()))
        self.assertEqual(sum(pool.counts().values()), 0)

    def test_unforeseen(self) -> None:
        """An exception of ours is logged and is the job's own fault outcome."""
        acquired = self.acquire()
        self.jobs.openings[0].result.errback(ZeroDivisionError("oh"))
        self.assertIs(self.why(acquired).event, Event.FAULT)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assert_counts()

    def test_cancelled(self) -> None:
        """The attempt of a job that has gone is cancelled, and its slot is free."""
        acquired = self.acquire()
        acquired.cancel()
        self.failureResultOf(acquired, CancelledError)
        self.assertTrue(self.jobs.openings[0].cancelled)
        self.assert_counts()
        self.assertEqual(self.jobs.emptied, 1)

    def test_cancelled_and_waiters(self) -> None:
        """Its slot goes to the next waiter."""
        first, *_, fourth = (self.acquire() for _ in range(4))
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assert_counts(connecting=3)
        self.jobs.openings[3].succeed()
        self.successResultOf(fourth)

    def test_cancelled_attempt_says_why(self) -> None:
        """An attempt that answers the cancel with a reason of its own changes nothing."""
        self.busy()
        acquired = self.acquire()
        opening = self.jobs.openings[1]
        opening.result._canceller = lambda _: opening.fail(full=True)
        acquired.cancel()
        self.failureResultOf(acquired, CancelledError)
        self.assert_counts(busy=1)

    def test_cancelled_when_served(self) -> None:
        """Cancelling what has its connection already does nothing: the slot is its own."""
        acquired = self.acquire()
        connection = self.jobs.openings[0].succeed()
        acquired.cancel()
        self.assertIs(self.successResultOf(acquired), connection)
        self.assert_counts(busy=1)


class AtOnceTests(PoolCase):
    """A backend is not overrun: a few connects at the same time, the others one after the other."""

    bounds = PoolBounds(max_connections=10, max_connecting=2)

    def test_burst(self) -> None:
        """Each one that ends, whichever way, lets the next begin, until all jobs have theirs."""
        acquired = [self.acquire() for _ in range(5)]
        self.assert_counts(connecting=2, waiting=3)
        self.jobs.openings[0].succeed()
        self.assert_counts(busy=1, connecting=2, waiting=2)
        self.jobs.openings[1].fail()
        self.assert_counts(busy=1, connecting=2, waiting=1)
        for opening in self.jobs.openings[2:4]:
            opening.succeed()
        self.jobs.openings[4].succeed()
        self.assert_counts(busy=4)
        self.why(acquired.pop(1))
        self.assertEqual(len({self.successResultOf(each) for each in acquired}), 4)

    def test_what_becomes_idle(self) -> None:
        """Jobs take it in order, whether they connect or wait for their turn to."""
        [connection] = self.busy()
        acquired = [self.acquire() for _ in range(4)]
        self.assert_counts(busy=1, connecting=2, waiting=2)
        for job in acquired:
            self.assertNoResult(job)
            self.pool.idle(connection)
            self.assertIs(self.successResultOf(job), connection)
        self.assert_counts(busy=1, connecting=2)
        self.assertEqual(len(self.jobs.openings), 3)

    def test_idle_ones_stay(self) -> None:
        """There is room: a job that wants a new connection displaces no idle one."""
        self.pool.idle(self.busy()[0])
        for _ in range(3):
            self.acquire(fresh=True)
        self.assert_counts(idle=1, connecting=2, waiting=1)

    def test_cancelled(self) -> None:
        """One that is given up makes room as well."""
        first, second, third = (self.acquire() for _ in range(3))
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assert_counts(connecting=2)
        second.cancel()
        third.cancel()
        self.failureResultOf(second, CancelledError)
        self.failureResultOf(third, CancelledError)
        self.assert_counts()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_in_time(self) -> None:
        """It waits no longer than for a slot."""
        self.acquire()
        self.acquire()
        third = self.acquire()
        self.clock.advance(make_job().next_hop.timeouts.connect)
        self.assertIsInstance(self.why(third), PoolExhausted)


class SpareTests(PoolCase):
    """Connections that open after their jobs have taken others."""

    bounds = PoolBounds(max_connections=4, max_connecting=2)

    def served(self, jobs: int = 1) -> Opening:
        """One busy connection; ``jobs`` that took it one after the other, and the first's own."""
        [self.connection] = self.busy()
        for _ in range(jobs):
            acquired = self.acquire()
            self.pool.idle(self.connection)
            self.assertIs(self.successResultOf(acquired), self.connection)
        return self.jobs.openings[1]

    def test_lies_idle(self) -> None:
        """It is the next job's, and may have lain idle."""
        spare = self.served().succeed()
        self.assert_counts(busy=1, idle=1)
        self.assertEqual((spare.spare, self.connection.spare), (True, False))
        self.assertIs(self.successResultOf(self.acquire()), spare)
        self.pool.idle(spare)
        self.clock.advance(30.0)
        self.assertEqual(spare.did, ["quit"])

    def test_is_waited_for(self) -> None:
        """A job that waits has it at once."""
        opening = self.served(2)
        waiting = self.acquire()
        self.assert_counts(busy=1, connecting=2, waiting=1)
        spare = opening.succeed()
        self.assertIs(self.successResultOf(waiting), spare)

    def test_never_answered(self) -> None:
        """It fails nobody, and jobs go on with what there is meanwhile."""
        opening = self.served(5)
        self.assert_counts(busy=1, connecting=2)
        opening.fail()
        self.assert_counts(busy=1, connecting=1)
        self.pool.idle(self.connection)
        self.assert_counts(idle=1, connecting=1)

    def test_full(self) -> None:
        """It may say as well that the server is full."""
        self.served().fail(full=True)
        self.assert_counts(busy=1)
        self.acquire()
        self.assert_counts(busy=1, waiting=1)

    def test_unforeseen(self) -> None:
        """Any other fault is logged."""
        self.served().result.errback(ZeroDivisionError())
        self.assert_counts(busy=1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_not_for_a_fresh_one(self) -> None:
        """A job that wants a connection of its own waits for that."""
        [connection] = self.busy()
        fresh = self.acquire(fresh=True)
        self.pool.idle(connection)
        self.assertNoResult(fresh)
        self.assert_counts(idle=1, connecting=1)

    def test_winding_down(self) -> None:
        """Where nothing is to lie idle it closes."""
        opening = self.served()
        self.pool.wind_down()
        self.assertEqual(opening.succeed().did, ["quit"])

    def test_end(self) -> None:
        """At the end it closes, and an attempt that goes on is given up."""
        self.served(2)
        self.pool.end()
        self.assertEqual(self.jobs.openings[1].succeed().did, ["abort"])
        self.pool.abort()
        self.assertTrue(self.jobs.openings[2].cancelled)
        self.assert_counts(closing=2)


class FullServerTests(PoolCase):
    """A refused connect, or 421 at the greeting, while others live."""

    bounds = PoolBounds(max_connections=10)

    def full(self, living: int = 2) -> "Deferred[FakeConnection]":
        """``living`` busy ones, and a job whose connect says that the server is full."""
        self.connections = self.busy(living)
        acquired = self.acquire()
        self.jobs.openings[-1].fail(full=True)
        return acquired

    def test_waits(self) -> None:
        """The job waits like one at the bound, and gets what becomes idle."""
        acquired = self.full()
        self.assertNoResult(acquired)
        self.assert_counts(busy=2, waiting=1)
        self.pool.idle(self.connections[0])
        self.assertIs(self.successResultOf(acquired), self.connections[0])

    def test_does_not_grow(self) -> None:
        """For a minute nobody dials; then the pool grows again."""
        first = self.full()
        later = self.acquire()
        dialled = len(self.jobs.openings)
        self.clock.advance(29)
        self.assert_counts(busy=2, waiting=2)
        self.clock.advance(FULL_FOR - 30)
        third = self.acquire()
        self.assertEqual(len(self.jobs.openings), dialled)
        self.clock.advance(1)
        self.assertEqual(len(self.jobs.openings), dialled + 1)
        self.jobs.openings[-1].succeed()
        self.successResultOf(third)
        self.why(first)
        self.why(later)

    def test_idle_one_at_hand(self) -> None:
        """An idle connection is taken at once instead."""
        [first] = self.busy()
        acquired = self.acquire()
        self.pool.idle(first)
        self.jobs.openings[-1].fail(full=True)
        self.assertIs(self.successResultOf(acquired), first)

    def test_idle_one_is_worn(self) -> None:
        """One that has served its time is not taken: the job waits for the next."""
        first, second = self.busy(2)
        acquired = self.acquire()
        first.worn = True
        self.pool.idle(first)
        self.assertEqual(first.did, ["quit"])
        self.jobs.openings[-1].fail(full=True)
        self.assert_counts(busy=1, closing=1, waiting=1)
        self.gone(first)
        self.assertNoResult(acquired)
        self.pool.idle(second)
        self.assertIs(self.successResultOf(acquired), second)

    def test_slot_is_replaced(self) -> None:
        """One that goes may be replaced: there was room for so many."""
        self.full()
        self.gone(self.connections[0])
        self.assert_counts(busy=1, connecting=1)

    def test_nobody_lives(self) -> None:
        """With no other connection it is a failure like any other."""
        acquired = self.acquire()
        self.jobs.openings[0].fail(full=True)
        self.why(acquired)

    def test_all_die(self) -> None:
        """When the others die while it waits it tries once more, and that is the answer."""
        acquired = self.full()
        self.gone(*self.connections)
        self.assert_counts(connecting=1)
        self.jobs.openings[-1].fail(full=True)
        self.why(acquired)
        self.assert_counts()

    def test_order(self) -> None:
        """Jobs whose attempts fail one after the other keep their order, before later ones."""
        [connection] = self.busy()
        first, second = self.acquire(), self.acquire()
        self.jobs.openings[1].fail(full=True)
        third = self.acquire()
        self.jobs.openings[2].fail(full=True)
        for job in (first, second, third):
            self.pool.idle(connection)
            self.assertIs(self.successResultOf(job), connection)

    def test_waits_no_longer_than_others(self) -> None:
        """Its time counts from when it came."""
        [_] = self.busy()
        acquired = self.acquire()
        self.clock.advance(20)
        self.jobs.openings[-1].fail(full=True)
        self.clock.advance(9)
        self.assertNoResult(acquired)
        self.clock.advance(1)
        self.assertIs(self.why(acquired).event, Event.POOL_FULL)


class FreshTests(PoolCase):
    """Jobs that want a connection that nobody has used."""

    def test_idle_ones_are_left(self) -> None:
        """With room, an idle one stays and a new one is opened."""
        [connection] = self.busy()
        self.pool.idle(connection)
        self.acquire(fresh=True)
        self.assert_counts(idle=1, connecting=1)

    def test_room_is_made(self) -> None:
        """Without room, the oldest idle one goes."""
        first, second, _ = self.busy(3)
        self.pool.idle(first)
        self.pool.idle(second)
        fresh = self.acquire(fresh=True)
        self.assertEqual((first.did, second.did), (["quit"], []))
        self.assert_counts(busy=1, idle=1, closing=1, waiting=1)
        self.gone(first)
        self.assertIs(self.jobs.openings[-1].succeed(), self.successResultOf(fresh))

    def test_busy_ones_make_room(self) -> None:
        """With all busy, one that ends its transaction goes; one is enough."""
        first, second, _ = self.busy(3)
        fresh = self.acquire(fresh=True)
        self.pool.idle(first)
        self.assertEqual(first.did, ["quit"])
        self.pool.idle(second)
        self.assertEqual(second.did, [])
        self.assert_counts(busy=1, idle=1, closing=1, waiting=1)
        self.gone(first)
        self.jobs.openings[-1].succeed()
        self.successResultOf(fresh)

    def test_not_overtaken(self) -> None:
        """Later jobs that take any connection do not keep it from its slot for ever."""
        first, second, third = self.busy(3)
        fresh, later = self.acquire(fresh=True), self.acquire()
        self.pool.idle(first)
        self.assertEqual(first.did, ["quit"])
        self.pool.idle(second)
        self.assertIs(self.successResultOf(later), second)
        self.gone(first)
        self.jobs.openings[-1].succeed()
        self.successResultOf(fresh)
        self.assertEqual(third.did, [])

    def test_full_server(self) -> None:
        """A server that takes no more: a fresh job waits for a slot, not for an idle one."""
        [connection] = self.busy()
        fresh = self.acquire(fresh=True)
        self.pool.idle(connection)
        self.jobs.openings[-1].fail(full=True)
        self.assertEqual(connection.did, ["quit"])
        self.gone(connection)
        self.jobs.openings[-1].succeed()
        self.successResultOf(fresh)


class ExpiryTests(PoolCase):
    """What lies idle too long, or is worn, goes when that time comes."""

    def test_idle_time(self) -> None:
        """By timer, without traffic."""
        [connection] = self.busy()
        self.pool.idle(connection)
        self.clock.advance(29)
        self.assertEqual(connection.did, [])
        self.clock.advance(1)
        self.assertEqual(connection.did, ["quit"])
        self.assert_counts(closing=1)

    def test_each_its_own(self) -> None:
        """Several, each at its time."""
        first, second = self.busy(2)
        self.pool.idle(first)
        self.clock.advance(10)
        self.pool.idle(second)
        self.clock.advance(20)
        self.assertEqual((first.did, second.did), (["quit"], []))
        self.clock.advance(10)
        self.assertEqual(second.did, ["quit"])

    def test_used_in_between(self) -> None:
        """A connection that was used is idle anew."""
        [connection] = self.busy()
        self.pool.idle(connection)
        self.clock.advance(20)
        self.assertIs(self.pool.take(), connection)
        self.clock.advance(20)
        self.pool.idle(connection)
        self.clock.advance(29)
        self.assertEqual(connection.did, [])
        self.clock.advance(1)
        self.assertEqual(connection.did, ["quit"])

    def test_age(self) -> None:
        """By age while idle, also sooner than its idle time."""
        [connection] = self.busy()
        self.clock.advance(220)
        self.pool.idle(connection)
        self.clock.advance(20)
        self.assertEqual(connection.did, ["quit"])

    def test_age_of_a_second(self) -> None:
        """The nearest of all times counts."""
        [old] = self.busy()
        self.clock.advance(200)
        [young] = self.busy()
        self.clock.advance(25)
        self.pool.idle(young)
        self.pool.idle(old)
        self.clock.advance(15)
        self.assertEqual((old.did, young.did), (["quit"], []))

    def test_the_rest_stays(self) -> None:
        """When one goes the others stay, and the timer is set for the nearest of them."""
        first, second, third = self.busy(3)
        self.pool.idle(first)
        self.clock.advance(10)
        self.pool.idle(second)
        self.clock.advance(5)
        self.pool.idle(third)
        self.clock.advance(15)
        self.assertEqual([c.did for c in (first, second, third)], [["quit"], [], []])
        self.clock.advance(10)
        self.assertEqual([c.did for c in (second, third)], [["quit"], []])
        self.clock.advance(5)
        self.assertEqual(third.did, ["quit"])

    def test_worn_when_it_ends(self) -> None:
        """A worn connection is not kept."""
        [connection] = self.busy()
        connection.worn = True
        self.pool.idle(connection)
        self.assertEqual(connection.did, ["quit"])
        self.assert_counts(closing=1)

    def test_worn_when_taken(self) -> None:
        """Nor is one given out whose time came in the same moment."""
        first, second = self.busy(2)
        self.pool.idle(first)
        self.pool.idle(second)
        second.worn = True
        self.assertIs(self.pool.take(), first)
        self.assertEqual(second.did, ["quit"])

    def test_idle_too_long_when_taken(self) -> None:
        """Also where the timer has not run yet."""
        [connection] = self.busy()
        self.pool.idle(connection)
        self.clock.rightNow += 30
        self.assertIsNone(self.pool.take())
        self.assertEqual(connection.did, ["quit"])

    def test_lost_while_idle(self) -> None:
        """One that ends by itself is forgotten."""
        [connection] = self.busy()
        self.pool.idle(connection)
        self.gone(connection)
        self.assert_counts()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class EndTests(PoolCase):
    """Empty pools, and shutdown."""

    def test_emptied(self) -> None:
        """A pool that holds nothing says so, and leaves nothing in the clock."""
        connections = self.busy(2)
        self.pool.idle(connections[0])
        self.gone(*connections)
        self.assertEqual(self.jobs.emptied, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_emptied_after_full(self) -> None:
        """Nor is the ceiling of a full server left there."""
        [connection] = self.busy()
        waiting = self.acquire()
        self.jobs.openings[-1].fail(full=True)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.gone(connection)
        self.assertEqual(self.jobs.emptied, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_used_again_after_full(self) -> None:
        """A pool that was emptied and is used again may grow: nobody lives who says otherwise."""
        [connection] = self.busy()
        waiting = self.acquire()
        self.jobs.openings[-1].fail(full=True)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.gone(connection)
        self.acquire()
        self.acquire()
        self.assert_counts(connecting=2)

    def test_not_emptied(self) -> None:
        """While anyone waits or anything lives it is not."""
        connections = self.busy(3)
        self.acquire()
        self.gone(*connections)
        self.assertEqual(self.jobs.emptied, 0)

    def test_wind_down(self) -> None:
        """Jobs are served on, and what they used is not kept."""
        first, second, third = self.busy(3)
        self.pool.idle(first)
        waiting = self.acquire(fresh=True)
        self.pool.wind_down()
        self.assertEqual(first.did, ["quit"])
        self.gone(first)
        self.jobs.openings[-1].succeed()
        self.successResultOf(waiting)
        self.pool.idle(second)
        self.assertEqual(second.did, ["quit"])
        served = self.acquire()
        self.pool.idle(third)
        self.assertIs(self.successResultOf(served), third)

    def test_end(self) -> None:
        """Idle ones say good-bye, waiters are told, busy ones finish, nothing new begins."""
        first, second, third = self.busy(3)
        waiting = self.acquire()
        self.pool.end()
        self.assertIn("shutting down", self.why(waiting).detail)
        self.why(self.acquire())
        self.assertIsNone(self.pool.take())
        self.pool.idle(first)
        self.assertEqual((first.did, second.did), (["quit"], []))
        self.assert_counts(busy=2, closing=1)
        self.gone(first, second, third)
        self.assertEqual(self.jobs.emptied, 1)

    def test_end_with_idle(self) -> None:
        """Idle ones go at once."""
        [connection] = self.busy()
        self.pool.idle(connection)
        self.pool.end()
        self.assertEqual(connection.did, ["quit"])

    def test_end_of_an_empty_pool(self) -> None:
        """It is empty already."""
        self.pool.end()
        self.assertEqual(self.jobs.emptied, 1)

    def test_end_while_connecting(self) -> None:
        """A connection that becomes ready too late is closed; its job hears why."""
        acquired = self.acquire()
        self.pool.end()
        connection = self.jobs.openings[0].succeed()
        self.assertEqual(connection.did, ["abort"])
        self.assertIn("shutting down", self.why(acquired).detail)
        self.assert_counts(closing=1)

    def test_end_while_connecting_to_a_full_server(self) -> None:
        """Its job does not wait for the others to be done, and nothing is opened for it."""
        [connection] = self.busy()
        acquired = self.acquire()
        self.pool.end()
        self.jobs.openings[-1].fail(full=True)
        self.assertTrue(self.why(acquired).full)
        self.pool.closing(connection)
        self.gone(connection)
        self.assert_counts()
        self.assertEqual(len(self.jobs.openings), 2)

    def test_abort(self) -> None:
        """Everything closes at once, and every job hears of it."""
        first, second = self.busy(2)
        self.pool.closing(second)
        connecting = self.acquire()
        waiting = self.acquire()
        self.pool.abort()
        for job in (connecting, waiting):
            self.assertIn("shutting down", self.why(job).detail)
        self.assertTrue(self.jobs.openings[-1].cancelled)
        self.assertEqual((first.did, second.did), (["abort"], ["abort"]))
        self.gone(first, second)
        self.assert_counts()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class TurnTests(PoolCase):
    """Jobs that end within their turn, as one does whose message is too large for the backend."""

    def ends_at_once(self, served: list[int], number: int) -> None:
        """One that gives its connection back as soon as it has it."""

        def give_back(connection: FakeConnection) -> None:
            served.append(number)
            self.pool.idle(connection)

        self.acquire().addCallback(give_back)

    def test_many(self) -> None:
        """More of them than the stack is deep are served, in order, and nothing is left over."""
        connections = self.busy(3)
        served: list[int] = []
        for number in range(2000):
            self.ends_at_once(served, number)
        self.pool.idle(connections[0])
        self.assertEqual(served, list(range(2000)))
        self.assert_counts(busy=2, idle=1)

    def test_many_hopeful(self) -> None:
        """So it is where their own connections still open."""
        self.pool.adjust(evolve(BOUNDS, max_connections=500, max_connecting=400))
        [connection] = self.busy()
        served: list[int] = []
        for number in range(400):
            self.ends_at_once(served, number)
        self.pool.idle(connection)
        self.assertEqual(served, list(range(400)))
        self.assert_counts(connecting=400, idle=1)

    def test_ends_itself(self) -> None:
        """One that is lost after it was given back is given to nobody."""
        connections = self.busy(3)
        lost: list[FakeConnection] = []

        def lose(connection: FakeConnection) -> None:
            self.pool.idle(connection)
            self.pool.gone(connection)
            lost.append(connection)

        self.acquire().addCallback(lose)
        waiting = self.acquire()
        self.pool.idle(connections[0])
        self.assertEqual(lost, connections[:1])
        self.assertNoResult(waiting)
        self.assert_counts(busy=2, connecting=1)


class PoolMachine(RuleBasedStateMachine):
    """Any interleaving of what jobs, connections and time can do."""

    @initialize(bound=st.integers(1, 4), at_once=st.integers(1, 3))
    def begin(self, bound: int, at_once: int) -> None:
        """An empty pool."""
        self.bound = self.most = bound
        self.at_once = at_once
        self.jobs = Jobs(self.bounds())
        self.pool = self.jobs.pool
        self.results: list[list[Any]] = []
        self.pending: dict[int, Deferred[Any]] = {}
        self.any_waiting: list[int] = []
        self.held: list[FakeConnection] = []
        self.living: list[FakeConnection] = []
        self.full_until = -1.0

    def bounds(self) -> PoolBounds:
        """Those that hold now."""
        return PoolBounds(self.bound, idle=30.0, max_age=240.0, max_connecting=self.at_once)

    # -- jobs

    @rule(fresh=st.booleans(), deadline=st.sampled_from([5.0, 50.0, FOREVER]))
    def acquire(self, fresh: bool, deadline: float) -> None:
        """A job comes."""
        number = len(self.results)
        self.results.append([])
        job: Job = make_job(deadline=self.jobs.clock.seconds() + deadline)
        acquired = self.pool.acquire(job, fresh)
        self.pending[number] = acquired
        acquired.addBoth(self._done, number, fresh)

    def _done(self, result: Any, number: int, fresh: bool) -> None:
        self.results[number].append(result)
        assert len(self.results[number]) == 1
        if isinstance(result, FakeConnection):
            assert result not in self.held
            if result not in self.living:
                self.living.append(result)
            else:
                assert not fresh
            self.held.append(result)

    @precondition(lambda self: self.pending)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """A job goes away, wherever it stands."""
        number = data.draw(st.sampled_from(sorted(self.pending)))
        self.pending[number].cancel()

    # -- connections

    @property
    def openings(self) -> list[Opening]:
        """Attempts that have not ended."""
        return [opening for opening in self.jobs.openings if not opening.result.called]

    @precondition(lambda self: self.openings)
    @rule(data=st.data(), how=st.sampled_from(["ready", "ready", "failed", "full"]))
    def opened(self, data: st.DataObject, how: str) -> None:
        """An attempt ends."""
        opening = data.draw(st.sampled_from(self.openings))
        if how == "ready":
            connection = opening.succeed()
            if connection not in self.living:
                assert connection.spare
                self.living.append(connection)
            return
        if how == "full":
            self.full_until = self.jobs.clock.seconds() + FULL_FOR
        opening.fail(full=how == "full")

    @precondition(lambda self: self.held)
    @rule(data=st.data(), worn=st.booleans())
    def finish(self, data: st.DataObject, worn: bool) -> None:
        """A transaction ends cleanly."""
        connection = data.draw(st.sampled_from(self.held))
        self.held.remove(connection)
        connection.worn = worn
        self.pool.idle(connection)

    @precondition(lambda self: self.living)
    @rule(data=st.data(), told=st.booleans())
    def end(self, data: st.DataObject, told: bool) -> None:
        """A connection ends, at any time; perhaps it said before that it would."""
        connection = data.draw(st.sampled_from(self.living))
        if connection in self.held:
            self.held.remove(connection)
        if told:
            self.pool.closing(connection)
            return
        self.living.remove(connection)
        self.pool.gone(connection)

    @rule(seconds=st.sampled_from([0.0, 1.0, 10.0, 31.0, 61.0, 250.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.jobs.clock.advance(seconds)

    @rule(bound=st.integers(1, 4))
    def adjust(self, bound: int) -> None:
        """There are new settings."""
        self.bound = bound
        self.most = max(bound, self.most)
        self.pool.adjust(self.bounds())

    @rule()
    def renew(self) -> None:
        """Nothing that lives now is to be used again."""
        before = set(self.living)
        self.pool.renew()
        assert not self.pool._idle
        assert before & set(self.held) <= self.pool._outdated

    @rule()
    def wind_down(self) -> None:
        """The backend is no longer among the routes, until the next ``adjust``."""
        self.pool.wind_down()
        assert not self.pool._idle

    # -- what must hold

    @invariant()
    def bounded(self) -> None:
        """Not more connections than allowed, and above a bound that has fallen never more."""
        counts = self.pool.counts()
        size = sum(counts.values()) - counts["waiting"]
        assert size <= self.most
        self.most = max(self.bound, size)
        assert counts["connecting"] <= self.at_once

    @invariant()
    def what_is_outdated_lives(self) -> None:
        """The pool remembers nothing of connections that are gone."""
        assert self.pool._outdated <= set(self.living) | self.pool._connecting

    @invariant()
    def one_state_each(self) -> None:
        """Each connection is in one state; held by a job exactly if busy."""
        states = [*self.pool._busy, *self.pool._idle, *self.pool._closing]
        assert len(states) == len(set(states))
        assert set(states) == set(self.living)
        assert self.pool._busy == set(self.held)
        assert len(self.pool._connecting) == len(self.openings)

    @invariant()
    def waiters_only_while_full(self) -> None:
        """Nobody waits while there is room, but for a minute after the server was full.

        Or while so many connect that one more may not.
        """
        counts = self.pool.counts()
        waiting = counts.pop("waiting")
        if waiting and self.jobs.clock.seconds() >= self.full_until:
            assert sum(counts.values()) >= self.bound or counts["connecting"] == self.at_once
        if counts["idle"]:
            assert all(waiter.fresh for waiter in self.pool._waiting)
        if waiting:
            assert sum(counts.values())

    @invariant()
    def in_order(self) -> None:
        """The queue stands in the order in which the jobs came."""
        numbers = [waiter.number for waiter in self.pool._waiting]
        assert numbers == sorted(numbers)

    @invariant()
    def nobody_is_forgotten(self) -> None:
        """A job has its one result, or it is waiting or connecting."""
        for number in [n for n in self.pending if self.results[n]]:
            del self.pending[number]
        still = [waiter for waiter in self.pool._connecting if not waiter.served]
        assert len(self.pending) == len(self.pool._waiting) + len(still)
        # Who would take any connection has one as soon as there is one.
        assert set(self.pool._hopeful) == {waiter for waiter in still if not waiter.fresh}
        assert not (self.pool._hopeful and self.pool._idle)

    @invariant()
    def nothing_left_when_empty(self) -> None:
        """An empty pool has no timer."""
        if not any(self.pool.counts().values()):
            assert self.jobs.clock.getDelayedCalls() == []

    def teardown(self) -> None:
        """At the end all close, every job has heard, and nothing is left."""
        if not hasattr(self, "pool"):
            return
        self.pool.abort()
        for connection in list(self.living):
            self.pool.gone(connection)
        assert not any(self.pool.counts().values())
        assert all(len(result) == 1 for result in self.results)
        assert self.jobs.clock.getDelayedCalls() == []
        assert self.jobs.emptied


class NewSettingsTests(PoolCase):
    """Bounds that change, and connections that are not to be used again."""

    def test_more(self) -> None:
        """A higher bound opens connections for those who wait."""
        self.busy(3)
        for _ in range(3):
            self.acquire()
        self.pool.adjust(PoolBounds(max_connections=5))
        self.assert_counts(busy=3, connecting=2, waiting=1)

    def test_fewer(self) -> None:
        """Above a lower bound idle ones go at once, and busy ones with their transaction."""
        first, second, third = self.busy(3)
        self.pool.idle(first)
        self.pool.adjust(PoolBounds(max_connections=1))
        self.assertEqual(first.did, ["quit"])
        self.assert_counts(busy=2, closing=1)
        self.pool.idle(second)
        self.pool.idle(third)
        self.assertEqual(sorted(second.did + third.did), ["quit"])
        self.assert_counts(idle=1, closing=2)

    def test_fewer_while_connecting(self) -> None:
        """A connection that opens beyond the bound carries its message and goes."""
        jobs = [self.acquire(), self.acquire()]
        self.pool.adjust(PoolBounds(max_connections=1))
        for opening, job in zip(self.jobs.openings, jobs, strict=True):
            opening.succeed()
            self.pool.idle(self.successResultOf(job))
        self.assert_counts(idle=1, closing=1)

    def test_shorter_idle_time(self) -> None:
        """It holds for those that lie idle already; a longer one does not."""
        [connection] = self.busy()
        self.pool.idle(connection)
        self.clock.advance(5)
        self.pool.adjust(PoolBounds(max_connections=3, idle=100.0))
        self.pool.adjust(PoolBounds(max_connections=3, idle=10.0))
        self.clock.advance(9.9)
        self.assertEqual(connection.did, [])
        self.clock.advance(0.1)
        self.assertEqual(connection.did, ["quit"])

    def test_a_full_server_stays_full(self) -> None:
        """What the server has said about itself outlives new settings."""
        self.busy(1)
        waiting = self.acquire()
        self.jobs.openings[-1].fail(full=True)
        self.pool.adjust(PoolBounds(max_connections=2))
        self.assert_counts(busy=1, waiting=1)
        self.clock.advance(FULL_FOR)
        self.why(waiting)
        self.acquire()
        self.acquire()
        self.assert_counts(busy=1, connecting=1, waiting=1)

    def test_back_among_the_routes(self) -> None:
        """A pool that was winding down keeps connections idle again."""
        [connection] = self.busy()
        self.pool.wind_down()
        self.pool.adjust(BOUNDS)
        self.pool.idle(connection)
        self.assert_counts(idle=1)

    def test_renewed(self) -> None:
        """Idle ones go, busy and opening ones after their message, later ones stay."""
        idle, busy = self.busy(2)
        self.pool.idle(idle)
        opening = self.acquire(fresh=True)
        self.pool.renew()
        self.assertEqual(idle.did, ["quit"])
        self.gone(idle)
        self.pool.idle(busy)
        late = self.jobs.openings[-1].succeed()
        self.assertIs(self.successResultOf(opening), late)
        self.pool.idle(late)
        self.assertEqual([busy.did, late.did], [["quit"], ["quit"]])
        self.gone(busy, late)
        [new] = self.busy()
        self.pool.idle(new)
        self.assert_counts(idle=1)

    def test_renewed_and_failed(self) -> None:
        """An attempt that fails leaves nothing behind."""
        acquired = self.acquire()
        self.pool.renew()
        self.jobs.openings[-1].fail()
        self.why(acquired)
        self.assertEqual(self.pool._outdated, set())


class AnyInterleavingTests(SynchronousTestCase):
    """What holds whatever happens in whatever order."""

    def test_any_interleaving(self) -> None:
        """The bounds hold, each job is answered once, nothing leaks."""
        run_machine(PoolMachine, examples=120, steps=40)
