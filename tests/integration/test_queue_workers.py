"""The outbound queue with ``nodes``: all workers put mail in, one delivers, and it may die."""

import os
import re
import signal

from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread

from tests.integration.test_workers import NUMBERED, Senders, WorkersCase
from tests.peers.backend import ScriptedBackend
from tests.peers.gateway import Gateway
from tests.peers.ports import free_port
from tests.peers.wait import until

TAKEN = re.compile(r"\[mail,(\d)\] id=\S+ client=\S+ .* relay=queue .* status=queued")
ATTEMPTED = re.compile(r"\[mail,(\d)\] id=\S+ from=\S+ .* attempts=\d+ .* status=(\w+)")
DELIVERING = 1


class QueueWorkersTests(WorkersCase):
    """Two workers and a smart host."""

    async def queueing(self, host: ScriptedBackend) -> Gateway:
        """It runs, and all mail is for the queue."""
        self.store = self.folder() / "queue.sqlite3"
        files = {"connection.ini": "nodes=2\n", "outbound.ini": self.outbound(host)}
        gateway = await self.gateway(free_port(), files, enable_outbound="false")
        await gateway.until(lambda: self.started(gateway) == [1, 2], "two workers")
        return gateway

    def outbound(self, host: ScriptedBackend) -> str:
        """The text of ``outbound.ini``."""
        smart = f"smart_host=127.0.0.1:{host.port}\nenable_tls=false\ntemp_fail_intervals=1s*60\n"
        return f"store=sqlite:{self.store}\n{smart}"

    def arrived(self, *hosts: ScriptedBackend) -> set[int]:
        """The numbers of the messages that they have."""
        found = [m for host in hosts for m in host.messages]
        return {int(n) for message in found for n in NUMBERED.findall(message.plain)}

    async def test_killed_under_load(self) -> None:
        """Its successor goes on, and takes new settings: each message with a 250 is delivered."""
        first, second = self.backend(), self.backend()
        gateway = await self.queueing(first)
        senders = Senders(lambda: self.client(gateway))
        threads = [deferToThread(senders.run) for _ in range(6)]
        self.addCleanup(senders.end)
        await until(lambda: {"1", "2"} <= set(TAKEN.findall(gateway.stdout)), gateway.output)
        await until(lambda: len(first.messages) > 100, gateway.output)
        os.kill(self.processes(gateway)[DELIVERING], signal.SIGKILL)
        await gateway.until(lambda: self.started(gateway) == [1, 1, 2], "a new worker")
        before = len(first.messages)
        await until(lambda: len(first.messages) > before + 100, gateway.output)
        text = self.outbound(second)
        beside = gateway.folder / "config" / ".outbound.ini.new"
        beside.write_text(text)
        beside.replace(beside.with_name("outbound.ini"))
        gateway.signal(signal.SIGHUP)
        await second.until_taken(100)
        senders.end()
        await gatherResults(threads)
        await until(lambda: senders.taken <= self.arrived(first, second), gateway.output)
        self.assertGreater(len(senders.taken), 200)
        self.assertEqual([], senders.other)
        # One of the two has attempted all of it.
        attempts = ATTEMPTED.findall(gateway.stdout)
        self.assertEqual({(str(DELIVERING), "sent")}, set(attempts))
        self.assertNotIn("Traceback", gateway.output())
        # What was twice is no more than what was in flight when it was killed.
        copies = len(first.messages) + len(second.messages)
        self.assertLessEqual(copies - len(self.arrived(first, second)), 10)
