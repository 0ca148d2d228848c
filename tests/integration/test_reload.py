"""New settings under load, by signal and by file change: what holds for whom, and what is lost."""

import os
import re
import signal
import socket
import ssl

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from tests.peers.backend import ScriptedBackend
from tests.peers.case import PeerTestCase, full_size
from tests.peers.clients import smtp_source
from tests.peers.gateway import ME, Gateway, environment, three_files, twistd_command, write_config
from tests.peers.ports import free_port
from tests.peers.process import Process
from tests.peers.raw import RawClient
from tests.tlssupport import certificate

SWITCHES = 10
BROKEN = 4
PER_SWITCH = 500 if full_size() else 60
ROUND = 200
APPLIED = re.compile(r"read again, and hold from id=([0-9A-F]+) on; changed: (.+)")
KEPT = "the settings stay as they were"
RECEIVED = re.compile(rb"\tby \S+ with E?SMTP id ([0-9A-F]+)")
WIRE = b"Subject: x\r\n\r\nhello\r\n.\r\n"


class ReloadCase(PeerTestCase):
    """A gateway whose files a test replaces, as an editor does it: by renaming."""

    def replace(self, gateway: Gateway, name: str, text: str) -> None:
        """``text`` is the file ``name`` from now on."""
        path = gateway.folder / "config" / name
        beside = path.with_name(f".{name}.new")
        beside.write_text(text, "utf-8")
        beside.replace(path)

    def applied(self, gateway: Gateway) -> list[tuple[int, str]]:
        """Each time that settings were applied: from which transaction on, and what was new."""
        found = APPLIED.findall(gateway.stdout)
        return [(int(number, 16), parts) for number, parts in found]

    async def until_applied(self, gateway: Gateway, count: int, part: str) -> None:
        """Wait until ``part`` has changed so many times."""

        def enough() -> bool:
            return sum(part in parts for _, parts in self.applied(gateway)) >= count

        await gateway.until(enough, f"{part} applied {count} times")


class LoadTests(ReloadCase):
    """``smtp-source`` runs, and routes are switched."""

    timeout = 240

    async def load(self, port: int) -> int:
        """Send messages until it is enough; how many. Each of them must be taken."""
        sent = 0
        while not self.enough:
            done = await smtp_source(port, "-s", "20", "-m", str(ROUND), "-l", "1000", timeout=120)
            self.assertEqual(0, done.exit_code, done.output)
            sent += ROUND
        return sent

    async def test_routes_switched_under_load(self) -> None:
        """No message is lost or refused; each is where the route led when it began."""
        self.enough = False
        backends = [self.backend(), self.backend()]
        gateway = await self.gateway(backends[0].port)
        ports = [backends[0].port]
        loading = Deferred.fromCoroutine(self.load(gateway.port))
        try:
            for number in range(SWITCHES):
                await self.switch(gateway, number, backends, ports)
        finally:
            self.enough = True
            sent = await loading
        self.assertEqual(sent, len(self.ids(*backends)))
        self.assertEqual(sent, len(set(self.ids(*backends))), "duplicates")
        self.assert_routed(gateway, backends, ports)

    async def switch(
        self, gateway: Gateway, number: int, backends: list[ScriptedBackend], ports: list[int]
    ) -> None:
        """Another route, or a file that is wrong; by signal, or by the change alone.

        :param ports: grows by that of the backend that is the route then.
        """
        broken = number == BROKEN
        before, backend = sorted(backends, key=lambda b: b.port != ports[-1])
        text = three_files(gateway.port, backend.port)["smtp_forward.ini"]
        if broken:
            text = text.replace(f"port={backend.port}", "port=many")
        self.replace(gateway, "smtp_forward.ini", text)
        if number % 2:
            gateway.signal(signal.SIGHUP)
        if broken:
            await gateway.until(lambda: KEPT in gateway.stdout, KEPT)
            self.assertIn("smtp_forward.ini:2: port: 'many' is wrong", gateway.stdout)
            backend = before
        else:
            await self.until_applied(gateway, len(ports), "routes")
            ports.append(backend.port)
        await backend.until_taken(len(backend.messages) + PER_SWITCH, timeout=60)

    def ids(self, *backends: ScriptedBackend) -> list[int]:
        """The transactions whose messages they have."""
        found = []
        for message in (message for backend in backends for message in backend.messages):
            match = RECEIVED.search(message.plain)
            assert match is not None, message.plain
            found.append(int(match[1], 16))
        return found

    def assert_routed(
        self, gateway: Gateway, backends: list[ScriptedBackend], ports: list[int]
    ) -> None:
        """Each message is at the backend of the route that held when its transaction began."""
        since = [number for number, parts in self.applied(gateway) if "routes" in parts]
        self.assertEqual(len(since), len(ports) - 1)
        for backend in backends:
            for number in self.ids(backend):
                held = ports[sum(beginning <= number for beginning in since)]
                self.assertEqual(held, backend.port, f"{number:X}")


