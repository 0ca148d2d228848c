"""BDAT on both sides, over real sockets and with real servers: every octet arrives, none is run.

Exim is the client that sends by BDAT, with the chunk behind MAIL and RCPT in one write; Postfix is
the backend that takes it.
"""

import random
import re
from collections.abc import Iterable
from pathlib import Path

from twisted.internet.threads import deferToThread

from tests.integration import corpus
from tests.integration.test_corpus import NO_RELAYS, digest, split
from tests.peers.backend import ScriptedBackend
from tests.peers.case import PeerTestCase
from tests.peers.exim import Exim
from tests.peers.framing import stuffed
from tests.peers.gateway import ME, Gateway
from tests.peers.raw import Answer, RawClient, bytewise, in_chunks
from tests.peers.script import Held, Script, by_recipient
from tests.peers.wait import until
from tests.tlssupport import certificate

CHUNKING = Script(extensions=("PIPELINING", "8BITMIME", "CHUNKING"))
DOTS = (
    b"Subject: dots\r\n\r\n.\r\n..\r\n.a\r\n"
    + corpus.INJECTED
    + b".\r\nQUIT\r\n8 bits: \xc3\xbc\r\n"
)
PLAIN = b"Subject: no dots\r\n\r\n8 bits: \xc3\xbc\r\n"
RCPTS = ("known@example.com", "other@example.com")


def bdat(octets: bytes, last: bool = False) -> bytes:
    """A chunk with its command."""
    return b"BDAT %d%b\r\n%b" % (len(octets), b" LAST" if last else b"", octets)


def envelope(*rcpts: str) -> bytes:
    """MAIL and RCPT, in one piece."""
    return b"MAIL FROM:<sender@example.org>\r\n" + b"".join(
        f"RCPT TO:<{rcpt}>\r\n".encode() for rcpt in rcpts
    )


def dialogue(port: int, segments: Iterable[bytes], answers: int) -> list[Answer]:
    """What comes back for ``segments``, after EHLO."""
    with RawClient(port) as client:
        client.hello()
        client.send(*segments)
        return [client.answer() for _ in range(answers)]


def in_pieces(body: bytes, source: random.Random) -> list[bytes]:
    """``body`` as chunks of random length."""
    pieces = list(in_chunks(body, source, 40_000)) or [b""]
    return [bdat(piece, last=at == len(pieces) - 1) for at, piece in enumerate(pieces)]


class EdgeTests(PeerTestCase):
    """A client that sends by BDAT."""

    timeout = 240

    async def assert_arrives(self, bodies: dict[str, bytes], script: Script, count: int) -> None:
        """Each of ``bodies`` arrives as it was sent, for ``count`` recipients."""
        backend = self.backend(script)
        gateway = await self.gateway(backend.port, NO_RELAYS)
        rcpts = [f"r{number}@example.com" for number in range(count)]
        source = random.Random(3030)

        def send_all() -> dict[str, set[int]]:
            codes = {}
            with RawClient(gateway.port) as client:
                client.hello()
                for name, body in bodies.items():
                    chunks = in_pieces(body, source)
                    wire = envelope(*rcpts) + b"".join(chunks)
                    client.send(*(bytewise(wire) if len(wire) < 500 else in_chunks(wire, source)))
                    answers = [client.answer() for _ in range(1 + count + len(chunks))]
                    codes[name] = {answer.code for answer in answers}
            return codes

        codes = await deferToThread(send_all)
        self.assertEqual({name: {250} for name in bodies}, codes, gateway.output()[-4000:])
        self.assertEqual(len(bodies), len(backend.messages))
        for (name, body), message in zip(bodies.items(), backend.messages, strict=True):
            whole = body if not body or body.endswith(b"\r\n") else body + b"\r\n"
            _, same = split(message.plain, len(whole))
            self.assertEqual(digest(whole), digest(same), name)

    def bodies(self) -> dict[str, bytes]:
        """The corpus, and what has no line end at its end."""
        return {
            **corpus.small(),
            **corpus.large(),
            "no line end": b"Subject: x\r\n\r\nno line end",
            "a dot and no line end": b"Subject: x\r\n\r\n.",
            "end of data in the middle": DOTS,
        }

    async def test_by_data(self) -> None:
        """To a backend without CHUNKING it goes by DATA, dot-stuffed."""
        await self.assert_arrives(self.bodies(), Script(), 1)

    async def test_by_bdat(self) -> None:
        """To one with CHUNKING, for two recipients, by BDAT."""
        await self.assert_arrives(self.bodies(), CHUNKING, 2)

    async def test_huge(self) -> None:
        """A message just below the limit."""
        await self.assert_arrives({"huge": corpus.huge()}, CHUNKING, 1)

    async def test_refused_octets_are_no_commands(self) -> None:
        """Chunks behind a refused recipient are thrown away, pipelined in one write or bytewise."""
        backend = self.backend()
        gateway = await self.gateway(backend.port, NO_RELAYS)
        wire = envelope("a@elsewhere.example") + bdat(corpus.INJECTED) + bdat(DOTS, last=True)
        wire += envelope("b@example.com") + bdat(b"Subject: good\r\n", last=True)
        for segments in ([wire], bytewise(wire)):
            answers = await deferToThread(dialogue, gateway.port, segments, 7)
            self.assertEqual([250, 550, 503, 503, 250, 250, 250], [a.code for a in answers])
        self.assertEqual(2, len(backend.messages))
        self.assertEqual({(b"RCPT TO:<b@example.com>",)}, {m.rcpts for m in backend.messages})

    async def test_too_large(self) -> None:
        """It is refused, read to the end of its chunk, and the session goes on."""
        backend = self.backend()
        limits = {**NO_RELAYS, "connection.ini": "[max]\nbytes=100000\n"}
        gateway = await self.gateway(backend.port, limits)
        wire = envelope("a@example.com") + bdat(b"a" * 150_000, last=True)
        wire += envelope("b@example.com") + bdat(b"Subject: good\r\n", last=True)
        answers = await deferToThread(dialogue, gateway.port, [wire], 6)
        self.assertEqual([250, 250, 552, 250, 250, 250], [a.code for a in answers])
        self.assertEqual(1, len(backend.messages))


