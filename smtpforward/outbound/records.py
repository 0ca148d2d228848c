"""What an answer of the DNS says of mail: exchangers and addresses, and for how long.

Pure: answers of ``twisted.names`` go in, values come out. An alias (CNAME) is followed as far as
the answer itself goes. Names are text in lower case, without the dot at the end; the root, which is
the host of a null MX (RFC 7505), is empty. What cannot stand in a log is escaped as in a zone file.

Failure policy: a name that no host can have stays, so that it counts; nobody should ask for it.
"""

import enum
import re
import socket
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from attrs import frozen
from twisted.names import dns

MOST_ALIASES = 8
MOST_RECORDS = 100
LONGEST = 86400.0
SHORTEST = 5.0
LONGEST_NO = 10800.0  # RFC 2308 5
ODD = re.compile(rb"[^!-~]")
NAME = re.compile(r"(?!.{254})[\w-]{1,63}(?:\.[\w-]{1,63})*", re.ASCII)
R = TypeVar("R")


class Kind(enum.IntEnum):
    """What is asked for."""

    MX = dns.MX
    A = dns.A
    AAAA = dns.AAAA


@frozen
class Exchanger:
    """One MX record (RFC 1035 3.3.9). ``host`` is empty in a null one."""

    preference: int
    host: str


@frozen
class Answer(Generic[R]):
    """What the DNS has under a name.

    :ivar records: of the kind that was asked for.
    :ivar exists: whether there is such a name; false is NXDOMAIN.
    """

    records: tuple[R, ...] = ()
    exists: bool = True


@frozen
class Read:
    """One answer, as far as it goes.

    :ivar name: where its aliases lead.
    :ivar ttl: seconds, of all that led to the records.
    """

    name: str
    records: tuple[Any, ...]
    ttl: float


def is_name(name: str) -> bool:
    """Whether ``name`` can be that of a host."""
    return NAME.fullmatch(name) is not None


def read(name: str, kind: Kind, answers: Sequence[dns.RRHeader]) -> Read:
    """The records of ``kind`` that ``answers`` have for ``name``, or for what it is an alias of."""
    ttl = LONGEST
    for _ in range(MOST_ALIASES):
        ours = [header for header in answers if _text(header.name) == name]
        found = [header for header in ours if header.type == kind]
        if found:
            ttl = min(ttl, *(header.ttl for header in found))
            return Read(name, _records(kind, found), max(ttl, SHORTEST))
        alias = next((header for header in ours if header.type == dns.CNAME), None)
        if alias is None:
            break
        target: Any = alias.payload
        name, ttl = _text(target.name), min(ttl, alias.ttl)
    return Read(name, (), max(ttl, SHORTEST))


def keep_no(authority: Sequence[dns.RRHeader]) -> float | None:
    """Seconds for which there is nothing, by the zone's SOA (RFC 2308 5); ``None`` without one."""
    for header in authority:
        if header.type == dns.SOA:
            soa: Any = header.payload
            return max(SHORTEST, min(header.ttl, soa.minimum, LONGEST_NO))
    return None


def _records(kind: Kind, headers: Sequence[dns.RRHeader]) -> tuple[Any, ...]:
    payloads: list[Any] = [header.payload for header in headers]
    if kind is not Kind.MX:
        family = socket.AF_INET if kind is Kind.A else socket.AF_INET6
        addresses = (socket.inet_ntop(family, payload.address) for payload in payloads)
        return tuple(dict.fromkeys(addresses))[:MOST_RECORDS]
    exchangers = [Exchanger(payload.preference, _text(payload.name)) for payload in payloads]
    return tuple(sorted(exchangers, key=lambda one: one.preference)[:MOST_RECORDS])


def _text(name: dns.Name) -> str:
    escaped = ODD.sub(lambda octet: b"\\%03d" % ord(octet[0]), bytes(name.name))
    return escaped.decode("ascii").lower().removesuffix(".")
