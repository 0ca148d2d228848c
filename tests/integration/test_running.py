"""The gateway under a service manager: what it says over sd_notify, and sockets that it is given.

The manager's socket is the test's; sockets are handed over by ``systemd-socket-activate``.
"""

import os
import re
import signal
import socket
from pathlib import Path

from twisted.internet.threads import deferToThread

from tests.integration.test_restart import TAKES, RestartCase
from tests.integration.test_twistd import transaction
from tests.peers.gateway import Gateway, environment, three_files, twistd_command, write_config
from tests.peers.ports import free_port, is_listening
from tests.peers.process import Process
from tests.peers.require import require
from tests.peers.wait import until

STATUS = re.compile(r"\nSTATUS=.*")
EX_CONFIG = 78


class Manager:
    """Hears what is said, on an abstract socket."""

    def __init__(self) -> None:
        name = f"smtpforward-{os.getpid()}-{os.urandom(4).hex()}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(f"\0{name}")
        self.variables = {"NOTIFY_SOCKET": f"@{name}"}
        self._heard: list[str] = []

    def heard(self) -> list[str]:
        """All so far, without the words for people."""
        while True:
            try:
                said = self._socket.recv(4096).decode()
            except BlockingIOError:
                return self._heard
            self._heard.append(STATUS.sub("", said).replace("\n", " "))

    def close(self) -> None:
        self._socket.close()


class ManagedGateway(Gateway):
    """A gateway whose environment says more."""

    def __init__(self, variables: dict[str, str], folder: Path, files: dict[str, str], port: int):
        self.port = port
        config = write_config(folder, files)
        arguments = ["-n", "--pidfile=", "smtpforward", "--config", str(config)]
        environ = {**environment(), **variables}
        Process.__init__(self, [*twistd_command(), *arguments], folder, environ, "gateway")


class NotifyTests(RestartCase):
    """What is said, from the start to the end."""

    async def managed(self, variables: dict[str, str]) -> ManagedGateway:
        """One that has been started."""
        port = free_port()
        files = {**three_files(port, self.backend().port), **self.files}
        gateway = ManagedGateway(variables, self.folder(), files, port)
        self.stop_later(gateway.stop)
        return gateway

    def manager(self) -> Manager:
        """One that hears."""
        manager = Manager()
        self.addCleanup(manager.close)
        return manager

    async def hears(self, manager: Manager, pattern: str, gateway: Process) -> str:
        """The first message of that pattern; it is there when mail is taken, settings hold ..."""
        found = re.compile(pattern)

        def matching() -> list[str]:
            return [said for said in manager.heard() if found.fullmatch(said)]

        await until(matching, lambda: f"{pattern} in {manager.heard()}; {gateway.output()}", 30)
        return matching()[0]

    async def test_life(self) -> None:
        """Ready, reading its settings, handed over, stopping: each is said, by who may say it."""
        manager = self.manager()
        gateway = await self.managed(manager.variables)
        await self.hears(manager, f"MAINPID={gateway.pid} READY=1", gateway)
        self.assertTrue(is_listening(gateway.port))
        gateway.signal(signal.SIGHUP)
        await self.hears(manager, "RELOADING=1 MONOTONIC_USEC=[0-9]+", gateway)
        await self.hears(manager, "READY=1", gateway)
        await self.replaced(gateway)
        successor = self.current(gateway)
        before = len(manager.heard())
        os.kill(successor, signal.SIGTERM)
        await self.hears(manager, "STOPPING=1 EXTEND_TIMEOUT_USEC=[0-9]+", gateway)
        told = f"MAINPID={successor}"
        self.assertEqual(manager.heard()[before - 2 : before], [told, f"{told} READY=1"])
        # Its predecessor's end was not the service's.
        self.assertEqual(len([s for s in manager.heard() if "STOPPING" in s]), 1)

    async def test_watchdog(self) -> None:
        """It is patted as long as the reactor turns, the successor's too; one that hangs is not."""
        manager = self.manager()
        gateway = await self.managed({**manager.variables, "WATCHDOG_USEC": "200000"})
        count = lambda: manager.heard().count("WATCHDOG=1")  # noqa: E731
        await until(lambda: count() >= 3, gateway.output)
        await self.replaced(gateway)
        after = count()
        await until(lambda: count() >= after + 3, gateway.output)


