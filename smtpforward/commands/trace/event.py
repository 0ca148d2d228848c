"""One thing that happened to a message, whoever tells of it; and many of them as one story.

Rules: a message is received once, and forwarded or queued once. Any other two tellings are one
event where they are of different sources, speak of the same recipients and are at most ``APART``
seconds apart: logs know seconds, and are written after the store.
"""

from collections.abc import Iterable
from typing import Any

from attrs import evolve, field, frozen

APART = 3.0
ONCE = frozenset({"received", "queued", "forwarded"})
_ORDER = ("received", "refused", "filtered", "queued", "forwarded", "attempt", "bounce", "text")


@frozen
class Told:
    """An event as its sources tell it.

    :ivar at: seconds since the epoch. ``kind``: as in ``docs/commands.md``.
    :ivar id: of the transaction; empty where the source does not say it.
    :ivar facts: by the names of the JSON log (``docs/logs.md``).
    :ivar sources: who tells of it: ``gateway``, ``queue``, or a log file.
    """

    at: float
    kind: str
    id: str
    facts: dict[str, Any] = field(hash=False)
    sources: tuple[str, ...]

    @property
    def to(self) -> list[str]:
        """The recipients that it is about, where that is told."""
        return list(self.facts.get("to") or ())

    def is_same(self, other: "Told") -> bool:
        """Whether ``other`` tells of the same, by itself or as a part of it."""
        if self.id != other.id:
            return False
        if self.kind == other.kind and self.kind in ONCE:
            return True
        if {self.kind, other.kind} == {"forwarded", "attempt"}:
            # Postfix's lines have one of the latter for each recipient of the former.
            return self.facts.get("status") == other.facts.get("status")
        if set(self.sources) & set(other.sources) or abs(self.at - other.at) > APART:
            return False
        return self.kind == other.kind and self._says(other)

    def _says(self, other: "Told") -> bool:
        if self.kind == "bounce":
            return bool(self.facts.get("notice") == other.facts.get("notice"))
        if self.kind in ("attempt", "refused"):
            same = self.facts.get("status") in (other.facts.get("status"), None)
            return (same or self.kind == "refused") and (
                not self.to or not other.to or self.to == other.to
            )
        return self.facts.get("text") == other.facts.get("text")


def story(told: Iterable[Told]) -> list[Told]:
    """All of it in time order, each event once."""
    events: list[Told] = []
    for one in sorted(told, key=lambda event: (event.kind == "attempt", event.at)):
        for place, other in enumerate(events):
            if one.is_same(other):
                events[place] = _joined(other, one)
                break
        else:
            events.append(one)
    return sorted(events, key=lambda event: (event.at, _place(event.kind)))


def _place(kind: str) -> int:
    return _ORDER.index(kind) if kind in _ORDER else len(_ORDER)


def _joined(first: Told, other: Told) -> Told:
    """The facts of both, those of ``first`` before; the more exact time."""
    known = {key: value for key, value in first.facts.items() if value not in (None, "", [])}
    exact = other if first.at == int(first.at) and first.kind == other.kind else first
    sources = tuple(dict.fromkeys((*first.sources, *other.sources)))
    return evolve(first, at=exact.at, facts={**other.facts, **known}, sources=sources)
