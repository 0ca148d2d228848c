"""What other servers take for the end of the data, sent to the gateway: one message or a refusal.

Each mark in both modes of ``bare_newline``, cut into segments at each of its bytes, with and
without commands behind it.
"""

from collections.abc import Iterable, Iterator

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from smtpforward.gateway import Gateway
from smtpforward.server.protocol import GatewaySMTP
from tests.integration.forwarding import ForwardingCase
from tests.peers.backend import ScriptedBackend
from tests.peers.conversation import Conversation
from tests.peers.raw import RawClient
from tests.support import split
from tests.test_server_endofdata import BARE, SMUGGLING, normalized

ENDS = (b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r")
# Two of them around a dot; a CRLF on both sides is the end itself.
MARKS = sorted(
    {a + b"." + b for a in ENDS for b in ENDS if not (a[-2:] == b[:2] == b"\r\n")} | {*SMUGGLING}
)
WITH_NUL = sorted(
    {m[:at] + b"\0" + m[at:] for m in (*MARKS, b"\r\n.\r\n") for at in range(1, len(m))}
)
HEAD = b"Subject: one\r\n\r\ntext"
LAST = b"last\r\n"
COMMANDS = (
    b"MAIL FROM:<smuggled@example.org>\r\nRCPT TO:<smuggled@example.com>\r\nDATA\r\n"
    b"Subject: smuggled\r\n\r\nsmuggled\r\n"
)
ENVELOPE = b"MAIL FROM:<sender@example.org>\r\nRCPT TO:<rcpt@example.com>\r\nDATA\r\n"


def cuts(wire: bytes, mark: bytes) -> Iterator[list[bytes]]:
    """Whole, the mark byte by byte, and in two at each of its bytes."""
    around = range(len(HEAD) - 1, len(HEAD) + len(mark) + 2)
    yield [wire]
    yield split(wire, around)
    yield from (split(wire, [at]) for at in around)


def told(conversation: Conversation) -> Iterable[bytes]:
    """All that the backend has heard on one connection, line ends and all."""
    yield conversation.unread
    yield from conversation.commands
    yield from (message.wire for message in conversation.messages)


class SmugglingTests(ForwardingCase):
    """Never two messages, and never a bare CR or LF at the backend."""

    timeout = 600

    def setUp(self) -> None:
        super().setUp()
        self.to_read = 0
        self.all_read: Deferred[None] = Deferred()
        received = GatewaySMTP.dataReceived

        def counted(protocol: GatewaySMTP, data: bytes) -> None:
            received(protocol, data)
            self.to_read -= len(data)
            if not self.to_read:
                self.all_read.callback(None)

        self.patch(GatewaySMTP, "dataReceived", counted)

    async def say(self, client: RawClient, segments: Iterable[bytes]) -> None:
        """Send each segment when the gateway has read the one before, so that it is one there."""
        for segment in segments:
            self.to_read, self.all_read = len(segment), Deferred()
            client.send(segment)
            await self.all_read

    async def talk(self, gateway: Gateway, segments: list[bytes]) -> list[int]:
        """The codes of all replies to one message and to the QUIT behind it."""
        port: int = gateway.ports()[0].getHost().port
        with RawClient(port, 20.0) as client:
            await self.say(client, [b"EHLO client.example.org\r\n"])
            await self.say(client, [ENVELOPE])
            self.assertEqual([220, 250, 250, 250, 354], await deferToThread(codes, client, 5))
            *first, last = segments
            await self.say(client, [*first, last + b"QUIT\r\n"])
            return await deferToThread(codes, client)

    async def play(self, mode: str, marks: Iterable[bytes]) -> None:
        """All rows of ``marks``."""
        backend = self.backend()
        gateway = self.forward(backend.port, {"connection.ini": f"bare_newline={mode}\n"})
        for mark in marks:
            for tail in (LAST, COMMANDS):
                plain = HEAD + mark + tail
                for segments in cuts(plain + b".\r\n", mark):
                    await self.row(mode, plain, segments, backend, gateway)
        wires = [wire for one in backend.conversations for wire in told(one)]
        self.assertEqual([], [wire for wire in wires if BARE.search(wire)])
        commands = [c for one in backend.conversations for c in one.commands]
        self.assertEqual([], [c for c in commands if b"smuggled" in c])

    async def row(
        self, mode: str, plain: bytes, segments: list[bytes], on: ScriptedBackend, gateway: Gateway
    ) -> None:
        """One message: taken whole, or refused, and then the connection ends."""
        before = len(on.messages)
        found = await self.talk(gateway, segments)
        kinds = {bare[:1] for bare in BARE.findall(plain)}
        good = not kinds or (mode == "normalize" and b"\r" not in kinds)
        self.assertEqual([250, 221] if good else [554], found, (mode, segments))
        wires = [message.wire for message in on.messages[before:]]
        self.assertEqual(good, len(wires) == 1, (mode, segments, wires))
        for wire in wires:
            self.assertTrue(wire.endswith(b"\r\n" + normalized(plain)), (mode, segments, wire))

    async def test_rejecting(self) -> None:
        """``reject``: a message with a bare CR or LF is refused."""
        await self.play("reject", MARKS)

    async def test_normalizing(self) -> None:
        """``normalize``: each bare LF is CRLF at the backend, and a bare CR is refused."""
        await self.play("normalize", MARKS)

    async def test_nul(self) -> None:
        """A NUL in the mark makes no end of it in either mode."""
        for mode in ("reject", "normalize"):
            await self.play(mode, WITH_NUL)


def codes(client: RawClient, most: int = 9) -> list[int]:
    """Those of the next replies, up to the end of the connection."""
    found: list[int] = []
    try:
        while len(found) < most:
            found.append(client.answer().code)
    except EOFError:
        pass
    return found
