"""TLS without a socket: certificates of the tests' own authority, and a backend inside TLS."""

import datetime
import ssl
from typing import Any

import trustme
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import directlyProvides

from smtpforward.client.connect import Connector
from smtpforward.client.target import ForwardTarget
from smtpforward.config.settings import ClientTLS
from smtpforward.job import TLS, Credentials, Server
from smtpforward.net.tls import ClientContexts
from tests.clientsupport import SERVER, ReactorCase, Wire

CA, OTHER_CA = trustme.CA(), trustme.CA()
NAME = "backend.example"
LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
RIGHT = CA.issue_cert(SERVER.host, NAME)
WRONG_NAME = CA.issue_cert("192.0.2.99", "other.example")
EXPIRED = CA.issue_cert(SERVER.host, NAME, not_before=LONG_AGO, not_after=LONG_AGO + DAY)
UNTRUSTED = OTHER_CA.issue_cert(SERVER.host, NAME)
CLIENT = CA.issue_cert("gateway.example")
TRUSTING = ClientTLS(ca=CA.cert_pem.bytes())
STRICT = ClientTLS(ca=CA.cert_pem.bytes(), reject_unauthorized=True)


def server(tls: TLS, credentials: Credentials | None = None, port: int = 25) -> Server:
    """The backend with a policy."""
    return Server(SERVER.host, port, SERVER.helo, tls=tls, credentials=credentials)


def backend_context(certificate: trustme.LeafCert = RIGHT) -> ssl.SSLContext:
    """What a backend that shows ``certificate`` works with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


class _Bare:
    """What TLS itself writes through: the transport, as it is without TLS."""

    def __init__(self, wire: "TLSWire") -> None:
        self._wire = wire

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wire, name)

    def write(self, data: bytes) -> None:
        """In the clear."""
        Wire.write(self._wire, data)

    def loseConnection(self) -> None:
        """Without a good-bye of TLS."""
        Wire.loseConnection(self._wire)


class TLSWire(Wire):
    """A wire that can start TLS; the other end is a backend of the standard library's.

    :param context: the backend's.
    :ivar creators: what the client has started TLS with. ``inside``: the backend's end.
    """

    TLS = False

    def __init__(self, host: str, port: int, clock: Clock, context: ssl.SSLContext) -> None:
        Wire.__init__(self, host, port)
        self.creators: list[Any] = []
        self._clock = clock
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.inside = context.wrap_bio(self._in, self._out, server_side=True)

    def startTLS(self, creator: Any, normal: bool = True) -> None:
        """As a transport of the reactor does it, on the test's clock."""
        self.creators.append(creator)
        factory = TLSMemoryBIOFactory(creator, True, None, clock=self._clock)
        self.protocol = factory.protocol(factory, self.protocol, False)
        directlyProvides(self, ISSLTransport)
        self.TLS = True
        self.protocol.makeConnection(_Bare(self))

    def write(self, data: bytes) -> None:
        """Through TLS where it has begun."""
        if self.TLS:
            self.protocol.write(data)
        else:
            Wire.write(self, data)

    def loseConnection(self) -> None:
        """Through TLS where it has begun."""
        if self.TLS:
            self.protocol.loseConnection()
        else:
            Wire.loseConnection(self)

    def shake(self) -> bytes:
        """The handshake, as far as it gets; what the client says then, inside.

        A client that ends it loses the connection.
        """
        for _ in range(10):
            self._pass_on()
            try:
                self.inside.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                self._deliver()
                break
            self._deliver()
        if self.disconnecting and self.connected:
            self.lose()
            return b""
        return self.heard()

    def heard(self) -> bytes:
        """What the client has said inside TLS."""
        self._pass_on()
        try:
            return self.inside.read(65536)
        except ssl.SSLError:
            return b""

    def says_inside(self, *replies: bytes) -> bytes:
        """The backend says ``replies`` inside TLS; what the client says then."""
        self.inside.write(b"".join(replies))
        self._deliver()
        return self.heard()

    def _pass_on(self) -> None:
        self._clock.advance(0)
        self._in.write(self.sent())

    def _deliver(self) -> None:
        data = self._out.read()
        if data and self.connected:
            self.protocol.dataReceived(data)
        self._clock.advance(0)


class TLSCase(ReactorCase):
    """Connections of the real connector, with TLS, on a reactor without sockets."""

    own_name: str | None = None
    settings = TRUSTING

    def setUp(self) -> None:
        """Contexts, and a backend that has the right certificate."""
        ReactorCase.setUp(self)
        self.use(self.settings)
        self.backend = backend_context()

    def use(self, settings: ClientTLS) -> None:
        """A connector with these settings."""
        self.connector = Connector(self.reactor, self.own_name, ClientContexts(settings))
        self.target = ForwardTarget(self.connector, self.reactor)

    def accept(self, index: int = -1) -> TLSWire:
        """The backend takes the TCP connection."""
        host, port, factory, _, _ = self.reactor.tcpClients[index]
        wire = TLSWire(host, port, self.reactor, self.backend)
        wire.protocol = factory.buildProtocol(IPv4Address("TCP", host, port))
        wire.protocol.makeConnection(wire)
        return wire
