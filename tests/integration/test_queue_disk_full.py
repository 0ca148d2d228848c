"""The place of the queue's store is full, damaged or locked: what senders hear, and what is lost.

Nothing is: what had a 250 arrives whole, what had none never does, and all goes on by itself when
the store can be used again. The full disk is a small one of the gateway's own.
"""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
from pathlib import Path

from tests.integration.queuing import QueueCase, account, faults, repeats, store_of
from tests.peers.gateway import Gateway, twistd_command
from tests.peers.ports import free_port
from tests.peers.queueload import QueueLoad
from tests.peers.require import require, unavailable
from tests.peers.script import Held
from tests.peers.takers import Takers
from tests.peers.wait import until

SIZE = 40 << 20
RESERVE = 16 << 20  # of the store: messages leave that much free
MOUNTED = f'mount -t tmpfs -o size={SIZE} none "$0" && exec "$@"'
FULL = "4.3.1"
UNAVAILABLE = "4.3.2"
DEADLINE = 60.0
ENOUGH = 40


def own_disk(folder: Path) -> list[str]:
    """What runs ``twistd`` where ``folder`` is a small disk that nobody else sees."""
    [unshare] = require("unshare")
    command = [unshare, "-rm", "sh", "-c", MOUNTED, str(folder)]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        unavailable("needs user and mount namespaces: unshare -rm")
    return [*command, *twistd_command()]


class Disk:
    """The disk of a running gateway, as seen from here."""

    def __init__(self, gateway: Gateway, folder: Path) -> None:
        self.path = Path(f"/proc/{gateway.pid}/root{folder}")

    @property
    def free(self) -> int:
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def fill(self, leave: int = 0) -> None:
        """Take all but ``leave`` bytes."""
        with contextlib.suppress(OSError), (self.path / "filler").open("ab", 0) as filler:
            while (more := min(self.free - leave, 1 << 20)) > 0:
                filler.write(bytes(more))

    def clear(self) -> None:
        """Give it back."""
        (self.path / "filler").unlink()

    def orphans(self, known: int) -> list[str]:
        """The files of messages, when there should be ``known``."""
        found = os.listdir(self.path / "queue.sqlite3-messages")
        return found if len(found) != known else []


