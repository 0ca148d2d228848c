"""Transports that send at once, and the private names of Twisted that they lean on.

The last class talks over loopback sockets with the real reactor; nothing waits for a time to pass.
"""

import contextlib
import gc
import inspect
import os
import re
import socket
import weakref
from typing import Any

from twisted.internet import _newtls, reactor, tcp, unix
from twisted.internet.abstract import FileDescriptor
from twisted.internet.base import BaseConnector
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, connectProtocol, serverFromString
from twisted.internet.interfaces import (
    IHandshakeListener,
    IReactorCore,
    IReactorPluggableNameResolver,
    IReactorSocket,
    IReactorTCP,
    ISSLTransport,
)
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.protocol import ClientFactory, Factory, Protocol, connectionDone
from twisted.internet.ssl import Certificate, PrivateCertificate, optionsForClientTLS
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from smtpforward.client.body import FileProducer
from smtpforward.content import Content
from smtpforward.net.accepting import SHARE
from smtpforward.net.listening import let_go
from smtpforward.net.outbox import MOST, OUTBOX
from smtpforward.net.reactor import WriteThroughReactor
from smtpforward.net.writethrough import (
    LONG_READ,
    SHORT_READ,
    WriteThrough,
    WriteThroughClient,
    WriteThroughServer,
)
from tests.clienttls import CA, NAME, RIGHT


class PinnedNamesTests(SynchronousTestCase):
    """What of Twisted's is used and is not public: a release that changes it fails here."""

    def test_buffers(self) -> None:
        """Data that waits is in these two, which are empty when nothing does."""
        descriptor = FileDescriptor(object())
        self.assertEqual((descriptor._tempDataBuffer, descriptor.dataBuffer), ([], b""))

    def test_states(self) -> None:
        """A new descriptor is neither closing nor closed for writing, and has no producer."""
        descriptor = FileDescriptor(object())
        self.assertFalse(descriptor.disconnecting)
        self.assertFalse(descriptor._writeDisconnected)
        self.assertIsNone(descriptor.producer)
        self.assertFalse(descriptor.streamingProducer)
        self.assertFalse(tcp.Connection.TLS)

    def test_write_fills_the_buffer(self) -> None:
        """The base class's ``write`` only notes the data and asks to be called back."""
        transport = FakeTransport([])
        FileDescriptor.write(transport, b"abc")
        self.assertEqual((transport._tempDataBuffer, transport.reactor.writers), ([b"abc"], 1))

    def test_transport_of_a_port(self) -> None:
        """A port makes its connections with its class attribute ``transport``."""
        self.assertIs(tcp.Port.transport, tcp.Server)
        self.assertIn("self.transport(", inspect.getsource(tcp.Port.doRead))

    def test_port_of_a_descriptor(self) -> None:
        """An inherited socket becomes a port of the class that is asked."""
        parameters = list(inspect.signature(tcp.Port._fromListeningDescriptor).parameters)
        self.assertEqual(parameters, ["reactor", "fd", "addressFamily", "factory"])

    def test_shared_ports(self) -> None:
        """What an adopted UNIX port is made of, and where a port keeps how much it accepts."""
        self.assertIn("self._preexistingSocket = port", inspect.getsource(unix.Port))
        self.assertIn("if self._shouldShutdown:", inspect.getsource(tcp._SocketCloser))
        self.assertIn("_reservedFD.reserve()", inspect.getsource(unix.Port.startListening))
        self.assertIn("numAccepts = self.numberAccepts", inspect.getsource(tcp.Port.doRead))

    def test_transport_of_a_connector(self) -> None:
        """A connector makes its connection with ``_makeTransport``."""
        self.assertIn("self._makeTransport()", inspect.getsource(BaseConnector.connect))
        self.assertIn(
            "Client(self.host, self.port, self.bindAddress, self, self.reactor)",
            inspect.getsource(tcp.Connector._makeTransport),
        )

    def test_attributes_of_a_server(self) -> None:
        """What Twisted's own sets for an accepted connection, but for texts for its log."""
        source = inspect.getsource(tcp.Server.__init__)
        names = set(re.findall(r"self\.(\w+)(?:: \w+)? = ", source))
        texts = {"logstr", "repstr"}
        expected = {"_addressType", "server", "client", "sessionno", "hostname", "connected"}
        self.assertEqual(names, expected | texts)
        own = inspect.getsource(WriteThroughServer.__init__)
        self.assertEqual(set(re.findall(r"self\.(\w+) = ", own)), expected)

    def test_tls(self) -> None:
        """TLS writes by way of what ``startTLS`` is given, and collects in ``_aggregator``."""
        self.assertEqual(
            list(inspect.signature(_newtls.startTLS).parameters),
            ["transport", "contextFactory", "normal", "bypass"],
        )
        source = inspect.getsource(BufferingTLSTransport)
        self.assertIn("self.write = self._aggregator.write", source)
        for use in ("_aggregator.write(", "_aggregator.flush()", "_aggregator.close()"):
            self.assertIn(f"self.{use}", source)
        self.assertEqual(len(set(re.findall(r"_aggregator\.(\w+)", source))), 3)
        self.assertNotIn("_aggregator", inspect.getsource(TLSMemoryBIOProtocol))
        self.assertIn("BufferingTLSTransport", inspect.getsource(TLSMemoryBIOFactory))
        asked = set(re.findall(r"self\._base\.(\w+)", inspect.getsource(_newtls._BypassTLS)))
        known = {"write", "writeSequence", "loseConnection"}
        self.assertEqual(asked - known, {"registerProducer", "unregisterProducer"})


