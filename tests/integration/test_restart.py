"""A restart by SIGUSR2: the successor takes over the listening sockets, and nobody is refused."""

import os
import re
import signal
import socket
from pathlib import Path

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from tests.integration.test_workers import NUMBERED, Senders
from tests.peers.case import PeerTestCase
from tests.peers.clients import smtp_source
from tests.peers.gateway import Gateway, environment, three_files, twistd_command
from tests.peers.ports import free_port, is_listening
from tests.peers.process import Process
from tests.peers.raw import RawClient
from tests.peers.wait import until

BATCH = 200
RESTARTS = 2
TAKES = re.compile(r"process (\d+) takes mail")
OVER = re.compile(r"process (\d+) has taken over")
DELIVERS = "the gateway before has ended, this one delivers"
WIRE = b"Subject: x\r\n\r\nhello\r\n.\r\n"


def is_alive(pid: int) -> bool:
    """Whether that process runs; one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class RestartCase(PeerTestCase):
    """A gateway that is replaced."""

    timeout = 240
    files: dict[str, str] = {}

    async def running(self, backend: int, files: dict[str, str] | None = None) -> Gateway:
        """One that takes mail."""
        gateway = await self.gateway(backend, {**self.files, **(files or {})})
        await gateway.until(lambda: TAKES.search(gateway.output()), "it takes mail")
        return gateway

    def current(self, gateway: Process) -> int:
        """The process that takes mail, the latest."""
        return int(TAKES.findall(gateway.output())[-1])

    def ask(self, gateway: Process) -> int:
        """Ask for a successor; the process that is to have one."""
        before = self.current(gateway)
        os.kill(before, signal.SIGUSR2)
        return before

    async def replaced(self, gateway: Process) -> None:
        """Replace it; the one before has gone then."""
        before = self.ask(gateway)
        await until(lambda: self.current(gateway) != before, gateway.output, 60)
        await until(lambda: not is_alive(before), gateway.output, 60)

    async def terminated(self, gateway: Process) -> None:
        """TERM ends the one that takes mail now."""
        last = self.current(gateway)
        os.kill(last, signal.SIGTERM)
        await until(lambda: not is_alive(last), gateway.output, 30)


class LoadTests(RestartCase):
    """Under load: each message arrives once, and every connection is taken."""

    async def test_load(self) -> None:
        """No client sees anything of it."""
        sink = await self.sink()
        gateway = await self.running(sink.port)
        enough = False

        async def load() -> int:
            messages = 0
            while not enough:
                size = ["-s", "10", "-m", str(BATCH), "-l", "4096"]
                done = await smtp_source(gateway.port, *size, timeout=120)
                # A connection that is refused, cut off or turned away ends it with an error.
                self.assertEqual(0, done.exit_code, done.output + gateway.output()[-4000:])
                messages += BATCH
            return messages

        loading = Deferred.fromCoroutine(load())
        for _ in range(RESTARTS):
            await self.replaced(gateway)
        enough = True
        sent = await loading
        await until(lambda: sink.messages >= sent, gateway.output)
        self.assertEqual(sink.messages, sent)
        self.assertNotIn("Traceback", gateway.output())
        self.assertEqual(len(OVER.findall(gateway.output())), RESTARTS)
        await self.terminated(gateway)
        self.assertFalse(is_listening(gateway.port))

    async def test_clients_that_stay(self) -> None:
        """A client goes on with the process that it came to; a new one is the successor's."""
        backend = self.backend()
        gateway = await self.running(backend.port)

        def beginning() -> RawClient:
            client = RawClient(gateway.port)
            client.hello()
            return client

        with await deferToThread(beginning) as old:
            before = self.ask(gateway)
            await until(lambda: OVER.search(gateway.output()), gateway.output)
            with await deferToThread(beginning) as new:
                for client in (old, new, old):
                    answer = await deferToThread(client.transaction, [WIRE])
                    self.assertEqual(250, answer.code, answer.text)
            self.assertTrue(is_alive(before))
        await until(lambda: not is_alive(before), gateway.output)
        self.assertEqual(len(backend.messages), 3)

    async def test_wrong_settings(self) -> None:
        """A successor that does not start changes nothing; the next one may."""
        backend = self.backend()
        gateway = await self.running(backend.port)
        wrong = gateway.folder / "config" / "host_list_regex"
        wrong.write_text("(\n")
        before = self.ask(gateway)
        told = "no successor: it has ended"
        await gateway.until(lambda: told in gateway.output(), "it says so")
        self.assertIn("host_list_regex", gateway.output())
        self.assertEqual(self.current(gateway), before)
        wrong.unlink()
        await self.replaced(gateway)

    async def test_new_listen(self) -> None:
        """A successor listens where the settings now say, and no longer where they do not."""
        gateway = await self.running(self.backend().port)
        port = free_port()
        config = gateway.folder / "config" / "smtp.ini"
        config.write_text(f"listen=127.0.0.1:{port}\n")
        await self.replaced(gateway)
        self.assertTrue(is_listening(port))
        self.assertFalse(is_listening(gateway.port))


