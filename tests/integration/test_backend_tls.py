"""TLS and logins between the gateway and a real Postfix, looked at from both ends."""

import datetime
import re
import sys
from pathlib import Path

import trustme
from twisted.internet.threads import deferToThread
from twisted.logger import LogLevel, formatEvent

from smtpforward.service import Gateway
from tests.integration.forwarding import LARGE, ForwardingCase
from tests.peers.clients import Finished, run
from tests.peers.dovecot import Dovecot
from tests.peers.gateway import environment, three_files, write_config
from tests.peers.postfix import Postfix
from tests.peers.raw import Answer, RawClient
from tests.peers.script import Script
from tests.peers.wait import until

CA, OTHER_CA = trustme.CA(), trustme.CA()
HOST = "127.0.0.1"
LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
RIGHT = CA.issue_cert(HOST)
WRONG_NAME = CA.issue_cert("127.0.0.99", "other.example")
EXPIRED = CA.issue_cert(HOST, not_before=LONG_AGO, not_after=LONG_AGO + DAY)
UNTRUSTED = OTHER_CA.issue_cert(HOST)
CLIENT = CA.issue_cert("gateway.example.com")
BAD = {"wrong name": WRONG_NAME, "expired": EXPIRED, "untrusted": UNTRUSTED}
OUTBOUND = "[outbound]\nca=ca.pem\n"
FILES = {"tls.ini": OUTBOUND, "ca.pem": CA.cert_pem.bytes().decode()}
WIRE = b"Subject: secret\r\n\r\nline\r\n.\r\n"
# In the Received line that Postfix writes.
UNDER_TLS = re.compile(rb"\(using TLSv1\.3 with cipher")
USER = "alice@example.com"
AWKWARD = [f"x{char}y" for char in (",", "#", ";", '"', "'", "%", "\\", " ", "\u00fc", "\u20ac$:=")]


def transaction(port: int, *rcpts: str) -> Answer:
    """The answer to one message."""
    with RawClient(port) as client:
        client.hello()
        return client.transaction([WIRE], *rcpts)


class BackendTLSCase(ForwardingCase):
    """A Postfix with certificates, and gateways to it."""

    async def secured(self, certificate: trustme.LeafCert = RIGHT, **settings: str) -> Postfix:
        """A Postfix that shows ``certificate``."""
        folder = self.folder()
        pair, roots = folder / "pair.pem", folder / "roots.pem"
        certificate.private_key_and_cert_chain_pem.write_to_path(pair)
        CA.cert_pem.write_to_path(roots)
        usual = {
            "smtpd_tls_security_level": "may",
            "smtpd_tls_chain_files": str(pair),
            "smtpd_tls_CAfile": str(roots),
            "smtpd_tls_received_header": "yes",
            "smtpd_tls_loglevel": "1",
        }
        return await self.postfix("known", **{**usual, **settings})

    async def answer(self, gateway: Gateway, rcpt: str = "known@example.com") -> Answer:
        """The answer to one message through ``gateway``."""
        return await deferToThread(transaction, gateway.ports()[0].getHost().port, rcpt)

    async def filed(self, postfix: Postfix) -> bytes:
        """The newest message that Postfix has filed; there is just one."""
        await until(lambda: postfix.messages("known"), postfix.output)
        [message] = postfix.messages("known")
        return message

    async def is_filed(self, postfix: Postfix, gateway: Gateway) -> bytes:
        """A message gets through; how it was filed."""
        answer = await self.answer(gateway)
        self.assertEqual(250, answer.code, f"{answer.text}\n{postfix.log}")
        return await self.filed(postfix)

    async def is_deferred(self, postfix: Postfix, gateway: Gateway, status: str, why: str) -> None:
        """A message is deferred, an error is in the log, and Postfix has not seen its envelope."""
        answer = await self.answer(gateway)
        self.assertEqual((451, status), (answer.code, answer.text[:5]))
        self.assertIn(why, " ".join(self.errors()))
        self.assertEqual([], postfix.messages("known"))
        self.assertNotIn("client=", postfix.log)

    async def logs(self, postfix: Postfix, text: str) -> None:
        """Postfix writes ``text`` to its log, if not yet, then soon."""
        await until(lambda: text in postfix.log, lambda: f"{text} in {postfix.log}")

    def errors(self) -> list[str]:
        """What the gateways have logged as errors."""
        return [formatEvent(e) for e in self.events if e["log_level"] is LogLevel.error]


