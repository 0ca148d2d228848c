"""The slots of the whole gateway: the parent's book and the workers' shares, on a fake channel.

The pools are real, their connections fake. Each direction of each channel is a queue from which a
test takes one message at a time, so that any two may cross.
"""

import pickle
from collections import deque
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.client.errors import PoolExhausted
from smtpforward.client.pool import SPARED_FOR, Pool
from smtpforward.job import PoolBounds, Timeouts
from smtpforward.workers.leases import Leases, Share
from smtpforward.workers.messages import Give, Message, Want
from smtpforward.workers.shares import TURN, Shares, lot
from tests.clientsupport import SERVER, FakeConnection, Opening, make_job, run_machine

FOREVER = 1e9
PATIENT = Timeouts(connect=FOREVER)


class FakeWorker:
    """One worker: a pool on its share of the slots, and what it has said that is still on its way.

    :ivar up: to the parent. ``down``: from it.
    """

    def __init__(self, bound: int, nodes: int) -> None:
        self.clock = Clock()
        self.up: deque[Message] = deque()
        self.down: deque[Message] = deque()
        self.said = 0
        self.openings: list[Opening] = []
        self.pending: list[Deferred[Any]] = []
        self.held: list[FakeConnection] = []
        self.closing: list[FakeConnection] = []
        self.leases = Leases(nodes, self.say)
        self.bounds = PoolBounds(max_connections=bound)
        self.pools: list[Pool[FakeConnection]] = []

    def say(self, message: Message) -> None:
        self.said += 1
        self.up.append(pickle.loads(pickle.dumps(message)))

    @property
    def pool(self) -> Pool[FakeConnection]:
        """The pool, as the target keeps it: made when there is none, forgotten when it is empty."""
        if not self.pools:
            share = self.leases.share(SERVER, self.bounds.max_connections)
            forget = self.pools.clear
            pool = Pool("b:25", self._connect, self.bounds, self.clock, forget, share)
            self.pools.append(pool)
        return self.pools[0]

    @property
    def share(self) -> Share | None:
        return self.leases._shares.get(SERVER)

    def _connect(self, request: Any) -> "Deferred[FakeConnection]":
        opening = Opening(request, f"c{len(self.openings)}", self.clock)
        self.openings.append(opening)
        return opening.result

    def job(self) -> "Deferred[FakeConnection]":
        """A message wants a connection."""
        acquired = self.pool.acquire(make_job(deadline=FOREVER, timeouts=PATIENT))
        self.pending.append(acquired)
        acquired.addCallbacks(self._served, lambda failure: failure.trap(PoolExhausted))
        acquired.addErrback(lambda failure: None)
        acquired.addBoth(lambda _: self.pending.remove(acquired))
        return acquired

    def _served(self, connection: FakeConnection) -> None:
        self.held.append(connection)

    @property
    def unopened(self) -> list[Opening]:
        return [opening for opening in self.openings if not opening.result.called]

    def finish(self, connection: FakeConnection) -> None:
        """A transaction has ended."""
        self.held.remove(connection)
        connection.owner.idle(connection)

    def quitting(self) -> list[tuple[Pool[FakeConnection], FakeConnection]]:
        """The connections that have said QUIT."""
        return [(pool, c) for pool in self.pools for c in pool._closing]

    @property
    def size(self) -> int:
        counts = [pool.counts() for pool in self.pools]
        return sum(sum(one.values()) - one["waiting"] for one in counts)

    @property
    def waiting(self) -> int:
        return sum(pool.counts()["waiting"] for pool in self.pools)


class FakeGateway:
    """A parent's book, and its workers."""

    def __init__(self, nodes: int, bound: int) -> None:
        self.clock = Clock()
        self.nodes = nodes
        self.bound = bound
        self.workers = {number: self._new() for number in range(1, nodes + 1)}
        self.book = Shares(nodes, self._say, self.clock)

    def _new(self) -> FakeWorker:
        return FakeWorker(self.bound, self.nodes)

    def _say(self, number: int, message: Message) -> None:
        self.workers[number].down.append(pickle.loads(pickle.dumps(message)))

    def up(self, number: int) -> None:
        """The parent hears one message."""
        message = self.workers[number].up.popleft()
        assert isinstance(message, Want | Give)
        self.book.received(number, message)

    def down(self, number: int) -> None:
        """A worker hears one."""
        worker = self.workers[number]
        worker.leases.received(worker.down.popleft())  # type: ignore[arg-type]

    def deliver(self) -> None:
        """All messages arrive, and their answers."""
        while any(worker.up or worker.down for worker in self.workers.values()):
            for number, worker in self.workers.items():
                while worker.up:
                    self.up(number)
                while worker.down:
                    self.down(number)

    def die(self, number: int) -> None:
        """A worker is killed; its successor takes its place."""
        self.workers[number] = self._new()
        self.book.gone(number)

    def work(self) -> None:
        """Everything that goes on comes to its end, but nothing new begins."""
        self.deliver()
        for worker in self.workers.values():
            for opening in worker.unopened:
                opening.succeed()
            for connection in list(worker.held):
                worker.finish(connection)
            for pool, connection in worker.quitting():
                pool.gone(connection)
        self.deliver()

    def wait(self, seconds: float) -> None:
        """Time passes for all."""
        for clock in (self.clock, *(worker.clock for worker in self.workers.values())):
            clock.advance(seconds)

    def timers(self) -> list[Any]:
        """What is left in any clock."""
        calls = self.clock.getDelayedCalls()
        return calls + [c for w in self.workers.values() for c in w.clock.getDelayedCalls()]

    @property
    def size(self) -> int:
        return sum(worker.size for worker in self.workers.values())

    @property
    def waiting(self) -> int:
        return sum(worker.waiting for worker in self.workers.values())


