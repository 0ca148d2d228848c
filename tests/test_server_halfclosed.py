"""A client that ends its half of the connection: Exim does, behind the QUIT that it pipelines."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.reply import Reply
from tests.support import Edge, EdgeTransport, ScriptedSession

LATER = Reply(451, (b"4.4.1 later",))
MESSAGE = b"a\r\n.\r\n"


class HalfClosedTests(SynchronousTestCase):
    """What is done when no more will come."""

    def edge(self, **answers: Any) -> Edge:
        """A client that has said DATA to a scripted session."""
        return Edge(ScriptedSession(**answers)).to_data()

    def test_asked_for(self) -> None:
        """Twisted tells it to protocols that say so."""
        self.assertTrue(IHalfCloseableProtocol.providedBy(Edge().protocol))

    def test_quit_is_pipelined(self) -> None:
        """Who has said QUIT behind its message hears what became of it."""
        for wire in (MESSAGE + b"QUIT\r\n", MESSAGE + b"NOOP\r\nquit\r\n"):
            answer: Deferred[Any] = Deferred()
            edge = self.edge(end_of_data=answer)
            edge.send(wire)
            edge.protocol.readConnectionLost()
            self.assertEqual((edge.heard(), edge.closing), (b"", False))
            self.assertNotIn("closed", edge.session.asked)
            answer.callback(LATER)
            self.assertEqual((edge.codes()[-1], edge.closing), (221, True))

    def test_without_quit(self) -> None:
        """Who has not has gone: its message is given up."""
        for wire in (MESSAGE, MESSAGE + b"NOOP\r\n", MESSAGE + b"XQUIT\r\n", MESSAGE + b"QUIT"):
            answer: Deferred[Any] = Deferred()
            edge = self.edge(end_of_data=answer)
            edge.send(wire)
            edge.protocol.readConnectionLost()
            self.assertEqual((edge.heard(), edge.closing), (b"", True))
            edge.lose()
            self.assertEqual(edge.session.asked[-1], "closed")

    def test_nothing_is_owed(self) -> None:
        """Between commands, and within a message, there is nothing to wait for."""
        for edge in (Edge(), Edge().to_data(), Edge().to_recipient()):
            edge.heard()
            edge.protocol.readConnectionLost()
            self.assertEqual((edge.heard(), edge.closing), (b"", True))

    def test_the_end_that_was_awaited(self) -> None:
        """After our own half is closed the client's end is the end."""

        class Halved(EdgeTransport):
            halved = False

            def loseWriteConnection(self) -> None:
                self.halved = True

        edge = Edge(transport=Halved())
        edge.send(b"EHLO a\nb\r\n")
        self.assertTrue(edge.transport.halved)
        edge.protocol.writeConnectionLost()
        self.assertFalse(edge.closing)
        edge.protocol.readConnectionLost()
        self.assertTrue(edge.closing)
