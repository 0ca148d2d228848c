"""A gateway that queues is killed again and again: no 250 is lost; what comes twice was in flight.

A few times on each store, a hundred with ``SMTPFORWARD_FULL=1`` (``make queue-kill``), which prints
what became of the messages. The moments are seeded.
"""

import os
import random
import re
import signal
import time
from collections.abc import Callable

from tests.integration.queuing import (
    CONCURRENCY,
    QueueCase,
    account,
    faults,
    life_of,
    repeated_from,
    repeats,
    source,
    store_of,
)
from tests.peers.case import full_size
from tests.peers.gateway import Gateway
from tests.peers.mailings import Mailing
from tests.peers.ports import free_port
from tests.peers.queueload import QueueLoad
from tests.peers.takers import Takers
from tests.peers.wait import until

KILLS = 100 if full_size() else 6
MOST = 150 if full_size() else 60  # messages, or transactions, that a life lasts
BOTH, ACCEPTING, DELIVERING, STARTING = "both", "accepting", "delivering", "starting"
WORKER_KILLS = 8 if full_size() else 4  # the parent waits longer each time
STARTED = re.compile(r"worker (\d): process (\d+)")
DEADLINE = 30.0
DRAINED = 120.0


class QueueKillTests(QueueCase):
    """SIGKILL, at random moments."""

    timeout = 900 if full_size() else 180

    async def until_killed(self, store: str) -> None:
        """Kill ``KILLS`` gateways on ``store``, let the next one finish, and compare."""
        port, moments = free_port(), random.Random(7)
        takers, load = self.takers(), self.queue_load(port)
        # Each way to be busy at least once, in whatever order.
        ways = [ACCEPTING, DELIVERING, BOTH, STARTING]
        ways += moments.choices(ways, (2, 3, 4, 1), k=KILLS - len(ways))
        for life, way in enumerate(ways):
            gateway = await self.queueing(
                port, store, takers, life, disabled=str(way == ACCEPTING).lower()
            )
            if way != DELIVERING:
                load.resume()
            await until(self.moment(way, moments.randint(1, MOST), load, takers), way, DEADLINE)
            load.pause()
            gateway.kill()
        last = await self.queueing(port, store, takers, KILLS)
        load.resume()
        await until(self.moment(BOTH, MOST, load, takers), "the last life", DEADLINE)
        await load.stop()
        await self.until_empty(store, DRAINED, last.output)
        self.assertEqual(-signal.SIGTERM, await last.terminate())
        self.judge(load, takers)

    def moment(self, way: str, number: int, load: QueueLoad, takers: Takers) -> Callable[[], bool]:
        """Whether it is time to kill: ``number`` messages, or transactions, from now on."""
        if way == STARTING:
            return lambda: True
        if way == ACCEPTING:
            accepted = len(load.taken()) + number
            return lambda: len(load.taken()) >= accepted
        # While nothing comes in, there may be fewer.
        number = min(number, self.waiting(load, takers)) if way == DELIVERING else number
        done = len(takers.taken) + number
        return lambda: len(takers.taken) >= done

    def waiting(self, load: QueueLoad, takers: Takers) -> int:
        """How many messages are certain to be in the queue."""
        concluded = takers.delivered().keys() | takers.bounced().keys()
        return sum(not concluded.issuperset(Mailing(n).recipients) for n in load.taken())

    def judge(self, load: QueueLoad, takers: Takers) -> None:
        """Compare what the senders were told with what the backends were given."""
        pairs = repeats(takers)
        again = repeated_from(pairs)
        if full_size():
            print(f"\n{KILLS} kills: {account(load, takers)}; by life: {sorted(again.values())}")
        self.assertEqual([], faults(load, takers))
        # Before the store is open senders are told to come later; nothing else is in the way.
        self.assertLessEqual(set(load.codes()), {250, 451})
        for earlier, later in pairs:
            # What was done and recorded by one that lives is never done again.
            self.assertLess(life_of(earlier), life_of(later), (earlier, later))
        self.assertNotIn(source(KILLS), again)
        self.assertLessEqual(max(again.values(), default=0), CONCURRENCY)
        # Else it would have been idle when it was killed.
        self.assertGreater(len(load.unanswered()), 0)

    async def test_sqlite(self) -> None:
        """The store of one host."""
        await self.until_killed(store_of(self.folder()))

    async def test_postgresql(self) -> None:
        """The store that several share: what a dead one had is another's when its lease ends."""
        server = await self.postgresql()
        await self.until_killed(server.address)


class QueueWorkerKillTests(QueueCase):
    """SIGKILL to one worker of ``nodes``: all of them put in, one delivers."""

    timeout = 180

    async def test_workers(self) -> None:
        """Another takes the place of each; what comes twice was in flight when one was killed."""
        port, store = free_port(), store_of(self.folder())
        takers, load = self.takers(), self.queue_load(port)
        files = self.queue_files(port, store, takers)
        files["smtp.ini"] += "nodes=2\n"
        gateway = await self.started(port, files)
        load.resume()
        kills: list[float] = []
        for number in range(WORKER_KILLS):
            await self.until_more(takers, 2 * CONCURRENCY)
            worker = number % 2
            pid = self.processes(gateway)[worker]
            kills.append(time.monotonic())
            os.kill(pid, signal.SIGKILL)
            await gateway.until(
                lambda pid=pid, worker=worker: self.processes(gateway)[worker] != pid,  # type: ignore[misc]
                "another worker",
            )
        await self.until_more(takers, 2 * CONCURRENCY)
        await load.stop()
        await self.until_empty(store, DRAINED, gateway.output)
        self.assertEqual([], faults(load, takers), account(load, takers))
        self.assertEqual({250}, set(load.codes()))
        pairs = repeats(takers)
        for earlier, later in pairs:
            # A backend may read what a dead one has sent a little later.
            near = [at for at in kills if earlier.at - 1.0 < at < later.at]
            self.assertTrue(near, (earlier, later, kills))
        again = sum(repeated_from(pairs).values())
        self.assertLessEqual(again, CONCURRENCY * (WORKER_KILLS // 2), "only one delivers")

    async def until_more(self, takers: Takers, number: int) -> None:
        """Return when the backends have taken that many more."""
        enough = len(takers.taken) + number
        await until(lambda: len(takers.taken) >= enough, lambda: repr(takers), DEADLINE)

    def processes(self, gateway: Gateway) -> list[int]:
        """The process of each worker, the latest."""
        started = {int(n): int(pid) for n, pid in STARTED.findall(gateway.output())}
        return [started[1], started[2]]