class SharesCase(SynchronousTestCase):
    """A gateway of two workers."""

    def gateway(self, bound: int, nodes: int = 2) -> FakeGateway:
        """All at rest."""
        return FakeGateway(nodes, bound)


class PlentyTests(SharesCase):
    """As long as there is enough for all."""

    def test_nothing_said_for_each_message(self) -> None:
        """A worker asks once, gets some more at once, and then says nothing."""
        gateway = self.gateway(bound=80)
        worker = gateway.workers[1]
        worker.job()
        self.assertEqual(list(worker.up), [Want(SERVER, 80, 1)])
        gateway.work()
        said = worker.said
        for _ in range(100):
            for _ in range(lot(80, 2)):
                worker.job()
            gateway.work()
            while worker.unopened:
                gateway.work()  # what began when others had ended
        self.assertEqual(worker.said, said)
        self.assertEqual(worker.size, lot(80, 2))

    def test_a_lot(self) -> None:
        """What comes along is a small part, and the bound still holds."""
        gateway = self.gateway(bound=80)
        gateway.workers[1].job()
        gateway.deliver()
        self.assertEqual(gateway.book.held(SERVER), {1: lot(80, 2)})

    def test_no_lots_of_few(self) -> None:
        """Where there are few slots each is asked for."""
        gateway = self.gateway(bound=7)
        gateway.workers[1].job()
        gateway.deliver()
        self.assertEqual(gateway.book.held(SERVER), {1: 1})

    def test_returned(self) -> None:
        """A worker without connections holds nothing, and the book forgets the backend."""
        gateway = self.gateway(bound=80)
        gateway.workers[1].job()
        gateway.work()
        gateway.wait(1000)
        gateway.work()
        self.assertEqual(gateway.workers[1].size, 0)
        self.assertEqual(gateway.book.held(SERVER), {})
        self.assertEqual(gateway.timers(), [])

    def test_all_to_one(self) -> None:
        """One worker may use all of it while the others want none."""
        gateway = self.gateway(bound=20)
        for _ in range(20):
            gateway.workers[1].job()
        gateway.deliver()
        for opening in gateway.workers[1].openings:
            opening.succeed()  # which has the next ones begin
        self.assertEqual(gateway.workers[1].size, 20)
        self.assertEqual(gateway.waiting, 0)


