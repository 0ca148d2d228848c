"""Real clients with each of their ways to send: what they send is at the backend.

swaks, msmtp and curl with and without TLS and logins; Postfix and Exim as clients that relay.
"""

from tests.integration.test_edge_tls import MAIN, PASSWORD, RECIPIENT, SENDER, USER, EdgeTLSCase
from tests.peers.backend import ScriptedBackend
from tests.peers.case import PeerTestCase
from tests.peers.clients import Finished, run, smtp_source, swaks
from tests.peers.require import require, require_perl
from tests.peers.wait import until

LOCAL = "rcpt@example.com"
BODY = "one\r\n.two\r\n..\r\nlast\r\n"
MESSAGE = f"From: {SENDER}\r\nSubject: x\r\n\r\n{BODY}"
LOGIN = ("--auth-user", USER, "--auth-password", PASSWORD)
MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5")
RELAYED = 20


class ClientsCase(EdgeTLSCase):
    """A gateway with TLS and a user, and what its backend has taken."""

    def assert_taken(self, done: Finished, protocol: str, recipient: str = LOCAL) -> None:
        """The client is content, and its message came last, by this protocol (RFC 3848)."""
        self.assertEqual(0, done.exit_code, done.output)
        message = self.backend_.messages[-1]
        self.assertEqual((f"RCPT TO:<{recipient}>".encode(),), message.rcpts)
        self.assertIn(f" with {protocol} id ".encode(), message.plain, done.output)
        self.assertIn(f"\r\n\r\n{BODY}".encode(), message.plain)

    async def asked(self, command: list[str]) -> Finished:
        """``command`` with the message as its input."""
        folder = self.folder()
        (folder / "message").write_bytes(MESSAGE.encode())
        return await run(["sh", "-c", 'exec "$@" < message', "sh", *command], 30, folder=folder)


class SwaksTests(ClientsCase):
    """``swaks --protocol``."""

    async def send(self, port: int, recipient: str, *options: str) -> Finished:
        data = ("--data", MESSAGE.replace("\r\n", "\\n"))
        return await swaks(port, "--from", SENDER, "--to", recipient, *data, *options)

    async def test_protocols(self) -> None:
        """Each of them that a port is for, with and without pipelining."""
        require_perl(Net__SSLeay="libnet-ssleay-perl")
        await self.start()
        rows = [
            ("SMTP", self.port, LOCAL, "SMTP"),
            ("ESMTP", self.port, LOCAL, "ESMTP"),
            ("ESMTPS", self.port, LOCAL, "ESMTPS"),
            ("ESMTPA", self.port, RECIPIENT, "ESMTPA"),
            ("ESMTPSA", self.port, RECIPIENT, "ESMTPSA"),
            ("SSMTPA", self.smtps, RECIPIENT, "ESMTPSA"),
        ]
        for name, port, recipient, protocol in rows:
            for more in ((), ("--pipeline",)):
                login = LOGIN if name.endswith("A") else ()
                done = await self.send(port, recipient, "--protocol", name, *login, *more)
                self.assert_taken(done, protocol, recipient)

    async def test_other_protocols(self) -> None:
        """Submission without a login, and LMTP, are refused, and nothing arrives."""
        require_perl(Net__SSLeay="libnet-ssleay-perl")
        await self.start()
        for name, port, said in (
            ("SSMTP", self.smtps, "530 5.7.0"),
            ("SMTPS", self.smtps, "530 5.7.0"),
            ("LMTP", self.port, "500 5.5.1"),
        ):
            done = await self.send(port, LOCAL, "--protocol", name)
            self.assertIn(said, done.output)
            self.assertNotEqual(0, done.exit_code)
        self.assertEqual([], self.backend_.messages)

    async def test_mechanisms(self) -> None:
        """Each mechanism, in the clear on loopback, after STARTTLS and in TLS at once."""
        require_perl(Net__SSLeay="libnet-ssleay-perl")
        await self.start()
        ways = ((self.port, (), "ESMTPA"), (self.port, ("-tls",), "ESMTPSA"))
        for port, options, protocol in (*ways, (self.smtps, ("-tlsc",), "ESMTPSA")):
            for mechanism in MECHANISMS:
                login = ("--auth", mechanism, *LOGIN, "--pipeline")
                done = await self.send(port, RECIPIENT, *login, *options)
                self.assert_taken(done, protocol, RECIPIENT)


