"""Who a message is from and for, and who brought it: the values of one transaction.

An :class:`Address` holds nothing but printable octets: what does not parse never becomes one
(``address.py``). Parameters are kept as they came, upper-case keyword to value.
"""

from collections.abc import Mapping

from attrs import field, frozen


@frozen(slots=True)
class Address:
    """A mailbox as the envelope has it (RFC 5321 4.1.2), without angle brackets.

    :ivar local: the local part as received, quotes included; empty for the null sender.
    :ivar domain: as received; empty for the null sender and for ``<postmaster>``.
    :ivar host: the domain to compare with: lower case.
    :ivar path: as a path: ``<a@example.com>``, ``<>``, ``<postmaster>``.
    """

    local: bytes
    domain: bytes = b""
    host: str = field(init=False, default="", repr=False)
    path: bytes = field(init=False, default=b"", eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "host", self.domain.decode("utf-8").lower())
        object.__setattr__(self, "path", b"<%b>" % bytes(self))

    def __bytes__(self) -> bytes:
        return self.local + b"@" + self.domain if self.domain else self.local

    def __str__(self) -> str:
        return bytes(self).decode("utf-8")


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
    :ivar tls: whether the connection is encrypted.
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

    def let_in(self, by: str) -> "Client":
        """The same client, which may relay because of ``by``."""
        return Client(
            *(self.ip, self.port, self.name, self.helo, self.protocol, by, self.user, self.tls)
        )

    def saying(self, helo: bytes, protocol: str) -> "Client":
        """The same client after HELO or EHLO: once a connection, so made without detours."""
        return Client(
            *(self.ip, self.port, self.name, helo, protocol),
            *(self.relaying_by, self.user, self.tls),
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
