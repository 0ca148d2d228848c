"""The grammar of paths and parameters in MAIL and RCPT (RFC 5321 4.1.2, 4.1.1.11).

Lenient where mail practice is: blanks after the colon, missing angle brackets, dots in any place
of a local part, underscores in domains. Strict where another server could read it differently:
no control character and no unprintable octet passes, quoted or not. Source routes are dropped.
"""

import enum
import ipaddress
import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from attrs import frozen

from smtpforward.envelope import NULL_SENDER, Address

_ATEXT = rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]"
_QUOTED = rb'"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\[\x20-\x7e])*"'
_NAME = rb"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
_DOMAIN = rb"%b(?:\.%b)*" % (_NAME, _NAME)
_LITERAL = rb"\[[A-Za-z0-9:.]+\]"
_MAILBOX = rb"(%b+|%b)(?:@(%b|%b))?" % (_ATEXT, _QUOTED, _DOMAIN, _LITERAL)
_ROUTE = rb"(?:@%b(?:,@%b)*:)?" % (_DOMAIN, _DOMAIN)
_PATH = re.compile(
    rb"(?:FROM|TO):[ \t]*(?:<%b%b>|(<>)|%b)(?:[ \t]+(.*))?" % (_ROUTE, _MAILBOX, _MAILBOX),
    re.IGNORECASE | re.DOTALL,
)
_PARAMETER = re.compile(rb"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([\x21-\x7e]+))?")
MAX_DOMAIN = 255


class Fault(enum.Enum):
    """Why an argument of MAIL or RCPT is no path."""

    SYNTAX = "syntax"
    NON_ASCII = "non-ascii"
    NO_DOMAIN = "no domain"
    PARAMETERS = "parameters"


@frozen(slots=True)
class Path:
    """A parsed argument: the address, and the parameters by upper-case keyword."""

    address: Address
    parameters: Mapping[bytes, bytes]


@lru_cache(maxsize=2048)
def parse_sender(argument: bytes) -> Path | Fault:
    """The argument of MAIL: ``FROM:<...> ...``."""
    parsed = _parse(argument, b"F")
    if isinstance(parsed, Path) and parsed.address.local and not parsed.address.domain:
        return Fault.NO_DOMAIN
    return parsed


@lru_cache(maxsize=2048)
def parse_recipient(argument: bytes) -> Path | Fault:
    """The argument of RCPT: ``TO:<...> ...``. Only ``postmaster`` goes without a domain."""
    parsed = _parse(argument, b"T")
    if not isinstance(parsed, Path) or parsed.address.domain:
        return parsed
    if not parsed.address.local:
        return Fault.SYNTAX
    return parsed if parsed.address.local.lower() == b"postmaster" else Fault.NO_DOMAIN


def _parse(argument: bytes, first: bytes) -> Path | Fault:
    if not argument.isascii():
        return Fault.NON_ASCII
    match = _PATH.fullmatch(argument)
    if match is None or argument[:1].upper() != first:
        return Fault.SYNTAX
    parameters = _parameters(match[6])
    if parameters is None:
        return Fault.PARAMETERS
    if match[3]:
        return Path(NULL_SENDER, parameters)
    local, domain = match[1] or match[4], match[2] or match[5] or b""
    if len(domain) > MAX_DOMAIN or (domain.startswith(b"[") and not _is_literal(domain[1:-1])):
        return Fault.SYNTAX
    return Path(Address(local, domain), parameters)


def _is_literal(text: bytes) -> bool:
    """Whether ``text`` is the inside of an address literal (RFC 5321 4.1.3)."""
    name = text.decode("ascii")
    try:
        if name[:5].lower() == "ipv6:":
            ipaddress.IPv6Address(name[5:])
        else:
            ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True


def _parameters(text: bytes | None) -> Mapping[bytes, bytes] | None:
    found: dict[bytes, bytes] = {}
    for word in (text or b"").split():
        match = _PARAMETER.fullmatch(word)
        if match is None or match[1].upper() in found:
            return None
        found[match[1].upper()] = match[2] or b""
    # A parsed path is cached and shared.
    return MappingProxyType(found)
