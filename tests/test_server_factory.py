"""The factory of the edge: connections made, known, drained and cut off."""

from typing import Any

import attrs
from twisted.internet.address import IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import INegotiated
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides

from smtpforward import answers
from smtpforward.config.networks import Networks, network
from smtpforward.config.settings import Limits
from smtpforward.server.protocol import GatewaySMTP
from smtpforward.server.session import GatewaySession
from smtpforward.server.turnedaway import TurnedAway
from tests.support import (
    GREETING,
    ME,
    RECIPIENT,
    TAKEN,
    Edge,
    EdgeTransport,
    ScriptedSession,
    ScriptedTarget,
    settings,
)
from tests.tlssupport import SecurableTransport, SecureClient, server_tls


class ConnectionsTests(SynchronousTestCase):
    """Making and knowing them."""

    def test_builds(self) -> None:
        """Each connection has a protocol and a session of its own, for the client's address."""
        edge = Edge(target=ScriptedTarget())
        protocol = edge.factory.buildProtocol(IPv6Address("TCP", "::ffff:192.0.2.7", 25))
        protocol.makeConnection(EdgeTransport())
        self.assertIsInstance(protocol, GatewaySMTP)
        self.assertIsInstance(protocol._session, GatewaySession)
        self.assertEqual(protocol._session.client.ip, "192.0.2.7")
        self.assertEqual((protocol.host, edge.factory.domain), (ME.encode(), ME.encode()))
        self.assertIsNot(protocol._session, edge.protocol._session)

    def test_new_settings(self) -> None:
        """Settings that are put in place hold for transactions that begin later."""
        edge = Edge(target=ScriptedTarget()).to_recipient()
        edge.factory.settings = settings(hosts=())
        self.assertEqual(edge.codes(b"RCPT TO:<c@example.com>\r\n"), [250])
        self.assertEqual(edge.codes(b"RSET\r\nMAIL FROM:<>\r\n" + RECIPIENT), [250, 250, 550])

    def test_new_limits(self) -> None:
        """So do limits; a transaction in progress keeps those that it began with."""
        edge = Edge()
        edge.send(b"EHLO x\r\n")
        edge.factory.settings = settings(limits=Limits(bytes=1000))
        self.assertEqual(edge.codes(b"MAIL FROM:<> SIZE=2000\r\n"), [552])
        edge.codes(b"MAIL FROM:<>\r\n")
        edge.factory.settings = settings(limits=Limits(bytes=10))
        self.assertEqual(edge.codes(RECIPIENT + b"DATA\r\n"), [250, 354])
        self.assertEqual(edge.codes(b"Subject: more than ten bytes\r\n.\r\n"), [250])
        self.assertEqual(edge.codes(b"MAIL FROM:<> SIZE=20\r\n"), [552])
        self.assertIn(b"SIZE 10\r\n", edge.send(b"EHLO x\r\n"))

    def test_new_name(self) -> None:
        """A new name is that of connections that are made from then on."""
        edge = Edge(target=ScriptedTarget())
        edge.factory.settings = attrs.evolve(settings(), me="new.example.net")
        edge.connect()
        self.assertTrue(edge.heard().startswith(b"220 new.example.net "))
        self.assertEqual(edge.factory.domain, b"new.example.net")

    def test_repr(self) -> None:
        """It shows how many clients there are."""
        edge = Edge()
        self.assertEqual(repr(edge.factory), "<GatewayFactory clients=1 draining=False>")
        edge.lose()
        self.assertEqual(repr(edge.factory), "<GatewayFactory clients=0 draining=False>")

    def test_no_delay(self) -> None:
        """Each connection has Nagle switched off."""
        self.assertTrue(Edge().transport.no_delay)


RELAYS = Networks([network("198.51.100.0/24")])


