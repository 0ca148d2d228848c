"""TLS at the edge: STARTTLS, TLS from the first byte, and what is forgotten."""

from typing import Any

from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import INegotiated
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from smtpforward.config.settings import Settings
from smtpforward.envelope import Client
from smtpforward.job import Event
from smtpforward.server.conversation import CLOSE_DEADLINE
from tests.support import (
    RECIPIENT,
    SENDER,
    Edge,
    EdgeTransport,
    ScriptedSession,
    ScriptedTarget,
    settings,
)
from tests.tlssupport import SecurableTransport, SecureClient, server_tls, shown_name

TLS = server_tls("mx.example.net")
EHLO = b"EHLO client.example.net\r\n"


def with_tls(**changes: Any) -> Settings:
    """Settings with a certificate."""
    return settings(tls=TLS, **changes)


def edge(port: int = 25, given: Settings | None = None, **more: Any) -> Edge:
    """An edge on ``port`` whose transport can begin TLS."""
    return Edge(transport=SecurableTransport(port), settings_=given or with_tls(), **more)


def secured(
    port: int = 25, given: Settings | None = None, **more: Any
) -> tuple[Edge, SecureClient]:
    """An edge and its client after STARTTLS."""
    made = edge(port, given, **more)
    made.heard()
    made.send(EHLO)
    assert made.send(b"STARTTLS\r\n").startswith(b"220 ")
    return made, SecureClient(made).handshake()


class CountTests(SynchronousTestCase):
    """Handshakes are counted."""

    def test_by_version(self) -> None:
        """Each that is complete, under its version."""
        made, _ = secured()
        self.assertEqual(made.factory.counts.handshakes, {"TLSv1.3": 1})


class OfferTests(SynchronousTestCase):
    """Where STARTTLS is offered."""

    def offered(self, made: Edge) -> bool:
        """Whether the answer to EHLO names it, and the command agrees."""
        made.heard()
        named = b"STARTTLS" in made.send(EHLO)
        accepted = made.codes(b"STARTTLS\r\n") == [220]
        self.assertEqual(named, accepted)
        return named

    def test_with_a_certificate(self) -> None:
        """It takes a certificate, and a transport that can."""
        self.assertTrue(self.offered(edge()))
        self.assertFalse(self.offered(edge(given=settings())))
        self.assertFalse(self.offered(Edge(settings_=with_tls())))

    def test_ports(self) -> None:
        """Ports can be left out."""
        given = settings(tls=server_tls(no_starttls_ports=frozenset({2525})))
        self.assertFalse(self.offered(edge(2525, given)))
        self.assertTrue(self.offered(edge(25, given)))

    def test_new_settings(self) -> None:
        """A certificate that comes or goes counts for connections that are there already."""
        made = edge(given=settings())
        made.factory.settings = with_tls()
        self.assertTrue(self.offered(made))
        contexts = made.factory.contexts
        made.factory.settings = with_tls(hosts=())
        self.assertIs(made.factory.contexts, contexts)
        made.factory.settings = settings()
        self.assertIsNone(made.factory.contexts)


