"""What clients may take, over real sockets: connections, silence, headers, memory, line ends."""

import os
import random
import resource
from collections.abc import Iterable, Iterator

from twisted.internet.threads import deferToThread

from smtpforward.gateway import Gateway
from smtpforward.limits import RESERVED_DESCRIPTORS
from tests.integration.forwarding import FIRST, NEXT, ForwardingCase
from tests.integration.test_answers_rules import OK, STRANGERS
from tests.peers.case import PeerTestCase
from tests.peers.clients import swaks
from tests.peers.raw import Answer, RawClient, bytewise, in_chunks
from tests.peers.script import TAKEN, Held, Script
from tests.peers.wait import until

FULL = "421 4.3.2 too many connections, try again later"
TOO_MANY = "421 4.7.0 too many connections from your address"
STRIKES = "421 4.7.0 too many errors from your address, try again later"
ELSEWHERE = "127.0.0.9"
FLOOD = 300


class ConnectionsTests(ForwardingCase):
    """How many there may be."""

    def limited(self, limits: str, backend: int = 1, relays: str = "") -> Gateway:
        """A gateway with ``limits`` in ``[max]``, to whose clients the network ``relays``."""
        files = {**STRANGERS, "connection.ini": f"[max]\n{limits}\n"}
        if relays:
            files["relay_acl_allow"] = f"{relays}\n"
        return self.forward(backend, files)

    async def connect(self, gateway: Gateway, source: str = "127.0.0.1") -> tuple[RawClient, str]:
        """A new client, and what it hears first."""
        port: int = gateway.ports()[0].getHost().port
        client = await deferToThread(RawClient, port, 20.0, source)
        self.addCleanup(client.close)
        answer = await deferToThread(client.answer)
        return client, f"{answer.code} {answer.text}"

    async def assert_welcome(self, gateway: Gateway, source: str = "127.0.0.1") -> RawClient:
        """A new client is greeted."""
        client, heard = await self.connect(gateway, source)
        self.assertTrue(heard.startswith("220 "), heard)
        return client

    async def assert_turned_away(
        self, gateway: Gateway, said: str, source: str = "127.0.0.1"
    ) -> None:
        """A new client hears just that, and the connection ends."""
        client, heard = await self.connect(gateway, source)
        self.assertEqual(said, heard)
        self.assertTrue(await deferToThread(client.at_end))

    async def test_in_all(self) -> None:
        """One too many is turned away, wherever it is from; those that are there go on."""
        backend = self.backend()
        gateway = self.limited("connections=2", backend.port)
        first = await self.assert_welcome(gateway)
        second = await self.assert_welcome(gateway, ELSEWHERE)
        for source in ("127.0.0.1", ELSEWHERE):
            await self.assert_turned_away(gateway, FULL, source)
        await self.ask(first, "EHLO client.example.org")
        await self.assert_next(first, backend)
        self.assertEqual(2, gateway.factory.counts.turned_away.total())
        self.assertIn(f"127.0.0.9 is turned away: {FULL}", self.log_lines())
        second.close()
        await until(lambda: gateway.factory.connections.total == 1, repr(gateway.factory))
        await self.assert_welcome(gateway)

    async def test_from_one_address(self) -> None:
        """An address has its bound, and others are not touched by it."""
        gateway = self.limited("connections_per_ip=2")
        for _ in range(2):
            await self.assert_welcome(gateway)
        await self.assert_turned_away(gateway, TOO_MANY)
        await self.assert_welcome(gateway, ELSEWHERE)

    async def test_errors_of_an_address(self) -> None:
        """After so many wrong commands its next connection is turned away; others are not."""
        gateway = self.limited("errors_per_ip=3")
        client = await self.assert_welcome(gateway)
        for _ in range(3):
            await deferToThread(client.ask, "NONSENSE")
        await self.assert_turned_away(gateway, STRIKES)
        await self.assert_welcome(gateway, ELSEWHERE)

    async def test_who_relays(self) -> None:
        """Who may relay by its address has as many as it wants."""
        gateway = self.limited("connections_per_ip=1", relays="127.0.0.1")
        for _ in range(3):
            await self.assert_welcome(gateway)
        await self.assert_welcome(gateway, ELSEWHERE)
        await self.assert_turned_away(gateway, TOO_MANY, ELSEWHERE)

    async def test_each_end_makes_room(self) -> None:
        """Closed by either side, reset, cut off, silent: the place is free again."""
        gateway = self.limited("connections_per_ip=1\n[timeouts]\nfirst_command=0.2")
        for number in range(6):
            client = await self.assert_welcome(gateway)
            match number:
                case 0:
                    client.close()
                case 1:
                    client.reset()
                case 2:
                    self.assertEqual(221, (await self.ask(client, "QUIT")).code)
                case 3:
                    self.assertEqual(500, (await self.ask(client, "NOOP\nNOOP")).code)
                    client.close()
                case 4:
                    answer = await deferToThread(client.answer)
                    self.assertEqual("421 4.4.2 idle for too long", f"{answer.code} {answer.text}")
                case 5:
                    gateway.factory.abort()
            await until(lambda: gateway.factory.connections.total == 0, repr(gateway.factory))

    async def test_by_descriptors(self) -> None:
        """Without a bound in the settings there is that of the process; one above it is told."""
        self.patch(resource, "getrlimit", lambda which: (RESERVED_DESCRIPTORS + 2, 4096))
        gateway = self.limited("connections_per_ip=9")
        await self.assert_welcome(gateway)
        await self.assert_turned_away(gateway, FULL)
        self.assertEqual([], [line for line in self.log_lines() if "descriptors" in line])
        gateway = self.limited("connections=2")
        warning = "[max] connections=2: this process has file descriptors for 1 clients"
        self.assertIn(warning, self.log_lines())
        for _ in range(2):
            await self.assert_welcome(gateway)
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        self.patch(resource, "getrlimit", lambda which: unlimited)
        gateway = self.limited("connections_per_ip=9")
        for _ in range(3):
            await self.assert_welcome(gateway)


