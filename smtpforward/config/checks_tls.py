"""Checks of TLS and of logins. Nothing here shows a secret."""

from OpenSSL import SSL

from smtpforward import passwords
from smtpforward.config.problems import shown
from smtpforward.config.values import WrongValueError, items, not_sendable, single, wrong

VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5")
CIPHERS_REMEDY = "a list in OpenSSL's words, such as HIGH:!aNULL, with a cipher of TLS 1.2 in it"


def tls_version(value: object) -> str:
    """One of Haraka's words for a version, in any case."""
    text = single(value)
    for version in VERSIONS:
        if version.lower() == text.lower():
            return version
    raise wrong(text, " or ".join(VERSIONS))


def ciphers(value: object) -> str:
    """A list of ciphers that OpenSSL takes."""
    text = single(value)
    try:
        SSL.Context(SSL.TLS_METHOD).set_cipher_list(text.encode())
    except SSL.Error:
        raise WrongValueError(f"OpenSSL knows no cipher of {shown(text)}", CIPHERS_REMEDY) from None
    return text


def mechanisms(value: object) -> tuple[str, ...]:
    """Mechanisms of AUTH in the order given, each once."""
    found = [text.upper() for text in items(value)]
    for name in found:
        if name not in MECHANISMS:
            raise wrong(name, " or ".join(MECHANISMS) + ", with commas between")
    return tuple(dict.fromkeys(found))


def secret(value: object) -> str:
    """A user's secret: a password or a hash of one."""
    text = single(value)
    fault = passwords.fault(text)
    if fault is not None:
        raise WrongValueError(fault, "what smtpforward hash-password prints, or a password")
    return text


def login(value: object) -> str:
    """A user name or password for a backend; it may be empty."""
    text = single(value)
    if not_sendable(text):
        raise WrongValueError("holds a control character", "printable text")
    return text
