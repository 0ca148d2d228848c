"""Who a message is from and for, and who brought it: the values of one transaction.

An :class:`Address` holds nothing but printable characters: what does not parse never becomes one
(``address.py``). Parameters are kept as they came, upper-case keyword to value.
"""

import ipaddress
import re
import unicodedata
from collections.abc import Mapping

from attrs import field, frozen

from smtpforward import utf8

# What a local part may be made of without quotes; dots stand where they like.
ATEXT = rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.\x80-\xff-]"
_UNQUOTED = re.compile(rb"%b+" % ATEXT)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_TO_ESCAPE = re.compile(rb'["\\]')


def unquoted(local: bytes) -> bytes:
    """A local part with no more quotes and backslashes than it needs (RFC 5321 4.1.2)."""
    if len(local) < 2 or not (local.startswith(b'"') and local.endswith(b'"')):
        return local
    meant = _ESCAPED.sub(rb"\1", local[1:-1])
    return meant if _UNQUOTED.fullmatch(meant) else b'"%b"' % _TO_ESCAPE.sub(rb"\\\g<0>", meant)


def literal(domain: bytes) -> str:
    """An address literal (RFC 5321 4.1.3), ``[192.0.2.1]`` or ``[IPv6:2001:db8::1]``, shortest.

    :raise ValueError: when it is none.
    """
    inside = domain[1:-1].decode("ascii").lower()
    if inside.startswith("ipv6:"):
        return f"[ipv6:{ipaddress.IPv6Address(inside[5:])}]"
    return f"[{ipaddress.IPv4Address(inside)}]"


def mailbox(local: str, host: str) -> str:
    """The mailbox under which settings name an address: without regard to case."""
    plain = unquoted(local.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")
    return f"{unicodedata.normalize('NFC', plain).lower()}@{host}"


@frozen(slots=True)
class Address:
    """A mailbox as the envelope has it (RFC 5321 4.1.2), without angle brackets.

    :ivar local: the local part as received, quotes included; empty for the null sender.
    :ivar domain: as received; empty for the null sender and for ``<postmaster>``.
    :ivar host: the domain to compare with: lower case, A-labels, a literal in its shortest form.
    :ivar path: as a path: ``<a@example.com>``, ``<>``, ``<postmaster>``.
    :raise ValueError: when the domain is outside ASCII and no U-label, or in brackets and no
        address literal.
    """

    local: bytes
    domain: bytes = b""
    host: str = field(init=False, default="", repr=False)
    path: bytes = field(init=False, default=b"", eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        local, domain = self.local, self.domain
        if not domain.isascii():
            host = utf8.a_labels(domain)
        elif domain.startswith(b"["):
            host = literal(domain)
        else:
            host = domain.decode("ascii").lower()
        object.__setattr__(self, "host", host)
        path = b"<%b@%b>" % (local, domain) if domain else b"<%b>" % local
        object.__setattr__(self, "path", path)

    def __bytes__(self) -> bytes:
        return self.local + b"@" + self.domain if self.domain else self.local

    def __str__(self) -> str:
        return bytes(self).decode("utf-8")

    @property
    def comparable(self) -> tuple[bytes, str]:
        """Equal for two addresses of one mailbox, however quoted and whatever form the domain has.

        The case of a local part is its backend's business (RFC 5321 2.4).
        """
        return unquoted(self.local), self.host

    @property
    def mailbox(self) -> str:
        """Under which settings name it."""
        return mailbox(self.local.decode("utf-8"), self.host)

    def in_ascii(self) -> "Address | None":
        """The same mailbox for a server without SMTPUTF8: the domain in A-labels.

        ``None`` when the local part is outside ASCII: it has no other form.
        """
        if not self.local.isascii():
            return None
        return self if self.domain.isascii() else Address(self.local, self.host.encode("ascii"))


NULL_SENDER = Address(b"")


@frozen(slots=True)
class Recipient:
    """One accepted RCPT: the address and its parameters (``NOTIFY``, ``ORCPT``: RFC 3461)."""

    address: Address
    parameters: Mapping[bytes, bytes] = field(factory=dict)


@frozen(slots=True, cache_hash=True)
class Client:
    """The one who speaks to the edge.

    :ivar ip: textual address without brackets; ``port`` its TCP port.
    :ivar name: its verified host name, or ``unknown``.
    :ivar helo: the argument of HELO or EHLO, as received.
    :ivar protocol: ``SMTP`` or ``ESMTP``: how it said hello.
    :ivar tls: whether the connection is encrypted. ``tls_version``: how, once that is known.
    :ivar relaying_by: what lets it send to every domain: its network, its login; or nothing.
    :ivar user: who has logged in, or empty.
    """

    ip: str
    port: int
    name: str = "unknown"
    helo: bytes = b""
    protocol: str = "SMTP"
    relaying_by: str = ""
    user: str = ""
    tls: bool = False
    tls_version: str = ""

    def let_in(self, by: str) -> "Client":
        """The same client, which may relay because of ``by``."""
        return Client(
            *(self.ip, self.port, self.name, self.helo, self.protocol, by, self.user),
            *(self.tls, self.tls_version),
        )

    def saying(self, helo: bytes, protocol: str) -> "Client":
        """The same client after HELO or EHLO: once a connection, so made without detours."""
        return Client(
            *(self.ip, self.port, self.name, helo, protocol),
            *(self.relaying_by, self.user, self.tls, self.tls_version),
        )

    @property
    def transmission(self) -> str:
        """The ``with`` keyword of ``Received`` (RFC 3848), which has no variants of plain SMTP."""
        if self.protocol != "ESMTP":
            return self.protocol
        return "ESMTP" + ("S" if self.tls else "") + ("A" if self.user else "")

    @property
    def relaying(self) -> bool:
        """Whether it may send to every domain."""
        return bool(self.relaying_by)


@frozen(slots=True)
class Envelope:
    """Sender with its MAIL parameters (``BODY``, ``SIZE``), and recipients in RCPT order."""

    sender: Address
    recipients: tuple[Recipient, ...]
    parameters: Mapping[bytes, bytes] = field(factory=dict)

    def in_ascii(self) -> "Envelope | None":
        """The same for a server without SMTPUTF8; ``None`` where something has no ASCII form."""
        sender = self.sender.in_ascii()
        recipients = []
        for recipient in self.recipients:
            address = recipient.address.in_ascii()
            if address is None or not all(map(bytes.isascii, recipient.parameters.values())):
                return None
            recipients.append(Recipient(address, recipient.parameters))
        return Envelope(sender, tuple(recipients), self.parameters) if sender else None
