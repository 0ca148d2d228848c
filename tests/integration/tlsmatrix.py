"""TLS and logins between the gateway and a real server, looked at from both ends.

The tests are the same for every kind of server: see ``test_backend_tls.py``. A row is one message
to a server of its own: the sender's answer and our log are one end, what the server has filed and
its log are the other.
"""

import enum
import re
import sys
from collections.abc import Iterable, Iterator

import trustme
from attrs import frozen
from twisted.internet.threads import deferToThread
from twisted.logger import formatEvent

from smtpforward.gateway import Gateway
from tests.integration.forwarding import LARGE, ForwardingCase
from tests.integration.tlsservers import CA, HOST, NAME, OTHER_CA, Kind, Offer, Server
from tests.peers.clients import Finished, run
from tests.peers.gateway import Files, environment, three_files, write_config
from tests.peers.raw import Answer, RawClient
from tests.peers.wait import until

WIRE = b"Subject: secret\r\n\r\nline\r\n.\r\n"
OURS, STRANGERS = (authority.issue_cert("gateway.example.com") for authority in (CA, OTHER_CA))
BAD = {
    "wrong name": "the certificate is not for 127.0.0.1",
    "expired": "certificate has expired",
    "untrusted": "unable to get issuer",
}
AWKWARD = [f"x{char}y" for char in (",", "#", ";", '"', "'", "%", "\\", " ", "\u00fc", "\u20ac$:=")]


class Filed(enum.Enum):
    """How the server gets the message."""

    UNDER_TLS = enum.auto()
    IN_THE_CLEAR = enum.auto()
    AFTER_A_FAILED_HANDSHAKE = enum.auto()  # in the clear, over a connection of its own


@frozen
class Deferred:
    """The server hears nothing of the message; ``why`` is in an error of our log."""

    why: str


@frozen
class Row:
    """``enable_tls``, the server, what comes of it; ``outbound``: more lines of that section."""

    policy: str
    offer: Offer
    outcome: Filed | Deferred
    outbound: str = ""


VERIFY, NEW = "rejectUnauthorized=true\n", "minVersion=TLSv1.3\n"
OPPORTUNISTIC = (
    *(Row("true", Offer(shown), Filed.UNDER_TLS) for shown in ("right", *BAD)),
    Row("true", Offer(None), Filed.IN_THE_CLEAR),
    Row("false", Offer(), Filed.IN_THE_CLEAR),
    Row("true", Offer(old=True), Filed.AFTER_A_FAILED_HANDSHAKE, NEW),
    Row("true", Offer(), Filed.UNDER_TLS, VERIFY),
    *(Row("true", Offer(shown), Deferred(why), VERIFY) for shown, why in BAD.items()),
)
REQUIRED = (
    Row("required", Offer(), Filed.UNDER_TLS),
    *(Row("required", Offer(shown), Deferred(why)) for shown, why in BAD.items()),
    Row("required", Offer(None), Deferred("TLS is required")),
    Row("required", Offer(old=True), Deferred("alert"), NEW),
)
IMPLICIT = (
    Row("implicit", Offer(at_once=True), Filed.UNDER_TLS),
    *(Row("implicit", Offer(shown, at_once=True), Deferred(why)) for shown, why in BAD.items()),
)


def files(outbound: str = "", shown: trustme.LeafCert | None = None) -> Files:
    """The directory's files for TLS: what we trust, and the client certificate that we show."""
    lines = f"[outbound]\nca=ca.pem\n{outbound}"
    trusted = {"tls.ini": lines, "ca.pem": CA.cert_pem.bytes().decode()}
    if shown is None:
        return trusted
    return trusted | {
        "tls.ini": lines + "key=client.key\ncert=client.pem\n",
        "client.key": shown.private_key_pem.bytes().decode(),
        "client.pem": shown.cert_chain_pems[0].bytes().decode(),
    }


async def answer(gateway: Gateway, rcpt: str = "known@example.com") -> Answer:
    """The answer to one message through ``gateway``."""
    port = gateway.ports()[0].getHost().port

    def blocking() -> Answer:
        with RawClient(port) as client:
            client.hello()
            return client.transaction([WIRE], rcpt)

    return await deferToThread(blocking)


