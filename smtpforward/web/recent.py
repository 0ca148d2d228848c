"""The transactions, refusals and attempts of late, in memory that is bounded.

What the log gets is kept as it is: an entry of a usual mail costs an append and a few comparisons,
and its facts are put together when somebody asks. An entry that may hold more than usual (many
recipients, long strings), or that would keep something else alive, is kept as JSON, cut to
``LONGEST`` characters: then its size is known exactly. Refusals have a ring of their own, so that
who guesses addresses does not push out what became of mail.

Failure policy: the oldest goes first; nothing here can fail a message.
"""

import json
import sys
from collections import deque
from collections.abc import Iterator
from heapq import merge
from typing import Any

from attrs import frozen
from twisted.logger import ILogObserver, LogEvent
from zope.interface import implementer

from smtpforward.record import Ended, Facts

MIB = 1024 * 1024
# Bytes that an entry of a usual mail takes at most, with all that only it keeps alive.
USUAL = 4096
USUAL_TEXT = 100  # characters of an address or a name
USUAL_REPLY = 256  # bytes of a reply line, of a detail
LONGEST = 1000  # characters of one text in an entry that is not usual
LONGEST_LIST = 16_384  # of all recipients of one
OVERHEAD = 200  # bytes of the place in a ring


@frozen
class Bounds:
    """Of one ring. ``most``: entries. ``octets``: bytes, by the estimate of each."""

    most: int
    octets: int


MESSAGES = Bounds(10_000, 32 * MIB)
REFUSALS = Bounds(2_000, 8 * MIB)
ATTEMPTS = Bounds(10_000, 16 * MIB)


class Ring:
    """Entries with their times, the oldest first; the oldest make room.

    :ivar held: bytes, estimated.
    """

    __slots__ = ("_bounds", "_kept", "held")

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._kept: deque[tuple[float, Any, int]] = deque()
        self.held = 0

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, at: float, kept: "Ended | str", size: int) -> None:
        """One more, of ``size`` bytes."""
        entries, bounds = self._kept, self._bounds
        entries.append((at, kept, size))
        self.held += size
        while self.held > bounds.octets or len(entries) > bounds.most:
            self.held -= entries.popleft()[2]

    def latest(self) -> list[tuple[float, Any, int]]:
        """Those of now, the newest first."""
        return list(reversed(self._kept))


@implementer(ILogObserver)
class Recent:
    """An observer of the log that keeps what it says of mail."""

    def __init__(
        self, messages: Bounds = MESSAGES, refusals: Bounds = REFUSALS, attempts: Bounds = ATTEMPTS
    ) -> None:
        self.messages = Ring(messages)
        self.refusals = Ring(refusals)
        self.attempts = Ring(attempts)

    def __call__(self, event: LogEvent) -> None:
        """See ILogObserver."""
        entry = event.get("mail_line")
        if entry is None:
            facts = event.get("facts")
            if facts is not None and "id" in facts:
                self._keep(event["log_time"], facts)
        elif type(entry) is Ended and is_usual(entry):
            ring = self.refusals if entry.command else self.messages
            ring.add(event["log_time"], entry, USUAL)
        else:
            self._keep(event["log_time"], entry.facts())

    def _keep(self, at: float, facts: Facts) -> None:
        text = json.dumps(cut(facts), ensure_ascii=False)
        ring = {"message": self.messages, "refused": self.refusals}.get(
            str(facts["event"]), self.attempts
        )
        ring.add(at, text, sys.getsizeof(text) + OVERHEAD)

    def transactions(self) -> Iterator[tuple[float, Facts]]:
        """Messages and refusals with their times, the newest first, as of now."""
        rings = (self.messages.latest(), self.refusals.latest())
        yield from _told(merge(*rings, key=_at, reverse=True))

    def all(self) -> Iterator[tuple[float, Facts]]:
        """Attempts as well."""
        rings = (self.messages.latest(), self.refusals.latest(), self.attempts.latest())
        yield from _told(merge(*rings, key=_at, reverse=True))

    @property
    def oldest(self) -> float | None:
        """When the oldest message or refusal that is kept has ended."""
        firsts = [ring._kept[0][0] for ring in (self.messages, self.refusals) if len(ring)]
        return min(firsts, default=None)


def _at(kept: tuple[float, Any, int]) -> float:
    return kept[0]


def _told(entries: Any) -> Iterator[tuple[float, Facts]]:
    for at, kept, _ in entries:
        yield at, json.loads(kept) if isinstance(kept, str) else kept.facts()


def is_usual(entry: Ended) -> bool:
    """Whether ``entry`` keeps no more than ``USUAL`` bytes alive."""
    transaction = entry.transaction
    if len(transaction.recipients) > 1 or len(transaction.outcomes) > 1:
        return False
    client, reply = transaction.client, entry.reply.lines
    if (
        len(transaction.sender.path) > USUAL_TEXT
        or len(client.helo) > USUAL_TEXT
        or len(client.name) > USUAL_TEXT
        or len(reply) > 1
        or len(reply[0]) > USUAL_REPLY
        or sum(map(len, transaction.parameters.values())) > USUAL_TEXT
    ):
        return False
    for recipient in transaction.recipients:
        if len(recipient.address.path) > USUAL_TEXT or recipient.parameters:
            return False
    for outcome in transaction.outcomes:
        said = outcome.reply.lines if outcome.reply else ()
        if len(outcome.detail) > USUAL_REPLY or len(said) > 1 or len(b"".join(said)) > USUAL_REPLY:
            return False
    return True


def cut(facts: Facts) -> Facts:
    """``facts`` in which no text is long, with as many recipients as have room."""
    made: Facts = {}
    for name, value in facts.items():
        if isinstance(value, str):
            value = value[:LONGEST]
        elif isinstance(value, list):
            value = list(_within(value))
        made[name] = value
    return made


def _within(texts: list[str]) -> Iterator[str]:
    room = LONGEST_LIST
    for text in texts:
        room -= len(text)
        if room < 0:
            return
        yield text[:LONGEST]