class OpportunisticTests(BackendTLSCase):
    """``enable_tls=true``."""

    async def test_any_certificate(self) -> None:
        """TLS is used, whatever the certificate."""
        for what, certificate in {"right": RIGHT, **BAD}.items():
            postfix = await self.secured(certificate)
            gateway = self.forward(postfix.port, FILES, enable_tls="true")
            self.assertRegex(await self.is_filed(postfix, gateway), UNDER_TLS, what)
            await self.logs(postfix, "TLS connection established from")

    async def test_without(self) -> None:
        """A Postfix without TLS gets its mail in the clear."""
        postfix = await self.postfix("known")
        gateway = self.forward(postfix.port, FILES, enable_tls="true")
        self.assertNotRegex(await self.is_filed(postfix, gateway), UNDER_TLS)

    async def test_never(self) -> None:
        """With ``enable_tls=false`` so does one that offers it."""
        postfix = await self.secured()
        gateway = self.forward(postfix.port, FILES, enable_tls="false")
        self.assertNotRegex(await self.is_filed(postfix, gateway), UNDER_TLS)

    async def test_reject_unauthorized(self) -> None:
        """With ``rejectUnauthorized`` a bad certificate defers the mail."""
        files = {**FILES, "tls.ini": OUTBOUND + "rejectUnauthorized=true\n"}
        postfix = await self.secured(EXPIRED)
        gateway = self.forward(postfix.port, files, enable_tls="true")
        await self.is_deferred(postfix, gateway, "4.7.5", "certificate has expired")

    async def test_handshake_that_fails(self) -> None:
        """No version in common: a fresh connection in the clear, and the log says so."""
        postfix = await self.secured(smtpd_tls_protocols="<=TLSv1.2", smtpd_tls_ciphers="high")
        files = {**FILES, "tls.ini": OUTBOUND + "minVersion=TLSv1.3\n"}
        gateway = self.forward(postfix.port, files, enable_tls="true")
        self.assertNotRegex(await self.is_filed(postfix, gateway), UNDER_TLS)
        await self.logs(postfix, "SSL_accept error")


class RequiredTests(BackendTLSCase):
    """``enable_tls=required``."""

    async def test_right(self) -> None:
        """A certificate that is right; the second message goes over the same connection."""
        postfix = await self.secured()
        gateway = self.forward(postfix.port, FILES, enable_tls="required")
        self.assertRegex(await self.is_filed(postfix, gateway), UNDER_TLS)
        self.assertEqual(250, (await self.answer(gateway)).code)
        self.assertEqual(1, postfix.log.count("TLS connection established from"))

    async def test_large(self) -> None:
        """A message that comes from a file arrives whole."""
        postfix = await self.secured()
        gateway = self.forward(postfix.port, FILES, enable_tls="required")
        client = await self.client(gateway)
        answer = await self.send(client, "known@example.com", wire=LARGE)
        self.assertEqual(250, answer.code, answer.text)
        filed = await self.filed(postfix)
        sent = LARGE.removesuffix(b".\r\n").replace(b"\r\n", b"\n")
        self.assertTrue(filed.endswith(sent), len(filed))

    async def test_bad(self) -> None:
        """Each bad certificate: deferred, an error in the log, nothing said to Postfix."""
        why = {
            "wrong name": "the certificate is not for 127.0.0.1",
            "expired": "certificate has expired",
            "untrusted": "unable to get issuer",
        }
        for what, certificate in BAD.items():
            postfix = await self.secured(certificate)
            gateway = self.forward(postfix.port, FILES, enable_tls="required")
            await self.is_deferred(postfix, gateway, "4.7.5", why[what])

    async def test_not_offered(self) -> None:
        """A Postfix without TLS gets nothing."""
        postfix = await self.postfix("known")
        gateway = self.forward(postfix.port, FILES, enable_tls="required")
        await self.is_deferred(postfix, gateway, "4.7.5", "TLS is required")


class ImplicitTests(BackendTLSCase):
    """``enable_tls=implicit``."""

    async def test_right(self) -> None:
        """TLS from the first byte, to a Postfix in wrapper mode."""
        postfix = await self.secured(smtpd_tls_wrappermode="yes")
        gateway = self.forward(postfix.port, FILES, enable_tls="implicit")
        self.assertRegex(await self.is_filed(postfix, gateway), UNDER_TLS)

    async def test_bad(self) -> None:
        """A bad certificate."""
        postfix = await self.secured(WRONG_NAME, smtpd_tls_wrappermode="yes")
        gateway = self.forward(postfix.port, FILES, enable_tls="implicit")
        await self.is_deferred(postfix, gateway, "4.7.5", "not for 127.0.0.1")


class ClientCertificateTests(BackendTLSCase):
    """A Postfix that demands a certificate."""

    async def demanding(self) -> Postfix:
        """It takes mail under TLS only, from who shows a certificate."""
        return await self.secured(smtpd_tls_req_ccert="yes", smtpd_tls_security_level="encrypt")

    async def test_shown(self) -> None:
        """The one of the settings is shown, and Postfix has verified it."""
        postfix = await self.demanding()
        files = {
            "tls.ini": OUTBOUND + "key=client.key\ncert=client.pem\n",
            "ca.pem": FILES["ca.pem"],
            "client.key": CLIENT.private_key_pem.bytes().decode(),
            "client.pem": CLIENT.cert_chain_pems[0].bytes().decode(),
        }
        gateway = self.forward(postfix.port, files, enable_tls="required")
        await self.is_filed(postfix, gateway)
        await self.logs(postfix, "Trusted TLS connection established from")

    async def test_missed(self) -> None:
        """Without one the mail is deferred: Postfix says 421 to the first command inside TLS."""
        postfix = await self.demanding()
        gateway = self.forward(postfix.port, FILES, enable_tls="required")
        answer = await self.answer(gateway)
        self.assertEqual((451, "4.3.2"), (answer.code, answer.text[:5]))
        self.assertEqual([], postfix.messages("known"))
        await self.logs(postfix, "Anonymous TLS connection established from")
        await self.logs(postfix, "No client certificate presented")


