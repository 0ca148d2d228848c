"""The factory of the edge: connections made, known, drained and cut off."""

import attrs
from twisted.internet.address import IPv6Address
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.config.settings import Limits
from smtpforward.server.protocol import GatewaySMTP
from smtpforward.server.session import GatewaySession
from tests.support import (
    ME,
    RECIPIENT,
    TAKEN,
    Edge,
    EdgeTransport,
    ScriptedSession,
    ScriptedTarget,
    settings,
)


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
