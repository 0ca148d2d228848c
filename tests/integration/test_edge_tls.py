"""TLS and logins at the edge, with real clients: openssl, swaks and smtplib."""

import smtplib
import ssl
from collections.abc import Callable
from typing import Any

from twisted.internet.threads import deferToThread

from smtpforward.config.settings import Certificate
from tests.peers.backend import ScriptedBackend
from tests.peers.case import PeerTestCase
from tests.peers.clients import Finished, run, swaks
from tests.peers.gateway import ME, Gateway, three_files
from tests.peers.ports import free_port
from tests.peers.require import require, require_perl
from tests.tlssupport import certificate

MAIN, OTHER = certificate(ME, "localhost"), certificate("other.example.org")
USER, PASSWORD = "anna@example.org", "geheim"
NO_TLS = 29  # swaks: TLS was not to be had
NO_AUTH = 28  # swaks: the login was refused, or not possible
SENDER, RECIPIENT = "anna@example.org", "rcpt@elsewhere.example"
BODY = b"Subject: x\r\n\r\nhello\r\n"


def text(one: Certificate) -> str:
    """A certificate as a file of the directory ``tls/`` has it."""
    return (one.key + one.chain).decode()


class EdgeTLSCase(PeerTestCase):
    """A gateway with two certificates and a user.

    :ivar port: speaks STARTTLS; ``smtps`` TLS at once.
    """

    port: int
    smtps: int
    backend_: ScriptedBackend

    async def start(self, relays: str = "192.0.2.0/24", **more: str) -> Gateway:
        """A running one; ``more`` keys of ``smtp.ini``."""
        self.backend_ = self.backend()
        self.port, self.smtps = free_port(), free_port()
        listen = f"listen=127.0.0.1:{self.port},127.0.0.1:{self.smtps}\n"
        keys = "".join(f"{key}={value}\n" for key, value in more.items())
        files = {
            **three_files(self.port, self.backend_.port),
            "me": f"{ME}\n",
            "smtp.ini": f"{listen}smtps_port={self.smtps}\n{keys}",
            "tls_key.pem": MAIN.key.decode(),
            "tls_cert.pem": MAIN.chain.decode(),
            "tls/other.pem": text(OTHER),
            "host_list": "example.com\n",
            "relay_acl_allow": f"{relays}\n",
            "auth_flat_file.ini": "[core]\nmethods=PLAIN,LOGIN,CRAM-MD5\n"
            f"[users]\n{USER}={PASSWORD}\n",
        }
        gateway = Gateway(self.folder(), files, self.port)
        self.stop_later(gateway.stop)
        await gateway.ready()
        await gateway.until_listening(self.smtps)
        return gateway