class ProbeTests(BackendTLSCase):
    """``smtpforward probe``."""

    async def probe(self, certificate: trustme.LeafCert) -> Finished:
        """What it says of a Postfix that shows ``certificate``."""
        postfix = await self.secured(certificate)
        keys = three_files(0, postfix.port, enable_tls="required")
        config = write_config(self.folder(), {**keys, **FILES})
        command = [sys.executable, "-m", "smtpforward.commands.main", "probe"]
        done = await run([*command, "--config", str(config)], environ=environment())
        self.assertNotIn("client=", postfix.log)
        return done

    async def test_good(self) -> None:
        """A backend that would be used."""
        done = await self.probe(RIGHT)
        self.assertEqual(0, done.exit_code, done.output)
        for line in ("TLS: TLSv1.3", f"certificate: {HOST}", "verification: good"):
            self.assertIn(f"  {line}\n", done.output)

    async def test_bad(self) -> None:
        """One that would not; what is wrong is told."""
        done = await self.probe(EXPIRED)
        self.assertEqual(69, done.exit_code, done.output)
        self.assertIn("certificate has expired", done.output)


class LoginTests(BackendTLSCase):
    """A Postfix that asks Dovecot."""

    async def asking(self, users: dict[str, str]) -> Postfix:
        """It takes mail from who logs in, and writes down who that was."""
        postfix = await self.secured(
            smtpd_sasl_auth_enable="yes",
            smtpd_sasl_type="dovecot",
            smtpd_sasl_path="private/auth",
            smtpd_sasl_security_options="noanonymous",
            smtpd_sasl_authenticated_header="yes",
            smtpd_tls_auth_only="yes",
            smtpd_client_restrictions="permit_sasl_authenticated,reject",
        )
        dovecot = Dovecot(self.folder(), Path(postfix.private / "auth"), users)
        self.stop_later(dovecot.stop)
        await dovecot.ready()
        return postfix

    async def test_awkward_passwords(self) -> None:
        """A password arrives as it stands in the file, by both mechanisms; the log has none."""
        users = {f"user{number}": word for number, word in enumerate(AWKWARD)}
        postfix = await self.asking(users)
        for name, word in users.items():
            for mechanism in ("plain", "login"):
                login = {"auth_type": mechanism, "auth_user": name, "auth_pass": word}
                gateway = self.forward(postfix.port, FILES, enable_tls="required", **login)
                answer = await self.answer(gateway)
                self.assertEqual(250, answer.code, f"{name} {word!r} {mechanism}\n{postfix.log}")
        for name in users:
            for mechanism in ("PLAIN", "LOGIN"):
                await self.logs(postfix, f"sasl_method={mechanism}, sasl_username={name}")
        said = "".join(map(repr, self.events))
        for word in AWKWARD:
            self.assertNotIn(f"{word}'", said)

    async def test_wrong_password(self) -> None:
        """Deferred, and an error in the log."""
        postfix = await self.asking({"user": "right"})
        login = {"auth_type": "plain", "auth_user": "user", "auth_pass": "wrong"}
        gateway = self.forward(postfix.port, FILES, enable_tls="required", **login)
        answer = await self.answer(gateway)
        self.assertEqual((451, "4.7.0"), (answer.code, answer.text[:5]))
        self.assertIn("the backend has not let us log in at connect: 535", " ".join(self.errors()))
        await self.logs(postfix, "SASL PLAIN authentication failed")

    async def test_two_domains_on_one_host(self) -> None:
        """Two credentials, two connections: who logged in is whose mail it is."""
        backend = self.backend(
            Script(extensions=("AUTH PLAIN LOGIN",), replies={"AUTH": b"235 2.7.0 in\r\n"})
        )
        forward = f"host=127.0.0.1\nport={backend.port}\nenable_tls=false\ncheck_recipient=true\n"
        for name in ("a", "b"):
            forward += f"[{name}.example]\nauth_type=plain\nauth_user={name}\nauth_pass={name}pw\n"
        gateway = self.forward(backend.port, {"smtp_forward.ini": forward})
        for _ in range(3):
            for name in ("a", "b"):
                self.assertEqual(250, (await self.answer(gateway, f"u@{name}.example")).code)
        self.assertEqual(2, len(backend.conversations))
        logins = {b"AUTH PLAIN AGEAYXB3": b"a", b"AUTH PLAIN AGIAYnB3": b"b"}
        for talk in backend.conversations:
            who = logins[talk.commands[1]]
            rcpts = [rcpt for message in talk.messages for rcpt in message.rcpts]
            self.assertEqual([b"RCPT TO:<u@%b.example>" % who] * 3, rcpts)
