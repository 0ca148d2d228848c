"""Every message of the corpus reaches the backend byte for byte, however the client cuts it.

What the gateway puts before it is one ``Received`` field: the client does not relay, so nothing
else is added.
"""

import hashlib
import random
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from twisted.internet.threads import deferToThread

from tests.integration import corpus
from tests.peers.backend import ScriptedBackend
from tests.peers.case import PeerTestCase
from tests.peers.framing import stuffed
from tests.peers.raw import RawClient, bytewise, in_chunks

NO_RELAYS = {"relay_acl_allow": "192.0.2.0/24\n", "host_list": "example.com\n"}
RECEIVED = re.compile(rb"Received: [^\r\n]+\r\n(?:[ \t][^\r\n]+\r\n)*")

Cut: TypeAlias = Callable[[bytes], Iterable[bytes]]


def whole(wire: bytes) -> Iterable[bytes]:
    """In one write."""
    return [wire]


def digest(data: bytes) -> str:
    """The name of ``data``, for comparing without printing it."""
    return f"{hashlib.sha256(data).hexdigest()} of {len(data)} bytes"


def send_all(port: int, bodies: Mapping[str, bytes], cut: Cut) -> dict[str, int]:
    """Send each body in a transaction of one session, to its number; the codes of the replies."""
    with RawClient(port) as client:
        client.hello()
        codes = {}
        for number, (name, body) in enumerate(bodies.items()):
            segments = cut(stuffed(body) + b".\r\n")
            codes[name] = client.transaction(segments, f"{number}@example.com").code
        return codes


class CorpusTests(PeerTestCase):
    """The corpus, cut in several ways."""

    timeout = 240

    async def assert_arrives(self, bodies: Mapping[str, bytes], cut: Cut) -> None:
        """Each of ``bodies`` gets a 250, and the backend has it as it was sent."""
        backend = self.backend()
        gateway = await self.gateway(backend.port, NO_RELAYS)
        codes = await deferToThread(send_all, gateway.port, bodies, cut)
        self.assertEqual(dict.fromkeys(bodies, 250), codes, gateway.output()[-4000:])
        arrived = by_number(backend)
        self.assertEqual(len(bodies), len(backend.messages))
        for number, (name, body) in enumerate(bodies.items()):
            received, same = split(arrived[number], len(body))
            self.assertEqual(digest(body), digest(same), name)
            self.assertTrue(RECEIVED.fullmatch(received), f"{name}: before it {received[:500]!r}")

    async def test_small_in_one_write(self) -> None:
        """Short messages, each sent at once."""
        await self.assert_arrives(corpus.small(), whole)

    async def test_small_byte_by_byte(self) -> None:
        """Short messages, each byte a segment."""
        await self.assert_arrives(corpus.small(), bytewise)

    async def test_large_in_one_write(self) -> None:
        """Dot lines at every alignment, and a very long line."""
        await self.assert_arrives(corpus.large(), whole)

    async def test_large_in_chunks(self) -> None:
        """The same in random pieces."""
        await self.assert_arrives(corpus.large(), chunks(1))

    async def test_large_byte_by_byte(self) -> None:
        """64 KiB of lone dots, each byte a segment."""
        name = "dot lines every 3 bytes"
        await self.assert_arrives({name: corpus.large()[name]}, bytewise)

    async def test_around_powers_of_two_in_one_write(self) -> None:
        """A dot line at the seam of whatever buffer there is."""
        await self.assert_arrives(corpus.around_powers_of_two(), whole)

    async def test_around_powers_of_two_in_chunks(self) -> None:
        """The same in random pieces."""
        await self.assert_arrives(corpus.around_powers_of_two(), chunks(2))

    async def test_around_powers_of_two_cut_at_the_dot(self) -> None:
        """The same in segments that end at each byte about the dot."""
        await self.assert_arrives(corpus.around_powers_of_two(), about_the_dot)

    async def test_huge_in_one_write(self) -> None:
        """A message just below the limit."""
        await self.assert_arrives({"huge": corpus.huge()}, whole)

    async def test_huge_in_chunks(self) -> None:
        """The same in random pieces."""
        await self.assert_arrives({"huge": corpus.huge()}, chunks(3))


def chunks(seed: int) -> Cut:
    """Cut at random, the same way each time."""
    source = random.Random(seed)
    return lambda wire: in_chunks(wire, source)


def about_the_dot(wire: bytes) -> Iterable[bytes]:
    """Everything before the lone dot's line end, then single bytes, then the rest."""
    dot = wire.index(b"\r\n..\r\n")
    yield wire[:dot]
    yield from bytewise(wire[dot : dot + 8])
    yield wire[dot + 8 :]


def by_number(backend: ScriptedBackend) -> dict[int, bytes]:
    """What arrived, by the number that its recipient has for a name."""
    numbered = {}
    for message in backend.messages:
        [rcpt] = message.rcpts
        numbered[int(rcpt.partition(b"<")[2].partition(b"@")[0])] = message.plain
    return numbered


def split(arrived: bytes, size: int) -> tuple[bytes, bytes]:
    """What stands before the last ``size`` bytes, and those."""
    at = len(arrived) - size
    return arrived[:at], arrived[at:]