class ScarceTests(SharesCase):
    """When there is not enough for all."""

    def test_idle_elsewhere(self) -> None:
        """A slot in which a connection lies idle goes to a worker that has a job."""
        gateway = self.gateway(bound=1)
        gateway.workers[1].job()
        gateway.work()
        self.assertEqual(gateway.workers[1].pool.counts()["idle"], 1)
        gateway.wait(2 * SPARED_FOR)
        gateway.workers[2].job()
        gateway.work()
        gateway.work()
        self.assertEqual([gateway.workers[n].size for n in (1, 2)], [0, 1])
        self.assertEqual(gateway.waiting, 0)

    def test_nothing_idle_while_others_wait(self) -> None:
        """A connection whose job is done is not kept while another worker wants its slot."""
        gateway = self.gateway(bound=1)
        gateway.workers[1].job()
        gateway.deliver()
        gateway.workers[1].unopened[0].succeed()
        gateway.workers[2].job()
        gateway.deliver()
        [connection] = gateway.workers[1].held
        gateway.workers[1].finish(connection)
        gateway.wait(SPARED_FOR)
        self.assertEqual(connection.did, ["quit"])

    def test_turns(self) -> None:
        """One slot, three workers that never rest: each gets it in turn."""
        gateway = self.gateway(bound=1, nodes=3)
        served = {1: 0, 2: 0, 3: 0}
        for _ in range(60):
            for number, worker in gateway.workers.items():
                while worker.waiting < 2:
                    worker.job().addCallback(lambda _, n=number: served.update({n: served[n] + 1}))
            gateway.work()
            self.assertLessEqual(gateway.size, 1)
            gateway.wait(TURN / 4)
        self.assertGreater(min(served.values()), 10, served)

    def test_evened_out(self) -> None:
        """A worker that took all hands over half of it, though it could use it."""
        gateway = self.gateway(bound=8)
        for _ in range(20):
            gateway.workers[1].job()
        gateway.work()
        for _ in range(4):
            for worker in gateway.workers.values():
                for _ in range(20 - worker.waiting):
                    worker.job()
            gateway.work()
            gateway.wait(TURN)
        self.assertEqual(gateway.book.held(SERVER), {1: 4, 2: 4})

    def test_no_churn_when_even(self) -> None:
        """Once it is even nobody gives up a connection, however many wait."""
        gateway = self.gateway(bound=2)
        for worker in gateway.workers.values():
            for _ in range(30):
                worker.job()
        for _ in range(10):
            gateway.work()
            gateway.wait(TURN)
        self.assertEqual(gateway.size, 2)
        # The first worker had both slots for a moment, and has handed over one.
        self.assertEqual([len(worker.openings) for worker in gateway.workers.values()], [2, 1])

    def test_served_otherwise(self) -> None:
        """A job that got a connection of its own worker asks for nothing any more."""
        gateway = self.gateway(bound=2)
        for worker in gateway.workers.values():
            worker.job()
        gateway.deliver()
        for worker in gateway.workers.values():
            worker.unopened[0].succeed()
        first, second = gateway.workers.values()
        first.job()
        gateway.deliver()
        first.finish(first.held[0])
        gateway.deliver()
        second.finish(second.held[0])
        gateway.wait(2 * SPARED_FOR)
        self.assertEqual([first.pool.counts()["busy"], second.pool.counts()["idle"]], [1, 1])

    def test_given_up(self) -> None:
        """A job that has gone asks for nothing any more."""
        gateway = self.gateway(bound=1)
        gateway.workers[1].job()
        gateway.deliver()
        gateway.workers[1].unopened[0].succeed()
        gateway.workers[2].job().cancel()
        gateway.deliver()
        gateway.wait(TURN)
        gateway.work()
        self.assertEqual(gateway.workers[1].pool.counts()["idle"], 1)

    def test_a_smaller_bound(self) -> None:
        """When the bound becomes smaller, slots come back until it holds."""
        gateway = self.gateway(bound=8)
        for _ in range(40):
            gateway.workers[1].job()
        gateway.deliver()
        gateway.workers[1].pool._bounds = PoolBounds(max_connections=3)
        gateway.workers[1].pool._tell()
        gateway.work()
        self.assertEqual(gateway.size, 3)
        self.assertEqual(gateway.book.held(SERVER), {1: 3})

    def test_death(self) -> None:
        """What a dead worker held goes to who waits."""
        gateway = self.gateway(bound=1)
        gateway.workers[1].job()
        gateway.work()
        gateway.workers[2].job()
        gateway.die(1)
        gateway.deliver()
        self.assertEqual(gateway.workers[2].size, 1)

    def test_stop(self) -> None:
        """Nothing is left in the clock."""
        gateway = self.gateway(bound=1)
        for worker in gateway.workers.values():
            worker.job()
        gateway.deliver()
        for worker in gateway.workers.values():
            worker.pool.abort()
        gateway.book.stop()
        self.assertEqual(gateway.timers(), [])


class CrossingTests(SharesCase):
    """Messages that are on their way at the same time."""

    def test_grant_to_a_forgotten_pool(self) -> None:
        """A slot for a job that has gone meanwhile goes back."""
        gateway = self.gateway(bound=2)
        job = gateway.workers[1].job()
        gateway.up(1)
        job.cancel()
        gateway.deliver()
        self.assertEqual(gateway.book.held(SERVER), {})

    def test_cap_and_gift(self) -> None:
        """A cap that crosses with a slot given back counts it."""
        gateway = self.gateway(bound=2)
        for _ in range(2):
            gateway.workers[1].job()
        gateway.deliver()
        for opening in gateway.workers[1].unopened:
            opening.succeed()
        gateway.workers[2].job()
        gateway.up(2)
        gateway.wait(TURN)
        connection = gateway.workers[1].held[0]
        connection.worn = True
        gateway.workers[1].finish(connection)
        gateway.workers[1].pool.gone(connection)
        gateway.deliver()
        self.assertEqual(gateway.book.held(SERVER), {1: 1, 2: 1})
        self.assertEqual([gateway.workers[n].size for n in (1, 2)], [1, 1])


