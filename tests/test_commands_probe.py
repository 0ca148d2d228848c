"""``smtpforward probe``, against a backend without a socket."""

import io
import json
from contextlib import redirect_stdout
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.testing import MemoryReactorClock

from smtpforward.commands import probe
from smtpforward.config import Settings, load
from tests.clientsupport import Resolver
from tests.clienttls import CA, EXPIRED, TLSCase, TLSWire, backend_context
from tests.test_commands_check import CommandCase

GREETING = b"220 backend.example ESMTP\r\n"
STARTTLS = b"250-backend.example\r\n250-SIZE 7\r\n250 STARTTLS\r\n"
AUTH = b"250-backend.example\r\n250 AUTH PLAIN\r\n"
HOST = "host=192.0.2.1\n"
LOGIN = "auth_type=plain\nauth_user=alice\nauth_pass=s3cret\n"


class ProbeTests(TLSCase, CommandCase):
    """What is printed, and what the result is."""

    def settings_of(self, forward: str) -> Settings:
        """Those of a directory that trusts the tests' authority."""
        files = {"tls.ini": "[outbound]\nca=ca.pem\n", "ca.pem": CA.cert_pem.bytes().decode()}
        return load(self.directory(forward, **files))

    def probe(self, forward: str, name: str = "", as_json: bool = False) -> None:
        """Begin."""
        self.out_stream = io.StringIO()
        settings = self.settings_of(forward)
        with redirect_stdout(self.out_stream):
            probing = probe.probe(self.reactor, settings, name, as_json)
            self.running: Deferred[bool] = Deferred.fromCoroutine(probing)

    def to_starttls(self) -> TLSWire:
        """The backend has said yes to STARTTLS."""
        wire = self.accept()
        wire.says(GREETING)
        self.assertEqual(wire.says(STARTTLS), b"STARTTLS\r\n")
        self.reactor.advance(0.02)
        wire.protocol.dataReceived(b"220 go\r\n")
        return wire

    def bye(self, wire: TLSWire) -> None:
        """The backend closes."""
        with redirect_stdout(self.out_stream):
            wire.lose()

    def said(self, good: bool) -> str:
        """What was printed; no secret is in it."""
        self.assertIs(self.successResultOf(self.running), good)
        text = self.out_stream.getvalue()
        self.assertNotIn("s3cret", text)
        self.assertNotIn("AGFsaWNl", text)
        return text

    def test_everything(self) -> None:
        """TLS, a certificate that is right, a login: ready, and QUIT without mail."""
        self.probe(f"{HOST}enable_tls=required\n{LOGIN}")
        wire = self.to_starttls()
        wire.shake()
        self.assertTrue(wire.says_inside(AUTH).startswith(b"AUTH PLAIN "))
        self.assertEqual(wire.says_inside(b"235 in\r\n"), b"QUIT\r\n")
        self.bye(wire)
        text = self.said(True)
        for line in (
            "server: 192.0.2.1:25 (enable_tls=required)",
            "  connected: 192.0.2.1[192.0.2.1]:25",
            "  greeting: 220 backend.example ESMTP",
            "  extensions: AUTH PLAIN",
            "  TLS: TLSv1.3",
            "  certificate: 192.0.2.1, backend.example",
            "  verification: good",
            "  login: PLAIN, accepted",
            "  result: ready for mail",
        ):
            self.assertIn(f"{line}\n", text)
        self.assertIn("STARTTLS 20 ms", text)

    def test_unverified(self) -> None:
        """Where the certificate does not matter, what is wrong with it is said all the same."""
        self.backend = backend_context(EXPIRED)
        self.probe(f"{HOST}enable_tls=true\n")
        wire = self.to_starttls()
        wire.shake()
        wire.says_inside(AUTH)
        self.bye(wire)
        text = self.said(True)
        self.assertIn("  verification: certificate has expired\n", text)
        self.assertIn("  login: none is configured\n", text)

    def test_bad_certificate(self) -> None:
        """Where it matters, the server would not be used."""
        self.backend = backend_context(EXPIRED)
        self.probe(f"{HOST}enable_tls=required\n")
        wire = self.to_starttls()
        with redirect_stdout(self.out_stream):
            wire.shake()
        self.assertIn("FAILED", self.said(False))

    def test_login_refused(self) -> None:
        """Nor where the login is refused; the backend's words are there."""
        self.probe(f"{HOST}enable_tls=no\n{LOGIN}")
        wire = self.accept()
        wire.says(GREETING)
        wire.says(AUTH)
        with redirect_stdout(self.out_stream):
            wire.says(b"535 5.7.8 bad\r\n")
        text = self.said(False)
        self.assertIn("  login: PLAIN, not done\n", text)
        self.assertIn("AUTH PLAIN: 535 5.7.8 bad", text)

    def test_unreachable(self) -> None:
        """Nor where nobody listens."""
        self.probe(HOST)
        with redirect_stdout(self.out_stream):
            self.refuse(Refused())
        self.assertIn("FAILED, no usable connection", self.said(False))

    def test_all_servers(self) -> None:
        """Each server of the route is probed; one that would not be used is enough."""
        self.probe("forwarding_host_pool=192.0.2.1,192.0.2.2\nenable_tls=no\n")
        with redirect_stdout(self.out_stream):
            self.refuse(Refused())
        wire = self.accept()
        wire.says(GREETING)
        wire.says(AUTH)
        self.bye(wire)
        text = self.said(False)
        self.assertEqual(self.attempts(), ["192.0.2.1", "192.0.2.2"])
        self.assertIn("FAILED", text)
        self.assertIn("ready for mail", text)

    def test_json(self) -> None:
        """The same for programs, in one document."""
        self.probe("forwarding_host_pool=192.0.2.1,192.0.2.2\nenable_tls=no\n", as_json=True)
        with redirect_stdout(self.out_stream):
            self.refuse(Refused())
        wire = self.accept()
        wire.says(GREETING)
        wire.says(AUTH)
        self.bye(wire)
        document = json.loads(self.said(False))
        self.assertEqual(document["route"], "default")
        bad, good = document["servers"]
        self.assertEqual((bad["server"], bad["ready"]), ("192.0.2.1:25", False))
        self.assertEqual(bad["failed"][0]["event"], "no usable connection to the backend")
        self.assertEqual((good["ready"], good["failed"], good["enable_tls"]), (True, [], "false"))
        [connection] = good["connections"]
        self.assertEqual(connection["greeting"], "220 backend.example ESMTP")
        self.assertEqual(connection["TLS"], "no")

    def test_next_address(self) -> None:
        """Of a name with several addresses each that was tried is shown."""
        self.reactor.nameResolver = Resolver("192.0.2.1", "192.0.2.2")
        self.probe("host=mail.example\nenable_tls=no\n")
        wire = self.accept()
        with redirect_stdout(self.out_stream):
            wire.says(b"554 no\r\n")
        wire = self.accept()
        wire.says(GREETING)
        wire.says(AUTH)
        self.bye(wire)
        text = self.said(True)
        self.assertIn("[192.0.2.1]:25\n  greeting: 554 no\n", text)
        self.assertIn("\n  the next address\n  connected: mail.example[192.0.2.2]:25\n", text)

    def test_which_route(self) -> None:
        """A section, a domain as it is written, an address's domain; else the default route."""
        settings = self.settings_of(
            f"{HOST}enable_tls=no\n[a.example]\nhost=192.0.2.7\n[b\u00fccher.example]\n"
        )
        for name, section in (
            ("a.example", "a.example"),
            ("A.Example.", "a.example"),
            ("u@a.example", "a.example"),
            ("B\u00fccher.example", "b\u00fccher.example"),
            ("c.example", ""),
            ("", ""),
            ("no domain", ""),
        ):
            self.assertEqual(probe.find(settings, name).section, section, name)


class CommandTests(CommandCase):
    """The command line."""

    def run_probe(self, result: bool) -> int:
        """The exit code where the probe says ``result``."""

        async def probing(reactor: Any, settings: Settings, name: str, as_json: bool) -> bool:
            return result

        def reacting(main: Any) -> None:
            main(MemoryReactorClock())
            raise SystemExit(0)

        self.patch(probe, "probe", probing)
        self.patch(probe, "react", reacting)
        path = self.directory(f"{HOST}enable_tls=no\n")
        return self.run_main("probe", "--config", path, "a.example")

    def test_exit_codes(self) -> None:
        """0, and 69 for a server that would not be used."""
        self.assertEqual(self.run_probe(True), 0)
        self.assertEqual(self.run_probe(False), 69)

    def test_bad_settings(self) -> None:
        """As for every command."""
        self.assertEqual(self.run_main("probe", "--config", "nowhere"), 66)