class BoundsTests(SynchronousTestCase):
    """How many connections there may be."""

    def edge(self, transport: Any = None, **limits: int) -> Edge:
        """An edge with one client, under ``limits``."""
        given = settings(limits=Limits(**limits), relays=RELAYS)
        return Edge(settings_=given, transport=transport)

    def assert_turned_away(self, edge: Edge, reply: bytes) -> None:
        """The last client has heard ``reply`` and nothing else, and nothing is kept of it."""
        before = edge.clock.getDelayedCalls()
        edge.protocol.dataReceived(b"EHLO x\r\n")
        self.assertEqual(edge.heard(), reply)
        self.assertTrue(edge.closing)
        self.assertIsInstance(edge.protocol, TurnedAway)
        edge.lose()
        self.assertEqual(edge.clock.getDelayedCalls(), before)

    def test_in_all(self) -> None:
        """One too many is told and closed; one that goes makes room, however it goes."""
        edge = self.edge(connections=2)
        first = edge.protocol
        edge.connect("198.51.100.1")
        for _ in range(3):
            edge.connect("192.0.2.9")
            self.assert_turned_away(edge, answers.TOO_MANY_CONNECTIONS.wire())
        self.assertEqual(edge.factory.connections.total, 2)
        self.assertEqual(edge.factory.counts.turned_away, {"connections": 3})
        first.connectionLost(Failure(ConnectionLost()))
        edge.connect()
        self.assertEqual(edge.heard(), GREETING)

    def test_from_one_address(self) -> None:
        """An address has its bound; others, and who relays, are not touched by it."""
        edge = self.edge(connections_per_ip=1)
        edge.connect()
        self.assert_turned_away(edge, answers.TOO_MANY_FROM_HERE.wire())
        for ip in ("192.0.2.2", "198.51.100.1", "198.51.100.1"):
            edge.connect(ip)
            self.assertEqual(edge.heard(), GREETING)

    def test_new_settings(self) -> None:
        """Other bounds hold at once, and know of the connections that there are."""
        edge = self.edge()
        edge.connect()
        edge.factory.settings = settings(limits=Limits(connections_per_ip=2))
        edge.connect()
        self.assert_turned_away(edge, answers.TOO_MANY_FROM_HERE.wire())
        edge.factory.settings = settings()
        edge.connect()
        self.assertEqual(edge.heard(), GREETING)

    def test_nothing_leaks(self) -> None:
        """Closed, cut off, silent, under TLS: each connection is given back once."""
        given = settings(limits=Limits(connections=1), tls=server_tls())
        edge = Edge(settings_=given, transport=ClosingTransport())
        for end in (
            lambda: edge.send(b"QUIT\r\n"),
            lambda: edge.send(b"NOOP\n\r\n"),
            lambda: edge.clock.advance(300),
            lambda: edge.factory.abort(),
        ):
            self.assertEqual(edge.factory.connections.total, 1)
            end()
            if edge.transport.connected:
                edge.lose()
            self.assertEqual(edge.factory.connections.total, 0)
            edge.connect(transport=ClosingTransport())
        edge.lose()
        for port in (25, 465):
            edge.connect(transport=SecurableTransport(port))
            if port == 25:
                edge.send(b"EHLO x\r\n", b"STARTTLS\r\n")
            SecureClient(edge).handshake()
            self.assertEqual(edge.factory.connections.total, 1)
            edge.lose()
            self.assertEqual(edge.factory.connections.total, 0)

    def test_lost_twice(self) -> None:
        """A connection that has gone cannot go again."""
        edge = self.edge()
        edge.factory.closed(edge.protocol)
        edge.factory.closed(edge.protocol)
        self.assertEqual(edge.factory.connections.total, 0)

    def test_under_tls(self) -> None:
        """Where TLS begins at once a client that is turned away costs no handshake."""
        given = settings(limits=Limits(connections=1), tls=server_tls())
        edge = Edge(settings_=given)
        edge.connect(transport=SecurableTransport(465))
        self.assertEqual(edge.heard(), b"")
        self.assertTrue(edge.aborted)
        secured = SecurableTransport(25)
        directlyProvides(secured, INegotiated)
        edge.connect(transport=secured)
        self.assertEqual(edge.heard(), b"")
        self.assertTrue(edge.aborted)

    def test_draining(self) -> None:
        """Who is turned away is not waited for at the end."""
        edge = self.edge(connections=1)
        first = edge.protocol
        edge.connect()
        drained = edge.factory.drain()
        first.connectionLost()
        self.successResultOf(drained)