class FakeReactor:
    """Counts who asks to write."""

    writers = 0

    def __init__(self) -> None:
        self.later: list[tuple[Any, ...]] = []

    def callLater(self, *call: Any) -> None:
        """Note it."""
        self.later.append(call)

    def addWriter(self, descriptor: Any) -> None:
        self.writers += 1

    def removeWriter(self, descriptor: Any) -> None:
        self.writers = 0

    def addReader(self, descriptor: Any) -> None:
        """Not of interest."""

    def removeReader(self, descriptor: Any) -> None:
        """Not of interest."""


class FakeTransport(WriteThrough, FileDescriptor):
    """A descriptor whose socket takes what the test says.

    :param takes: what each ``send`` takes: a number, or an exception.
    """

    TLS = False
    connected = 1
    reactor: Any

    def __init__(self, takes: list[Any]) -> None:
        FileDescriptor.__init__(self, FakeReactor())  # type: ignore[arg-type]
        self.socket = self
        self.takes = takes
        self.taken: list[bytes] = []

    def abortConnection(self) -> None:
        """Only what comes before Twisted's."""
        with contextlib.suppress(AttributeError):
            WriteThrough.abortConnection(self)

    def startTLS(self, *args: Any) -> None:
        """As little."""
        with contextlib.suppress(AttributeError):
            WriteThrough.startTLS(self, None)

    def send(self, data: bytes) -> int:
        """As a socket does."""
        memoryview(data)
        taken = self.writeSomeData(data)
        if not isinstance(taken, int):
            raise ConnectionResetError
        if not taken:
            raise BlockingIOError
        return taken

    def writeSomeData(self, data: bytes) -> Any:
        view = memoryview(data)
        takes = self.takes.pop(0)
        if not isinstance(takes, int):
            return takes
        self.taken.append(bytes(view[:takes]))
        return len(self.taken[-1])