class BackendTests(PeerTestCase):
    """A backend that takes BDAT."""

    async def handed_over(self, script: Script, *rcpts: str) -> tuple[ScriptedBackend, Answer]:
        """A message without dots, from DATA, to ``rcpts``."""
        backend = self.backend(script)
        gateway = await self.gateway(backend.port, NO_RELAYS)

        def send() -> Answer:
            with RawClient(gateway.port) as client:
                client.hello()
                return client.transaction([b"Subject: x\r\n\r\nbody\r\n.\r\n"], *rcpts)

        return backend, await deferToThread(send)

    async def test_a_round_trip_less(self) -> None:
        """Two recipients, and the chunk when both are accepted; one recipient goes by DATA."""
        backend, answer = await self.handed_over(CHUNKING, *RCPTS)
        self.assertEqual(Answer(250, "2.0.0 Ok: taken"), answer)
        self.assertEqual(["EHLO", "MAIL", "RCPT", "RCPT", "BDAT"], backend.conversations[0].verbs)
        backend, answer = await self.handed_over(CHUNKING, RCPTS[0])
        self.assertEqual(["EHLO", "MAIL", "RCPT", "DATA"], backend.conversations[0].verbs)

    async def test_a_refused_recipient(self) -> None:
        """No octet leaves where a recipient is refused."""
        refusing = by_recipient(other=b"550 5.1.1 No such user\r\n")
        script = Script(extensions=CHUNKING.extensions, replies={"RCPT": refusing})
        backend, answer = await self.handed_over(script, *RCPTS)
        self.assertEqual(451, answer.code)
        self.assertEqual(["EHLO", "MAIL", "RCPT", "RCPT", "RSET"], backend.conversations[0].verbs)

    async def test_a_refused_chunk(self) -> None:
        """Its refusal is the sender's answer."""
        refusing = {"BDAT": b"554 5.7.1 Not this\r\n"}
        script = Script(extensions=CHUNKING.extensions, replies=refusing)
        _, answer = await self.handed_over(script, *RCPTS)
        self.assertEqual(Answer(554, "5.7.1 Not this"), answer)