class OpenSSLTests(EdgeTLSCase):
    """``openssl s_client``."""

    async def shown(self, port: int, name: str, *options: str) -> Finished:
        """What it prints of the certificate for ``name``."""
        [program] = require("openssl")
        where = ["s_client", "-connect", f"127.0.0.1:{port}", "-servername", name]
        return await run([program, *where, *options], 30)

    async def test_certificate_by_name(self) -> None:
        """With STARTTLS and with TLS at once the name picks the certificate."""
        await self.start()
        for port, options in ((self.port, ("-starttls", "smtp")), (self.smtps, ())):
            for asked, name in (("other.example.org",) * 2, ("x.example", ME), (ME, ME)):
                done = await self.shown(port, asked, *options)
                self.assertIn(f"subject=CN = {name}\n", done.output)

    async def test_old_versions(self) -> None:
        """TLS 1.1 is refused, TLS 1.2 and 1.3 are not."""
        await self.start()
        for version, good in (("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)):
            done = await self.shown(self.port, ME, "-starttls", "smtp", version)
            self.assertEqual("Cipher is (NONE)" not in done.output, good, done.output)


class SwaksTests(EdgeTLSCase):
    """``swaks``."""

    async def swaks(self, port: int, *options: str) -> Finished:
        """A message of the user's to a domain that only users may send to."""
        return await swaks(port, "--from", SENDER, "--to", RECIPIENT, *options)

    def assert_taken(self, done: Finished, protocol: bytes) -> None:
        """The message went through, and says how it came."""
        self.assertEqual(0, done.exit_code, done.output)
        self.assertIn(b" with " + protocol + b" id ", self.backend_.messages[-1].plain)

    async def test_tls(self) -> None:
        """A message arrives over STARTTLS, and over TLS at once with a login."""
        require_perl(Net__SSLeay="libnet-ssleay-perl")
        await self.start()
        local = ("--to", "rcpt@example.com")
        self.assert_taken(await self.swaks(self.port, "-tls", *local), b"ESMTPS")
        login = ("--auth", "PLAIN", "--auth-user", USER, "--auth-password", PASSWORD)
        self.assert_taken(await self.swaks(self.smtps, "--tlsc", *login), b"ESMTPSA")
        done = await self.swaks(self.smtps, "--tlsc", *local)
        self.assertIn("530 5.7.0", done.output)

    async def test_name(self) -> None:
        """The name that it asks for picks the certificate: it trusts only the one for that name."""
        require_perl(Net__SSLeay="libnet-ssleay-perl")
        await self.start()
        trusted = self.folder() / "trusted.pem"
        trusted.write_bytes(OTHER.chain)
        verify = ("--tls-verify", "--tls-ca-path", str(trusted), "--to", "rcpt@example.com")
        done = await self.swaks(self.port, "-tls", "--tls-sni", "other.example.org", *verify)
        self.assert_taken(done, b"ESMTPS")
        self.assertIn('=== TLS peer DN="/CN=other.example.org"\n', done.output)
        done = await self.swaks(self.port, "-tls", "--tls-sni", ME, *verify)
        self.assertEqual(NO_TLS, done.exit_code, done.output)
        self.assertEqual(1, len(self.backend_.messages))

    async def test_who_relays_by_address(self) -> None:
        """Where a login is demanded, it is so of a client of ``relay_acl_allow`` too."""
        require_perl(Net__SSLeay="libnet-ssleay-perl")
        await self.start(relays="127.0.0.0/8")
        self.assert_taken(await self.swaks(self.port), b"ESMTP")
        done = await self.swaks(self.smtps, "--tlsc")
        self.assertIn("530 5.7.0 log in first", done.output)
        login = ("--auth", "PLAIN", "--auth-user", USER, "--auth-password", PASSWORD)
        self.assert_taken(await self.swaks(self.smtps, "--tlsc", *login), b"ESMTPSA")

    async def test_logins(self) -> None:
        """Each mechanism logs in, on loopback without TLS; then the user may relay."""
        await self.start()
        for method in ("PLAIN", "LOGIN", "CRAM-MD5"):
            login = ("--auth", method, "--auth-user", USER, "--auth-password", PASSWORD)
            self.assert_taken(await self.swaks(self.port, *login), b"ESMTPA")

    async def test_refusals(self) -> None:
        """A wrong password is 535; a user sends from its own domain; a stranger does not relay."""
        await self.start()
        for method in ("PLAIN", "LOGIN", "CRAM-MD5"):
            wrong = ("--auth", method, "--auth-user", USER, "--auth-password", "x")
            done = await self.swaks(self.port, *wrong)
            self.assertEqual(NO_AUTH, done.exit_code, done.output)
            self.assertIn("535 5.7.8", done.output)
        login = ("--auth", "PLAIN", "--auth-user", USER, "--auth-password", PASSWORD)
        done = await self.swaks(self.port, *login, "--from", "boss@example.com")
        self.assertIn("550 5.7.1 this login sends only from its own domain", done.output)
        done = await self.swaks(self.port)
        self.assertIn("550 5.7.1", done.output)
        self.assertEqual([], self.backend_.messages)


class SmtplibTests(EdgeTLSCase):
    """The standard library's client, which verifies the certificate."""

    async def send(self, connect: Callable[[ssl.SSLContext], smtplib.SMTP]) -> Any:
        """Log in and send a message."""
        context = ssl.create_default_context(cadata=MAIN.chain.decode())

        def blocking() -> Any:
            with connect(context) as client:
                client.login(USER, PASSWORD)
                return client.sendmail(SENDER, [RECIPIENT], BODY)

        return await deferToThread(blocking)

    async def test_at_once(self) -> None:
        """``SMTP_SSL`` and a login; the message gets a date and an id."""
        gateway = await self.start()
        refused = await self.send(
            lambda context: smtplib.SMTP_SSL("localhost", self.smtps, timeout=30, context=context)
        )
        self.assertEqual({}, refused)
        [message] = self.backend_.messages
        self.assertIn(b" with ESMTPSA id ", message.plain)
        self.assertIn(b"\r\nDate: ", message.plain)
        self.assertIn(b"\r\nMessage-ID: <", message.plain)
        self.assertNotIn(PASSWORD, gateway.output())
        self.assertNotIn("Warning", gateway.output())

    async def test_starttls(self) -> None:
        """STARTTLS, then a login; without TLS a login of the same client works on loopback."""
        await self.start()

        def start(context: ssl.SSLContext) -> smtplib.SMTP:
            client = smtplib.SMTP("localhost", self.port, timeout=30)
            client.starttls(context=context)
            return client

        self.assertEqual({}, await self.send(start))
        [message] = self.backend_.messages
        self.assertIn(b" with ESMTPSA id ", message.plain)

    async def test_large_message(self) -> None:
        """A message of many TLS records arrives as it was sent."""
        await self.start()
        body = BODY + b"".join(b"%07d line of a long message\r\n" % n for n in range(60_000))

        def blocking(context: ssl.SSLContext) -> Any:
            where = smtplib.SMTP_SSL("localhost", self.smtps, timeout=60, context=context)
            with where as client:
                client.login(USER, PASSWORD)
                return client.sendmail(SENDER, [RECIPIENT], body)

        await deferToThread(blocking, ssl.create_default_context(cadata=MAIN.chain.decode()))
        [message] = self.backend_.messages
        self.assertTrue(message.plain.endswith(body))