class Producer:
    """Notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def pauseProducing(self) -> None:
        self.asked.append("pause")

    def resumeProducing(self) -> None:
        self.asked.append("resume")

    def stopProducing(self) -> None:
        self.asked.append("stop")


class WriteTests(SynchronousTestCase):
    """What ``write`` sends at once."""

    def test_all_at_once(self) -> None:
        """What the socket takes whole leaves nothing behind: no buffer, no call-back."""
        transport = FakeTransport([3, 2])
        transport.write(b"abc")
        transport.write(b"de")
        self.assertEqual(transport.taken, [b"abc", b"de"])
        self.assertEqual((transport._tempDataBuffer, transport.reactor.writers), ([], 0))

    def test_partial_send_keeps_the_order(self) -> None:
        """The remainder waits, what comes behind waits behind it, and all leaves in order."""
        transport = FakeTransport([2, 1, 100])
        for piece in (b"abcd", b"ef", b"gh"):
            transport.write(piece)
        self.assertEqual(transport._tempDataBuffer, [b"cd", b"ef", b"gh"])
        self.assertGreater(transport.reactor.writers, 0)
        transport.doWrite()
        transport.write(b"ij")
        transport.doWrite()
        self.assertEqual(b"".join(transport.taken), b"abcdefghij")
        self.assertEqual(transport.reactor.writers, 0)

    def test_at_once_again(self) -> None:
        """When the buffers have run empty the next write goes out at once."""
        transport = FakeTransport([1, 100, 100])
        transport.write(b"abc")
        transport.doWrite()
        transport.write(b"d")
        self.assertEqual(transport.taken, [b"a", b"bc", b"d"])

    def test_full_socket(self) -> None:
        """A socket that takes nothing gets it later."""
        transport = FakeTransport([0])
        transport.write(b"abc")
        self.assertEqual(transport._tempDataBuffer, [b"abc"])

    def test_file_behind_what_waits(self) -> None:
        """A file is not sent before what was written before it."""
        transport = FakeTransport([0])
        transport.write(b"abc")
        self.assertRaises(BlockingIOError, transport.send_file, 0, 0, 1)
        transport = FakeTransport([1, 1])
        transport.write(b"abc")
        transport.doWrite()
        self.assertTrue(transport.dataBuffer)
        self.assertRaises(BlockingIOError, transport.send_file, 0, 0, 1)

    def test_error_is_left_to_the_base(self) -> None:
        """An error is noticed where Twisted notices errors: when the reactor calls back."""
        transport = FakeTransport([CONNECTION_LOST, CONNECTION_LOST])
        transport.write(b"abc")
        self.assertEqual(transport._tempDataBuffer, [b"abc"])
        self.assertIs(transport.doWrite(), CONNECTION_LOST)

    def assert_left_to_base(self, transport: FakeTransport) -> None:
        """``write`` tries no socket, and the data waits."""
        transport.write(b"abc")
        self.assertEqual((transport.taken, transport._tempDataBuffer), ([], [b"abc"]))

    def test_producer(self) -> None:
        """With a producer that is asked for each piece the path is Twisted's own."""
        transport = FakeTransport([])
        transport.registerProducer(Producer(), False)
        self.assert_left_to_base(transport)

    def test_push_producer(self) -> None:
        """One that is not asked is sent at once; it is paused when too much waits, and resumed."""
        transport = FakeTransport([3, 1, 100_000])
        producer = Producer()
        transport.registerProducer(producer, True)
        transport.write(b"abc")
        self.assertEqual((transport.taken, producer.asked), ([b"abc"], []))
        transport.write(b"d" * (transport.bufferSize + 2))
        self.assertEqual(producer.asked, ["pause"])
        transport.doWrite()
        self.assertEqual(producer.asked, ["pause", "resume"])

    def test_sequence(self) -> None:
        """Several pieces are one."""
        transport = FakeTransport([2, 100])
        transport.writeSequence([b"ab", b"c"])
        transport.writeSequence([b"d"])
        self.assertEqual((transport.taken, transport._tempDataBuffer), ([b"ab"], [b"c", b"d"]))

    def test_closing(self) -> None:
        """What is written after ``loseConnection`` does not overtake the end."""
        transport = FakeTransport([])
        transport.loseConnection()
        self.assert_left_to_base(transport)

    def test_closed(self) -> None:
        """Nothing is sent where there is no connection, or its writing side is closed."""
        for name, value in (("connected", 0), ("_writeDisconnected", True)):
            transport = FakeTransport([])
            setattr(transport, name, value)
            transport.write(b"abc")
            self.assertEqual((transport.taken, transport._tempDataBuffer), ([], []))

    def test_nothing(self) -> None:
        """Writing nothing calls nothing, and text is the type error that it was."""
        transport = FakeTransport([])
        transport.write(b"")
        self.assertEqual(transport.reactor.writers, 0)
        self.assertRaises(TypeError, transport.write, "abc")


class Collector(Protocol):
    """Collects what comes; ``lost`` fires at the end of the connection, with all of it."""

    def __init__(self) -> None:
        self.data = b""
        self.lost: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.callback(self.data)