class StartTests(SynchronousTestCase):
    """The command and what follows it."""

    def test_argument(self) -> None:
        """It takes none."""
        made = edge()
        self.assertEqual(made.codes(EHLO, b"STARTTLS now\r\n", b"NOOP\r\n")[-2:], [501, 250])

    def test_answered_in_the_clear(self) -> None:
        """220 is the last thing said in the clear; the next is inside TLS."""
        made = edge()
        made.send(EHLO)
        self.assertEqual(made.send(b"STARTTLS\r\n"), b"220 2.0.0 ready to start TLS\r\n")
        client = SecureClient(made).handshake()
        self.assertEqual(shown_name(client.end), "mx.example.net")
        self.assertNotIn(b"STARTTLS", client.send(EHLO))
        self.assertEqual(client.codes(b"STARTTLS\r\n", SENDER), [503, 250])

    def test_everything_is_forgotten(self) -> None:
        """Neither HELO nor the transaction outlives it, and a new session is asked from then on."""
        sessions: list[ScriptedSession] = []
        clients: list[Client] = []

        def session(client: Client) -> Any:
            clients.append(client)
            sessions.append(ScriptedSession())
            return sessions[-1]

        made = edge()
        made.factory._sessions = session
        made.connect(transport=SecurableTransport())
        made.to_recipient()
        made.send(b"STARTTLS\r\n")
        self.assertEqual(sessions[0].asked[-1], "closed")
        client = SecureClient(made).handshake()
        self.assertEqual(client.codes(SENDER, RECIPIENT, b"DATA\r\n"), [503, 503, 503])
        self.assertEqual(sessions[1].asked, [])
        self.assertEqual([one.tls for one in clients], [False, True])
        self.assertEqual(sessions[1].client.tls_version, "TLSv1.3")
        self.assertEqual(client.codes(EHLO, SENDER), [250, 250])
        self.assertEqual(sessions[1].asked, ["reset", "helo", "mail"])
        self.assertEqual(sessions[0].asked[-1], "closed")

    def test_what_was_found_out_is_kept(self) -> None:
        """The client's address and verified name stay: it did not say them."""
        made = edge()
        made.session.client = Client("192.0.2.1", 4321, "client.example.net", b"x", "ESMTP", "y")
        made.send(EHLO, b"STARTTLS\r\n")
        known = made.protocol._client
        self.assertEqual(known, Client("192.0.2.1", 4321, "client.example.net", tls=True))

    def test_pipelined(self) -> None:
        """Bytes that came with the command are not run, neither in the clear nor inside TLS."""
        made = edge()
        made.send(EHLO)
        self.assertEqual(made.codes(b"STARTTLS\r\n" + EHLO + SENDER), [503])
        self.assertIsNone(made.transport.tls)
        self.assertTrue(made.closing)
        self.assertNotIn("mail", made.session.asked)

    def test_clear_bytes_in_place_of_a_handshake(self) -> None:
        """They end the connection, and are no commands."""
        made = edge()
        made.send(EHLO, b"STARTTLS\r\n")
        asked = list(made.session.asked)
        made.transport.protocol.dataReceived(EHLO + SENDER)
        self.assertTrue(made.closing)
        made.transport.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(made.session.asked, [*asked, "closed"])
        self.assertEqual(made.clock.getDelayedCalls(), [])

    def test_failed_handshake_is_logged(self) -> None:
        """An operator sees that a client and the edge did not come together."""
        made = edge()
        made.send(EHLO, b"STARTTLS\r\n")
        events: list[Any] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        made.protocol.connectionLost(Failure(SSL.Error([("", "", "no shared cipher")])))
        [why] = [event["why"] for event in events if "why" in event]
        self.assertIn("no shared cipher", why)

    def test_silent_peer(self) -> None:
        """Who does not begin the handshake is cut off: waiting for it would never end."""
        made = edge()
        made.send(EHLO, b"STARTTLS\r\n")
        made.clock.advance(300)
        self.assertFalse(made.aborted)
        made.clock.advance(CLOSE_DEADLINE)
        self.assertTrue(made.aborted)

    def test_received(self) -> None:
        """The message's ``Received`` line says that it came over TLS; one before TLS does not."""
        target = ScriptedTarget(Event.ACCEPTED)
        made, client = secured(target=target)
        client.send(EHLO, SENDER, RECIPIENT, b"DATA\r\n", b"Subject: x\r\n\r\n.\r\n")
        self.assertIn(b" with ESMTPS id ", target.messages[0])
        client.send(b"HELO a\r\n", SENDER, RECIPIENT, b"DATA\r\n", b"Subject: x\r\n\r\n.\r\n")
        self.assertIn(b" with SMTP id ", target.messages[1])
        made.connect(transport=SecurableTransport())
        made.to_data().send(b".\r\n")
        self.assertIn(b" with ESMTP id ", target.messages[2])

    def test_draining(self) -> None:
        """When the gateway is going down, STARTTLS begins nothing that would last."""
        made = edge()
        made.to_sender()
        made.factory.drain()
        made.heard()
        self.assertEqual(made.send(b"STARTTLS\r\n"), b"220 2.0.0 ready to start TLS\r\n")
        client = SecureClient(made).handshake()
        self.assertEqual(client.heard(), b"421 4.3.2 shutting down\r\n")
        self.assertTrue(client.ended)


class SecuredTests(SynchronousTestCase):
    """A conversation inside TLS."""

    def test_cut_off(self) -> None:
        """Who breaks the rules hears why, and then the end of TLS: nothing is truncated."""
        _, client = secured()
        self.assertEqual(client.codes(b"NOOP\n"), [500])
        self.assertTrue(client.ended)

    def test_quit(self) -> None:
        """So does who says good-bye."""
        made, client = secured()
        self.assertEqual(client.codes(b"QUIT\r\n"), [221])
        self.assertTrue(client.ended)
        made.clock.advance(CLOSE_DEADLINE)
        self.assertTrue(made.aborted)

    def test_pipelining(self) -> None:
        """Commands in one record are answered in order."""
        _, client = secured()
        client.send(EHLO)
        self.assertEqual(client.codes(SENDER + RECIPIENT + b"DATA\r\n"), [250, 250, 354])
        self.assertEqual(client.codes(b".\r\nQUIT\r\n"), [250, 221])


class AtOnceTests(SynchronousTestCase):
    """Listeners that speak TLS from the first byte."""

    def test_greeting_is_inside(self) -> None:
        """Nothing is said in the clear, and STARTTLS is not offered."""
        made = edge(465)
        self.assertEqual(made.heard(), b"")
        client = SecureClient(made).handshake()
        self.assertEqual(client.heard(), b"220 mx.example.net ESMTP smtpforward\r\n")
        self.assertNotIn(b"STARTTLS", client.send(EHLO))
        self.assertEqual(client.codes(b"STARTTLS\r\n"), [503])
        self.assertTrue(made.protocol._client.tls)

    def test_other_port(self) -> None:
        """``smtps_port`` says which port it is, and that one alone."""
        given = with_tls(smtps_port=2465)
        self.assertEqual(edge(2465, given).heard(), b"")
        self.assertTrue(edge(465, given).heard().startswith(b"220 "))

    def test_without_a_certificate(self) -> None:
        """There nothing is said, but in the log."""
        made = edge(465, settings())
        self.assertEqual((made.heard(), made.aborted), (b"", True))
        self.assertEqual(made.session.asked, [])
        made.lose()
        self.assertEqual(made.clock.getDelayedCalls(), [])

    def test_clear_commands(self) -> None:
        """A client that speaks in the clear there hears nothing of SMTP."""
        made = edge(465)
        made.transport.protocol.dataReceived(EHLO)
        self.assertNotIn(b"220", made.heard())
        self.assertTrue(made.closing)

    def test_tls_of_an_application(self) -> None:
        """Where an embedding application has begun TLS, it is known and not begun again."""

        @implementer(INegotiated)
        class Secure(EdgeTransport):
            pass

        for port in (25, 465):
            transport = Secure()
            self.patch(transport, "hostAddr", SecurableTransport(port).getHost())
            made = Edge(transport=transport, settings_=with_tls())
            self.assertTrue(made.heard().startswith(b"220 "))
            self.assertNotIn(b"STARTTLS", made.send(EHLO))
