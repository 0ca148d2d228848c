"""TLS contexts for both sides, made from the settings once and used for every connection.

Towards clients the certificate is chosen by the name that they ask for (SNI, RFC 6066 3). Towards
backends a connection either verifies the certificate against the host's name with
service-identity, or not at all; sessions are kept for each backend, so that the next connection to
it costs less. What the settings hold was checked when they were read.
"""

from collections.abc import Iterable
from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificates
from OpenSSL import SSL, crypto
from service_identity import CertificateError, VerificationError
from service_identity.pyopenssl import verify_hostname, verify_ip_address
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
)
from twisted.internet.ssl import (
    AcceptableCiphers,
    CertificateOptions,
    TLSVersion,
    platformTrust,
)
from zope.interface import implementer

from smtpforward.config.settings import Certificate, ClientTLS, ServerTLS

VERSIONS = {
    "TLSv1": TLSVersion.TLSv1_0,
    "TLSv1.1": TLSVersion.TLSv1_1,
    "TLSv1.2": TLSVersion.TLSv1_2,
    "TLSv1.3": TLSVersion.TLSv1_3,
}

# Of backends; the one that was used longest ago is forgotten.
MOST_SESSIONS = 1000

# OpenSSL's codes, in words: "certificate has expired", "self signed cert in chain".
PROBLEMS = {
    code: name.removeprefix("ERR_").lower().replace("_", " ").replace("cert ", "certificate ")
    for name, code in vars(SSL.X509VerificationCodes).items()
    if name.startswith("ERR_")
}


def _options(
    certificate: Certificate | None, ciphers: str | None, min_version: str, **more: Any
) -> CertificateOptions:
    if certificate is not None:
        key = load_pem_private_key(certificate.key, None)
        first, *above = load_pem_x509_certificates(certificate.chain)
        more["privateKey"] = crypto.PKey.from_cryptography_key(key)  # type: ignore[arg-type]
        more["certificate"] = crypto.X509.from_cryptography(first)
        more["extraCertChain"] = [crypto.X509.from_cryptography(one) for one in above]
    if ciphers is not None:
        more["acceptableCiphers"] = AcceptableCiphers.fromOpenSSLCipherString(ciphers)
    lowest = VERSIONS[min_version]
    low = lowest in (TLSVersion.TLSv1_0, TLSVersion.TLSv1_1)
    more["insecurelyLowerMinimumTo" if low else "raiseMinimumTo"] = lowest
    return CertificateOptions(**more)


@implementer(IOpenSSLServerConnectionCreator)
class ServerContexts:
    """What ``startTLS`` of the edge takes."""

    def __init__(self, settings: ServerTLS) -> None:
        self._by_name: dict[str, SSL.Context] = {}
        contexts = []
        for certificate in settings.certificates:
            options = _options(certificate, settings.ciphers, settings.min_version)
            contexts.append(options.getContext())
            for name in certificate.names:
                self._by_name.setdefault(name, contexts[-1])
        self._default = contexts[0]
        self._default.set_tlsext_servername_callback(self._choose)

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """See IOpenSSLServerConnectionCreator: each handshake begins with the first certificate."""
        return SSL.Connection(self._default, None)

    def _choose(self, connection: SSL.Connection) -> None:
        """Change to the certificate for the name that the client asks for, if there is one."""
        name = (connection.get_servername() or b"").decode("ascii", "replace").lower()
        wildcard = "*." + name.partition(".")[2]
        context = self._by_name.get(name) or self._by_name.get(wildcard)
        if context is not None:
            connection.set_context(context)


class WrongCertificate(Exception):  # noqa: N818 -- it says what was found
    """The certificate is not for the host."""


class ClientContexts:
    """TLS towards backends.

    :ivar verifies_always: whether TLS that was merely offered is verified too.
    """

    def __init__(self, settings: ClientTLS) -> None:
        self.verifies_always = settings.reject_unauthorized
        self._context = _options(
            settings.certificate,
            settings.ciphers,
            settings.min_version,
            trustRoot=platformTrust(),
        ).getContext()
        store = self._context.get_cert_store()
        assert store is not None, "a context has a store"
        for root in _certificates(settings.ca):
            store.add_cert(root)
        self._sessions: dict[tuple[object, bool], Any] = {}

    def creator(self, host: str, key: object, verify: bool) -> "ConnectionCreator":
        """What ``startTLS`` takes for a connection to ``host``.

        :param key: sessions are shared by connections with an equal one.
        :param verify: the certificate must be valid, and for ``host``.
        """
        return ConnectionCreator(host, self._context, verify, self._sessions, (key, verify))


@implementer(IOpenSSLClientConnectionCreator)
class ConnectionCreator:
    """The TLS of one connection to a backend.

    :ivar verifies: whether a certificate that is not valid ends the handshake.
    :ivar problem: what is wrong with the chain, whether or not that matters; empty if nothing is.
    """

    def __init__(
        self,
        host: str,
        context: SSL.Context,
        verify: bool,
        sessions: dict[tuple[object, bool], Any],
        key: tuple[object, bool],
    ) -> None:
        self.verifies = verify
        self.problem = ""
        self._host = host.removesuffix(".")
        self._is_name = not (isIPAddress(self._host) or isIPv6Address(self._host))
        self._context = context
        self._sessions = sessions
        self._key = key
        self._connection: SSL.Connection | None = None

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """See IOpenSSLClientConnectionCreator; takes up an earlier session."""
        connection = SSL.Connection(self._context, None)
        connection.set_app_data(tlsProtocol)
        connection.set_verify(SSL.VERIFY_PEER, self._judge)
        if self._is_name:
            connection.set_tlsext_host_name(self._host.encode("ascii"))
        session = self._sessions.get(self._key)
        if session is not None:
            connection.set_session(session)
        self._connection = connection
        return connection

    def _judge(
        self, connection: SSL.Connection, certificate: crypto.X509, code: int, depth: int, good: int
    ) -> bool:
        """OpenSSL's word on one certificate of the chain; the handshake ends where it is no."""
        if not good and not self.problem:
            self.problem = PROBLEMS.get(code, f"the certificate is not valid: {code}")
        return bool(good) or not self.verifies

    def check_identity(self) -> None:
        """Look whether the certificate is for the host, if that matters; its chain is verified.

        :raise WrongCertificate: when it is not.
        """
        if self.verifies:
            self.match_host()

    def match_host(self) -> None:
        """Look whether the certificate is for the host.

        :raise WrongCertificate: when it is not.
        """
        assert self._connection is not None, "there has been a handshake"
        check = verify_hostname if self._is_name else verify_ip_address
        try:
            check(self._connection, self._host)
        except (VerificationError, CertificateError):
            raise WrongCertificate(f"the certificate is not for {self._host}") from None

    def keep_session(self) -> None:
        """Let later connections take up this one's session."""
        if self._connection is not None:
            self._sessions.pop(self._key, None)
            self._sessions[self._key] = self._connection.get_session()
            if len(self._sessions) > MOST_SESSIONS:
                del self._sessions[next(iter(self._sessions))]

    @property
    def version(self) -> str:
        """The protocol's version, such as ``TLSv1.3``; empty before the handshake."""
        return self._connection.get_protocol_version_name() if self._connection else ""

    @property
    def certificate(self) -> crypto.X509 | None:
        """What the backend has shown."""
        return self._connection.get_peer_certificate() if self._connection else None


def _certificates(pem: bytes) -> Iterable[crypto.X509]:
    found = load_pem_x509_certificates(pem) if pem.strip() else []
    return [crypto.X509.from_cryptography(certificate) for certificate in found]