class HeldTests(SynchronousTestCase):
    """What is written in a round of the reactor."""

    def setUp(self) -> None:
        """A round has begun."""
        OUTBOX.open = True
        self.addCleanup(OUTBOX.end)

    def test_at_the_end(self) -> None:
        """One write waits for the end of the round; then it is sent at once, and so are others."""
        transport = FakeTransport([3, 2])
        transport.write(b"abc")
        self.assertEqual(transport.taken, [])
        OUTBOX.end()
        transport.write(b"de")
        self.assertEqual(transport.taken, [b"abc", b"de"])
        self.assertTrue(transport.closes_at_once)
        self.assertEqual((transport._tempDataBuffer, transport.reactor.writers), ([], 0))

    def test_second(self) -> None:
        """A second one sends both, as far as the socket takes them; the next is held again."""
        transport = FakeTransport([4, 1, 100])
        transport.write(b"abc")
        transport.write(b"de")
        self.assertEqual((transport.taken, transport._tempDataBuffer), ([b"abcd"], [b"e"]))
        transport.write(b"f")
        OUTBOX.end()
        self.assertEqual(transport._tempDataBuffer, [b"e", b"f"])
        for _ in range(2):
            transport.doWrite()
        self.assertEqual(transport.taken, [b"abcd", b"e", b"f"])

    def test_many(self) -> None:
        """When many hold something back they do not wait for the end, and the round goes on."""
        transports = [FakeTransport([1]) for _ in range(MOST + 1)]
        for transport in transports:
            transport.write(b"x")
        self.assertEqual([len(t.taken) for t in transports], [1] * MOST + [0])
        self.assertTrue(OUTBOX.open)

    def test_fault(self) -> None:
        """What cannot be written keeps nobody else waiting."""
        bad, good = FakeTransport([]), FakeTransport([1])
        bad.write("text")  # type: ignore[arg-type]
        good.write(b"x")
        OUTBOX.end()
        self.assertEqual(good.taken, [b"x"])
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_sequence(self) -> None:
        """It overtakes nothing that is held back."""
        transport = FakeTransport([100])
        transport.write(b"a")
        transport.writeSequence([b"b", b"c"])
        self.assertEqual((transport.taken, transport._tempDataBuffer), ([b"abc"], []))

    def test_pull_producer(self) -> None:
        """One that has come meanwhile is asked for its data behind what is held back."""
        transport = FakeTransport([100])
        transport.write(b"a")
        producer = Producer()
        transport.registerProducer(producer, False)
        OUTBOX.end()
        self.assertEqual((transport.taken, transport._tempDataBuffer), ([], [b"a"]))
        transport.doWrite()
        self.assertEqual((transport.taken, producer.asked), ([b"a"], ["resume", "resume"]))

    def test_closed_in_a_round(self) -> None:
        """At its end the connection is lost: sent is what was written, and no timer was set."""
        transport = FakeTransport([3])
        lost: list[Any] = []
        transport.connectionLost = lost.append  # type: ignore[method-assign]
        transport.write(b"abc")
        transport.loseConnection()
        transport.loseConnection()
        self.assertEqual((transport.taken, lost), ([b"abc"], []))
        for _ in range(2):
            OUTBOX.end()
        self.assertEqual((lost, transport.reactor.later), ([connectionDone], []))

    def test_fault_at_the_end(self) -> None:
        """What cannot be closed keeps nobody else waiting."""
        lost: list[Any] = []

        def broken(reason: Any) -> None:
            lost.append(reason)
            raise ZeroDivisionError

        for _ in range(2):
            transport = FakeTransport([])
            transport.connectionLost = broken  # type: ignore[method-assign]
            transport.loseConnection()
        OUTBOX.end()
        self.assertEqual(len(lost), 2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_before_what_ends_it(self) -> None:
        """It is sent before the connection or its half closes, turns to TLS, or sends a file."""

        def send_file(transport: FakeTransport) -> None:
            self.assertRaises(OSError, transport.send_file, -1, 0, 1)

        for change in (
            FakeTransport.loseConnection,
            FakeTransport.abortConnection,
            FakeTransport.loseWriteConnection,
            FakeTransport.startTLS,
            send_file,
        ):
            transport = FakeTransport([3])
            transport.write(b"abc")
            change(transport)
            self.assertEqual(transport.taken, [b"abc"], change)

    def test_after_the_log(self) -> None:
        """Whatever is sent, what was logged before is written first, and only once."""
        for step in (
            lambda transport: OUTBOX.end(),
            lambda transport: transport.loseConnection(),
            lambda transport: transport.write(b"d"),
        ):
            OUTBOX.open = True
            transport = FakeTransport([100])
            written: list[list[bytes]] = []
            OUTBOX.write_later(lambda to=transport, done=written: done.append(list(to.taken)))
            transport.write(b"abc")
            self.assertEqual(written, [])
            step(transport)
            OUTBOX.end()
            self.assertEqual((written, len(transport.taken)), ([[]], 1))

    def test_log_alone(self) -> None:
        """It is written where nothing is sent, too, and by all even when one cannot."""
        written: list[int] = []
        for number in (1, 2):

            def write(number: int = number) -> None:
                written.append(number)
                raise OSError

            OUTBOX.write_later(write)
        OUTBOX.end()
        self.assertEqual(written, [1, 2])
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 2)

    def test_gone(self) -> None:
        """For a connection that has gone meanwhile nothing is sent."""
        transport = FakeTransport([])
        transport.write(b"abc")
        transport.connected = 0
        OUTBOX.end()
        self.assertEqual(transport.taken, [])


