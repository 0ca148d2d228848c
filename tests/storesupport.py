"""Values for the tests of stores."""

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import Clock

from smtpforward.content import Content
from smtpforward.envelope import NULL_SENDER, Envelope
from smtpforward.job import Delivery
from smtpforward.outbound.entry import (
    Attempt,
    Claimed,
    Lease,
    Message,
    NewEntry,
    NewMessage,
    RecipientResult,
    Result,
    State,
)
from tests.support import address, content, recipient

BODY = b"Received: by mx\r\nSubject: x\r\n\r\n..dot\r\n"
QUEUED, DELIVERED, FAILED = State.QUEUED, State.DELIVERED, State.FAILED


def envelope(*recipients: bytes, sender: bytes = b"a@example.net") -> Envelope:
    """An envelope; ``sender`` empty for the null one."""
    return Envelope(
        address(sender) if sender else NULL_SENDER, tuple(recipient(each) for each in recipients)
    )


def new(
    id_: str = "1F",
    *recipients: bytes,
    lease: Lease | None = None,
    received: float = 1000.0,
    body: Content | bytes = BODY,
    sender: bytes = b"a@example.net",
    destinations: Sequence[str] = (),
    delivery: Delivery = Delivery.OUTBOUND,
) -> NewMessage:
    """A message with an entry for each domain of its recipients, or for all of ``destinations``.

    :param destinations: one for each recipient, where it is not its domain.
    """
    made = envelope(*(recipients or (b"user@example.com",)), sender=sender)
    entries: dict[str, list[int]] = {}
    for index, each in enumerate(made.recipients):
        destination = destinations[index] if destinations else each.address.host
        entries.setdefault(destination, []).append(index)
    stored = body if isinstance(body, Content) else content(body)
    return NewMessage(
        Message(id_, received, made, stored.size + len(stored.prefix), "mx[192.0.2.1]"),
        tuple(NewEntry(name, delivery, tuple(indices)) for name, indices in entries.items()),
        stored,
        lease,
    )


def result(claimed: Claimed, *states: State, owner: str = "a", **changes: Any) -> Result:
    """What an attempt at ``claimed`` makes of its recipients, one state for each."""
    said = {QUEUED: "451 later", DELIVERED: "250 ok", FAILED: "550 no"}
    results = tuple(
        RecipientResult(index, state, said[state])
        for (index, _), state in zip(claimed.recipients, states, strict=True)
    )
    at = changes.pop("at", 1500.0)
    due = changes.pop("due", 2000.0 if QUEUED in states else None)
    attempt = Attempt(at, 0.5, "mx.example.com[192.0.2.9]:25", results)
    return Result(claimed.id, claimed.message.id, owner, attempt, due, **changes)


def wire(made: Content) -> bytes:
    """A content in wire form, which is closed."""
    data = b"".join(made.wire())
    made.close()
    return data


class SteppedReactor(Clock):
    """The real reactor's threads, with timers that a test moves."""

    def callFromThread(self, function: Callable[..., Any], *arguments: Any) -> None:
        """See IReactorFromThreads."""
        reactor.callFromThread(function, *arguments)  # type: ignore[attr-defined]

    def getThreadPool(self) -> Any:
        """See IReactorThreads."""
        return reactor.getThreadPool()  # type: ignore[attr-defined]