class TLSCase(ForwardingCase):
    """What must hold, at both ends, for a message to a server of one kind."""

    kind: Kind

    async def assert_filed(
        self, server: Server, gateway: Gateway, how: Filed = Filed.UNDER_TLS, row: object = None
    ) -> None:
        """It gets through."""
        self.events.clear()
        said = await answer(gateway)
        self.assertEqual(250, said.code, (row, said, server.log))
        header = (await self.filed(server)).partition(b"\n\n")[0].decode()
        traces = self.kind.traces
        if how is Filed.UNDER_TLS:
            self.assertRegex(header, traces.received, row)
            await self.assert_logs(server, traces.secured, row)
            self.assertEqual([], self.log_errors(), row)
        else:
            self.assertNotRegex(header, traces.received, row)
            self.assertNotRegex(server.log, traces.secured, row)
        if how is Filed.AFTER_A_FAILED_HANDSHAKE:
            await self.assert_logs(server, traces.failed, row)

    async def assert_deferred(
        self, server: Server, gateway: Gateway, why: str, status: str = "4.7.5", row: object = None
    ) -> None:
        """It is deferred, our log says why, the server knows nothing of it."""
        self.events.clear()
        said = await answer(gateway)
        self.assertEqual((451, status), (said.code, said.text[:5]), (row, server.log))
        self.assertIn(why, self.log_lines()[-1], row)
        await self.assert_logs(server, self.kind.traces.ended, row)
        self.assertNotRegex(server.log, self.kind.traces.envelope, row)
        self.assertEqual([], server.messages("known"), row)

    async def assert_logs(self, server: Server, pattern: str, row: object = None) -> None:
        """The server writes what matches to its log, if not yet, then soon."""

        def missed() -> str:
            return f"{row}: {pattern} in {server.log}"

        await until(lambda: re.search(pattern, server.log), missed)

    async def filed(self, server: Server) -> bytes:
        """The one message that the server has filed."""
        await until(lambda: server.messages("known"), server.output)
        [message] = server.messages("known")
        return message


