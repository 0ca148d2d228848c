"""Ports that make their connections themselves, on real sockets; the reactor does not run."""

import errno
import inspect
import re
import socket
from typing import Any

from twisted.internet import reactor, tcp
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.net import accepting, peer
from smtpforward.net.accepting import MORE
from smtpforward.net.reactor import WriteThroughReactor
from smtpforward.net.writethrough import WriteThroughServer


class Clients(Factory):
    """Keeps the protocols of its connections.

    :ivar fault: raised in place of making a protocol. ``refusing``: whether none is made.
    """

    fault: Exception | None = None
    refusing = False

    def __init__(self) -> None:
        self.addresses: list[Any] = []
        self.protocols: list[Any] = []

    def buildProtocol(self, addr: Any) -> Any:
        """See IProtocolFactory."""
        self.addresses.append(addr)
        if self.fault is not None:
            raise self.fault
        if self.refusing:
            return None
        self.protocols.append(Protocol())
        return self.protocols[-1]


class Scripted:
    """A listening socket of which each ``accept`` gives the next of a list."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)

    def accept(self) -> Any:
        """As a socket does."""
        answer = self._answers.pop(0) if self._answers else BlockingIOError(errno.EAGAIN, "")
        if isinstance(answer, Exception):
            raise answer
        return answer


class AcceptTests(SynchronousTestCase):
    """What a port does when clients are there."""

    def setUp(self) -> None:
        self.factory = Clients()
        own: Any = WriteThroughReactor(reactor)
        self.port: Any = own.listenTCP(0, self.factory, interface="127.0.0.1")
        self.addCleanup(self.close)
        self.address = ("127.0.0.1", self.port.getHost().port)

    def close(self) -> None:
        """All ends that are left."""
        for protocol in self.factory.protocols:
            transport = protocol.transport
            transport.stopReading()
            transport.socket.close()
        self.port.stopReading()
        self.port.socket.close()

    def clients(self, number: int) -> list[socket.socket]:
        """So many come."""
        found = [socket.create_connection(self.address) for _ in range(number)]
        for client in found:
            self.addCleanup(client.close)
        return found

    def test_all(self) -> None:
        """All who are there are let in, each with its own address."""
        clients = self.clients(3)
        self.port.doRead()
        self.assertEqual(
            [(a.host, a.port) for a in self.factory.addresses], [c.getsockname() for c in clients]
        )
        self.assertEqual(self.port.numberAccepts, 3)
        for number, protocol in enumerate(self.factory.protocols):
            transport = protocol.transport
            self.assertIs(type(transport), WriteThroughServer)
            self.assertIn(transport, reactor.getReaders())
            self.assertEqual(transport.sessionno, number)
            self.assertEqual(transport.own_port, self.address[1])
            self.assertEqual(peer.own_port(transport), self.address[1])
            self.assertEqual(transport.logPrefix(), f"WriteThroughServer,{number},127.0.0.1")
            self.assertIn(str(self.address[1]), repr(transport))

    def test_as_many_as_last_time(self) -> None:
        """Those beyond that wait for the next event, which is expected to bring more."""
        self.clients(2)
        self.port.numberAccepts = 1
        self.port.doRead()
        self.assertEqual((len(self.factory.protocols), self.port.numberAccepts), (1, 1 + MORE))
        self.port.doRead()
        self.assertEqual((len(self.factory.protocols), self.port.numberAccepts), (2, 1))

    def test_no_delay(self) -> None:
        """Nagle's algorithm is off in each connection, and nothing is asked of the system for it.

        Where a connection does not have that from the socket that listens, it is asked for.
        """
        self.clients(2)
        self.port.doRead()
        for transport in (protocol.transport for protocol in self.factory.protocols):
            self.assertEqual(transport.getTcpNoDelay(), self.port.no_delay)
            self.port.no_delay = False
            transport.setTcpNoDelay(True)
            self.assertTrue(transport.getTcpNoDelay())
            transport.setTcpNoDelay(False)
            self.assertFalse(transport.getTcpNoDelay())
            self.port.no_delay = True
            transport.setTcpNoDelay(True)
            self.assertFalse(transport.getTcpNoDelay())

    def test_refused(self) -> None:
        """For whom there is no protocol, its connection is closed."""
        self.factory.refusing = True
        [client] = self.clients(1)
        self.port.doRead()
        self.assertEqual(client.recv(1), b"")

    def test_fault(self) -> None:
        """A fault with one is logged, and the next is let in."""
        self.factory.fault = ZeroDivisionError()
        self.clients(1)
        self.port.doRead()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.factory.fault = None
        self.clients(1)
        self.port.doRead()
        self.assertEqual(len(self.factory.protocols), 1)

    def test_out_of_descriptors(self) -> None:
        """What accepting raises is Twisted's to deal with: here it closes who had to wait."""
        [client] = self.clients(1)
        real = self.port.socket
        self.port.socket = Scripted(
            OSError(errno.EMFILE, ""), OSError(errno.EMFILE, ""), real.accept()
        )
        self.port.doRead()
        self.port.socket = real
        self.assertEqual((client.recv(1), self.factory.addresses), (b"", []))

    def test_scope(self) -> None:
        """An IPv6 address of a link has its scope; others stand as they are."""
        asked: list[Any] = []

        def getnameinfo(address: Any, flags: int) -> tuple[str, str]:
            asked.append(address)
            return ("fe80::1%lo", "25")

        self.patch(socket, "getnameinfo", getnameinfo)
        self.assertEqual(accepting._with_scope(("fe80::1", 25, 0, 1)), ("fe80::1%lo", 25, 0, 1))
        self.assertEqual(asked, [("fe80::1", 25, 0, 1)])

    def test_ipv6(self) -> None:
        """A client by IPv6."""
        own: Any = WriteThroughReactor(reactor)
        port = own.listenTCP(0, self.factory, interface="::1")
        self.addCleanup(port.socket.close)
        self.addCleanup(port.stopReading)
        client = socket.create_connection(("::1", port.getHost().port))
        self.addCleanup(client.close)
        port.doRead()
        [address] = self.factory.addresses
        self.assertEqual((address.host, address.port), client.getsockname()[:2])
        self.assertEqual(self.factory.protocols[0].transport.getPeer(), address)

    def test_pinned(self) -> None:
        """The names of Twisted's port that are used here."""
        source = inspect.getsource(tcp.Port.doRead)
        for name in ("numberAccepts", "_buildAddr", "sessionno", "transport", "factory"):
            self.assertRegex(source, rf"self\.{name}\b")
        self.assertTrue(re.search(r"_realPortNumber = ", inspect.getsource(tcp.Port)))
