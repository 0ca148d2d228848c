"""The outbound queue with real servers: a Postfix with Dovecot's logins, an Exim, and real clients.

The smart host, or an MX host that a real name server leads to, is looked at from its end: its log,
what it has filed, who logged in. ``kind`` is the kind of server, as in ``test_backend_tls.py``.
"""

import base64
import email
import email.policy
import re
from pathlib import Path
from typing import Any

from twisted.internet import reactor

from smtpforward.config import load
from smtpforward.gateway import Gateway
from smtpforward.outbound.entry import Change, Filter
from smtpforward.outbound.store.choice import store_at
from tests.integration.test_queue import A, B, QueueCase
from tests.integration.tlsmatrix import AWKWARD, files
from tests.integration.tlsservers import EximKind, Kind, Offer, PostfixKind, Server
from tests.peers.backend import ScriptedBackend
from tests.peers.clients import smtp_source, swaks
from tests.peers.ports import free_port
from tests.peers.wait import until

DOMAIN, MX = "example.com", "mx.example.com"
KNOWN = f"known@{DOMAIN}"
LOGINS = {f"user{number}": word for number, word in enumerate(AWKWARD)}


class ServerCase(QueueCase):
    """A queue, and a server that files mail for example.com."""

    kind: Kind = PostfixKind()
    timeout = 240

    def setUp(self) -> None:
        super().setUp()
        self.names.mx(DOMAIN, (10, MX))
        self.names.address(MX, "127.0.0.1")

    def start(self, server: Server, *lines: str, outbound: str = "", sections: str = "") -> Gateway:
        """A gateway of its own whose MX hosts have the port of ``server``.

        :param lines: of ``outbound.ini``. ``outbound``: of that section of ``tls.ini``.
        """
        self.path, self.port = self.folder(), free_port()
        self.files = files(outbound)
        return self.queueing(f"mx_port={server.port}", *lines, sections=sections)

    async def assert_logs(self, server: Server, pattern: str, number: int = 1) -> None:
        """It writes what matches to its log so many times, if not yet, then soon."""

        def found() -> bool:
            return len(re.findall(pattern, server.log)) >= number

        await until(found, lambda: f"{number} of {pattern} in {server.log}")

    async def filed(self, server: Server, number: int = 1, mailbox: str = "known") -> list[bytes]:
        """What it has filed, once it is so much."""
        await until(lambda: len(server.messages(mailbox)) >= number, server.output)
        found = server.messages(mailbox)
        self.assertEqual(number, len(found))
        return found

    def assert_untold(self, words: list[str]) -> None:
        """Neither the log nor a file of the store holds a password, as it is or in base64."""
        logged = "\n".join(map(str, [*self.log_lines(), *self.events])).encode()
        kept = b"".join(p.read_bytes() for p in Path(self.path).rglob("*") if p.is_file())
        self.assertIn(b"SQLite format", kept)
        for word in words:
            for secret in (word.encode(), base64.b64encode(word.encode())):
                self.assertNotIn(secret, logged)
                self.assertNotIn(secret, kept)


