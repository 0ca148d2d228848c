"""PEM files to :class:`Certificate`.

Rules: a key and the first certificate belong together, and OpenSSL takes both: what is refused
here would fail at the first handshake. The names are those of subjectAltName, else the common name.
Everything raises :class:`WrongValueError`; no message holds anything of a key.
"""

import datetime
import os
import re
import stat
from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from OpenSSL.crypto import X509, PKey

from smtpforward.config import names
from smtpforward.config.files import read_named
from smtpforward.config.problems import shown
from smtpforward.config.settings import Certificate
from smtpforward.config.values import WrongValueError

KEY_BLOCK = re.compile(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL)
SOON = datetime.timedelta(days=14)
PEM = serialization.Encoding.PEM


def read_key(path: str) -> PrivateKeyTypes:
    """The private key of a file, which may hold certificates as well."""
    block = KEY_BLOCK.search(read_named(path))
    if block is None:
        raise WrongValueError(f"{shown(path)} holds no private key", "a key in PEM form")
    try:
        return serialization.load_pem_private_key(block[0], None)
    except TypeError:
        message = f"the key in {shown(path)} is encrypted"
        raise WrongValueError(message, "a key without a passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        message = f"the key in {shown(path)} cannot be parsed"
        raise WrongValueError(message, "a key in PEM form") from None


def read_chain(path: str) -> list[x509.Certificate]:
    """The certificates of a file, in its order; at least one."""
    data = read_named(path)
    if b"-----BEGIN CERTIFICATE-----" not in data:
        message = f"{shown(path)} holds no certificate"
        raise WrongValueError(message, "certificates in PEM form, the server's own first")
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError:
        message = f"a certificate in {shown(path)} cannot be parsed"
        raise WrongValueError(message, "certificates in PEM form, the server's own first") from None


def pem(chain: Sequence[x509.Certificate]) -> bytes:
    """The certificates as one PEM text, without what else stood in their file."""
    return b"".join(certificate.public_bytes(PEM) for certificate in chain)


def pair(key: PrivateKeyTypes, chain: Sequence[x509.Certificate], path: str) -> Certificate:
    """Key and chain together; ``path`` is the chain's."""
    if key.public_key() != chain[0].public_key():
        message = f"the key does not belong to the first certificate of {shown(path)}"
        raise WrongValueError(message, "the key and the certificate that was made for it, first")
    context = SSL.Context(SSL.TLS_METHOD)
    try:
        context.use_certificate(X509.from_cryptography(chain[0]))
        context.use_privatekey(PKey.from_cryptography_key(key))  # type: ignore[arg-type]
    except (SSL.Error, TypeError) as error:
        message = f"OpenSSL does not take the certificate of {shown(path)}{_reason(error)}"
        raise WrongValueError(message, "one with a key of today's kinds and sizes") from None
    form = serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(PEM, form, serialization.NoEncryption())
    return Certificate(secret, pem(chain), _names(chain[0]), path)


def _reason(error: Exception) -> str:
    try:
        return f": {error.args[0][0][2]}"
    except (IndexError, TypeError):
        return ""


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    found: list[str] = []
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        found = extension.value.get_values_for_type(x509.DNSName)
    except (x509.ExtensionNotFound, ValueError):
        pass
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    found = found or [str(attribute.value) for attribute in common]
    return tuple(name.lower() for name in found if _is_host(name))


def _is_host(name: str) -> bool:
    try:
        names.domain(name.removeprefix("*."))
    except ValueError:
        return False
    return True


def age(certificate: x509.Certificate, now: datetime.datetime) -> str | None:
    """What is to be said about when the certificate is valid."""
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if ends <= now:
        return f"expired on {ends:%Y-%m-%d}"
    if begins > now:
        return f"is valid only from {begins:%Y-%m-%d}"
    return f"expires on {ends:%Y-%m-%d}" if ends <= now + SOON else None


def is_exposed(path: str) -> bool:
    """Whether everyone on the host may read the file."""
    return bool(os.stat(path).st_mode & stat.S_IROTH)