class SharesMachine(RuleBasedStateMachine):
    """Jobs, connections, messages and deaths in any order."""

    gateway: FakeGateway

    @initialize(nodes=st.integers(1, 4), bound=st.integers(1, 20))
    def begin(self, nodes: int, bound: int) -> None:
        """So many workers, so many slots."""
        self.gateway = FakeGateway(nodes, bound)

    def some(self, data: st.DataObject, found: list[Any]) -> Any:
        return data.draw(st.sampled_from(found))

    @rule(data=st.data(), count=st.integers(1, 6))
    def jobs(self, data: st.DataObject, count: int) -> None:
        """Messages come."""
        worker = self.some(data, list(self.gateway.workers.values()))
        for _ in range(count):
            worker.job()

    def all_of(self, name: str) -> list[tuple[FakeWorker, Any]]:
        """What the workers have of something."""
        return [(w, one) for w in self.gateway.workers.values() for one in getattr(w, name)]

    @precondition(lambda self: self.all_of("pending"))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """A job goes away."""
        self.some(data, self.all_of("pending"))[1].cancel()

    @precondition(lambda self: self.all_of("unopened"))
    @rule(data=st.data(), how=st.sampled_from(["ready", "ready", "failed", "full"]))
    def opened(self, data: st.DataObject, how: str) -> None:
        """An attempt ends."""
        opening = self.some(data, self.all_of("unopened"))[1]
        if how == "ready":
            opening.succeed()
        else:
            opening.fail(full=how == "full")

    @precondition(lambda self: self.all_of("held"))
    @rule(data=st.data(), worn=st.booleans())
    def finish(self, data: st.DataObject, worn: bool) -> None:
        """A transaction ends."""
        worker, connection = self.some(data, self.all_of("held"))
        connection.worn = worn
        worker.finish(connection)

    @rule(data=st.data())
    def gone(self, data: st.DataObject) -> None:
        """A connection that said QUIT is closed."""
        found = [pair for worker in self.gateway.workers.values() for pair in worker.quitting()]
        if found:
            pool, connection = self.some(data, found)
            pool.gone(connection)

    @rule(data=st.data(), count=st.integers(1, 5))
    def messages(self, data: st.DataObject, count: int) -> None:
        """Some arrive, in the order of their direction."""
        for _ in range(count):
            ways: list[tuple[Any, int]] = []
            for number, worker in self.gateway.workers.items():
                ways += [(self.gateway.up, number)] * bool(worker.up)
                ways += [(self.gateway.down, number)] * bool(worker.down)
            if ways:
                way, number = self.some(data, ways)
                way(number)

    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        """A worker is killed."""
        self.gateway.die(self.some(data, list(self.gateway.workers)))

    @rule(seconds=st.sampled_from([0.5, TURN, 5 * TURN, 31.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.gateway.wait(seconds)

    # -- what must hold

    @invariant()
    def bounded(self) -> None:
        """The connections of all workers together."""
        if hasattr(self, "gateway"):
            assert self.gateway.size <= self.gateway.bound

    @invariant()
    def booked(self) -> None:
        """Nobody has more than the book says, nor more connections than slots."""
        for number, worker in self.gateway.workers.items() if hasattr(self, "gateway") else ():
            held = worker.share.held if worker.share else 0
            assert worker.size <= held <= self.gateway.book.held(SERVER).get(number, 0)
            assert all(pool._limit.now <= held for pool in worker.pools)

    @invariant()
    def nobody_waits_for_a_free_slot(self) -> None:
        """In the book, a slot is free or somebody waits, but not both."""
        if hasattr(self, "gateway"):
            account = self.gateway.book._accounts.get(SERVER)
            assert account is None or account.free == 0 or not account.waiting()

    def teardown(self) -> None:
        """Whoever still waits is served, when all that goes on ends; then nothing is left."""
        if not hasattr(self, "gateway"):
            return
        gateway = self.gateway
        self.lift_ceilings()
        for _ in range(2 * gateway.waiting + 8 * gateway.nodes):
            gateway.work()
            gateway.wait(TURN)
        gateway.work()
        assert gateway.waiting == 0, gateway.workers
        for _ in range(2):
            gateway.wait(1000)
            gateway.work()
        assert gateway.book.held(SERVER) == {}
        assert gateway.timers() == []

    def lift_ceilings(self) -> None:
        """No server is full any more: a job that waits for that is not served before."""
        for worker in self.gateway.workers.values():
            for pool in worker.pools:
                pool._limit.lift()


class AnyInterleavingTests(SynchronousTestCase):
    """What holds whatever happens in whatever order."""

    def test_any_interleaving(self) -> None:
        """The bound holds over all workers, and nobody waits for ever."""
        run_machine(SharesMachine, examples=150, steps=50)
