"""What the tests of the turns share: a scripted peer of the turns, in place of the store.

It holds entries in memory, by the rules of ``IQueueStore``, and answers when the test says so: so
that every order of answers, calls and timers can be had. The clock is moved by hand.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from smtpforward.config.settings import Outbound
from smtpforward.envelope import NULL_SENDER, Envelope
from smtpforward.job import Delivery
from smtpforward.outbound.destinations import Destinations
from smtpforward.outbound.entry import Claimed, Lease, Message
from smtpforward.outbound.errors import StoreUnavailableError
from smtpforward.outbound.leases import Leases
from smtpforward.outbound.turns import Turns
from smtpforward.reply import Reply

BEGAN = 1_700_000_000.0
DEAD = Reply(451, (b"4.4.1 dead",))
NOBODY = Message("M", BEGAN, Envelope(NULL_SENDER, ()), 0)


@attrs.define
class Entry:
    """One entry of the scripted store; ``leased``: until when ``due`` belongs to an attempt."""

    id: int
    destination: str
    due: float
    attempts: int = 0
    leased: bool = False
    asked: bool = False


@attrs.define
class Call:
    """One that has not been answered yet."""

    name: str
    work: Callable[[], Any]
    answer: "Deferred[Any]"

    def do(self) -> None:
        """Do it, and leave the answer for later, as a thread does."""
        found = self.work()
        self.work = lambda: found


class ScriptedStore:
    """Entries in memory.

    :ivar calls: what waits for :meth:`answer`. ``asked``: the names of all calls.
    """

    def __init__(self, clock: Clock) -> None:
        self.entries: dict[int, Entry] = {}
        self.calls: list[Call] = []
        self.asked: list[str] = []
        self.set_back = 0.0
        self._clock = clock
        self._last = 0

    def now(self) -> float:
        return BEGAN + self._clock.seconds() - self.set_back

    def put(self, destination: str, due: float = 0.0, **more: Any) -> Entry:
        """An entry that falls due at ``due``, in seconds of the test's clock."""
        self._last += 1
        entry = self.entries[self._last] = Entry(self._last, destination, BEGAN + due, **more)
        return entry

    def waiting(self) -> list[Entry]:
        """What is due: a lease ends by itself."""
        return [e for e in self.entries.values() if e.due <= self.now()]

    # -- the calls

    def _call(self, name: str, work: Callable[[], Any]) -> "Deferred[Any]":
        self.asked.append(name)
        answer: Deferred[Any] = Deferred()
        self.calls.append(Call(name, work, answer))
        return answer

    def answer(self, index: int = 0, fails: bool = False) -> None:
        """Do what was asked, or fail."""
        call = self.calls.pop(index)
        if fails:
            call.answer.errback(StoreUnavailableError("away"))
        else:
            call.answer.callback(call.work())

    def answer_all(self) -> None:
        """Until nothing is asked any more."""
        number = 0
        while self.calls:
            self.answer()
            number += 1
            assert number < 10_000, "it asks without end"

    def due(self, most: int, but: Collection[str]) -> "Deferred[list[str]]":
        def work() -> list[str]:
            found = sorted(self.waiting(), key=lambda entry: entry.due)
            return list(dict.fromkeys(e.destination for e in found if e.destination not in but))[
                :most
            ]

        return self._call("due", work)

    def next_due(self, but: Collection[str]) -> "Deferred[float | None]":
        def work() -> float | None:
            known = [e.due for e in self.entries.values() if e.destination not in but]
            return min(known, default=None)

        return self._call("next_due", work)

    def claim(
        self, destination: str, most: int, lease: Lease, asked: bool
    ) -> "Deferred[list[Claimed]]":
        def work() -> list[Claimed]:
            due = [e for e in self.waiting() if e.destination == destination]
            found = [entry for entry in due if entry.asked or not asked]
            found.sort(key=lambda entry: (entry.due, entry.id))
            for entry in found[:most]:
                entry.leased, entry.due = True, lease.until
            return [claimed(entry) for entry in found[:most]]

        return self._call(f"claim {destination} {most}", work)

    def defer(
        self, destination: str, reply: str, intervals: Sequence[float], most: int
    ) -> "Deferred[int]":
        def work() -> int:
            found = [
                e
                for e in self.waiting()
                if e.destination == destination and not e.asked and e.attempts < len(intervals)
            ][:most]
            for entry in found:
                entry.due = self.now() + intervals[entry.attempts]
                entry.attempts += 1
            return len(found)

        return self._call(f"defer {destination}", work)

    def renew(self, entries: Collection[int], lease: Lease) -> "Deferred[frozenset[int]]":
        for id_ in entries:
            self.entries[id_].due = lease.until
        return succeed(frozenset(entries))


def claimed(entry: Entry) -> Claimed:
    """An entry as it is leased."""
    return Claimed(
        entry.id,
        NOBODY,
        entry.destination,
        Delivery.OUTBOUND,
        (),
        entry.attempts,
        noticed=False,
        asked=entry.asked,
    )


class Queue:
    """Turns with all around them.

    :ivar running: the entries that are attempted. ``begun``: all that were, with the time, and why
        no server was to be asked.
    """

    def __init__(self, total: int = 10, each: int = 3, **changes: Any) -> None:
        self.clock = Clock()
        self.store = ScriptedStore(self.clock)
        self.outbound = Outbound(intervals=(60.0, 300.0), **changes)
        self.known = Destinations(total, each)
        self.leases = Leases(self.store, "own", self.clock, lambda: 300.0)
        self.running: list[Claimed] = []
        self.begun: list[tuple[float, str, Reply | None]] = []
        self.turns = Turns(
            self.store, self.leases, self.known, lambda: self.outbound, self.clock, self._begin
        )

    def _begin(self, entry: Claimed, instead: Reply | None) -> None:
        self.running.append(entry)
        self.begun.append((self.clock.seconds(), entry.destination, instead))

    @property
    def destinations(self) -> list[str]:
        """Of what has begun, in order."""
        return [destination for _, destination, _ in self.begun]

    def start(self) -> None:
        """Look, and let the store answer all."""
        self.turns.look()
        self.store.answer_all()

    def advance(self, seconds: float) -> None:
        """Let time pass, and the store answer all."""
        self.clock.advance(seconds)
        self.store.answer_all()

    def end(self, entry: Claimed, due: float | None = None, reached: bool = True) -> None:
        """The attempt ends: delivered, or put off to ``due`` on the test's clock."""
        if reached:
            self.known.reached(entry.destination)
        else:
            self.known.failed(entry.destination, DEAD, self.clock.seconds())
        if due is None:
            del self.store.entries[entry.id]
        else:
            left = self.store.entries[entry.id]
            left.leased, left.due, left.asked = False, BEGAN + due, False
            left.attempts += 1
        self.running.remove(entry)
        self.leases.drop(entry.id)
        self.known.end(entry.destination)
        if due is not None:
            self.turns.wake_at(BEGAN + due)
        self.turns.put_in(())

    def may_begin(self) -> set[str]:
        """The destinations of what is due that may have an attempt more."""
        if self.outbound.disabled:
            return set()
        return {e.destination for e in self.store.waiting() if self.known.spare(e.destination)}