class NotifyWorkersTests(NotifyTests):
    """The same with workers, for which the parent speaks."""

    files = {"connection.ini": "nodes=2\n"}

    async def test_children(self) -> None:
        """Workers do not speak in its name."""
        manager = self.manager()
        gateway = await self.managed(manager.variables)
        await self.hears(manager, f"MAINPID={gateway.pid} READY=1", gateway)
        children = Path(f"/proc/{gateway.pid}/task/{gateway.pid}/children").read_text().split()
        self.assertEqual(len(children), 2)
        for child in children:
            self.assertNotIn(b"NOTIFY_SOCKET", Path(f"/proc/{child}/environ").read_bytes())


class ActivationTests(RestartCase):
    """Sockets that were there before the gateway."""

    async def activated(self, files: dict[str, str], *sockets: str) -> Process:
        """``systemd-socket-activate``, which starts the gateway at the first connection."""
        [program] = require("systemd-socket-activate")
        folder = self.folder()
        config = write_config(folder, files)
        variables = [f"--setenv={name}={value}" for name, value in environment().items()]
        gateway = [*twistd_command(), "-n", "--pidfile=", "smtpforward", "--config", str(config)]
        process = Process(
            [program, *variables, *sockets, *gateway], folder, environment(), "activated"
        )
        self.stop_later(process.stop)
        return process

    async def takes_mail(self, port: int) -> None:
        """A message goes through."""
        answer = await deferToThread(transaction, port, "rcpt@example.com")
        self.assertEqual(250, answer.code, answer.text)

    async def test_by_address(self) -> None:
        """Each entry gets the socket of its address; one without a socket is bound as ever."""
        one, two, own = free_port(), free_port(), free_port()
        files = {
            **three_files(one, self.backend().port),
            "smtp.ini": f"listen=127.0.0.1:{two},127.0.0.1:{own},127.0.0.1:{one}\n",
            **self.files,
        }
        sockets = [f"--listen=127.0.0.1:{port}" for port in (one, two)]
        gateway = await self.activated(files, *sockets, "--fdname=one:two")
        await gateway.until_listening(one)
        for port in (one, two, own):
            await self.takes_mail(port)
        self.assertNotIn("Traceback", gateway.output())

    async def test_by_name(self) -> None:
        """``systemd:`` entries say which; a restart keeps them."""
        port = free_port()
        files = {
            **three_files(port, self.backend().port),
            "smtp.ini": "listen=systemd:domain=INET:name=smtp\n",
            **self.files,
        }
        gateway = await self.activated(files, f"--listen=127.0.0.1:{port}", "--fdname=smtp")
        await gateway.until_listening(port)
        await self.takes_mail(port)
        await until(lambda: TAKES.search(gateway.output()), gateway.output)
        await self.replaced(gateway)
        await self.takes_mail(port)

    async def test_mismatch(self) -> None:
        """A socket that no entry has stops the start, with what would be right."""
        port = free_port()
        files = {**three_files(free_port(), free_port()), **self.files}
        listen = [f"--listen=127.0.0.1:{port}", "--fdname=smtp"]
        gateway = await self.activated(files, *listen)
        await gateway.until_listening(port)
        with socket.create_connection(("127.0.0.1", port)):
            await gateway.ended()
        self.assertEqual(EX_CONFIG, await gateway.ended(), gateway.output())
        self.assertIn(f"handed over: 127.0.0.1:{port}", gateway.output())
        self.assertNotIn("Traceback", gateway.output())


class ActivationWorkersTests(ActivationTests):
    """The same with workers."""

    files = {"connection.ini": "nodes=2\n"}
