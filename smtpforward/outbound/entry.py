"""What lies in the outbound queue, and what is said of it: the values that stores take and give.

A *message* is kept once. An *entry* is one message for one destination, with the recipients that go
there: it is what falls due, is leased, attempted and held, as a whole. Each recipient has a state
of its own. Times are seconds since the epoch, on the store's clock: they outlive a restart.
"""

import enum

from attrs import field, frozen

from smtpforward.content import Content
from smtpforward.envelope import Envelope, Recipient
from smtpforward.job import Delivery


class State(enum.Enum):
    """What has become of one recipient."""

    QUEUED = "queued"
    DELIVERED = "delivered"
    FAILED = "failed"


@frozen
class Lease:
    """Whose an entry is while it is attempted.

    :ivar owner: the process, by a name that no other has. ``until``: when it ends by itself.
    """

    owner: str
    until: float


@frozen
class NewEntry:
    """The recipients of a message for one destination.

    :ivar destination: what they have in common: a domain, or the host that takes all; the key of
        fairness, concurrency and back-off.
    :ivar indices: which of the message's recipients they are.
    """

    destination: str
    delivery: Delivery
    indices: tuple[int, ...]


@frozen
class Message:
    """A queued message without its content.

    :ivar id: the transaction's; a bounce has its own.
    :ivar received: when. ``size``: bytes, added header lines included.
    :ivar origin: for an operator: who brought it, ``name[ip]``, or this gateway itself.
    :ivar envelope: with all recipients.
    """

    id: str
    received: float
    envelope: Envelope
    size: int
    origin: str = ""


@frozen
class NewMessage:
    """A message to be queued.

    :ivar content: with its prefix; the caller closes it when the store has it.
    :ivar lease: who attempts it at once; ``None``: it is due for whoever asks.
    """

    message: Message
    entries: tuple[NewEntry, ...]
    content: Content = field(repr=False)
    lease: Lease | None = None


@frozen
class Claimed:
    """An entry that is leased: to be attempted now.

    :ivar id: of the entry, in its store.
    :ivar recipients: those that are still queued, by their index in the message.
    :ivar attempts: that failed for a time before this one.
    :ivar noticed: whether the sender was told of the delay.
    :ivar asked: whether an operator has asked for this attempt: it is made in any case.
    :ivar content: of the message, where it is small and the store has it at hand; else it is asked
        for. Nothing of it is open.
    """

    id: int
    message: Message
    destination: str
    delivery: Delivery
    recipients: tuple[tuple[int, Recipient], ...]
    attempts: int
    noticed: bool
    asked: bool = False
    content: Content | None = field(default=None, eq=False, repr=False)


@frozen
class RecipientResult:
    """What one attempt made of one recipient: ``QUEUED`` means that it stays.

    :ivar reply: what was answered, and by whom, in one line.
    """

    index: int
    state: State
    reply: str


@frozen
class Attempt:
    """One attempt at an entry, for the history.

    :ivar at: when it ended. ``took``: seconds. ``peer``: ``host[ip]:port``, or empty.
    """

    at: float
    took: float
    peer: str
    results: tuple[RecipientResult, ...]


@frozen
class Result:
    """What is recorded after an attempt, all of it in one transaction or nothing.

    :ivar due: when the recipients that stay are attempted next; ``None`` where none stays.
    :ivar counted: whether it is one of the attempts that the schedule counts.
    :ivar noticed: whether the sender has now been told of the delay.
    :ivar notices: bounces and delay notices that it makes.
    """

    entry: int
    message: str
    owner: str
    attempt: Attempt
    due: float | None
    counted: bool = True
    noticed: bool = False
    notices: tuple[NewMessage, ...] = ()


# -- what an operator asks


@frozen
class Filter:
    """Which entries are meant: those for which all that is given is true.

    :ivar ids: of messages. ``sender``, ``recipient``: an address, a domain as ``@example.com``, or
        ``<>``, compared without regard to case. ``older``: received before then.
    """

    ids: tuple[str, ...] = ()
    sender: str | None = None
    recipient: str | None = None
    destination: str | None = None
    held: bool | None = None
    older: float | None = None


class Change(enum.Enum):
    """What an operator does to entries; one that is leased is left to its attempt first."""

    RETRY = (
        "retry"  # due at 0: before all others, and attempted even where its destination backs off
    )
    HOLD = "hold"  # not attempted until released
    RELEASE = "release"  # no longer held
    DELETE = "delete"  # gone, without a bounce


@frozen
class Listed:
    """One entry in a list.

    :ivar recipients: those that are still queued. ``last``: what was answered last, or empty.
    :ivar leased: whether it is being attempted.
    """

    entry: int
    message: Message
    destination: str
    delivery: Delivery
    recipients: tuple[Recipient, ...]
    attempts: int
    due: float
    held: bool
    leased: bool
    last: str


@frozen
class Shown:
    """One message with all that is known of it.

    :ivar states: one for each recipient of the envelope. ``attempts``: the oldest first.
    """

    message: Message
    entries: tuple[Listed, ...]
    states: tuple[State, ...]
    attempts: tuple[Attempt, ...]


@frozen
class DestinationCount:
    """How much waits for one destination. ``oldest``: when its oldest message was received."""

    destination: str
    entries: int
    oldest: float


@frozen
class Stats:
    """The queue in numbers of entries, but for ``messages`` and their ``octets``.

    :ivar due: waiting for a free connection. ``deferred``: waiting for their time.
    :ivar destinations: those with the most entries, the most first.
    """

    messages: int
    octets: int
    due: int
    deferred: int
    held: int
    leased: int
    oldest: float | None
    destinations: tuple[DestinationCount, ...]
