"""Three gateways share one queue in PostgreSQL: one is killed, and the database is, under load.

No 250 is lost, and what comes twice was in flight. 300 messages, 10000 with ``SMTPFORWARD_FULL=1``
(``make queue-shared``), which prints what became of them.
"""

import signal
import time
from collections.abc import Callable, Set

from tests.integration.queuing import (
    CONCURRENCY,
    LEASE,
    QueueCase,
    account,
    faults,
    repeated_from,
    repeats,
    source,
)
from tests.peers.case import full_size
from tests.peers.ports import free_port
from tests.peers.queueload import QueueLoad
from tests.peers.script import Held
from tests.peers.takers import Takers
from tests.peers.wait import until

MESSAGES = 10_000 if full_size() else 300
LARGE = 120_000
REFUSED = 16  # senders that are told to come later, before the database comes back
# What a call may take that does not go on: PATIENCE of the store.
BOUNDED = 16.0
DEADLINE = 500.0 if full_size() else 60.0
KILLED = 1
CUTS = 60 if full_size() else 12
CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'queue'"
QUIT_TIME = 10.0  # of the service


class SharedCase(QueueCase):
    """A load that is counted by its 250s."""

    async def until_queued(self, load: QueueLoad, number: int) -> None:
        """Return when so many have been answered 250."""
        await until(lambda: len(load.taken()) >= number, lambda: f"{load.codes()}", DEADLINE)

    async def until_all(self, seen: Callable[[], Set[object]], parts: Set[object]) -> None:
        """Return when each of the parts has been seen."""
        await until(lambda: seen() >= parts, lambda: f"{seen()} of {parts}", DEADLINE)


