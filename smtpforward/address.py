"""The grammar of paths and parameters in MAIL and RCPT (RFC 5321 4.1.2, 4.1.1.11).

Lenient where mail practice is: blanks after the colon, missing angle brackets, dots in any place
of a local part, underscores in domains, local parts of more than 64 octets (rewritten senders and
encoded addresses have them). Strict where another server could read it differently: no control
character and no unprintable octet passes, quoted or not. A path has at most 256 octets, which
leaves a domain less than its 255. Source routes are dropped. UTF-8 (RFC 6531) passes where SMTPUTF8
was asked for, as far as ``utf8.py`` lets it.
"""

import enum
import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from attrs import frozen

from smtpforward import utf8
from smtpforward.envelope import ATEXT, NULL_SENDER, Address

_QUOTED = rb'"(?:[\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\x20-\x7e])*"'
_NAME = rb"[A-Za-z0-9_\x80-\xff](?:[A-Za-z0-9_\x80-\xff-]*[A-Za-z0-9_\x80-\xff])?"
_DOMAIN = rb"%b(?:\.%b)*" % (_NAME, _NAME)
_LITERAL = rb"\[[A-Za-z0-9:.]+\]"
_MAILBOX = rb"(%b+|%b)(?:@(%b|%b))?" % (ATEXT, _QUOTED, _DOMAIN, _LITERAL)
_ROUTE = rb"(?:@%b(?:,@%b)*:)?" % (_DOMAIN, _DOMAIN)
_PATH = re.compile(
    rb"(?:FROM|TO):[ \t]*(?:<%b%b>|(<>)|%b)(?:[ \t]+(.*))?" % (_ROUTE, _MAILBOX, _MAILBOX),
    re.IGNORECASE | re.DOTALL,
)
_PARAMETER = re.compile(rb"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([^\x00-\x20\x7f]+))?")
_NONE: Mapping[bytes, bytes] = MappingProxyType({})
MAX_PATH = 256  # in octets, its brackets counted (RFC 5321 4.5.3.1.3)


class Fault(enum.Enum):
    """Why an argument of MAIL or RCPT is no path."""

    SYNTAX = "syntax"
    NON_ASCII = "non-ascii"
    NO_DOMAIN = "no domain"
    LENGTH = "length"
    PARAMETERS = "parameters"


@frozen(slots=True)
class Path:
    """A parsed argument: the address, and the parameters by upper-case keyword."""

    address: Address
    parameters: Mapping[bytes, bytes]


@lru_cache(maxsize=2048)
def parse_sender(argument: bytes) -> Path | Fault:
    """The argument of MAIL: ``FROM:<...> ...``. Outside ASCII only with the parameter SMTPUTF8."""
    parsed = _parse(argument, b"F")
    if not argument.isascii() and not _asks_for_utf8(argument, parsed):
        return Fault.NON_ASCII
    if isinstance(parsed, Path) and parsed.address.local and not parsed.address.domain:
        return Fault.NO_DOMAIN
    return parsed


def _asks_for_utf8(argument: bytes, parsed: Path | Fault) -> bool:
    if isinstance(parsed, Path):
        return b"SMTPUTF8" in parsed.parameters
    return b" SMTPUTF8" in argument.upper()


@lru_cache(maxsize=2048)
def parse_recipient(argument: bytes) -> Path | Fault:
    """The argument of RCPT: ``TO:<...> ...``. Only ``postmaster`` goes without a domain."""
    return _parse_recipient(argument) if argument.isascii() else Fault.NON_ASCII


@lru_cache(maxsize=256)
def parse_utf8_recipient(argument: bytes) -> Path | Fault:
    """The argument of RCPT in a transaction with SMTPUTF8."""
    return _parse_recipient(argument)


def _parse_recipient(argument: bytes) -> Path | Fault:
    parsed = _parse(argument, b"T")
    if not isinstance(parsed, Path) or parsed.address.domain:
        return parsed
    if not parsed.address.local:
        return Fault.SYNTAX
    return parsed if parsed.address.local.lower() == b"postmaster" else Fault.NO_DOMAIN


def _parse(argument: bytes, first: bytes) -> Path | Fault:
    match = _PATH.fullmatch(argument)
    if match is None or argument[:1].upper() != first:
        return Fault.SYNTAX
    if not argument.isascii() and not utf8.is_fit(argument):
        return Fault.SYNTAX
    parameters = _parameters(match[6])
    if parameters is None:
        return Fault.PARAMETERS
    if match[3]:
        return Path(NULL_SENDER, parameters)
    local, domain = match[1] or match[4], match[2] or match[5] or b""
    if len(local) + len(domain) + 3 > MAX_PATH:
        return Fault.LENGTH
    try:
        return Path(Address(local, domain), parameters)
    except ValueError:  # no U-label, or no address literal
        return Fault.SYNTAX


def _parameters(text: bytes | None) -> Mapping[bytes, bytes] | None:
    if not text:
        return _NONE
    found: dict[bytes, bytes] = {}
    # No other blanks than these two: whatever split() takes for one is a control character.
    for word in text.replace(b"\t", b" ").split(b" "):
        if not word:
            continue
        match = _PARAMETER.fullmatch(word)
        if match is None:
            return None
        keyword = match[1].upper()
        if keyword in found:
            return None
        found[keyword] = match[2] or b""
    # A parsed path is cached and shared.
    return MappingProxyType(found)
