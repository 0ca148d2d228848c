"""TLS for the unit tests: certificates made on the spot, both ends of a connection in memory."""

import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import ITLSTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from smtpforward.config.settings import Certificate, ServerTLS
from tests.support import Edge, EdgeTransport

DAY = datetime.timedelta(days=1)


def certificate(*names: str) -> Certificate:
    """A key and its self-signed certificate for the DNS names."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder(subject, subject, key.public_key(), 7, now - DAY, now + 30 * DAY)
        .add_extension(x509.SubjectAlternativeName([*map(x509.DNSName, names)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Certificate(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        signed.public_bytes(Encoding.PEM),
        names,
    )


def server_tls(*names: str, **changes: Any) -> ServerTLS:
    """The edge's TLS, with one certificate for ``names``."""
    return ServerTLS((certificate(*(names or ("mx.example.net",))),), **changes)


def client_end(name: str = "", context: SSL.Context | None = None) -> SSL.Connection:
    """The client's end of a connection in memory, which asks for ``name`` and trusts everyone."""
    connection = SSL.Connection(context or SSL.Context(SSL.TLS_CLIENT_METHOD), None)
    connection.set_connect_state()
    if name:
        connection.set_tlsext_host_name(name.encode("ascii"))
    return connection


def shown_name(connection: SSL.Connection) -> str:
    """The common name in the certificate that the other end has shown."""
    shown = connection.get_peer_certificate()
    assert shown is not None
    return str(shown.get_subject().commonName)


class _BelowTLS:
    """What TLS writes to: the transport, without TLS."""

    def __init__(self, transport: "SecurableTransport") -> None:
        self._transport = transport

    def write(self, data: bytes) -> None:
        StringTransport.write(self._transport, data)

    def loseConnection(self) -> None:
        StringTransport.loseConnection(self._transport)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


@implementer(ITLSTransport)
class SecurableTransport(EdgeTransport):  # type: ignore[misc]
    """A string that can begin TLS, as Twisted's TCP transports do.

    :param port: the edge's own.
    """

    def __init__(self, port: int = 25) -> None:
        EdgeTransport.__init__(self, hostAddress=IPv4Address("TCP", "198.51.100.1", port))
        self.tls: Any = None

    def startTLS(self, contexts: Any, normal: bool = True) -> None:
        factory = TLSMemoryBIOFactory(contexts, False, None, clock=Clock())  # type: ignore[arg-type]
        above: Any = self.protocol  # type: ignore[has-type]
        self.protocol = self.tls = TLSMemoryBIOProtocol(factory, above, False)
        self.tls.makeConnection(_BelowTLS(self))

    def getHandle(self) -> Any:
        return self.tls.getHandle()

    def write(self, data: bytes) -> None:
        if self.tls is None:
            StringTransport.write(self, data)
        else:
            self.tls.write(data)

    def loseConnection(self) -> None:
        if self.tls is None:
            StringTransport.loseConnection(self)
        else:
            self.tls.loseConnection()


class SecureClient:
    """A client that speaks TLS with an edge whose transport is a :class:`SecurableTransport`.

    :param name: what it asks for.
    """

    def __init__(self, edge: Edge, name: str = "", context: SSL.Context | None = None) -> None:
        self.end = client_end(name, context)
        self.ended = False
        self._edge = edge

    def handshake(self) -> "SecureClient":
        """Itself, after the handshake."""
        for _ in range(5):
            try:
                self.end.do_handshake()
            except SSL.WantReadError:
                self.exchange()
            else:
                self.exchange()
                return self
        raise AssertionError("no end of the handshake")

    def exchange(self) -> None:
        """Carry what waits, both ways."""
        try:
            out = self.end.bio_read(1 << 16)
        except SSL.WantReadError:
            out = b""
        if out:
            self._edge.transport.protocol.dataReceived(out)
        back = self._edge.heard()
        if back:
            self.end.bio_write(back)

    def heard(self) -> bytes:
        """What the edge said since this was last asked; ``ended`` is set when TLS has ended."""
        self.exchange()
        said = b""
        while not self.ended:
            try:
                said += self.end.recv(1 << 16)
            except SSL.WantReadError:
                break
            except SSL.ZeroReturnError:
                self.ended = True
        return said

    def send(self, *pieces: bytes) -> bytes:
        """Say ``pieces``; what is heard by then."""
        for piece in pieces:
            self.end.send(piece)
            self.exchange()
        return self.heard()

    def codes(self, *pieces: bytes) -> list[int]:
        """Say ``pieces``; the codes of the replies that are heard by then."""
        lines = self.send(*pieces).splitlines()
        return [int(line[:3]) for line in lines if line[3:4] == b" "]