class QueueDiskFullTests(QueueCase):
    """A disk of 40 MiB, which something else fills."""

    async def on_own_disk(self) -> tuple[QueueLoad, Takers, Gateway, Disk]:
        """Senders, backends and a gateway that keeps all that it writes on such a disk."""
        port, folder = free_port(), self.folder()
        takers, load = self.takers(), self.queue_load(port)
        files = self.queue_files(port, store_of(folder), takers)
        files["connection.ini"] += f"spool_dir={folder}\n"
        gateway = await self.started(port, files, own_disk(folder))
        disk = Disk(gateway, folder)
        load.resume()
        await self.until_answered(load, 250, ENOUGH)
        return load, takers, gateway, disk

    async def until_answered(self, load: QueueLoad, code: int, more: int) -> None:
        """Return when that many more have been answered so."""
        enough = load.codes()[code] + more
        await until(lambda: load.codes()[code] >= enough, lambda: f"{load.codes()}", DEADLINE)

    async def finish(self, load: QueueLoad, takers: Takers, gateway: Gateway, disk: Disk) -> None:
        """Stop the senders, wait until all has been delivered, and compare."""
        await load.stop()
        expected = load.expected()
        await until(
            lambda: expected <= {*takers.delivered(), *takers.bounced()},
            lambda: f"{account(load, takers)}",
            DEADLINE,
        )
        await until(lambda: not disk.orphans(0), lambda: f"{disk.orphans(0)}", DEADLINE)
        self.assertEqual([], faults(load, takers), account(load, takers))
        self.assertEqual([], repeats(takers))
        self.assertEqual({250, 452}, set(load.codes()))
        refused = [answered for answered in load.log.values() if answered.code == 452]
        self.assertEqual({FULL}, {answered.text.split()[0] for answered in refused})
        # Of what was refused nothing is ever delivered.
        arrived = {taken.number for taken in takers.taken} - {0}
        self.assertEqual(set(), arrived - load.taken())
        self.assertNotIn("Traceback", gateway.output())
        self.assertEqual(-signal.SIGTERM, await gateway.terminate())

    async def test_reserve(self) -> None:
        """Messages leave some of it free: what is queued is delivered while it is full."""
        load, takers, gateway, disk = await self.on_own_disk()
        disk.fill(RESERVE // 2)
        await self.until_answered(load, 452, ENOUGH)
        due = load.expected()
        await until(
            lambda: due <= {*takers.delivered(), *takers.bounced()},
            lambda: f"{account(load, takers)}",
            DEADLINE,
        )
        disk.clear()
        await self.until_answered(load, 250, ENOUGH)
        await self.finish(load, takers, gateway, disk)

    async def test_to_the_brim(self) -> None:
        """Not even a result can be recorded: it is when there is space, and nothing comes twice."""
        load, takers, gateway, disk = await self.on_own_disk()
        held = takers.before_reply = Held(b"")
        await until(lambda: held.waiting, "attempts in flight", DEADLINE)
        disk.fill()
        held.release()
        await self.until_answered(load, 452, ENOUGH)
        # Where the log of the database has room left, it takes them all the same.
        due = load.expected()
        await until(
            lambda: (
                "cannot be recorded yet" in gateway.output()
                or due <= {*takers.delivered(), *takers.bounced()}
            ),
            "results that wait, or none that is owed",
            DEADLINE,
        )
        disk.clear()
        await self.until_answered(load, 250, ENOUGH)
        await self.finish(load, takers, gateway, disk)


class QueueStoreTests(QueueCase):
    """A store that cannot be used, for a while."""

    async def until_told(self, load: QueueLoad, code: int, more: int = ENOUGH) -> None:
        """Return when that many more have been answered so."""
        enough = load.codes()[code] + more
        await until(lambda: load.codes()[code] >= enough, lambda: f"{load.codes()}", DEADLINE)

    def check(self, load: QueueLoad, takers: Takers) -> None:
        """Nothing is wrong, and who could not be served was told to come later, soon."""
        self.assertEqual([], faults(load, takers), account(load, takers))
        self.assertEqual([], repeats(takers))
        self.assertEqual({250, 451}, set(load.codes()))
        refused = [answered for answered in load.log.values() if answered.code == 451]
        self.assertEqual({UNAVAILABLE}, {answered.text.split()[0] for answered in refused})
        self.assertLess(max(answered.at - answered.begun for answered in refused), 15)

    async def damaged(self, damage: bytes, keep: int) -> None:
        """The file of the store is damaged before the start; then it is taken away."""
        port, folder = free_port(), self.folder()
        store, takers = store_of(folder), self.takers()
        file = folder / "queue.sqlite3"
        # That makes it.
        await self.until_empty(store, DEADLINE, str)
        file.write_bytes(file.read_bytes()[:keep] + damage)
        load = self.queue_load(port)
        gateway = await self.queueing(port, store, takers, 1)
        load.resume()
        await self.until_told(load, 451, 8)
        self.assertIn(f"{file}: ", gateway.output())
        self.assertIn("keep a copy", gateway.output())
        self.assertNotIn("Traceback", gateway.output())
        for each in folder.glob("queue.sqlite3*"):
            shutil.rmtree(each) if each.is_dir() else each.unlink()
        await self.until_told(load, 250)
        await load.stop()
        await self.until_empty(store, DEADLINE, gateway.output)
        self.check(load, takers)

    async def test_damaged(self) -> None:
        """Garbage in place of the database."""
        await self.damaged(os.urandom(100_000), 0)

    async def test_damaged_behind_its_first_page(self) -> None:
        """A database whose tables are garbage."""
        await self.damaged(os.urandom(100_000), 4096)

    async def test_locked(self) -> None:
        """Another process keeps it locked: senders do not wait for that."""
        port, folder = free_port(), self.folder()
        store, takers, load = store_of(folder), self.takers(), self.queue_load(port)
        gateway = await self.queueing(port, store, takers)
        load.resume()
        await self.until_told(load, 250)
        with contextlib.closing(
            sqlite3.connect(folder / "queue.sqlite3", timeout=DEADLINE, isolation_level=None)
        ) as other:
            other.execute("BEGIN IMMEDIATE")
            await self.until_told(load, 451, 8)
            other.execute("ROLLBACK")
        await self.until_told(load, 250)
        await load.stop()
        await self.until_empty(store, DEADLINE, gateway.output)
        self.check(load, takers)
        self.assertNotIn("Traceback", gateway.output())

    async def test_in_use(self) -> None:
        """Another gateway delivers from it; when that ends this one does."""
        port, second, store = free_port(), free_port(), store_of(self.folder())
        takers, load = self.takers(), self.queue_load(port, second)
        first = await self.queueing(port, store, takers)
        other = await self.queueing(second, store, takers, 1)
        load.resume()
        await self.until_told(load, 250)
        await self.until_told(load, 451, 8)
        self.assertIn("another gateway delivers from this queue", other.output())
        load.pause(port)
        self.assertEqual(-signal.SIGTERM, await first.terminate())
        await self.until_told(load, 250)
        await load.stop()
        await self.until_empty(store, DEADLINE, other.output)
        self.check(load, takers)
