"""New settings while messages wait in the outbound queue: what holds from the next attempt on.

``twistd`` runs; files are replaced as an editor does it, and SIGHUP is sent now and then.
"""

import re
import signal
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from smtpforward.outbound.entry import Change, Filter
from smtpforward.outbound.store.choice import store_at
from tests.integration.test_mx import fill
from tests.integration.test_reload import KEPT, WIRE, ReloadCase
from tests.peers.backend import ScriptedBackend
from tests.peers.gateway import Gateway
from tests.peers.ports import free_port
from tests.peers.raw import RawClient
from tests.peers.script import TAKEN, Held, Script, Step
from tests.peers.wait import until

OPEN = "enable_outbound=false\n"


class QueueReloadCase(ReloadCase):
    """A gateway with a queue, in a store of the test."""

    timeout = 90

    def setUp(self) -> None:
        self.store = self.folder() / "queue.sqlite3"
        self.smart = self.backend()

    def outbound(self, *lines: str, host: int | None = None, store: Path | None = None) -> str:
        """The text of ``outbound.ini``; all goes to ``host``, a port, else to ``smart``."""
        smart = f"smart_host=127.0.0.1:{host or self.smart.port}\n" if host != 0 else ""
        fixed = f"store=sqlite:{store or self.store}\nenable_tls=false\n{smart}"
        return fixed + "".join(f"{line}\n" for line in lines)

    async def start(self, text: str) -> Gateway:
        """One that runs with this ``outbound.ini``, and queues all."""
        files = {"outbound.ini": text}
        return await self.gateway(free_port(), files, enable_outbound="false")

    async def queue(self, gateway: Gateway, *rcpts: str) -> None:
        """Bring a message for each."""

        def bring() -> None:
            with RawClient(gateway.port) as client:
                client.hello()
                for rcpt in rcpts:
                    answer = client.transaction([WIRE], rcpt)
                    self.assertEqual((250, "2.0.0 queued as"), (answer.code, answer.text[:15]))

        await deferToThread(bring)

    async def until_logged(self, gateway: Gateway, pattern: str, number: int = 1) -> None:
        """Wait until so many lines match."""
        found = re.compile(pattern)
        await gateway.until(lambda: len(found.findall(gateway.stdout)) >= number, pattern)

    async def until_reloaded(self, gateway: Gateway, number: int) -> None:
        """Wait until settings were read again so many times, and were good."""
        await self.until_logged(gateway, "settings were read again", number)

    async def retry(self) -> int:
        """As ``smtpforward queue flush`` does it; how many entries."""
        store = store_at(f"sqlite:{self.store}", reactor)
        await store.open()
        try:
            changed: int = await store.change(Filter(), Change.RETRY)
        finally:
            await store.close()
        return changed

    def recipients(self, backend: ScriptedBackend) -> list[bytes]:
        """Those of all its messages."""
        found = (rcpt for message in backend.messages for rcpt in message.rcpts)
        return [re.sub(rb"^RCPT TO:<(.*)>$", rb"\1", rcpt) for rcpt in found]


