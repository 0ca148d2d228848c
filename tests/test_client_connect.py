"""Opening one connection, on a reactor without sockets."""

import errno

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectBindError, ConnectionLost, NoRouteError
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from smtpforward.client.connect import Connector
from smtpforward.client.errors import ConnectFailed
from smtpforward.client.session import BackendSession, Phase
from smtpforward.job import Event, Job, Server
from tests.clientsupport import GREETING, PIPELINING_EHLO, SERVER, ReactorCase, make_job


@implementer(IHostnameResolver)
class SlowResolver:
    """Resolves when a test says so."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    def resolveHostName(self, receiver, hostName, *args, **kw):  # type: ignore[no-untyped-def, override]
        """Note it."""
        self.asked.append(receiver)
        receiver.resolutionBegan(None)


class ConnectCase(ReactorCase):
    """One attempt."""

    def connect(
        self, server: Server = SERVER, job: Job | None = None
    ) -> "Deferred[BackendSession]":
        """Begin."""
        return self.connector.connect(server, job or make_job())

    def why(self, deferred: "Deferred[BackendSession]") -> ConnectFailed:
        """Why it failed; nothing is left behind in the reactor."""
        failure: Failure = self.failureResultOf(deferred, ConnectFailed)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        return failure.value  # type: ignore[return-value]


class ConnectTests(ConnectCase):
    """From the call to the session that is ready."""

    def test_ready(self) -> None:
        """TCP, greeting, EHLO: the session."""
        connecting = self.connect()
        wire = self.accept()
        self.assertNoResult(connecting)
        wire.says(GREETING)
        self.assertNoResult(connecting)
        wire.says(PIPELINING_EHLO)
        session = self.successResultOf(connecting)
        self.assertIs(session.phase, Phase.IDLE)
        self.assertEqual(session.peer_name, "192.0.2.1[192.0.2.1]:25")

    def test_where(self) -> None:
        """Address and port, the timeout, and no address to bind."""
        self.connect(Server("192.0.2.7", 2525, "x.example"))
        host, port, _, timeout, bind = self.reactor.tcpClients[0]
        self.assertEqual((host, port, timeout, bind), ("192.0.2.7", 2525, 30.0, None))

    def test_looked_up_already(self) -> None:
        """Where the address is given it is dialled, and the name is not resolved: it names."""
        for ip in ("192.0.2.7", "2001:db8::7"):
            resolver = self.reactor.nameResolver = SlowResolver()
            connecting = self.connect(Server("mx.example.com", 25, "x.example", address=ip))
            self.assertEqual(self.attempts()[-1], ip)
            self.greet()
            session = self.successResultOf(connecting)
            self.assertEqual(session.peer_name, f"mx.example.com[{ip}]:25")
            self.assertEqual(resolver.asked, [])

    def test_looked_up_and_refused(self) -> None:
        """A failure names both; no other address is tried."""
        connecting = self.connect(Server("mx.example.com", 25, "x.example", address="192.0.2.7"))
        self.refuse(Refused())
        self.assertIn("mx.example.com[192.0.2.7]:25: ", self.why(connecting).detail)
        self.assertEqual(self.attempts(), ["192.0.2.7"])

    def test_time_of_the_clock(self) -> None:
        """A deadline is one of the clock, whatever time the reactor has."""
        self.reactor.advance(1_000_000)
        connector = Connector(self.reactor, None, clock=Clock())
        connecting = connector.connect(SERVER, make_job(deadline=20.0))
        self.assertEqual(self.reactor.tcpClients[0][3], 20.0)
        connecting.cancel()
        self.failureResultOf(connecting)

    def test_ipv6(self) -> None:
        """An IPv6 address is dialled as such."""
        self.connect(Server("2001:db8::1", 25, "x.example"))
        self.assertEqual(self.attempts(), ["2001:db8::1"])

    def test_bind(self) -> None:
        """The address to bind, any port."""
        self.connect(Server("192.0.2.7", 25, "x.example", bind="192.0.2.99"))
        self.assertEqual(self.reactor.tcpClients[0][4], ("192.0.2.99", 0))

    def test_name(self) -> None:
        """A name is resolved, and its address dialled."""
        connecting = self.connect(Server("mail.example", 25, "x.example"))
        self.reactor.advance(1)
        self.assertEqual(len(self.attempts()), 1)
        wire = self.accept()
        wire.says(GREETING)
        wire.says(PIPELINING_EHLO)
        session = self.successResultOf(connecting)
        self.assertTrue(session.peer_name.startswith("mail.example["))

    def test_helo_name(self) -> None:
        """EHLO says the name of the server's own settings."""
        self.connect(Server("192.0.2.7", 25, "out.example"))
        self.assertEqual(self.accept().says(GREETING), b"EHLO out.example\r\n")