class ReadTests(SynchronousTestCase):
    """How much is read at once."""

    def transport(self, *holds: bytes | OSError) -> WriteThroughServer:
        """One whose socket has so much each time."""
        transport = WriteThroughServer.__new__(WriteThroughServer)
        self.waiting = list(holds)
        self.asked: list[int] = []
        self.protocol = Collector()
        transport.socket, transport.protocol = self, self.protocol  # type: ignore[assignment]
        return transport

    def recv(self, most: int) -> bytes:
        """As a socket does."""
        self.asked.append(most)
        piece = self.waiting.pop(0)
        if isinstance(piece, OSError):
            raise piece
        return piece[:most]

    def test_sizes(self) -> None:
        """A read that was full is followed by a larger one, as long as they are long."""
        long, short = b"x" * LONG_READ, b"x" * 100
        transport = self.transport(short, long, long, short, short)
        self.protocol.takes_much = True  # type: ignore[attr-defined]
        for _ in range(5):
            self.assertIsNone(transport.doRead())
        self.assertEqual(self.asked, [SHORT_READ, SHORT_READ, LONG_READ, LONG_READ, SHORT_READ])
        self.assertEqual(len(self.protocol.data), 300 + SHORT_READ + LONG_READ)

    def test_commands(self) -> None:
        """Where no message comes, no more is read than what may wait; nor may more answers."""
        long = b"x" * LONG_READ
        transport = self.transport(long, long, long)
        self.protocol.takes_much = False  # type: ignore[attr-defined]
        for _ in range(3):
            self.assertIsNone(transport.doRead())
        self.assertEqual(self.asked, [SHORT_READ] * 3)
        self.assertEqual(transport.bufferSize, SHORT_READ)

    def test_lost_meanwhile(self) -> None:
        """A connection that its protocol loses at once is no fault."""
        transport = self.transport(b"x" * SHORT_READ)

        def lose(data: bytes) -> None:
            del transport.protocol

        self.protocol.dataReceived = lose  # type: ignore[method-assign]
        self.assertIsNone(transport.doRead())

    def test_within_tls(self) -> None:
        """It is the protocol within that knows."""
        long = b"x" * LONG_READ
        transport = self.transport(long, long)
        within = Collector()
        within.takes_much = True  # type: ignore[attr-defined]
        self.protocol.wrappedProtocol = within  # type: ignore[attr-defined]
        transport.doRead()
        transport.doRead()
        self.assertEqual(self.asked, [SHORT_READ, LONG_READ])

    def test_ends(self) -> None:
        """What is no data is what Twisted makes of it."""
        transport = self.transport(BlockingIOError(), ConnectionResetError(), b"")
        self.assertIsNone(transport.doRead())
        self.assertIs(transport.doRead(), CONNECTION_LOST)
        self.assertIs(transport.doRead(), CONNECTION_DONE)
        source = inspect.getsource(tcp.Connection.doRead)
        for name in ("self.bufferSize", "self._dataReceived(data)"):
            self.assertIn(name, source)