class MsmtpTests(ClientsCase):
    """``msmtp``, which is often an application's ``sendmail``."""

    async def send(self, port: int, recipient: str, *options: str) -> Finished:
        [program] = require("msmtp")
        where = ["--host=127.0.0.1", f"--port={port}", "--domain=client.example.org"]
        who = [f"--from={SENDER}", "--tls-certcheck=off", *options, recipient]
        return await self.asked([program, "--file=/dev/null", *where, *who])

    async def test_sends(self) -> None:
        """In the clear, after STARTTLS, in TLS at once; with each mechanism."""
        await self.start()
        self.assert_taken(await self.send(self.port, LOCAL), "ESMTP")
        starttls = ("--tls=on", "--tls-starttls=on")
        self.assert_taken(await self.send(self.port, LOCAL, *starttls), "ESMTPS")
        for mechanism in MECHANISMS:
            secret = f"--passwordeval=echo {PASSWORD}"
            login = (f"--auth={mechanism.lower()}", f"--user={USER}", secret)
            done = await self.send(self.port, RECIPIENT, *starttls, *login)
            self.assert_taken(done, "ESMTPSA", RECIPIENT)
            at_once = ("--tls=on", "--tls-starttls=off")
            done = await self.send(self.smtps, RECIPIENT, *at_once, *login)
            self.assert_taken(done, "ESMTPSA", RECIPIENT)


class CurlTests(ClientsCase):
    """``curl``."""

    async def send(self, url: str, recipient: str, *options: str) -> Finished:
        [program] = require("curl")
        envelope = ["--mail-from", SENDER, "--mail-rcpt", recipient, "--upload-file", "-"]
        return await self.asked([program, "-sS", "-k", f"{url}/client", *envelope, *options])

    async def test_sends(self) -> None:
        """In the clear, after STARTTLS, in TLS at once; with a login."""
        await self.start()
        clear, secure = f"smtp://127.0.0.1:{self.port}", f"smtps://127.0.0.1:{self.smtps}"
        self.assert_taken(await self.send(clear, LOCAL), "ESMTP")
        self.assert_taken(await self.send(clear, LOCAL, "--ssl-reqd"), "ESMTPS")
        for mechanism in MECHANISMS:
            login = ("--user", f"{USER}:{PASSWORD}", "--login-options", f"AUTH={mechanism}")
            for url, options in ((clear, ("--ssl-reqd",)), (secure, ())):
                done = await self.send(url, RECIPIENT, *options, *login)
                self.assert_taken(done, "ESMTPSA", RECIPIENT)


class ServersTests(PeerTestCase):
    """Mail servers that have the gateway as their smart host."""

    async def assert_relays(self, port: int, backend: ScriptedBackend) -> None:
        """What the server at ``port`` gets arrives once, for all of its recipients."""
        size = ("-s", "5", "-m", str(RELAYED), "-r", "3", "-l", "4096")
        done = await smtp_source(port, *size, "-t", "rcpt@elsewhere.example")
        self.assertEqual(0, done.exit_code, done.output)
        await backend.until_taken(RELAYED, 30)
        named = {rcpt for message in backend.messages for rcpt in message.rcpts}
        expected = {b"RCPT TO:<%brcpt@elsewhere.example>" % number for number in (b"", b"2", b"3")}
        self.assertEqual(expected, {rcpt.partition(b" ORCPT")[0] for rcpt in named})
        self.assertEqual([3] * RELAYED, [len(message.rcpts) for message in backend.messages])

    async def test_postfix(self) -> None:
        """Postfix, which pipelines."""
        backend = self.backend()
        gateway = await self.gateway(backend.port)
        settings = {
            "relayhost": f"[127.0.0.1]:{gateway.port}",
            "default_transport": "smtp",
            "smtpd_relay_restrictions": "permit_mynetworks, reject",
            "smtp_connection_cache_on_demand": "no",
        }
        postfix = await self.postfix(**settings)
        await self.assert_relays(postfix.port, backend)
        await until(lambda: not postfix.queued, postfix.output)

    async def test_exim(self) -> None:
        """Exim, which says QUIT with its dot and closes its side before it reads the answer."""
        await self.assert_exim_relays({}, "ESMTP")

    async def test_exim_under_tls(self) -> None:
        """So too under TLS."""
        shown = {"tls_key.pem": MAIN.key.decode(), "tls_cert.pem": MAIN.chain.decode()}
        await self.assert_exim_relays(shown, "ESMTPS")

    async def assert_exim_relays(self, files: dict[str, str], protocol: str) -> None:
        backend = self.backend()
        gateway = await self.gateway(backend.port, files)
        exim = await self.exim(next_hop=f"! example.com:{gateway.port}")
        await self.assert_relays(exim.port, backend)
        await until(lambda: exim.log.count("Completed") == RELAYED, exim.output)
        self.assertIn(f" with {protocol} id ".encode(), backend.messages[0].plain)
