"""The queue in SQLite where tests in one process cannot follow: killed, and on a full disk.

SIGKILL four times, fifty with ``SMTPFORWARD_FULL=1`` (``make kill``).
"""

import json
import random
import subprocess
import sys
from typing import Any

from twisted.internet import reactor

from smtpforward.outbound.entry import Filter
from smtpforward.outbound.store.sqlite import SQLiteStore
from tests.integration.queuechild import BALLAST, body
from tests.peers.case import PeerTestCase, full_size
from tests.peers.gateway import environment
from tests.peers.process import Process
from tests.peers.require import unavailable
from tests.storesupport import wire

KILLS = 50 if full_size() else 4
CHILD = [sys.executable, "-m", "tests.integration.queuechild"]
ON_A_DISK_OF_ITS_OWN = 'mount -t tmpfs -o size=6m,mode=700 queue "$1" && shift && exec "$@"'


class KillTests(PeerTestCase):
    """A process that puts mail in is killed."""

    timeout = 600 if full_size() else 120

    async def test_killed_while_adding(self) -> None:
        """What was taken is there, whole; what was delivered is not; nothing is there by half."""
        folder, moments = self.folder(), random.Random(1)
        path = str(folder / "queue")
        taken: set[str] = set()
        gone: set[str] = set()
        for life in range(KILLS):
            first = str(1 + life * 100_000)
            child = Process([*CHILD, "load", path, first], folder, environment(), f"life{life}")
            self.addCleanup(child.kill)
            await self.said(child, moments.randint(50, 300))
            child.kill()
            # The last line may be part of one.
            whole = child.stdout[: child.stdout.rindex("\n")].splitlines()
            said = [line.split() for line in whole if line.count(" ") == 1]
            taken |= {name for word, name in said if word == "taken"}
            going = {name for word, name in said if word == "going"}
            gone |= {name for word, name in said if word == "gone"}
            # Of those in between either may be true.
            taken -= going
            await self.check(path, taken, gone)
        self.assertGreater(len(taken), KILLS * 10)
        self.assertGreater(len(gone), KILLS)

    async def said(self, child: Process, lines: int) -> None:
        """Wait until it has said so much."""
        await child.until(lambda: child.stdout.count("\n") > lines, "enough lines")

    async def check(self, path: str, taken: set[str], gone: set[str]) -> None:
        """See what is in the store."""
        store = SQLiteStore(path, reactor)
        await store.open("test")
        there = {each.message.id for each in await store.listed(Filter(), 100_000, None)}
        self.assertEqual(taken - there, set())
        self.assertEqual(gone & there, set())
        for name in there:
            content = await store.content(name)
            self.assertTrue(wire(content) == body(name), name)
        self.assertEqual((await store.stats(1)).messages, len(there))
        # Whoever was killed has nothing any more.
        self.assertEqual((await store.stats(1)).due, len(there))
        await store.close()


class FullDiskTests(PeerTestCase):
    """A disk of a few MiB."""

    async def heard(self, what: str, *arguments: str) -> dict[str, Any]:
        """What a child says of it."""
        folder = self.folder()
        disk = folder / "disk"
        disk.mkdir()
        command = ["unshare", "-rm", "sh", "-c", ON_A_DISK_OF_ITS_OWN, "sh", str(disk)]
        self.require_disk(command)
        child = Process([*command, *CHILD, what, str(disk), *arguments], folder, environment())
        self.addCleanup(child.kill)
        self.assertEqual(await child.ended(60), 0, child.output())
        said: dict[str, Any] = json.loads(child.stdout)
        return said

    def require_disk(self, command: list[str]) -> None:
        """Skip, or fail, where no process may mount something for itself."""
        try:
            may = subprocess.run([*command, "true"], capture_output=True, check=False).returncode
        except FileNotFoundError:
            may = 1
        if may:
            unavailable("needs the right to mount in a namespace (unshare -rm)")

    def check(self, said: dict[str, Any]) -> None:
        """Nothing is lost, nothing is there by half, and it goes on."""
        self.assertIn("StoreFullError: ", said["small"])
        self.assertIn("make space", said["small"])
        self.assertEqual((said["large"], said["files"]), ("StoreFullError", []))
        self.assertEqual(said["later"], "")
        self.assertGreater(len(said["taken"]), 20)
        self.assertEqual(sorted(said["there"]), sorted([*said["taken"][1:], "FFFF1"]))
        self.assertTrue(all(said["whole"]))

    async def test_full(self) -> None:
        """A message that finds no space is refused as such; when there is some, it goes on."""
        self.check(await self.heard("full", "0"))

    async def test_reserve(self) -> None:
        """Messages are refused while there is still space for results, and those are recorded."""
        said = await self.heard("full", str(BALLAST // 2))
        self.check(said)
        self.assertEqual(said["recorded"], "")

    async def test_no_growth(self) -> None:
        """Where not one page can be had, leases and results find room in the log, begun anew."""
        said = await self.heard("no_growth")
        self.assertEqual((said["refused"], said["left"]), ([], 0))
        self.assertLess(said["grown"], 4096)