class CloseTests(SynchronousTestCase):
    """``loseConnection``."""

    def test_at_once(self) -> None:
        """With nothing to send the end comes in the next round, by no call-back of a socket."""
        transport = FakeTransport([3])
        transport.write(b"abc")
        self.assertTrue(transport.closes_at_once)
        transport.loseConnection()
        transport.loseConnection()
        self.assertEqual(transport.reactor.later, [(0, transport.connectionLost, connectionDone)])
        self.assertEqual(transport.reactor.writers, 0)

    def test_what_waits_is_sent_first(self) -> None:
        """Otherwise it is Twisted's: all is sent, then the connection ends."""
        transport = FakeTransport([1, 100])
        transport.write(b"abc")
        self.assertFalse(transport.closes_at_once)
        transport.loseConnection()
        self.assertEqual(transport.reactor.later, [])
        self.assertIs(transport.doWrite(), CONNECTION_DONE)
        self.assertEqual(transport.taken, [b"a", b"bc"])

    def test_left_to_the_base(self) -> None:
        """So it is with a producer, under TLS, and when this half is closed already."""
        for change in ({"producer": object()}, {"TLS": True}, {"_writeDisconnected": True}):
            transport = FakeTransport([])
            for name, value in change.items():
                setattr(transport, name, value)
            self.assertFalse(transport.closes_at_once)
            transport.loseConnection()
            self.assertEqual(transport.reactor.later, [])

    def test_aborted(self) -> None:
        """Twisted's name for a transport that is being aborted."""
        self.assertFalse(tcp.Connection._aborting)
        self.assertIn("self._aborting = True", inspect.getsource(tcp.Connection.abortConnection))

    def test_ended_once(self) -> None:
        """Twisted's transport ends once, though it is aborted in between."""
        self.assertIn('if not hasattr(self, "socket")', inspect.getsource(tcp.Connection))


