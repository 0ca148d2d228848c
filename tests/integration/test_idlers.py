"""Connections that hardly say anything, beside others that work, and what each of them costs.

200 of them; 2000 with ``SMTPFORWARD_FULL=1`` (``make attack``).
"""

import re
import resource
import socket
from pathlib import Path

from twisted.internet.defer import ensureDeferred
from twisted.internet.threads import deferToThread

from tests.peers.case import PeerTestCase, full_size
from tests.peers.clients import smtp_source
from tests.peers.gateway import Gateway
from tests.peers.wait import until

IDLERS = 2000 if full_size() else 200
MESSAGES = 5000 if full_size() else 300
FEW = 20
KIB_EACH = 8
HELLO = b"EHLO client.example.org\r\n"
# Whole commands are answered, and then there is the beginning of one.
OPENINGS = ((b"", b""), (b"", b"E"), (HELLO, b""), (HELLO, b"MAIL"))
# For clients here; the gateway inherits it and needs two for each client.
DESCRIPTORS = 3 * IDLERS + 1000


def resident(gateway: Gateway) -> int:
    """KiB of memory that it has now."""
    [kib] = re.findall(
        r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{gateway.pid}/status").read_text(), re.M
    )
    return int(kib)


def idlers(port: int) -> list[socket.socket]:
    """Connections that have been greeted, and answered where they have said something."""
    opened = []
    for number in range(IDLERS):
        one = socket.create_connection(("127.0.0.1", port), 20)
        hear(one, 220)
        hello, begun = OPENINGS[number % len(OPENINGS)]
        if hello:
            one.sendall(hello)
            hear(one, 250)
        one.sendall(begun)
        opened.append(one)
    return opened


def hear(one: socket.socket, code: int) -> None:
    """Read one reply."""
    said = b""
    while not re.search(rb"^%d .*\r\n$" % code, said, re.M):
        more = one.recv(4096)
        assert more, said
        said += more


class IdlersTests(PeerTestCase):
    """Thousands that hold a connection and a byte now and then."""

    timeout = 300

    def setUp(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, DESCRIPTORS), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))

    async def load(self, gateway: Gateway, messages: int = MESSAGES) -> None:
        """Every message of a normal load is taken."""
        size = ["-s", "20", "-m", str(messages), "-l", "4096"]
        done = await smtp_source(gateway.port, *size, timeout=180)
        self.assertEqual(0, done.exit_code, done.output + gateway.output()[-4000:])

    async def test_beside_a_load(self) -> None:
        """The load loses nothing, no idler is closed, and each costs a few KiB."""
        sink = await self.sink()
        gateway = await self.gateway(sink.port)
        # A few only: what more had left behind would be used again and hide the cost.
        await self.load(gateway, FEW)
        before = resident(gateway)
        opened = await deferToThread(idlers, gateway.port)
        for one in opened:
            self.addCleanup(one.close)
        each = (resident(gateway) - before) / IDLERS
        print(f"{each:.1f} KiB for each of {IDLERS} idle connections ... ", end="")
        running = ensureDeferred(self.load(gateway))
        await deferToThread(lambda: [one.send(b"N") for one in opened])
        await running
        await until(lambda: sink.messages == FEW + MESSAGES, lambda: f"all: {sink.stdout[-80:]}")
        self.assertLess(each, KIB_EACH)
        await deferToThread(self.finish, opened)

    def finish(self, opened: list[socket.socket]) -> None:
        """Each idler can still end its command and gets an answer."""
        for one in opened:
            one.sendall(b"\r\n")
            assert re.match(rb"[25]\d\d ", one.recv(4096))