class WorkersLoadTests(LoadTests):
    """The same with workers."""

    files = {"connection.ini": "nodes=2\n"}


class PlacesTests(RestartCase):
    """What else is handed over."""

    async def test_unix_and_http(self) -> None:
        """A UNIX socket keeps its path and the page its port, as often as it is done."""
        path, shown = self.folder() / "smtp.sock", free_port()
        files = {
            "smtp.ini": f"listen=unix:{path},127.0.0.1:0\n",
            "http.ini": f"listen=127.0.0.1:{shown}\n",
        }
        gateway = Gateway(self.folder(), {**three_files(0, self.backend().port), **files}, shown)
        self.stop_later(gateway.stop)
        await gateway.until(lambda: TAKES.search(gateway.output()), "it takes mail")
        for _ in range(2):
            await self.replaced(gateway)
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(10)
                client.connect(str(path))
                greeting = await deferToThread(client.recv, 100)
                self.assertTrue(greeting.startswith(b"220 "), greeting)
            self.assertTrue(is_listening(shown))
        # The port that the system has chosen is the same.
        chosen = re.findall(r"GatewayFactory starting on (\d+)", gateway.output())
        self.assertEqual(len(set(chosen)), 1, chosen)
        await self.terminated(gateway)

    async def test_pid_file(self) -> None:
        """With twistd's daemon and its file, the file names the one that takes mail."""
        folder, port = self.folder(), free_port()
        gateway = Gateway(folder, three_files(port, self.backend().port), port)
        self.stop_later(gateway.stop)
        await gateway.ready()
        await gateway.terminate()
        pid_file, log = folder / "twistd.pid", folder / "twistd.log"
        options = ["--pidfile", str(pid_file), "--logfile", str(log)]
        daemon = Process(
            [*twistd_command(), *options, "smtpforward", "--config", str(folder / "config")],
            folder,
            environment(),
            "daemon",
        )
        self.stop_later(daemon.stop)
        await daemon.ended()
        await until(lambda: log.exists() and TAKES.search(log.read_text()), daemon.output)
        self.addCleanup(self.kill_named, pid_file)
        before = int(pid_file.read_text())
        os.kill(before, signal.SIGUSR2)
        await until(lambda: not is_alive(before), log.read_text, 60)
        after = int(pid_file.read_text())
        self.assertNotEqual(before, after)
        self.assertEqual(after, int(TAKES.findall(log.read_text())[-1]))
        os.kill(after, signal.SIGTERM)
        await until(lambda: not is_alive(after), log.read_text)
        self.assertFalse(pid_file.exists())

    def kill_named(self, pid_file: Path) -> None:
        """End what a failed test has left."""
        if pid_file.exists():
            os.kill(int(pid_file.read_text()), signal.SIGKILL)


class QueueTests(RestartCase):
    """The outbound queue changes hands."""

    async def delivers(self, gateway: Process, before: int) -> None:
        """One more of them has begun to deliver."""
        await until(lambda: gateway.output().count(DELIVERS) > before, gateway.output)

    async def test_queue(self) -> None:
        """Senders hear 250 throughout, and each message is delivered once."""
        host = self.backend()
        store = self.folder() / "queue.sqlite3"
        outbound = f"store=sqlite:{store}\nsmart_host=127.0.0.1:{host.port}\nenable_tls=false\n"
        files = {"outbound.ini": outbound}
        gateway = await self.gateway(free_port(), {**self.files, **files}, enable_outbound="false")
        await gateway.until(lambda: TAKES.search(gateway.output()), "it takes mail")

        def connect() -> RawClient:
            client = RawClient(gateway.port)
            client.hello()
            return client

        senders = Senders(connect)
        threads = [deferToThread(senders.run) for _ in range(4)]
        self.addCleanup(senders.end)
        await until(lambda: len(senders.taken) > 50, gateway.output)
        for _ in range(RESTARTS):
            before = gateway.output().count(DELIVERS)
            await self.replaced(gateway)
            await self.delivers(gateway, before)
        number = len(senders.taken)
        await until(lambda: len(senders.taken) > number + 50, gateway.output)
        senders.end()
        await gatherResults(threads)
        await until(lambda: len(host.messages) >= len(senders.taken), gateway.output)
        self.assertEqual((senders.other, senders.dropped), ([], 0))
        arrived = [int(n) for message in host.messages for n in NUMBERED.findall(message.plain)]
        self.assertEqual(sorted(arrived), sorted(senders.taken))
        self.assertNotIn("Traceback", gateway.output())


class QueueWorkersTests(QueueTests):
    """The same with workers."""

    files = {"connection.ini": "nodes=2\n"}
