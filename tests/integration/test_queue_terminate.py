"""A gateway that queues is ended by SIGTERM: what is being attempted is finished and recorded.

Nothing is lost, and nothing comes twice: the next gateway on the same store finds what is left.
"""

import signal
import time

from tests.integration.queuing import QueueCase, account, faults, repeats, store_of
from tests.peers.mailings import LARGE_EVERY
from tests.peers.ports import free_port, is_listening
from tests.peers.script import Held
from tests.peers.takers import Takers
from tests.peers.wait import until

BUSY = 10
MESSAGES = 60
DEADLINE = 30.0
DRAINED = 60.0


class QueueTerminateTests(QueueCase):
    """SIGTERM."""

    async def until_more(self, takers: Takers, number: int) -> None:
        """Return when the backends have taken that many more."""
        enough = len(takers.taken) + number
        await until(lambda: len(takers.taken) >= enough, lambda: repr(takers), DEADLINE)

    async def test_under_load(self) -> None:
        """Senders go on, attempts are under way: all of it ends in order, again and again."""
        port, store = free_port(), store_of(self.folder())
        takers, load = self.takers(), self.queue_load(port)
        for life in range(4):
            gateway = await self.queueing(port, store, takers, life)
            load.resume()
            await self.until_more(takers, MESSAGES)
            load.pause()
            self.assertEqual(-signal.SIGTERM, await gateway.terminate(), gateway.output()[-4000:])
            self.assertNotIn("Traceback", gateway.output())
        await load.stop()
        last = await self.queueing(port, store, takers, 4)
        await self.until_empty(store, DRAINED, last.output)
        self.assertEqual([], faults(load, takers), account(load, takers))
        self.assertEqual([], repeats(takers))
        # A transaction in progress is not cut, and where none may begin that is said.
        self.assertEqual(set(), load.unanswered())
        self.assertLessEqual(set(load.codes()), {250, 421, 451})

    async def test_attempts_in_flight(self) -> None:
        """The next servers are slow to reply to the dot: their replies are waited for."""
        port, store = free_port(), store_of(self.folder())
        takers, load = self.takers(), self.queue_load(port)
        gateway = await self.queueing(port, store, takers)
        load.resume()
        await self.until_more(takers, BUSY)
        held = takers.before_reply = Held(b"")
        await until(lambda: held.waiting >= BUSY, lambda: f"{held.waiting}", DEADLINE)
        await load.stop()
        gateway.signal(signal.SIGTERM)
        await until(lambda: not is_listening(port), "nobody listens", DEADLINE)
        begun = len(takers.taken)
        held.release()
        self.assertEqual(-signal.SIGTERM, await gateway.ended(), gateway.output()[-4000:])
        # What was begun by then has been answered, and hardly anything was begun later.
        self.assertLessEqual(len(takers.taken), begun + BUSY)
        last = await self.queueing(port, store, takers, 1)
        await self.until_empty(store, DRAINED, last.output)
        self.assertEqual([], faults(load, takers), account(load, takers))
        self.assertEqual([], repeats(takers))
        self.assertEqual(load.taken(), set(load.answers))

    async def test_attempts_that_do_not_end(self) -> None:
        """After ``force_shutdown_timeout`` they are broken off, and made again by the next one."""
        port, store = free_port(), store_of(self.folder())
        takers, load = self.takers(), self.queue_load(port, most=LARGE_EVERY)
        held = takers.before_reply = Held(b"")
        files = self.queue_files(port, store, takers)
        files["smtp.ini"] += "force_shutdown_timeout=1\n"
        gateway = await self.started(port, files)
        load.resume()
        await load.done()
        await until(lambda: held.waiting, "an attempt that waits", DEADLINE)
        began = time.monotonic()
        gateway.signal(signal.SIGTERM)
        # QUIT_TIME of the service is what the connections get beyond it.
        self.assertEqual(-signal.SIGTERM, await gateway.ended(30), gateway.output()[-4000:])
        self.assertLess(time.monotonic() - began, 14)
        held.release()
        last = await self.queueing(port, store, takers, 1)
        await self.until_empty(store, DRAINED, last.output)
        self.assertEqual([], faults(load, takers), account(load, takers))
        self.assertGreater(len(repeats(takers)), 0)
