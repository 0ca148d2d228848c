"""Who sends without end, at the edge or as a backend: memory, the connection's end, the others.

``SMTPFORWARD_FULL=1`` (``make attack``): a client sends 1 GiB, in place of 64 MiB.
"""

import contextlib
import re
import select
import socket
import threading
from pathlib import Path

from twisted.internet.defer import ensureDeferred
from twisted.internet.threads import deferToThread

from tests.integration.forwarding import GREETING, NEXT, STAGES, faulty
from tests.peers.case import PeerTestCase, full_size
from tests.peers.conversation import Conversation
from tests.peers.gateway import Gateway
from tests.peers.raw import RawClient
from tests.peers.script import TAKEN, Action, Endless, Script
from tests.peers.wait import until

MIB = 1 << 20
SENT = 1024 * MIB if full_size() else 64 * MIB
HELP = b"HELP\r\n"
# More than the sockets hold of answers: the last of these come when it has begun to read.
ANSWERS = 200_000
BLOCK = 256 * 1024
# Buffers of the process, and what a message may hold before it goes to a file, with room.
BOUND = 6 * MIB
TRANSACTION = ("MAIL FROM:<sender@example.org>", "RCPT TO:<rcpt@example.com>", "DATA")


def peak(pid: int) -> int:
    """The most memory that a process has had so far, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    [kib] = re.findall(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(kib) * 1024


class Flood:
    """A client that sends one block again and again, and goes on after a refusal.

    Half-way it waits until it is let go on.

    :ivar half_way: set by then, or when the connection ended before.
    :ivar codes: of the replies that came. ``sent``: bytes, when the connection ended.
    """

    def __init__(self, port: int, block: bytes, *opening: str) -> None:
        self.codes: list[int] = []
        self.sent = 0
        self.half_way = threading.Event()
        self.go_on = threading.Event()
        self._block = block
        self._refused = False
        self._client = RawClient(port, 20.0)
        self._client.hello()
        for command in opening:
            assert self._client.ask(command).code < 400

    def run(self) -> None:
        """Send all of it, or as much as is taken; wait for the end of the connection."""
        with self._client as client, contextlib.suppress(OSError, EOFError):
            try:
                self._send_half(client)
            finally:
                self.half_way.set()
            self.go_on.wait(60)
            self._send_half(client)
            while True:
                self.codes.append(client.answer().code)

    def _send_half(self, client: RawClient) -> None:
        for _ in range(SENT // 2 // len(self._block)):
            client.send(self._block)
            self.sent += len(self._block)
            if not self._refused and select.select([client._socket], [], [], 0)[0]:
                self.codes.append(client.answer().code)
                self._refused = True


class FloodCase(PeerTestCase):
    """A gateway of its own process, whose memory is watched."""

    timeout = 240

    async def started(self, backend: int) -> tuple[Gateway, int]:
        """A gateway that has handed over a message, and the most memory it may have."""
        gateway = await self.gateway(backend)
        await self.assert_served(gateway)
        return gateway, peak(gateway.pid) + BOUND

    async def assert_served(self, gateway: Gateway, code: int = 250) -> None:
        """A message of another client is answered with ``code``."""
        self.assertEqual(code, await deferToThread(answer_to_one, gateway.port))

    def assert_bounded(self, gateway: Gateway, bound: int) -> None:
        self.assertLess(peak(gateway.pid), bound)


def answer_to_one(port: int) -> int:
    """The code of the answer to one message."""
    with RawClient(port, 20.0) as client:
        client.hello()
        return client.transaction([NEXT]).code


class ClientTests(FloodCase):
    """A client that sends without end."""

    async def flood(self, block: bytes, *opening: str) -> Flood:
        """One that has ended; another client was served in the middle of it."""
        backend = self.backend()
        gateway, bound = await self.started(backend.port)
        flood = await deferToThread(Flood, gateway.port, block, *opening)
        running = ensureDeferred(deferToThread(flood.run))
        await until(flood.half_way.is_set, "the middle of the flood", 60)
        await self.assert_served(gateway)
        flood.go_on.set()
        await running
        await self.assert_served(gateway)
        self.assertEqual(3, len(backend.messages))
        self.assert_bounded(gateway, bound)
        return flood

    async def test_command(self) -> None:
        """A command without an end is refused, and the connection ends."""
        flood = await self.flood(b"x" * BLOCK)
        self.assertEqual([500], flood.codes)

    async def test_long_commands(self) -> None:
        """Commands that are too long, one after the other, end it too."""
        flood = await self.flood((b"NOOP " + b"x" * 2000 + b"\r\n") * 100)
        self.assertLess(flood.sent, SENT)

    async def test_data(self) -> None:
        """So is a message in one line, when it is twice as long as it may be."""
        flood = await self.flood(b"x" * BLOCK, *TRANSACTION)
        self.assertEqual([552], flood.codes)

    async def test_header(self) -> None:
        """And one whose header does not end."""
        flood = await self.flood(b"X: y\r\n" * 10_000, *TRANSACTION)
        self.assertEqual([552], flood.codes)

    async def test_answers_that_nobody_reads(self) -> None:
        """A client that reads no answers is read no further: theirs is no room without end."""
        gateway, bound = await self.started(self.backend().port)
        self.assertLess(await deferToThread(answers_read_late, gateway.port), SENT)
        self.assert_bounded(gateway, bound)


def answers_read_late(port: int) -> int:
    """Bytes that a client could send before it read an answer; then it gets the answers.

    :raises TimeoutError: when it does not.
    """
    block = HELP * 10_000
    with RawClient(port, 1.0) as client:
        client.hello()
        client._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sent = answered = 0
        with contextlib.suppress(TimeoutError):
            while sent < SENT:
                sent += client._socket.send(block[sent % len(block) :])
        while answered < min(ANSWERS, sent // len(HELP)):
            answered += client._socket.recv(BLOCK).count(b"\n")
    return sent


class BackendTests(FloodCase):
    """A backend that replies without end."""

    async def until_ended(self, talk: Conversation, what: str) -> None:
        await until(lambda: talk.ended, f"the end, {what}")

    async def test_reply(self) -> None:
        """A line, or a reply, without end: 451, the connection is closed, memory stays."""
        endless = (b"2" * 65536, b"250-more\r\n" * 6000)
        rows = [(stage, said) for stage in (GREETING, "EHLO", *STAGES) for said in endless]
        first = Script(replies={".": (TAKEN, Action.CLOSE)})
        scripts = [first, *(faulty({stage: Endless(said)}) for stage, said in rows), Script()]
        backend = self.backend(lambda number: scripts[number - 1])
        gateway, bound = await self.started(backend.port)
        for number, (stage, said) in enumerate(rows, 1):
            await self.assert_served(gateway, 451)
            talk = backend.conversations[number]
            await self.until_ended(talk, f"{stage}, {said[:9]!r}")
        await self.assert_served(gateway)
        self.assert_bounded(gateway, bound)
        self.assertEqual(len(rows) + 2, backend.connections.total)
