"""Values of the outbound queue for tests of what is shown of them."""

from typing import Any

import attrs

from smtpforward.content import Content
from smtpforward.envelope import NULL_SENDER, Address, Envelope, Recipient
from smtpforward.interfaces import IQueueStore
from smtpforward.job import Delivery
from smtpforward.outbound.entry import (
    Attempt,
    Change,
    DestinationCount,
    Filter,
    Lease,
    Listed,
    Message,
    NewEntry,
    NewMessage,
    RecipientResult,
    Result,
    Shown,
    State,
    Stats,
)

NOW = 1_800_000_000.0  # 2027-01-15 08:00:00Z
TRY_LATER = "451 4.7.1 try later"


def address(text: str) -> Address:
    """``local@domain``, or the null sender."""
    local, _, domain = text.encode().rpartition(b"@")
    return Address(local, domain) if text else NULL_SENDER


def message(
    id: str = "63A93AEC9D20C", sender: str = "ann@example.com", *to: str, **changes: Any
) -> Message:
    """A message of two hours ago."""
    recipients = tuple(Recipient(address(one)) for one in to or ("bob@example.org",))
    made = Message(id, NOW - 7300, Envelope(address(sender), recipients), 4200, "app[192.0.2.7]")
    return attrs.evolve(made, **changes)


def listed(of: Message | None = None, **changes: Any) -> Listed:
    """An entry for all recipients, deferred for four minutes after three attempts."""
    of = of or message()
    made = Listed(
        17, of, "example.org", Delivery.OUTBOUND, of.envelope.recipients, 3, NOW + 240,
        held=False, leased=False, last=TRY_LATER,
    )  # fmt: skip
    return attrs.evolve(made, **changes)


def shown(of: Message | None = None, **changes: Any) -> Shown:
    """A message with one attempt, after which all of it stays."""
    of = of or message()
    count = len(of.envelope.recipients)
    results = tuple(RecipientResult(i, State.QUEUED, TRY_LATER) for i in range(count))
    attempt = Attempt(NOW - 60, 1.25, "mx.example.org[192.0.2.9]:25", results)
    made = Shown(of, (listed(of),), (State.QUEUED,) * count, (attempt,))
    return attrs.evolve(made, **changes)


def stats(**changes: Any) -> Stats:
    """Numbers of a small queue."""
    destinations = (
        DestinationCount("example.org", 4, NOW - 200_000),
        DestinationCount("a.long.name.example.net", 1, NOW - 59),
    )
    return attrs.evolve(Stats(5, 12_345, 1, 2, 3, 4, NOW - 200_000, destinations), **changes)


# -- a queue of a few messages, in a real store

HEADER = b"From: Ann <ann@example.com>\r\nSubject: report\r\n"
BODY = b"two lines\r\n.one with a dot\r\n"
LEASE = 3600.0
DAY = 86400.0


async def fill(store: IQueueStore, owner: str = "gateway") -> None:
    """Five messages, six entries; the ids say which is which, the oldest comes first.

    ``OLD``: of ten days ago, deferred after two attempts. ``TWO``: of two days ago, for two
    destinations, both due. ``BOUNCE``: of nobody, held. ``BUSY``: being attempted by ``owner``.
    ``NEW``: due.
    """
    now = store.now()
    await put(store, "OLD", 10 * DAY, "ann@example.com", "bob@example.org", "eve@example.org")
    await _attempted(store, owner)
    await put(store, "TWO", 2 * DAY, "Ann@Example.com", "bob@example.org", "cid@example.net")
    await put(store, "BOUNCE", 600, "", "ann@example.com")
    await store.change(Filter(ids=("BOUNCE",)), Change.HOLD)
    lease = Lease(owner, now + LEASE)
    await put(store, "BUSY", 60, "app@sender.example", "x@busy.example", lease=lease)
    await put(store, "NEW", 5, "app@sender.example", "y@new.example")


async def put(
    store: IQueueStore, id: str, age: float, sender: str, *to: str, lease: Lease | None = None
) -> None:
    """Queue one message for the domains of its recipients."""
    recipients = tuple(Recipient(address(one)) for one in to)
    content = Content.from_plain(HEADER + b"\r\n" + BODY)
    content.prefix = b"Received: from app\r\n"
    of = Message(
        id,
        store.now() - age,
        Envelope(address(sender), recipients),
        len(content.prefix) + content.size,
        "app[192.0.2.7]",
    )
    domains = dict.fromkeys(recipient.address.host for recipient in recipients)
    entries = tuple(
        NewEntry(
            domain,
            Delivery.OUTBOUND,
            tuple(i for i, r in enumerate(recipients) if r.address.host == domain),
        )
        for domain in domains
    )
    try:
        await store.add(NewMessage(of, entries, content, lease))
    finally:
        content.close()


async def _attempted(store: IQueueStore, owner: str) -> None:
    """Two attempts at what is due: a recipient is delivered, the other one stays for an hour."""
    for state in (State.QUEUED, State.DELIVERED):
        now = store.now()
        [claimed] = await store.claim("example.org", 1, Lease(owner, now + LEASE))
        results = (
            RecipientResult(0, State.QUEUED, TRY_LATER),
            RecipientResult(1, state, "250 2.0.0 ok" if state is State.DELIVERED else TRY_LATER),
        )
        attempt = Attempt(now, 0.5, "mx.example.org[192.0.2.9]:25", results)
        due = now if state is State.QUEUED else now + 3600
        await store.record(Result(claimed.id, claimed.message.id, owner, attempt, due))
