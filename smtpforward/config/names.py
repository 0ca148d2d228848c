"""Host names and domains of the settings, in the form in which they are compared.

Rules: lower case, IDNA A-labels (RFC 5891 after UTS 46 mapping), no trailing dot. Domains and
backend hosts may hold an underscore, as the names of some real servers do; the name that the
gateway gives itself may not (RFC 5321 4.1.2). All of them raise ``ValueError`` for what is no
such name.
"""

import ipaddress
import re

import idna

DOMAIN = re.compile(
    r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*"
)
NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
MAX_LENGTH = 253


def domain(text: str) -> str:
    """The domain that is meant by ``text``."""
    name = text.removesuffix(".").lower()
    if not name.isascii() or "xn--" in name:
        name = idna.encode(name, uts46=True).decode("ascii")
    # A last label of digits alone belongs to an address, or to what was meant to be one.
    if len(name) > MAX_LENGTH or not DOMAIN.fullmatch(name) or NUMBER.fullmatch(name):
        raise ValueError("no domain")
    return name


def host_name(text: str) -> str:
    """A name for the greeting, EHLO and ``Received``."""
    name = domain(text)
    if "_" in name:
        raise ValueError("no host name")
    return name


def address(text: str) -> str:
    """An IP address without brackets, in its shortest form."""
    return str(ipaddress.ip_address(text))


def server(text: str) -> str:
    """A host to connect to: IP address, with or without brackets, or name.

    The dot at the end of a name is kept: it tells the resolver to try no search list.
    """
    if ":" in text:
        return address(text.removeprefix("[").removesuffix("]"))
    try:
        return address(text)
    except ValueError:
        return domain(text) + "." * text.endswith(".")


def version(host: str, other: int = 0) -> int:
    """4 or 6 for an address; for a name, which may have both, ``other``."""
    try:
        return ipaddress.ip_address(host).version
    except ValueError:
        return other