class RealServerTests(PeerTestCase):
    """Exim before the gateway, Postfix behind it."""

    def send_to(self, port: int, message: bytes, *rcpts: str) -> None:
        """Give a server one message, by DATA."""
        with RawClient(port) as client:
            client.hello()
            answer = client.transaction([stuffed(message) + b".\r\n"], *rcpts)
            self.assertEqual(250, answer.code, answer.text)

    async def exim_before(self, gateway: Gateway) -> Exim:
        """An Exim that passes mail for example.com on to ``gateway``."""
        return await self.exim("nobody", next_hop=f"example.com:{gateway.port}")

    def assert_sent_by_bdat(self, exim: Exim) -> None:
        """Exim notes a delivery with CHUNKING by a K."""
        deliveries = [line for line in exim.log.splitlines() if " => " in line]
        self.assertTrue(deliveries, exim.output())
        for line in deliveries:
            self.assertIn(" K ", line)

    async def assert_passes(self, files: dict[str, str], half_closed: bool) -> Exim:
        """What Exim sends by BDAT arrives octet for octet, by DATA.

        :param half_closed: whether it has ended its half of the connection, behind the QUIT that it
            has pipelined, when the backend answers.
        """
        hold = Held(b"250 2.1.5 Ok\r\n")
        backend = self.backend(Script(extensions=(), replies={"RCPT": hold}))
        gateway = await self.gateway(backend.port, files)
        exim = await self.exim_before(gateway)
        await deferToThread(self.send_to, exim.port, DOTS, RCPTS[0])
        await until(lambda: hold.waiting, exim.output)
        if half_closed:
            await until(lambda: established(gateway.port) == 0, exim.output)
        hold.release()
        await until(lambda: " => " in exim.log, lambda: exim.output() + gateway.output())
        [message] = backend.messages
        self.assertTrue(message.plain.endswith(DOTS), message.plain)
        self.assert_sent_by_bdat(exim)
        return exim

    async def test_exim_to_a_scripted_backend(self) -> None:
        """In the clear."""
        await self.assert_passes({}, half_closed=True)

    async def test_exim_under_tls(self) -> None:
        """Inside TLS, which it leaves open."""
        mine = certificate(ME)
        pem = {"k.pem": mine.key.decode(), "c.pem": mine.chain.decode()}
        files = {"tls.ini": "key=k.pem\ncert=c.pem\n", **pem}
        exim = await self.assert_passes(files, half_closed=False)
        self.assertIn(" X=TLS", exim.log)

    async def test_exim_and_a_refused_recipient(self) -> None:
        """Exim's chunk behind a refused recipient is thrown away; its session stays in step."""
        backend = self.backend()
        gateway = await self.gateway(backend.port, {"relay_acl_allow": "192.0.2.0/24\n"})
        exim = await self.exim_before(gateway)
        await deferToThread(self.send_to, exim.port, DOTS, RCPTS[0])
        await until(lambda: " ** " in exim.log, exim.output)
        self.assertIn("550 5.7.1", exim.log)
        self.assertEqual([], backend.conversations)
        self.assertNotIn("closed connection", exim.log)

    async def test_exim_to_postfix(self) -> None:
        """From Exim by BDAT, to Postfix by BDAT: as it was sent, in both mailboxes."""
        postfix = await self.postfix("known", "other")
        gateway = await self.gateway(postfix.port)
        exim = await self.exim_before(gateway)
        for message in (DOTS, PLAIN):
            await deferToThread(self.send_to, exim.port, message, *RCPTS)
        names = ("known", "other")
        await until(lambda: all(len(postfix.messages(name)) == 2 for name in names), postfix.output)
        for name in names:
            filed = postfix.messages(name)
            for message in (DOTS, PLAIN):
                body = message.replace(b"\r\n", b"\n")
                self.assertEqual(1, sum(each.endswith(body) for each in filed), filed)
        await until(lambda: exim.log.count("Completed") == 2, exim.output)
        self.assert_sent_by_bdat(exim)
        await gateway.stop()
        await until(lambda: "disconnect from" in postfix.log, postfix.output)
        self.assertEqual(2, chunks_taken(postfix.log), postfix.log)

    async def test_data_to_postfix(self) -> None:
        """Dots that came stuffed go to Postfix by DATA, others by BDAT."""
        postfix = await self.postfix("known", "other")
        gateway = await self.gateway(postfix.port)
        for message in (DOTS, PLAIN):
            await deferToThread(self.send_to, gateway.port, message, *RCPTS)
        await until(lambda: len(postfix.messages("other")) == 2, postfix.output)
        await gateway.stop()
        await until(lambda: "disconnect from" in postfix.log, postfix.output)
        self.assertEqual(1, chunks_taken(postfix.log), postfix.log)
        filed = postfix.messages("known")
        for message in (DOTS, PLAIN):
            body = message.replace(b"\r\n", b"\n")
            self.assertEqual(1, sum(each.endswith(body) for each in filed), filed)


def established(port: int) -> int:
    """How many connections to ``port`` of this host are open in both directions."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


def chunks_taken(log: str) -> int:
    """How many chunks Postfix has taken, by its lines at the end of each session."""
    return sum(int(count) for count in re.findall(r" disconnect from .* bdat=(\d+)", log))
