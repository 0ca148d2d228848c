"""What the decision asks of a target, and what comes back: one job, an outcome per recipient."""

import enum
from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import field, frozen

from smtpforward.envelope import Client, Envelope, Recipient
from smtpforward.reply import Reply

if TYPE_CHECKING:
    from smtpforward.content import Content


@frozen(slots=True)
class Timeouts:
    """How long a backend may take, in seconds.

    :ivar connect: to accept a connection, and for a job to wait for a full pool.
    :ivar reply: silence before a reply.
    :ivar forward: the hand-over up to the final dot, all hosts tried.
    :ivar dot: the reply to the dot (RFC 5321 4.5.3.2.6).
    """

    connect: float = 30.0
    reply: float = 180.0
    forward: float = 240.0
    dot: float = 570.0


@frozen(slots=True)
class PoolBounds:
    """What one backend's pool may hold.

    :ivar max_connections: connecting, busy, idle and closing ones together.
    :ivar idle: seconds that a connection may lie idle.
    :ivar max_age: seconds after which a connection takes no further message.
    :ivar max_messages: messages after which it takes no further one.
    :ivar max_connecting: connections that are made at the same time.
    """

    max_connections: int = 1000
    idle: float = 30.0
    max_age: float = 240.0
    max_messages: int = 100
    max_connecting: int = 5


class Delivery(enum.Enum):
    """Which way a message goes."""

    SMTP_FORWARD = "smtp_forward"
    OUTBOUND = "outbound"


class TLS(enum.Enum):
    """What a route asks of TLS with its backend."""

    NEVER = "false"
    OFFERED = "true"
    REQUIRED = "required"
    IMPLICIT = "implicit"


@frozen(slots=True)
class Credentials:
    """A login at a backend. The secret is in no ``repr``.

    :ivar mechanism: ``PLAIN`` or ``LOGIN``: that one and no other.
    """

    mechanism: str
    user: str = field(repr=False)
    password: str = field(repr=False)


@frozen(slots=True, cache_hash=True)
class Server:
    """One backend as its pool is keyed: two of these never share a connection.

    :ivar host: name or address. ``tls``: the policy, lists of hosts applied.
    :ivar address: the one to connect to, where ``host`` is a name that was looked up already; the
        name remains what a certificate is for.
    """

    host: str
    port: int
    helo: str
    bind: str | None = None
    protocol: str = "smtp"
    tls: TLS = TLS.NEVER
    credentials: Credentials | None = None
    address: str | None = None

    def __str__(self) -> str:
        if self.address is not None:
            return f"{self.host}[{self.address}]:{self.port}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@frozen(slots=True, cache_hash=True)
class NextHop:
    """Where and how messages of one route are handed over. Equal ones are one route.

    :ivar servers: in the order in which they are tried; at least one.
    :ivar retry_dead_after: seconds that a server which could not be reached rests.
    :ivar strict_8bit: whether a server without 8BITMIME gets no message with 8-bit bytes.
    """

    servers: tuple[Server, ...]
    timeouts: Timeouts = Timeouts()
    bounds: PoolBounds = PoolBounds()
    retry_dead_after: float = 60.0
    strict_8bit: bool = False

    def __str__(self) -> str:
        return ", ".join(map(str, self.servers))


class Stage(enum.Enum):
    """Where in the hand-over something happened."""

    WAIT = "wait"
    CONNECT = "connect"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    BODY = "message data"
    DOT = "end of data"


@frozen(slots=True)
class Job:
    """One message to one next hop.

    :ivar id: the transaction's id, for logs and the ``Received`` line.
    :ivar atomic: a refused recipient ends the transaction with nothing sent (the SMTP edge, which
        has one answer to give); otherwise the accepted ones get the message.
    :ivar deadline: when our dot must have been sent, on the clock of the target.
    :ivar deliveries: for the outbound queue: which way was chosen for each recipient.
    :ivar may_send: asked once more just before our dot, where what allowed the hand-over may end
        (a lease): false, and the dot is not sent.
    """

    id: str
    client: Client
    envelope: Envelope
    content: "Content"
    next_hop: NextHop
    deadline: float
    atomic: bool = True
    deliveries: tuple[Delivery, ...] = ()
    may_send: Callable[[], bool] | None = None

    @property
    def wait(self) -> float:
        """Seconds that the job waits for a connection while the pool is full."""
        return self.next_hop.timeouts.connect


class Event(enum.Enum):
    """What happened to a recipient at the hand-over. ``answers.py`` says what the sender hears."""

    ACCEPTED = "the backend has the message"
    REFUSED = "the backend refused"
    SPARED = "accepted, but nothing was sent because another recipient was refused"
    UNREACHABLE = "no usable connection to the backend"
    DROPPED = "the connection ended, or fell silent, before our dot was sent"
    IN_DOUBT = "the connection ended, or fell silent, after our dot was sent"
    NONSENSE = "the backend does not speak SMTP"
    CLOSING = "the backend closes the channel: 421"
    LOOP = "the backend greets with our own name"
    TLS = "no TLS with the backend, or not the right certificate"
    AUTH = "the backend has not let us log in"
    POOL_FULL = "no connection became free in time"
    TOO_LARGE = "the message is larger than the backend takes"
    EIGHT_BIT = "the message holds 8-bit bytes, and the backend does not say that it takes them"
    UTF8 = "an address, or the message, is outside ASCII, and the backend has no SMTPUTF8"
    QUEUE_FULL = "the disk of the outbound queue is full"
    QUEUE_UNAVAILABLE = "the store of the outbound queue cannot be used"
    NOT_ALLOWED = "what allowed the hand-over had ended before our dot"
    FAULT = "a fault of the gateway's own"


@frozen(slots=True)
class Outcome:
    """What became of one recipient.

    :ivar reply: the backend's own words; ``None`` where it said nothing that decided.
    :ivar detail: for the log: what went wrong.
    :ivar peer: ``host[ip]:port`` of the backend, or empty when there was none.
    :ivar sent: when our dot left, on the target's clock; ``None`` when it did not.
    :ivar dsn: whether the backend was told what the sender wants to be notified of (RFC 3461).
    """

    recipient: Recipient
    event: Event
    stage: Stage
    reply: Reply | None = None
    peer: str = ""
    detail: str = ""
    sent: float | None = None
    dsn: bool = False

    @property
    def ours(self) -> bool:
        """Whether the gateway answers here in its own words, not the backend's."""
        return self.event not in (Event.ACCEPTED, Event.REFUSED)