class FloodTests(PeerTestCase):
    """Who is turned away costs nothing that lasts."""

    async def test_descriptors(self) -> None:
        """Hundreds that do not close their end leave no descriptor, and the others are served."""
        backend = self.backend()
        files = {**STRANGERS, "connection.ini": "[max]\nconnections=2\n"}
        gateway = await self.gateway(backend.port, files)
        client = await deferToThread(RawClient, gateway.port)
        self.addCleanup(client.close)
        await deferToThread(client.hello)
        other = await deferToThread(RawClient, gateway.port)
        self.addCleanup(other.close)
        await deferToThread(other.answer)
        before = descriptors(gateway.pid)
        clients = await deferToThread(flood, gateway.port)
        for one in clients:
            self.addCleanup(one.close)
        await until(lambda: descriptors(gateway.pid) <= before, lambda: gateway.output()[-2000:])
        answer = await deferToThread(client.transaction, [FIRST])
        self.assertEqual(OK, f"{answer.code} {answer.text}")
        self.assertEqual(FLOOD, gateway.output().count("127.0.0.1 is turned away: 421 4.3.2"))


def descriptors(pid: int) -> int:
    """How many a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def flood(port: int) -> list[RawClient]:
    """Clients that have been told to go and do not."""
    clients = [RawClient(port) for _ in range(FLOOD)]
    assert {client.answer().code for client in clients} == {421}
    return clients


# As it is sent, and as it is to arrive.
BARE = (
    b"Subject: bare\nX: y\r\n\r\nunix\nlines\n.\nMAIL FROM:<smuggled@example.org>\r\n..dot\r\n"
    b".\nRCPT TO:<smuggled@example.com>\n.\r\nDATA\n..two\n\n\r\nlast\n\r\n"
)
GOOD = (
    b"Subject: bare\r\nX: y\r\n\r\nunix\r\nlines\r\n..\r\nMAIL FROM:<smuggled@example.org>\r\n"
    b"..dot\r\n..\r\nRCPT TO:<smuggled@example.com>\r\n..\r\nDATA\r\n...two\r\n\r\n\r\nlast\r\n\r\n"
)


class BareNewlineTests(ForwardingCase):
    """``bare_newline`` and ``bare_newline_exempt``."""

    def normalizing(self, backend: int, server: str = "bare_newline=normalize\n") -> Gateway:
        """A gateway with ``server`` in ``connection.ini``."""
        return self.forward(backend, {"connection.ini": server})

    async def assert_arrives(self, spool_after: int, segments: Iterable[bytes]) -> None:
        """The message arrives byte for byte, and the session goes on."""
        backend = self.backend()
        gateway = self.normalizing(
            backend.port, f"bare_newline=normalize\nspool_after={spool_after}\n"
        )
        client = await self.client(gateway)
        answer = await deferToThread(client.transaction, segments)
        self.assert_said(answer, OK)
        [message] = backend.messages
        self.assertEqual(GOOD, message.wire[message.wire.index(b"Subject: bare") :])
        await self.assert_next(client, backend)

    async def test_in_memory(self) -> None:
        """In one write, and byte by byte."""
        for segments in ([BARE + b".\r\n"], bytewise(BARE + b".\r\n")):
            await self.assert_arrives(1_000_000, segments)

    async def test_spooled(self) -> None:
        """From the beginning, and in the middle of the message."""
        for spool_after in (0, 40):
            await self.assert_arrives(spool_after, bytewise(BARE + b".\r\n"))

    async def test_large(self) -> None:
        """Many blocks, cut anywhere, some of the lines ended by LF."""
        source = random.Random(5322)
        lines = [b"." * source.randint(0, 3) + b"x" * source.randint(0, 90) for _ in range(20_000)]
        backend = self.backend()
        client = await self.client(self.normalizing(backend.port))
        wire = b"Subject: large\r\n\r\n" + b"".join(mixed([*lines, b"end"], source)) + b"\r\n.\r\n"
        answer = await deferToThread(client.transaction, in_chunks(wire, source, 60_000))
        self.assert_said(answer, OK)
        [message] = backend.messages
        plain = message.plain.partition(b"\r\n\r\n")[2]
        self.assertEqual(b"".join(line + b"\r\n" for line in [*lines, b"end", b""]), plain)
        await self.assert_next(client, backend)

    async def test_exempt(self) -> None:
        """A client that is exempt may, another may not."""
        backend = self.backend()
        for network, code in (("127.0.0.0/8", 250), ("192.0.2.0/24 2001:db8::/32", 554)):
            client = await self.client(
                self.normalizing(backend.port, f"bare_newline_exempt={network}\n")
            )
            self.assertEqual(code, (await self.send(client, wire=BARE + b".\r\n")).code)
        self.assertEqual(1, len(backend.messages))

    async def test_bare_cr(self) -> None:
        """A bare CR is refused, and nothing of it arrives."""
        backend = self.backend()
        client = await self.client(self.normalizing(backend.port))
        answer = await self.send(client, wire=b"Subject: x\n\r\na\rb\r\n.\r\n")
        self.assert_own(answer, "554 5.6.0")
        self.assertTrue(await deferToThread(client.at_end))
        self.assertEqual([], backend.messages)

    async def test_swaks_and_sink(self) -> None:
        """What a real client sends with LF alone at its line ends is taken by a real server."""
        sink = await self.sink(dump=True)
        gateway = self.normalizing(sink.port)
        port: int = gateway.ports()[0].getHost().port
        file = self.folder() / "message"
        file.write_bytes(b"Subject: bare\n\nunix\n.\nlines\r\n.\r\n")
        done = await swaks(port, "--no-data-fixup", "--data", f"@{file}")
        self.assertEqual(0, done.exit_code, done.output)
        await until(lambda: sink.messages == 1, lambda: sink.stdout)
        [message] = sink.dumps()
        self.assertTrue(message.rstrip().endswith(b"Subject: bare\n\nunix\n.\nlines"), message)


def mixed(lines: Iterable[bytes], source: random.Random) -> Iterator[bytes]:
    """Lines as a client sends them that ends them now with CRLF, now with LF.

    It stuffs the dots of those that begin behind a CRLF, as it should.
    """
    behind = b"\r\n"
    for line in lines:
        end = source.choice((b"\r\n", b"\n"))
        yield (b"." if behind == b"\r\n" and line.startswith(b".") else b"") + line + end
        behind = end


class MessageTests(ForwardingCase):
    """Header, memory and silence."""

    async def test_header(self) -> None:
        """A header over its limit is refused at the end of the message; the session goes on."""
        backend = self.backend()
        gateway = self.forward(backend.port, {"connection.ini": "[max]\nheader_bytes=1000\n"})
        client = await self.client(gateway)
        for fields in (b"X: y\r\n" * 200, b"X: " + b"y" * 1100 + b"\r\n"):
            wire = b"Subject: x\r\n" + fields + b"\r\nbody\r\n" * 50 + b".\r\n"
            answer = await self.send(client, wire=wire)
            self.assert_own(answer, "552 5.3.4")
            self.assertIn("header", answer.text)
        self.assertEqual([], backend.messages)
        await self.assert_next(client, backend)
        wire = b"Subject: x\r\n\r\n" + b"body\r\n" * 500 + b".\r\n"
        self.assert_said(await self.send(client, wire=wire), OK)

    async def test_memory(self) -> None:
        """It is held while the backend is asked, and given back at each end."""
        held = Held(TAKEN)
        backend = self.backend(Script(replies={".": held}))
        gateway = self.forward(backend.port, {"connection.ini": "[max]\nmemory=100\n"})
        memory = gateway.factory.memory
        waiting = await self.client(gateway)
        answer = await self.send_behind(waiting)
        await until(lambda: held.waiting, "the end of the message")
        self.assertEqual(len(FIRST) - 3, memory.held)
        spooled = await self.client(gateway)
        others = await self.send_behind(spooled, b"Subject: x\r\n\r\n" + b"y" * 80 + b"\r\n.\r\n")
        await until(lambda: len(backend.messages) == 2, "the other message")
        self.assertEqual(len(FIRST) - 3, memory.held)
        gone = await self.client(gateway)
        await self.ask(gone, "MAIL FROM:<a@example.org>")
        await self.ask(gone, "RCPT TO:<b@example.com>")
        await self.ask(gone, "DATA")
        await deferToThread(gone.send, b"12345")
        await until(lambda: memory.held == len(FIRST) - 3 + 5, lambda: f"{memory.held} bytes")
        gone.reset()
        await until(lambda: memory.held == len(FIRST) - 3, lambda: f"{memory.held} bytes")
        held.release()
        for one in (answer, others):
            said: Answer = await one()
            self.assert_said(said, OK)
        self.assertEqual(0, memory.held)
        self.assertEqual(b"y" * 80 + b"\r\n", backend.messages[1].wire[-82:])

    async def test_silence(self) -> None:
        """Each kind of silence has its time: here that of data is short, the others are not."""
        backend = self.backend()
        gateway = self.forward(backend.port, {"connection.ini": "[timeouts]\ndata=0.2\n"})
        client = await self.client(gateway)
        for command in ("MAIL FROM:<a@example.org>", "RCPT TO:<b@example.com>", "DATA"):
            await self.ask(client, command)
        await deferToThread(client.send, b"Subject: x\r\n")
        self.assert_said(await deferToThread(client.answer), "421 4.4.2 idle for too long")
        self.assertTrue(await deferToThread(client.at_end))
        self.assertEqual([], backend.messages)
        client = await self.client(gateway)
        self.assert_said(await self.send(client, wire=NEXT), OK)