class WorkersTests(ReloadCase):
    """With ``nodes`` the parent reads, and all workers apply."""

    async def test_every_worker(self) -> None:
        """After a reload no worker uses the old route; a broken file changes nothing."""
        old, new = self.backend(), self.backend()
        gateway = await self.gateway(old.port, {"connection.ini": "nodes=2\n"})
        await gateway.until(lambda: gateway.stdout.count(" forwards to ") == 2, "two workers")
        self.replace(gateway, "smtp_forward.ini", "host=127.0.0.1\nport=many\n")
        await gateway.until(lambda: KEPT in gateway.stdout, KEPT)
        text = three_files(gateway.port, new.port)["smtp_forward.ini"]
        self.replace(gateway, "smtp_forward.ini", text)
        gateway.signal(signal.SIGHUP)
        await self.until_applied(gateway, 2, "routes")
        done = await smtp_source(gateway.port, "-s", "10", "-m", "100")
        self.assertEqual(0, done.exit_code, done.output)
        self.assertEqual((0, 100), (len(old.messages), len(new.messages)))
        self.assertEqual({"1", "2"}, set(re.findall(r"\[mail,(\d)\]", gateway.stdout)))


class SignalTests(ReloadCase):
    """What else a reload replaces."""

    async def test_certificate_renewed(self) -> None:
        """A new certificate is shown to clients from then on, without a signal."""
        old, new = certificate(ME), certificate(ME)
        gateway = await self.gateway(
            self.backend().port,
            {"tls_key.pem": old.key.decode(), "tls_cert.pem": old.chain.decode()},
        )
        before = await deferToThread(shown_certificate, gateway.port)
        # Key and certificate are two files: between the two they do not match.
        self.replace(gateway, "tls_key.pem", new.key.decode())
        await gateway.until(lambda: KEPT in gateway.stdout, KEPT)
        self.replace(gateway, "tls_cert.pem", new.chain.decode())
        await self.until_applied(gateway, 1, "tls")
        after = await deferToThread(shown_certificate, gateway.port)
        self.assertEqual(before, ssl.PEM_cert_to_DER_cert(first(old.chain)))
        self.assertEqual(after, ssl.PEM_cert_to_DER_cert(first(new.chain)))

    async def test_connection_kept_open(self) -> None:
        """A client that stays takes the new lists and limits with its next transaction."""
        gateway = await self.gateway(self.backend().port)
        client = await deferToThread(RawClient, gateway.port)
        self.addCleanup(client.close)
        await deferToThread(client.hello)
        first_answer = await deferToThread(client.transaction, [WIRE])
        self.replace(gateway, "relay_acl_allow", "192.0.2.0/24\n")
        gateway.signal(signal.SIGHUP)
        await self.until_applied(gateway, 1, "access")
        self.assertEqual(250, first_answer.code)
        answer = await deferToThread(client.transaction, [WIRE])
        self.assertEqual((550, "5.7.1"), (answer.code, answer.text.split()[0]))

    async def test_connection_to_an_unchanged_backend(self) -> None:
        """A pooled connection outlives a reload that does not concern its backend."""
        backend = self.backend()
        gateway = await self.gateway(backend.port)
        client = await deferToThread(RawClient, gateway.port)
        self.addCleanup(client.close)
        await deferToThread(client.hello)
        await deferToThread(client.transaction, [WIRE])
        self.replace(gateway, "host_list", "example.net\n")
        gateway.signal(signal.SIGHUP)
        await self.until_applied(gateway, 1, "access")
        await deferToThread(client.transaction, [WIRE])
        self.assertEqual(1, len(backend.conversations))
        self.assertEqual(2, len(backend.messages))

    async def test_log_reopened(self) -> None:
        """After the log file has been moved, SIGHUP begins a new one."""
        folder, port = self.folder(), free_port()
        config = write_config(folder, {**three_files(port, free_port()), "me": f"{ME}\n"})
        log, moved = folder / "gateway.log", folder / "gateway.log.1"
        options = ["-n", "--pidfile=", "--logfile", str(log)]
        command = [*twistd_command(), *options, "smtpforward", "--config", str(config)]
        process = Process(command, folder, environment())
        self.stop_later(process.stop)
        await process.until_listening(port)
        os.rename(log, moved)
        process.signal(signal.SIGHUP)
        await process.until(lambda: log.exists() and APPLIED.search(log.read_text()), "a new log")
        self.assertNotIn("read again", moved.read_text())


def first(chain: bytes) -> str:
    """The first certificate of a chain."""
    end = "-----END CERTIFICATE-----\n"
    return chain.decode().partition(end)[0] + end


def shown_certificate(port: int) -> bytes | None:
    """The certificate that the edge shows after STARTTLS."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), 20) as plain:
        file = plain.makefile("rb")
        file.readline()
        plain.sendall(b"STARTTLS\r\n" if ehlo(plain, file) else b"")
        file.readline()
        with context.wrap_socket(plain, server_hostname=ME) as secure:
            return secure.getpeercert(binary_form=True)


def ehlo(plain: socket.socket, file: object) -> bool:
    """Say hello; whether STARTTLS is offered."""
    plain.sendall(b"EHLO client.example.org\r\n")
    lines = [file.readline()]  # type: ignore[attr-defined]
    while lines[-1][3:4] == b"-":
        lines.append(file.readline())  # type: ignore[attr-defined]
    return any(b"STARTTLS" in line for line in lines)