class NextAttemptTests(QueueReloadCase):
    """What holds for messages that wait."""

    async def test_smart_host(self) -> None:
        """Another smart host gets what could not be delivered to the one before, when it is due."""
        gateway = await self.start(self.outbound("temp_fail_intervals=1s*60", host=free_port()))
        await self.queue(gateway, "b@example.com", "c@example.com")
        await self.until_logged(gateway, "status=deferred")
        await self.until_logged(gateway, "1 message for .* put off without an attempt: 451 4.4.1")
        self.replace(gateway, "outbound.ini", self.outbound("temp_fail_intervals=1s*60"))
        gateway.signal(signal.SIGHUP)
        await self.smart.until_taken(2)
        await self.queue(gateway, "d@example.com")
        await self.smart.until_taken(3)
        self.assertEqual(
            [b"b@example.com", b"c@example.com", b"d@example.com"],
            sorted(self.recipients(self.smart)),
        )

    async def test_intervals(self) -> None:
        """A shorter list makes the next failure the last: the message goes back."""
        busy = Script(replies={"RCPT": b"450 4.2.1 later\r\n"})
        backend, home = self.backend(busy), self.backend()
        gateway = await self.start(self.outbound("temp_fail_intervals=1h", host=backend.port))
        await self.queue(gateway, "b@example.com")
        await self.until_logged(gateway, "status=deferred")
        # The sender's domain gets a section, where the bounce arrives.
        forward = (gateway.folder / "config" / "smtp_forward.ini").read_text()
        forward += f"[example.org]\nhost=127.0.0.1\nport={home.port}\n"
        self.replace(gateway, "smtp_forward.ini", forward)
        text = self.outbound("temp_fail_intervals=none", host=backend.port)
        self.replace(gateway, "outbound.ini", text)
        await self.until_applied(gateway, 1, "outbound")
        self.assertEqual(1, await self.retry())
        await home.until_taken(1)
        self.assertIn(b"450 4.2.1 later", home.messages[0].plain)

    async def test_disabled(self) -> None:
        """``disabled=true`` keeps what comes; taken back it lets all go."""
        gateway = await self.start(self.outbound())
        await self.queue(gateway, "a@example.com")
        await self.smart.until_taken(1)
        self.replace(gateway, "outbound.ini", self.outbound("disabled=true"))
        await self.until_reloaded(gateway, 1)
        await self.queue(gateway, "b@example.com", "c@example.com")
        # A pass over the queue, which an operator has asked for, finds nothing to do either.
        self.assertEqual(2, await self.retry())
        self.replace(gateway, "outbound.ini", "smart_host=:\n")
        await gateway.until(lambda: KEPT in gateway.stdout, KEPT)
        self.assertIn("outbound.ini:1: smart_host", gateway.stdout)
        self.assertEqual([b"a@example.com"], self.recipients(self.smart))
        self.replace(gateway, "outbound.ini", self.outbound())
        await self.smart.until_taken(3)

    async def test_concurrency(self) -> None:
        """More attempts at once begin at once."""
        hold = Held(TAKEN)
        replies = iter([TAKEN])
        step: Step = lambda *_: next(replies, hold)  # noqa: E731
        self.smart = self.backend(Script(replies={".": step, "BDAT": step}))
        gateway = await self.start(self.outbound("concurrency_max=1"))
        # A host that was never reached would have a single attempt in any case.
        await self.queue(gateway, "first@example.com")
        await self.until_logged(gateway, "status=sent")
        await self.queue(gateway, *(f"{name}@example.com" for name in "abc"))
        await until(lambda: hold.waiting == 1, gateway.output)
        self.replace(gateway, "outbound.ini", self.outbound("concurrency_max=3"))
        await until(lambda: hold.waiting == 3, gateway.output)
        hold.release()
        await self.until_logged(gateway, "status=sent", 4)

    async def test_nameservers(self) -> None:
        """Other name servers are asked at the next attempt."""
        wrong, right = self.name_server(), self.name_server()
        wrong.fail("d.example")
        fill(right)
        right.address("d.example", "127.0.0.1")
        common = ("local_mx_ok=true", f"mx_port={self.smart.port}", "temp_fail_intervals=1s*60")
        for names in (wrong, right):
            lines = (*common, f"nameservers=127.0.0.1:{names.port}")
            text = self.outbound(*lines, host=0)
            if names is wrong:
                gateway = await self.start(text)
                await self.queue(gateway, "b@d.example")
                await self.until_logged(gateway, r"4\.4\.3 .*status=deferred|dsn=4\.4\.3")
            else:
                self.replace(gateway, "outbound.ini", text)
        await self.smart.until_taken(1)
        self.assertEqual([b"b@d.example"], self.recipients(self.smart))


class ThereIsAQueueTests(QueueReloadCase):
    """Whether there is a queue, and where."""

    async def test_begins(self) -> None:
        """A gateway without a queue gets one when a route leads there; it needs no restart."""
        gateway = await self.gateway(self.smart.port)
        self.replace(gateway, "outbound.ini", self.outbound())
        await self.until_applied(gateway, 1, "outbound")
        forward = (gateway.folder / "config" / "smtp_forward.ini").read_text()
        self.replace(gateway, "smtp_forward.ini", OPEN + forward)
        await self.until_applied(gateway, 1, "routes")
        await self.queue(gateway, "b@example.com")
        await self.smart.until_taken(1)
        self.assertTrue(self.store.exists())

    async def test_ends(self) -> None:
        """Where its settings go, what is in it is delivered by those that it had."""
        asked: list[bytes] = []

        def busy(_: object, command: bytes) -> bytes:
            asked.append(command)
            return b"250 2.1.5 Ok\r\n" if self.open else b"450 4.2.1 later\r\n"

        self.open = False
        self.smart = self.backend(Script(replies={"RCPT": busy}))
        gateway = await self.start(self.outbound("temp_fail_intervals=1s*60"))
        await self.queue(gateway, "b@example.com")
        forward = (gateway.folder / "config" / "smtp_forward.ini").read_text()
        forward = forward.replace("enable_outbound=false", "enable_outbound=true")
        self.replace(gateway, "smtp_forward.ini", forward)
        await self.until_applied(gateway, 1, "routes")
        (gateway.folder / "config" / "outbound.ini").unlink()
        await self.until_logged(
            gateway, "whether there is an outbound queue has changed: that takes"
        )
        before = len(asked)
        await until(lambda: len(asked) > before, gateway.output)
        self.open = True
        await self.smart.until_taken(1)
        await self.until_logged(gateway, "status=sent")
        self.assertNotIn("Traceback", gateway.output())

    async def test_elsewhere(self) -> None:
        """Another ``store`` is warned about: mail goes on through the one that is open."""
        gateway = await self.start(self.outbound("disabled=true"))
        await self.queue(gateway, "b@example.com")
        other = self.folder() / "other.sqlite3"
        self.replace(gateway, "outbound.ini", self.outbound(store=other))
        await self.until_logged(gateway, "where the outbound queue is kept has changed: that takes")
        await self.smart.until_taken(1)
        await self.queue(gateway, "c@example.com")
        await self.smart.until_taken(2)
        self.assertFalse(other.exists())