class FailedTests(ConnectCase):
    """Why a connection does not become ready."""

    def test_no_descriptor(self) -> None:
        """No descriptor is left here: a fault of our own, which says nothing about the server."""
        connecting = self.connect()
        self.refuse(ConnectBindError(errno.EMFILE, "Too many open files"))
        error = self.why(connecting)
        self.assertEqual((error.event, error.full), (Event.FAULT, False))

    def test_refused(self) -> None:
        """Refused: the server may be full."""
        connecting = self.connect()
        self.refuse(Refused())
        error = self.why(connecting)
        self.assertIs(error.event, Event.UNREACHABLE)
        self.assertTrue(error.full)
        self.assertTrue(error.detail.startswith("192.0.2.1:25: Connection was refused"))

    def test_unreachable(self) -> None:
        """No route: that says nothing about room."""
        connecting = self.connect()
        self.refuse(NoRouteError())
        self.assertFalse(self.why(connecting).full)

    def test_timeout_of_the_reactor(self) -> None:
        """Twisted's own timeout of the attempt."""
        connecting = self.connect()
        self.refuse(ConnectTimeout())
        error = self.why(connecting)
        self.assertIs(error.event, Event.UNREACHABLE)
        self.assertFalse(error.full)

    def test_timeout(self) -> None:
        """Whatever the endpoint does: after ``connect_timeout`` it is over, and this is said."""
        connecting = self.connect()
        self.reactor.advance(30)
        error = self.why(connecting)
        self.assertIs(error.event, Event.UNREACHABLE)
        self.assertEqual(error.detail, "192.0.2.1:25: no connection in 30 seconds")
        self.assertTrue(self.reactor.connectors[0].stoppedConnecting)

    def test_deadline(self) -> None:
        """The job's deadline bounds the attempt."""
        connecting = self.connect(job=make_job(deadline=5.0))
        self.assertEqual(self.reactor.tcpClients[0][3], 5.0)
        self.reactor.advance(5)
        self.why(connecting)

    def test_deadline_has_passed(self) -> None:
        """When it has passed the attempt ends at once."""
        self.reactor.advance(10)
        connecting = self.connect(job=make_job(deadline=5.0))
        self.reactor.advance(0)
        self.why(connecting)

    def test_deadline_while_opening(self) -> None:
        """It bounds the wait for greeting and EHLO as well."""
        connecting = self.connect(job=make_job(deadline=50.0))
        wire = self.accept()
        self.reactor.advance(20)
        wire.says(GREETING)
        self.reactor.advance(29)
        self.assertNoResult(connecting)
        self.reactor.advance(1)
        self.assertTrue(wire.aborted)
        wire.lose()
        self.assertIs(self.why(connecting).event, Event.UNREACHABLE)

    def test_lost_before_ready(self) -> None:
        """A connection that ends at any point before it is ready is a failure, not silence."""
        for says in ((), (GREETING,)):
            connecting = self.connect()
            wire = self.accept()
            for data in says:
                wire.says(data)
            wire.lose(ConnectionLost())
            self.assertIs(self.why(connecting).event, Event.UNREACHABLE)

    def test_loop(self) -> None:
        """A backend that greets with the name of this host."""
        connecting = self.connect()
        wire = self.accept()
        wire.says(b"220 gateway.example hello\r\n")
        wire.lose()
        self.assertIs(self.why(connecting).event, Event.LOOP)

    def test_bad_name(self) -> None:
        """A name that is none fails like one that does not resolve."""
        connecting = self.connect(Server("a" * 80 + ".example", 25, "x.example"))
        self.reactor.advance(0)
        self.assertIs(self.why(connecting).event, Event.UNREACHABLE)


class CancelTests(ConnectCase):
    """Who cancels gets CancelledError and leaves nothing."""

    def test_while_resolving(self) -> None:
        """Before the name has an address: nothing is ever dialled."""
        resolver = SlowResolver()
        self.reactor.nameResolver = resolver
        connecting = self.connect(Server("mail.example", 25, "x.example"))
        self.assertEqual(len(resolver.asked), 1)
        connecting.cancel()
        self.assert_cancelled(connecting)
        self.assertEqual(self.attempts(), [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_while_connecting(self) -> None:
        """Before TCP is through."""
        connecting = self.connect()
        connecting.cancel()
        self.assert_cancelled(connecting)
        self.assertTrue(self.reactor.connectors[0].stoppedConnecting)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_while_connecting_to_a_name(self) -> None:
        """The same with a name."""
        connecting = self.connect(Server("mail.example", 25, "x.example"))
        connecting.cancel()
        self.assert_cancelled(connecting)
        self.assertTrue(self.reactor.connectors[0].stoppedConnecting)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_while_opening(self) -> None:
        """Before the greeting, and before the reply to EHLO: the connection is closed at once."""
        for says in ((), (GREETING,)):
            connecting = self.connect()
            wire = self.accept()
            for data in says:
                wire.says(data)
            connecting.cancel()
            self.assert_cancelled(connecting)
            self.assertTrue(wire.aborted)
            wire.lose()
            self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_late_reply(self) -> None:
        """What the backend says after the cancel brings nothing back."""
        connecting = self.connect()
        wire = self.accept()
        wire.says(GREETING)
        connecting.cancel()
        self.assert_cancelled(connecting)
        self.assertEqual(wire.says(PIPELINING_EHLO), b"")
        self.assertTrue(wire.aborted)

    def test_when_ready(self) -> None:
        """Too late: it has been given."""
        connecting = self.connect()
        wire = self.greet()
        session = self.successResultOf(connecting)
        connecting.cancel()
        self.assertFalse(wire.aborted)
        self.assertIs(session.phase, Phase.IDLE)

    def test_address_of_the_peer(self) -> None:
        """A session that was built keeps the address of its peer for the log."""
        self.connect()
        wire = self.accept()
        self.assertEqual(wire.getPeer(), IPv4Address("TCP", "192.0.2.1", 25))