class SmartHostTests(ServerCase):
    """A smart host that takes mail from who logs in, under TLS."""

    def smart(self, server: Server, mechanism: str, user: str, word: str) -> Gateway:
        """A gateway that logs in there."""
        login = (f"auth_type={mechanism}", f"auth_user={user}", f"auth_pass={word}")
        host = f"smart_host=127.0.0.1:{server.port}"
        return self.start(server, host, "enable_tls=required", *login)

    def trace(self, name: str, mechanism: str, user: str) -> str:
        """The trace ``name`` of one login."""
        pattern: str = getattr(self.kind.traces, name)
        return pattern.format(mechanism=mechanism.upper(), user=user)

    async def test_logins(self) -> None:
        """Awkward passwords by both mechanisms: the server says who logged in; nobody else does."""
        server = await self.kind.start(self, Offer(users=LOGINS))
        for number, (user, word) in enumerate(LOGINS.items(), 1):
            mechanism = ("plain", "login")[number % 2]
            gateway = self.smart(server, mechanism, user, word)
            await self.queue_one(gateway, KNOWN)
            await self.assert_logs(server, self.trace("logged_in", mechanism, user))
            await self.filed(server, number)
            await until(lambda: not self.attempted(), "it is recorded")
            self.assertEqual([], await self.entries())
            self.assert_untold([word])
        self.assertEqual([], self.log_errors())
        for message in server.messages("known"):
            self.assertRegex(message.decode(), self.kind.traces.received)

    async def test_wrong_password(self) -> None:
        """The mail waits, an error says why, nothing comes back; with the right one it goes."""
        server = await self.kind.start(self, Offer(users={"user": "right,#;word"}))
        for mechanism in ("plain", "login"):
            self.events.clear()
            gateway = self.smart(server, mechanism, "user", "wrong,#;word")
            await self.queue_one(gateway, KNOWN)
            entry = await self.deferred("4.7.0")
            self.assertEqual(f"127.0.0.1:{server.port}", entry.destination)
            await self.assert_logs(server, self.trace("refused", mechanism, "user"))
            [error] = self.log_errors()
            self.assertIn("the backend has not let us log in at connect: 535", error)
            self.assertIn("check the settings for this host", error)
            self.assert_untold(["wrong,#;word"])
        self.assertEqual([], server.messages("known"))
        self.reload(gateway, "wrong,#;word", "right,#;word")
        # The next attempt is an hour off, and the host backs off no more.
        store = store_at(f"sqlite:{self.path}/queue.sqlite3", reactor)
        await store.open()
        self.assertEqual(1, await store.change(Filter(), Change.RETRY))
        await store.close()
        await self.queue_one(gateway, KNOWN)
        await self.filed(server, 2)

    def reload(self, gateway: Gateway, old: str, new: str) -> None:
        """New settings: ``outbound.ini`` with ``new`` in place of ``old``."""
        [path] = [Path(name) for name in gateway.settings.files if name.endswith("/outbound.ini")]
        path.write_text(path.read_text("utf-8").replace(old, new), "utf-8")
        gateway.apply(load(str(path.parent)))

    async def test_certificate(self) -> None:
        """A smart host that cannot be trusted gets neither the login nor the mail."""
        for shown, why in (("untrusted", "unable to get issuer"), ("wrong name", "is not for")):
            self.events.clear()
            server = await self.kind.start(self, Offer(shown, users={"user": "secret"}))
            await self.queue_one(self.smart(server, "plain", "user", "secret"), KNOWN)
            await self.deferred("4.7.5")
            self.assertIn(why, " ".join(self.log_errors()))
            self.assertNotRegex(server.log, self.trace("logged_in", "plain", "user"))
            self.assertNotRegex(server.log, self.kind.traces.envelope)


class EximSmartHostTests(SmartHostTests):
    """The same with Exim."""

    kind = EximKind()