class MatrixTests(TLSCase):
    """The policies, the certificates, and what is under TLS then."""

    async def play(self, rows: Iterable[Row]) -> None:
        """One message for each row, each to a server of its own."""
        for row in rows:
            server = await self.kind.start(self, row.offer)
            gateway = self.forward(server.port, files(row.outbound), enable_tls=row.policy)
            if isinstance(row.outcome, Filed):
                await self.assert_filed(server, gateway, row.outcome, row)
                continue
            await self.assert_deferred(server, gateway, row.outcome.why, row=row)
            self.assertIn(row.outcome.why, " ".join(self.log_errors()), row)
            if row.offer.certificate is not None:
                self.assertRegex(server.log, self.kind.traces.failed, row)

    async def test_opportunistic(self) -> None:
        """With any certificate, unless ``rejectUnauthorized`` is set; in the clear without TLS."""
        await self.play(OPPORTUNISTIC)

    async def test_required(self) -> None:
        """Only with a right certificate is anything said; the rest is deferred."""
        await self.play(REQUIRED)

    async def test_implicit(self) -> None:
        """TLS from the first byte, with a right certificate only."""
        await self.play(IMPLICIT)

    async def test_client_certificate(self) -> None:
        """The server demands one: ours is shown, and the server finds it good."""
        for policy in ("true", "required", "implicit"):
            offer = Offer(demands=True, at_once=policy == "implicit")
            server = await self.kind.start(self, offer)
            gateway = self.forward(server.port, files(shown=OURS), enable_tls=policy)
            await self.assert_filed(server, gateway, row=policy)
            await self.assert_logs(server, self.kind.traces.verified, policy)

    async def test_client_certificate_missed(self) -> None:
        """Without one, or with one that the server does not trust, the mail is deferred."""
        for shown in (None, STRANGERS):
            server = await self.kind.start(self, Offer(demands=True))
            gateway = self.forward(server.port, files(shown=shown), enable_tls="required")
            status, why = self.kind.undemanded
            await self.assert_deferred(server, gateway, why, status)
            self.assertRegex(server.log, self.kind.traces.undemanded)

    async def test_host_by_name(self) -> None:
        """The server is asked for the name, and its certificate must be for that name."""
        keys = {"host": NAME, "enable_tls": "required"}
        server = await self.kind.start(self, Offer("by name"))
        await self.assert_filed(server, self.forward(server.port, files(), **keys))
        await self.assert_logs(server, self.kind.traces.named)
        server = await self.kind.start(self, Offer("right"))
        gateway = self.forward(server.port, files(), **keys)
        await self.assert_deferred(server, gateway, f"the certificate is not for {NAME}")

    async def test_second_message(self) -> None:
        """It goes over the same connection."""
        server = await self.kind.start(self, Offer())
        gateway = self.forward(server.port, files(), enable_tls="required")
        for _ in range(2):
            self.assertEqual(250, (await answer(gateway)).code)
        await until(lambda: len(server.messages("known")) == 2, server.output)
        self.assertEqual(1, len(re.findall(self.kind.traces.connection, server.log)), server.log)

    async def test_large(self) -> None:
        """A message that comes from a file arrives whole."""
        server = await self.kind.start(self, Offer())
        gateway = self.forward(server.port, files(), enable_tls="required")
        client = await self.client(gateway)
        answer = await self.send(client, "known@example.com", wire=LARGE)
        self.assertEqual(250, answer.code, answer.text)
        filed = await self.filed(server)
        sent = LARGE.removesuffix(b".\r\n").replace(b"\r\n", b"\n")
        self.assertTrue(filed.endswith(sent), len(filed))

    async def test_probe(self) -> None:
        """``smtpforward probe`` says what a message would meet, and the server hears of none."""
        good = ("TLS: TLSv1.3", f"certificate: {HOST}", "verification: good")
        for shown, code, told in (
            ("right", 0, good),
            ("expired", 69, ("certificate has expired",)),
        ):
            server = await self.kind.start(self, Offer(shown))
            done = await self.probe(server)
            self.assertEqual(code, done.exit_code, done.output)
            for line in told:
                self.assertIn(line, done.output)
            self.assertNotRegex(server.log, self.kind.traces.envelope)

    async def probe(self, server: Server) -> Finished:
        """What it prints."""
        keys = three_files(0, server.port, enable_tls="required")
        config = write_config(self.folder(), {**keys, **files()})
        command = [sys.executable, "-m", "smtpforward.commands.main", "probe"]
        return await run([*command, "--config", str(config)], environ=environment())


class LoginTests(TLSCase):
    """A server that takes mail from who logs in."""

    def gateways(self, server: Server, users: dict[str, str]) -> Iterator[tuple[str, str, Gateway]]:
        """Each user by each mechanism: user, mechanism, a gateway that logs in so."""
        for name, word in users.items():
            for mechanism in ("PLAIN", "LOGIN"):
                login = {"auth_type": mechanism.lower(), "auth_user": name, "auth_pass": word}
                keys = {"enable_tls": "required", **login}
                yield name, mechanism, self.forward(server.port, files(), **keys)

    def trace(self, name: str, mechanism: str, user: str) -> str:
        """The trace ``name`` of one login."""
        pattern: str = getattr(self.kind.traces, name)
        return pattern.format(mechanism=mechanism, user=user)

    async def test_awkward_passwords(self) -> None:
        """A password arrives as it stands in the file, by both mechanisms; the log has none."""
        users = {f"user{number}": word for number, word in enumerate(AWKWARD)}
        server = await self.kind.start(self, Offer(users=users))
        for name, mechanism, gateway in self.gateways(server, users):
            said = await answer(gateway)
            self.assertEqual(250, said.code, (users[name], mechanism, server.log))
            await self.assert_logs(server, self.trace("logged_in", mechanism, name))
        logged = "\n".join(f"{formatEvent(event)} {event}" for event in self.events)
        for word in AWKWARD:
            self.assertNotIn(word, logged)

    async def test_wrong_password(self) -> None:
        """Deferred, and an error in the log."""
        server = await self.kind.start(self, Offer(users={"user": "right"}))
        for name, mechanism, gateway in self.gateways(server, {"user": "wrong"}):
            await self.assert_deferred(server, gateway, "535", "4.7.0", mechanism)
            why = "the backend has not let us log in at connect: 535"
            self.assertIn(why, " ".join(self.log_errors()), mechanism)
            await self.assert_logs(server, self.trace("refused", mechanism, name))