class DrainTests(SynchronousTestCase):
    """The orderly end."""

    def test_nobody_there(self) -> None:
        """Without a client it is over at once."""
        edge = Edge()
        edge.lose()
        self.assertIsNone(self.successResultOf(edge.factory.drain()))

    def test_idle_clients(self) -> None:
        """A client between two transactions is told and closed; the last one's end is the end."""
        edge = Edge()
        first = edge.protocol
        edge.connect()
        edge.heard()
        drained = edge.factory.drain()
        self.assertEqual(edge.heard(), b"421 4.3.2 shutting down\r\n")
        self.assertTrue(edge.closing)
        edge.lose()
        self.assertNoResult(drained)
        first.connectionLost()
        self.assertIsNone(self.successResultOf(drained))

    def test_transaction_in_progress(self) -> None:
        """A transaction goes on to its answer; then its client is told."""
        edge = Edge().to_recipient()
        drained = edge.factory.drain()
        self.assertFalse(edge.closing)
        self.assertEqual(edge.codes(b"RCPT TO:<c@example.com>\r\n", b"DATA\r\n"), [250, 354])
        self.assertEqual(edge.codes(b"a\r\n.\r\n"), [250, 421])
        self.assertTrue(edge.closing)
        edge.lose()
        self.successResultOf(drained)

    def test_pipelined_next_transaction(self) -> None:
        """The next transaction does not begin, even when it came with the end of this one."""
        edge = Edge().to_data()
        edge.factory.drain()
        self.assertEqual(edge.codes(b"a\r\n.\r\nMAIL FROM:<c@example.net>\r\n"), [250, 421])

    def test_answer_owed(self) -> None:
        """Who waits for an answer gets it first."""
        answer: Deferred[object] = Deferred()
        edge = Edge(ScriptedSession(end_of_data=answer)).to_data()
        edge.send(b"a\r\n.\r\n")
        edge.factory.drain()
        self.assertEqual(edge.heard(), b"")
        answer.callback(TAKEN)
        self.assertEqual(edge.codes(), [250, 421])

    def test_greeting_owed(self) -> None:
        """So does a client that waits for its greeting, or one that comes late."""
        greeting: Deferred[object] = Deferred()
        edge = Edge(ScriptedSession(connected=greeting))
        edge.factory.drain()
        greeting.callback(None)
        self.assertEqual(edge.codes(), [220, 421])
        edge.connect()
        self.assertEqual(edge.codes(), [220, 421])

    def test_reset_ends_a_transaction(self) -> None:
        """A client that gives its transaction up is told."""
        edge = Edge().to_recipient()
        edge.factory.drain()
        self.assertEqual(edge.codes(b"RSET\r\n"), [250, 421])

    def test_closes_while_draining(self) -> None:
        """Transports that end at once, within the loop, are no harm."""
        edge = Edge(transport=ClosingTransport())
        edge.connect(transport=ClosingTransport())
        self.assertIsNone(self.successResultOf(edge.factory.drain()))
        self.assertEqual(edge.clock.getDelayedCalls(), [])

    def test_abort(self) -> None:
        """Who is still there at the end of the time is cut off."""
        edge = Edge().to_data()
        first = edge.transport
        edge.connect()
        edge.factory.abort()
        self.assertTrue(first.disconnected and edge.aborted)


class ClosingTransport(EdgeTransport):
    """One whose end is noticed at once."""

    def loseConnection(self) -> None:
        if self.connected:
            self.connected = False
            self.protocol.connectionLost()  # type: ignore[attr-defined]