class QueueSharedTests(SharedCase):
    """Three processes, one of which dies, and a database that does and comes back."""

    timeout = 900 if full_size() else 180

    async def test_three(self) -> None:
        """Each 250 is delivered, once but for what was in flight."""
        server = await self.postgresql()
        address, ports = server.address, [free_port() for _ in range(3)]
        takers, load = self.takers(LARGE), self.queue_load(*ports, large=LARGE)
        gateways = [
            await self.queueing(port, address, takers, life) for life, port in enumerate(ports)
        ]
        sources = {source(life) for life in range(3)}
        began = time.monotonic()
        load.resume()
        await self.until_queued(load, MESSAGES // 4)
        await self.until_all(lambda: {taken.source for taken in takers.taken}, sources)
        load.pause(ports[KILLED])
        gateways[KILLED].kill()
        killed = time.monotonic()
        await self.until_queued(load, MESSAGES // 2)
        await server.crash()
        crashed = time.monotonic()
        await until(lambda: load.codes()[451] >= REFUSED, lambda: f"{load.codes()}", DEADLINE)
        again = await server.again()
        self.stop_later(again.stop)
        back = time.monotonic()
        await self.until_queued(load, MESSAGES)
        # The one that asks the database a moment later may find all of these taken in.
        await self.until_all(lambda: load.served_since(back), {*ports} - {ports[KILLED]})
        await load.stop()
        living = [gateway for gateway in gateways if gateway is not gateways[KILLED]]
        await self.until_empty(address, DEADLINE, lambda: f"{[g.output() for g in living]}")
        took = time.monotonic() - began
        if full_size():
            print(f"\n{took:.0f} s, away for {back - crashed:.1f} s: {account(load, takers)}")
        self.judge(load, takers, killed, crashed, back)
        self.judge_refusals(load, crashed)
        for gateway in living:
            self.assertEqual(-signal.SIGTERM, await gateway.terminate())
            self.assertNotIn("Traceback", gateway.output())

    def judge(
        self, load: QueueLoad, takers: Takers, killed: float, crashed: float, back: float
    ) -> None:
        """Nothing is lost, and what came twice was in flight."""
        pairs = repeats(takers)
        again = repeated_from(pairs)
        if full_size():
            print(f"repeated transactions by gateway: {again}")
        self.assertEqual([], faults(load, takers))
        for earlier, later in pairs:
            self.assertNotEqual(earlier.source, later.source, "who lives knows what it has sent")
            if earlier.source == source(KILLED):
                self.assertGreater(later.at, killed, "while it lived its lease held")
            else:
                self.assertGreater(earlier.at, crashed - LEASE, (earlier, later))
                self.assertLess(earlier.at, back + LEASE, (earlier, later))
        self.assertLessEqual(max(again.values(), default=0), CONCURRENCY)

    def judge_refusals(self, load: QueueLoad, crashed: float) -> None:
        """While the database was away senders heard so, soon."""
        self.assertEqual({250, 451}, set(load.codes()))
        refused = [answered for answered in load.log.values() if answered.code == 451]
        self.assertEqual({"4.3.2"}, {answered.text.split()[0] for answered in refused})
        slowest = max(answered.at - answered.begun for answered in refused)
        if full_size():
            print(f"{len(refused)} told to come later, the slowest after {slowest:.1f} s")
        self.assertLess(slowest, BOUNDED)
        self.assertGreater(min(answered.at for answered in refused), crashed - 1)
        # Who was with the one that was killed has no answer.
        self.assertLessEqual(len(load.unanswered()), 8)


class QueueFrozenTests(SharedCase):
    """A gateway that stands still for longer than its leases, and goes on then."""

    timeout = 120

    async def test_sends_nothing(self) -> None:
        """What another has delivered meanwhile it does not send, nor record as failed."""
        server, ports = await self.postgresql(), [free_port(), free_port()]
        takers, load = self.takers(), self.queue_load(*ports)
        frozen, other = [
            await self.queueing(port, server.address, takers, life)
            for life, port in enumerate(ports)
        ]
        load.resume(ports[0])
        await self.until_queued(load, 50)
        held = takers.before_data = Held(b"")
        await until(lambda: held.waiting >= 5, lambda: f"{held.waiting}", 30)
        load.pause(ports[0])
        frozen.signal(signal.SIGSTOP)
        self.addCleanup(frozen.signal, signal.SIGCONT)
        stopped = time.monotonic()
        takers.before_data = b""
        held.release()
        await self.until_empty(server.address, 60, other.output)
        frozen.signal(signal.SIGCONT)
        load.resume()
        await self.until_queued(load, len(load.taken()) + 50)
        await load.stop()
        await self.until_empty(server.address, 60, frozen.output)
        self.assertEqual([], faults(load, takers), account(load, takers))
        for earlier, later in repeats(takers):
            # What had left it before, and was not recorded.
            self.assertEqual((source(0), source(1)), (earlier.source, later.source))
            self.assertLess(earlier.at, stopped + 1.0)
        self.assertIn("nothing was sent", frozen.output())


class QueueCutTests(SharedCase):
    """The database ends connections again and again, as an administrator may."""

    timeout = 120

    async def test_connections_cut(self) -> None:
        """What nobody knows to have been committed is recorded again, and nothing comes twice."""
        server, port = await self.postgresql(), free_port()
        takers, load = self.takers(), self.queue_load(port)
        gateway = await self.queueing(port, server.address, takers)
        load.resume()
        for _ in range(CUTS):
            await self.until_queued(load, len(load.taken()) + 10)
            server.sql(CUT, "postgres")
        await self.until_queued(load, len(load.taken()) + 50)
        await load.stop()
        await self.until_empty(server.address, 60, gateway.output)
        self.assertEqual([], faults(load, takers), account(load, takers))
        self.assertEqual([], repeats(takers))
        self.assertLessEqual(set(load.codes()), {250, 451})
        self.assertNotIn("Traceback", gateway.output())


class QueueAwayTests(SharedCase):
    """A gateway ends while its database says nothing."""

    timeout = 120

    async def test_terminated(self) -> None:
        """It does not wait for it; what was not recorded is another's when the leases end."""
        server, port = await self.postgresql(), free_port()
        takers, load = self.takers(), self.queue_load(port)
        files = self.queue_files(port, server.address, takers)
        files["smtp.ini"] += "force_shutdown_timeout=2\n"
        gateway = await self.started(port, files)
        load.resume()
        await self.until_queued(load, 50)
        load.pause()
        server.freeze()
        self.addCleanup(server.thaw)
        began = time.monotonic()
        gateway.signal(signal.SIGTERM)
        self.assertEqual(-signal.SIGTERM, await gateway.ended(60), gateway.output()[-4000:])
        # Its threads come back from the database when their patience ends.
        self.assertLess(time.monotonic() - began, 2 + QUIT_TIME + BOUNDED)
        server.thaw()
        await load.stop()
        last = await self.queueing(port, server.address, takers, 1)
        await self.until_empty(server.address, 60, last.output)
        self.assertEqual([], faults(load, takers), account(load, takers))
        again = repeats(takers)
        self.assertLessEqual(sum(repeated_from(again).values()), CONCURRENCY)
        for earlier, later in again:
            self.assertEqual((source(0), source(1)), (earlier.source, later.source))