class ReactorTests(TestCase):
    """The facade with Twisted's endpoints, over loopback."""

    def setUp(self) -> None:
        self.reactor = WriteThroughReactor(reactor)
        self.accepted: Deferred[Collector] = Deferred()

    def factory(self) -> Factory:
        """One that hands its first connection to the test."""

        class Accepting(Collector):
            def connectionMade(_self) -> None:  # noqa: N805
                self.accepted.callback(_self)

        return Factory.forProtocol(Accepting)

    async def pair(self, port: Any) -> tuple[Collector, Collector]:
        """Both ends of a connection to ``port``."""
        self.addCleanup(port.stopListening)
        endpoint = clientFromString(self.reactor, f"tcp:127.0.0.1:{port.getHost().port}")
        client = await connectProtocol(endpoint, Collector())
        return client, await self.accepted

    async def listening(self) -> Any:
        """A port on loopback."""
        endpoint = serverFromString(self.reactor, "tcp:0:interface=127.0.0.1")
        return await endpoint.listen(self.factory())

    async def finish(self, client: Collector, server: Collector) -> tuple[bytes, bytes]:
        """End the connection; what each end got."""
        client.transport.loseConnection()
        return await client.lost, await server.lost

    def test_provides(self) -> None:
        """The facade provides what the reactor provides, and the rest is the reactor's."""
        for interface in (
            IReactorTCP, IReactorCore, IReactorSocket, IReactorPluggableNameResolver,
        ):  # fmt: skip
            self.assertTrue(interface.providedBy(self.reactor), interface)
        self.assertEqual(self.reactor.callLater, reactor.callLater)
        self.assertEqual(self.reactor.getReaders, reactor.getReaders)

    async def test_endpoints(self) -> None:
        """Endpoints of the facade make write-through transports at both ends."""
        client, server = await self.pair(await self.listening())
        self.assertIsInstance(client.transport, WriteThroughClient)
        self.assertIsInstance(server.transport, WriteThroughServer)
        client.transport.write(b"ping")
        server.transport.write(b"pong")
        self.assertEqual([w for w in reactor.getWriters() if isinstance(w, WriteThrough)], [])
        # The server's bytes must have come before the client closes.
        while client.data != b"pong":
            await turn()
        self.assertEqual(await self.finish(client, server), (b"pong", b"ping"))

    async def test_more_than_the_socket_takes(self) -> None:
        """Megabytes in small and large writes arrive whole and in order."""
        client, server = await self.pair(await self.listening())
        pieces = [bytes([n % 256]) * size for n, size in enumerate((1, 300_000, 7, 4_000_000, 3))]
        for piece in pieces * 2:
            client.transport.write(piece)
        self.assertTrue(client.transport._tempDataBuffer)
        _, got = await self.finish(client, server)
        self.assertEqual(got, b"".join(pieces * 2))

    async def test_file(self) -> None:
        """The kernel sends a file of megabytes whole and in order, between what is written."""
        client, server = await self.pair(await self.listening())
        os.mkdir(directory := self.mktemp())
        content = Content(directory, 0)
        self.addCleanup(content.close)
        content.prefix = b"Received: x\r\n"
        for number in range(2000):
            content.append(b"%4d" % number * 1000 + b"\r\n")
        over: Deferred[None] = Deferred()
        transport = client.transport
        FileProducer(
            transport, content, lambda: None, lambda: over.callback(None), over.errback
        ).start()
        await over
        transport.write(b".\r\n")
        _, got = await self.finish(client, server)
        self.assertEqual(got, b"".join(content.wire()) + b".\r\n")

    async def test_tls(self) -> None:
        """Under TLS large and small writes arrive whole and in order, in both directions."""
        client, server = await self.pair(await self.listening())
        own = PrivateCertificate.loadPEM(RIGHT.private_key_and_cert_chain_pem.bytes())
        server.transport.startTLS(own.options())
        trusted = Certificate.loadPEM(CA.cert_pem.bytes())
        client.transport.startTLS(optionsForClientTLS(NAME, trustRoot=trusted))
        for transport in (client.transport, server.transport):
            self.assertTrue(ISSLTransport.providedBy(transport))
        pieces = [bytes([n % 256]) * size for n, size in enumerate((1, 300_000, 7, 4_000_000, 3))]
        for piece in pieces * 2:
            client.transport.write(piece)
        server.transport.writeSequence([b"po", b"ng"])
        while client.data != b"pong":
            await turn()
        transports = client.transport, server.transport
        self.assertEqual(await self.finish(client, server), (b"pong", b"".join(pieces * 2)))
        for transport in transports:
            transport.write(b"too late")

    async def test_file_and_nobody(self) -> None:
        """Through a connection that has gone no file goes."""
        client, server = await self.pair(await self.listening())
        server.transport.abortConnection()
        await server.lost
        await client.lost
        with open(__file__, "rb") as file, self.assertRaises(OSError):
            client.transport.send_file(file.fileno(), 0, 10)

    async def test_tls_aborted(self) -> None:
        """Who aborts when the handshake is over on its side does not end it on the other."""
        completed: list[Any] = []

        @implementer(IHandshakeListener)
        class Noting(Collector):
            def connectionMade(_self) -> None:  # noqa: N805
                self.accepted.callback(_self)

            def handshakeCompleted(_self) -> None:  # noqa: N805
                completed.append(_self)

        @implementer(IHandshakeListener)
        class Aborting(Collector):
            def handshakeCompleted(_self) -> None:  # noqa: N805
                _self.transport.abortConnection()

        port = self.reactor.listenTCP(0, Factory.forProtocol(Noting), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        endpoint = clientFromString(self.reactor, f"tcp:127.0.0.1:{port.getHost().port}")
        client: Any = await endpoint.connect(Factory.forProtocol(Aborting))
        server = await self.accepted
        own = PrivateCertificate.loadPEM(RIGHT.private_key_and_cert_chain_pem.bytes())
        server.transport.startTLS(own.options())
        trusted = Certificate.loadPEM(CA.cert_pem.bytes())
        client.transport.startTLS(optionsForClientTLS(NAME, trustRoot=trusted))
        await client.lost
        await server.lost
        self.assertEqual(completed, [])

    async def test_no_cycle(self) -> None:
        """Both ends go when they are closed, and no search for what refers to itself is needed."""
        port = await self.listening()
        self.addCleanup(port.stopListening)
        endpoint = clientFromString(self.reactor, f"tcp:127.0.0.1:{port.getHost().port}")
        gc.disable()
        self.addCleanup(gc.enable)
        client: Any = await endpoint.connect(Factory.forProtocol(Collector))
        server = await self.accepted
        ends = [weakref.ref(end.transport) for end in (client, server)]
        await self.finish(client, server)
        del client, server, self.accepted
        await turn()
        self.assertEqual([end() for end in ends], [None, None])

    async def test_nobody_there(self) -> None:
        """An attempt that has failed goes as well."""
        made: list[Any] = []
        failed: Deferred[str] = Deferred()

        class Noted(ClientFactory):
            def startedConnecting(self, connector: Any) -> None:
                made.append(weakref.ref(connector))

            def clientConnectionFailed(self, connector: Any, reason: Any) -> None:
                failed.callback(reason.getErrorMessage())

        with socket.create_server(("127.0.0.1", 0)) as unused:
            port = unused.getsockname()[1]
        gc.disable()
        self.addCleanup(gc.enable)
        self.reactor.connectTCP("127.0.0.1", port, Noted())
        self.assertIn("refused", await failed)
        await turn()
        self.assertEqual([connector() for connector in made], [None])

    async def test_peer_has_gone(self) -> None:
        """A write to a connection that was reset ends it, by way of ``connectionLost``."""
        client, server = await self.pair(await self.listening())
        server.transport.abortConnection()
        await server.lost
        while not client.lost.called:
            client.transport.write(b"x" * 1000)
            await turn()
        self.assertFalse(client.transport.connected)
        await client.lost

    async def test_adopted_port(self) -> None:
        """An inherited listening socket makes write-through transports."""
        inherited = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(inherited.close)
        inherited.setblocking(False)
        port = self.reactor.adoptStreamPort(inherited.fileno(), socket.AF_INET, self.factory())
        client, server = await self.pair(port)
        self.assertIsInstance(server.transport, WriteThroughServer)
        self.assertEqual(await self.finish(client, server), (b"", b""))

    async def test_adopted_unix_port(self) -> None:
        """The path of an inherited socket is whose it was, also where nobody else accepts."""
        path = self.mktemp()[-60:].replace("/", "_")
        inherited = socket.socket(socket.AF_UNIX)
        self.addCleanup(inherited.close)
        inherited.bind(path)
        self.addCleanup(os.unlink, path)
        inherited.listen()
        inherited.setblocking(False)
        port = self.reactor.adoptStreamPort(inherited.fileno(), socket.AF_UNIX, self.factory())
        self.assertIsInstance(port, unix.Port)
        await port.stopListening()
        with socket.socket(socket.AF_UNIX) as another:
            another.connect(path)

    async def test_let_go(self) -> None:
        """Another process goes on with the socket: it is not shut down, and its path stays."""
        path = self.mktemp()[-60:].replace("/", "_")
        ports = (
            self.reactor.listenTCP(0, self.factory(), interface="127.0.0.1"),
            self.reactor.listenUNIX(path, self.factory(), wantPID=True),
        )
        kept = [socket.socket(fileno=os.dup(port.fileno())) for port in ports]
        for port, socket_ in zip(ports, kept, strict=True):
            self.addCleanup(socket_.close)
            await let_go(port)
            with socket.socket(socket_.family) as client:
                client.connect(socket_.getsockname())
        # Nobody has it any more: who binds it anew finds that the owner has gone.
        kept[1].close()
        os.unlink(f"{path}.lock")
        os.symlink("999999999", f"{path}.lock")
        again = self.reactor.listenUNIX(path, self.factory(), wantPID=True)
        await again.stopListening()
        self.assertFalse(os.path.lexists(path) or os.path.lexists(f"{path}.lock"))

    async def test_shared_port(self) -> None:
        """Where others accept too, a few connections are taken at a time, whoever has come."""
        inherited = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(inherited.close)
        inherited.setblocking(False)
        shared = WriteThroughReactor(reactor, shared=True)
        port = shared.adoptStreamPort(
            inherited.fileno(), socket.AF_INET, Factory.forProtocol(Collector)
        )
        self.addCleanup(port.stopListening)
        clients = [socket.create_connection(inherited.getsockname()) for _ in range(SHARE * 2 + 1)]
        for client in clients:
            self.addCleanup(client.close)
        for taken in (SHARE, 2 * SHARE, 2 * SHARE + 1):
            port.doRead()
            self.assertEqual(port.sessionno, taken)
        self.assertIs(port.transport, WriteThroughServer)
        for connection in [r for r in reactor.getReaders() if isinstance(r, WriteThroughServer)]:
            connection.abortConnection()
        await turn()

    async def test_shared_unix_port(self) -> None:
        """It leaves the path and its mode alone, and closes the socket for itself only."""
        path = self.mktemp()[-60:].replace("/", "_")
        inherited = socket.socket(socket.AF_UNIX)
        self.addCleanup(inherited.close)
        inherited.bind(path)
        self.addCleanup(os.unlink, path)
        os.chmod(path, 0o600)
        inherited.listen()
        inherited.setblocking(False)
        shared = WriteThroughReactor(reactor, shared=True)
        port = shared.adoptStreamPort(inherited.fileno(), socket.AF_UNIX, self.factory())
        client = await connectProtocol(clientFromString(reactor, f"unix:{path}"), Collector())
        await self.finish(client, await self.accepted)
        await port.stopListening()
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        with socket.socket(socket.AF_UNIX) as another:
            another.connect(path)


async def turn() -> None:
    """One turn of the reactor."""
    done: Deferred[None] = Deferred()
    reactor.callLater(0, done.callback, None)
    await done