class MXTests(ServerCase):
    """An MX host with STARTTLS."""

    def steps(self) -> list[str]:
        """How far the one connection to the MX host has come, as our end saw it."""
        queueing = self.gateway_.queueing
        assert queueing is not None
        [pool] = queueing.direct.pools
        [session] = pool._idle
        return [name for name, _ in session.steps]

    async def delivered(self, server: Server, gateway: Gateway) -> str:
        """The header of the message that it has filed."""
        await self.queue_one(gateway, KNOWN)
        [message] = await self.filed(server)
        await until(lambda: not self.attempted(), "it is recorded")
        self.assertEqual([], await self.entries())
        line = [line for line in self.log_lines() if " status=sent " in line][-1]
        self.assertIn(f"relay={MX}[127.0.0.1]:{server.port} ", line)
        return message.partition(b"\n\n")[0].decode()

    async def test_opportunistic(self) -> None:
        """TLS is used where it is offered, whatever the certificate is: both ends say so."""
        server = await self.kind.start(self, Offer("untrusted"))
        header = await self.delivered(server, self.start(server, "enable_tls=true"))
        self.assertRegex(header, self.kind.traces.received)
        await self.assert_logs(server, self.kind.traces.secured)
        self.assertIn("TLS", self.steps())

    async def test_not_offered(self) -> None:
        """A server without TLS gets it in the clear."""
        server = await self.kind.start(self, Offer(None))
        header = await self.delivered(server, self.start(server, "enable_tls=true"))
        self.assertNotRegex(header, self.kind.traces.received)
        self.assertNotIn("TLS", self.steps())

    async def test_broken(self) -> None:
        """A server that fails at the TLS that it merely offers gets it in the clear, at once."""
        server = await self.kind.start(self, Offer(old=True))
        gateway = self.start(server, "enable_tls=true", outbound="minVersion=TLSv1.3\n")
        header = await self.delivered(server, gateway)
        self.assertNotRegex(header, self.kind.traces.received)
        await self.assert_logs(server, self.kind.traces.failed)
        warned = [line for line in self.log_lines() if "fails at it" in line]
        self.assertEqual(1, len(warned), warned)
        self.assertIn(f"{MX}[127.0.0.1]:{server.port} offers TLS", warned[0])

    async def test_name(self) -> None:
        """The certificate is for the MX host's name, though it is the address that is called."""
        server = await self.kind.start(self, Offer("mx"))
        forced = f"force_tls_hosts={MX}\n"
        for policy, outbound in (("true", forced), ("false", forced), ("required", "")):
            gateway = self.start(server, f"enable_tls={policy}", outbound=outbound)
            await self.queue_one(gateway, KNOWN)
            await until(lambda: not self.attempted(), "it is recorded")
            self.assertEqual([], await self.entries())
        for message in await self.filed(server, 3):
            self.assertRegex(message.decode(), self.kind.traces.received)

    async def test_forced(self) -> None:
        """``force_tls_hosts``, by name, domain or address: it waits for a right certificate."""
        for shown, forced, why in (
            ("untrusted", MX, "unable to get issuer"),
            ("right", DOMAIN, f"the certificate is not for {MX}"),
            (None, "127.0.0.0/8", "TLS is required"),
        ):
            self.events.clear()
            server = await self.kind.start(self, Offer(shown))
            gateway = self.start(server, "enable_tls=true", outbound=f"force_tls_hosts={forced}\n")
            await self.queue_one(gateway, KNOWN)
            await self.deferred("4.7.5")
            self.assertIn(why, " ".join(self.log_lines()), (shown, forced))
            self.assertNotRegex(server.log, self.kind.traces.envelope)

    async def test_never(self) -> None:
        """``no_tls_hosts``: in the clear, though TLS is offered."""
        server = await self.kind.start(self, Offer("mx"))
        gateway = self.start(server, "enable_tls=true", outbound=f"no_tls_hosts={MX}\n")
        header = await self.delivered(server, gateway)
        self.assertNotRegex(header, self.kind.traces.received)
        self.assertNotRegex(server.log, self.kind.traces.secured)
        self.assertNotIn("STARTTLS", self.steps())

    async def test_one_connection(self) -> None:
        """Messages for two domains of one MX host share a connection; ``bind`` says from where."""
        server = await self.kind.start(self, Offer("mx"))
        gateway = self.start(server, "enable_tls=required", "bind=127.0.0.77")
        for number in range(1, 4):
            await self.queue_one(gateway, KNOWN)
            await self.filed(server, number)
            await until(lambda: not self.attempted(), "it is recorded")
        calls = re.findall(self.kind.traces.connection.replace(r"127\.0\.0\.1", ".*?"), server.log)
        self.assertEqual(1, len(calls), server.log)
        self.assertIn("[127.0.0.77]", server.log)


class EximMXTests(MXTests):
    """The same with Exim."""

    kind = EximKind()


class ClientTests(ServerCase):
    """Real clients, several recipients, several domains."""

    async def test_swaks(self) -> None:
        """Each recipient has its own fate, and the sender's mailbox the bounce of one of them."""
        server = await self.kind.start(self, Offer("mx"))
        other = ScriptedBackend(None, server.port, A)
        self.stop_later(other.stop)
        self.names.mx("other.example", (10, "mx.other.example"))
        self.names.address("mx.other.example", A)
        self.names.address("down.example", B)
        gateway = self.start(server, sections=" ")
        rcpts = [KNOWN, f"nobody@{DOMAIN}", "b@other.example", "c@down.example", "d@no.example"]
        done = await swaks(
            gateway.ports()[0].getHost().port, "--from", KNOWN, "--to", ",".join(rcpts)
        )
        self.assertEqual(0, done.exit_code, done.output)
        self.assertIn("250 2.0.0 queued as", done.output)
        await other.until_taken(1)
        self.assertEqual((b"RCPT TO:<b@other.example>",), other.messages[0].rcpts)
        # The message itself, and a bounce for each of two attempts that failed for good.
        found = [self.parsed(message) for message in await self.filed(server, 3)]
        mail = [message for message in found if message["Subject"].startswith("test ")]
        self.assertEqual(1, len(mail))
        failed = [self.bounce(message) for message in found if message not in mail]
        self.assertEqual(
            {f"rfc822; nobody@{DOMAIN}": "5.1.1", "rfc822; d@no.example": "5.1.2"}, dict(failed)
        )
        await until(lambda: not self.attempted(), "all is recorded")
        [entry] = await self.entries()
        self.assertEqual(["c@down.example"], [str(one.address) for one in entry.recipients])

    def parsed(self, filed: bytes) -> Any:
        """As Python's ``email`` reads it."""
        return email.message_from_bytes(filed, policy=email.policy.default)

    def bounce(self, message: Any) -> tuple[str, str]:
        """The recipient that a bounce is about, and the status; its structure is looked at."""
        self.assertEqual([], message.defects)
        self.assertEqual("multipart/report", message.get_content_type())
        self.assertEqual(KNOWN, message["To"].addresses[0].addr_spec)
        self.assertEqual("<>", message["Return-Path"])
        text, status, original = message.iter_parts()
        self.assertEqual("text/plain", text.get_content_type())
        self.assertEqual("message/delivery-status", status.get_content_type())
        self.assertEqual("message/rfc822", original.get_content_type())
        [returned] = original.iter_parts()
        self.assertTrue(returned["Subject"].startswith("test "))
        self.assertIn("This is a test mailing", returned.get_content())
        _, recipient = status.iter_parts()
        self.assertEqual("failed", recipient["Action"])
        self.assertIn(recipient["Final-Recipient"].removeprefix("rfc822; "), text.get_content())
        return recipient["Final-Recipient"], recipient["Status"]

    async def test_smtp_source(self) -> None:
        """Many messages for known and unknown ones: each is filed once, each bounce is there."""
        server = await self.kind.start(self, Offer("mx"))
        gateway = self.start(server, sections=" ")
        number = 20
        port = gateway.ports()[0].getHost().port
        # One in two recipients exists: 1known does not.
        sent = ("-s", "5", "-m", str(number), "-l", "3000", "-f", KNOWN)
        for rcpt in (KNOWN, f"unknown@{DOMAIN}"):
            done = await smtp_source(port, *sent, "-t", rcpt)
            self.assertEqual(0, done.exit_code, done.output)
        found = [self.parsed(message) for message in await self.filed(server, 2 * number)]
        bounces = [one for one in found if one.get_content_type() == "multipart/report"]
        self.assertEqual(number, len(bounces))
        self.assertEqual(number, len({one["Message-ID"] for one in bounces}))
        await until(lambda: not self.attempted(), "all is recorded")
        self.assertEqual([], await self.entries())
