"""What is kept of late: which entries, in how much memory, and what is told of them."""

import gc
import os
import tracemalloc
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.record import Ended, Entry
from smtpforward.reply import Reply
from smtpforward.web.recent import ATTEMPTS, MESSAGES, REFUSALS, Bounds, Recent, Ring, is_usual
from tests import recentload
from tests.recentload import KINDS, entries

FULL = bool(os.environ.get("SMTPFORWARD_FULL"))
# Of each kind: fewer where each takes long to make. ``make recent`` takes twenty times as many.
COUNTS = {
    "usual": 50_000,
    "large usual": 10_000,
    "refused": 5_000,
    "hostile": 5_000,
    "many": 100,
    "hostile many": 50,
    "attempted": 5_000,
}
TIMES = 20 if FULL else 1
MOST = max(bounds.most for bounds in (MESSAGES, REFUSALS, ATTEMPTS))
BEYOND = 1.1  # what a dictionary and a list take beside what they hold


def noted(recent: Recent, entry: Entry, at: float = 1.0) -> None:
    """As the log has it."""
    recent({"mail_line": entry, "log_time": at})


class RingTests(SynchronousTestCase):
    """A ring of entries."""

    def test_count(self) -> None:
        """The oldest makes room for one too many."""
        ring = Ring(Bounds(2, 1000))
        for at in (1.0, 2.0, 3.0):
            ring.add(at, "x", 10)
        self.assertEqual([at for at, _, _ in ring.latest()], [3.0, 2.0])
        self.assertEqual((len(ring), ring.held), (2, 20))

    def test_octets(self) -> None:
        """As many go as it takes."""
        ring = Ring(Bounds(10, 100))
        for size in (40, 40, 20, 90):
            ring.add(1.0, "x", size)
        self.assertEqual((len(ring), ring.held), (1, 90))


class RecentTests(SynchronousTestCase):
    """Which entry goes where, and what is told of it."""

    def setUp(self) -> None:
        """Nothing has happened."""
        self.recent = Recent()

    def test_as_it_is(self) -> None:
        """A usual mail is kept as the log has it, and its facts are put together when asked for."""
        entry = recentload.usual(1)
        noted(self.recent, entry)
        [(at, kept, _)] = self.recent.messages.latest()
        self.assertIs(kept, entry)
        self.assertEqual(list(self.recent.transactions()), [(at, entry.facts())])

    def test_same_facts(self) -> None:
        """What is not usual is told as the log tells it, where it is not too long."""
        for name in ("usual", "refused", "attempted"):
            entry = KINDS[name](7)
            recent = Recent(*(Bounds(5, 10**6),) * 3)
            recent._keep(1.0, entry.facts())
            self.assertEqual(list(recent.all()), [(1.0, entry.facts())], name)

    def test_rings(self) -> None:
        """Refusals and attempts push out no message."""
        recent = Recent(refusals=Bounds(1, 10**6), attempts=Bounds(1, 10**6))
        noted(recent, recentload.usual(1), 1.0)
        for number in range(5):
            noted(recent, recentload.refused(number), 2.0)
            noted(recent, recentload.attempted(number), 3.0)
        self.assertEqual([at for at, _ in recent.transactions()], [2.0, 1.0])
        self.assertEqual([at for at, _ in recent.all()], [3.0, 2.0, 1.0])
        self.assertEqual(recent.oldest, 1.0)

    def test_long_texts(self) -> None:
        """They are cut, and so is a list; the number of recipients is told as it is."""
        noted(self.recent, recentload.many_hostile(1))
        [(_, facts)] = self.recent.transactions()
        to: Any = facts["to"]
        self.assertEqual(facts["nrcpt"], recentload.MANY)
        self.assertTrue(0 < len(to) < recentload.MANY)
        self.assertLessEqual(max(len(str(text)) for text in facts.values()), 20_000)

    def test_notice(self) -> None:
        """A bounce is kept by the id of what it is about."""
        facts = {"event": "bounce", "id": "1F", "notice": "2F", "to": ["a@example.com"]}
        self.recent({"log_time": 5.0, "facts": facts})
        self.assertEqual(list(self.recent.all()), [(5.0, facts)])

    def test_nothing_of_mail(self) -> None:
        """Other events leave nothing."""
        self.recent({"log_time": 5.0, "facts": {"event": "login", "user": "x"}})
        self.recent({"log_time": 5.0, "log_format": "hello"})
        self.assertEqual((list(self.recent.all()), self.recent.oldest), ([], None))

    def test_what_is_usual(self) -> None:
        """One long thing, or two recipients, and it is not."""
        self.assertTrue(is_usual(_ended(recentload.usual(1))))
        self.assertTrue(is_usual(_ended(recentload.large_usual(1))))
        for make in (recentload.hostile, recentload.many, recentload.many_hostile):
            self.assertFalse(is_usual(_ended(make(1))))
        for change in ("helo", "name"):
            ended = _ended(recentload.usual(1))
            long: Any = b"x" * 200 if change == "helo" else "x" * 200
            ended.transaction.client = _with(ended.transaction.client, change, long)
            self.assertFalse(is_usual(ended), change)
        ended = _ended(recentload.usual(1))
        ended.transaction.parameters = {b"ENVID": b"x" * 200}
        self.assertFalse(is_usual(ended))
        ended = _ended(recentload.usual(1))
        ended.reply = Reply(550, (b"x",) * 100)
        self.assertFalse(is_usual(ended))


class MemoryTests(SynchronousTestCase):
    """However many there are and however long, what is kept stays within its bounds."""

    def held(self, recent: Recent, count: int, name: str) -> int:
        """The bytes that ``recent`` has taken after ``count`` entries."""
        # Only what can still be there at the end is traced: it takes five times as long.
        before = 0
        for number, entry in enumerate(entries(count, KINDS[name])):
            if number == max(0, count - MOST):
                tracemalloc.start()
                self.addCleanup(tracemalloc.stop)
                before = _traced()
            noted(recent, entry, number + 0.5)
        del entry
        held = _traced() - before
        tracemalloc.stop()
        return held

    def test_bounded(self) -> None:
        """Of each kind: real bytes, as Python's allocator knows them, are no more than estimated.

        ``make recent`` does it with a million usual ones.
        """
        for name in KINDS:
            count = COUNTS[name] * TIMES
            recent = Recent()
            held = self.held(recent, count, name)
            rings = (recent.messages, recent.refusals, recent.attempts)
            estimate = sum(ring.held for ring in rings)
            about = f"{name}: {held} bytes for {sum(map(len, rings))} of {count}, {estimate} told"
            self.assertGreater(held, 100_000, about)
            self.assertLess(held, estimate * BEYOND, about)
            for ring, bounds in zip(rings, (MESSAGES, REFUSALS, ATTEMPTS), strict=True):
                self.assertLessEqual(len(ring), bounds.most, about)
                self.assertLessEqual(ring.held, bounds.octets, about)
            if FULL:
                print(about)

    def test_nothing_else_is_kept(self) -> None:
        """An attempt keeps no content alive."""
        recent = Recent()
        noted(recent, recentload.attempted(1))
        [(_, kept, size)] = recent.attempts.latest()
        self.assertIsInstance(kept, str)
        self.assertLess(size, 2000)


def _traced() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def _ended(entry: Entry) -> Ended:
    assert isinstance(entry, Ended)
    return entry


def _with(client: Any, name: str, value: object) -> Any:
    return attrs.evolve(client, **{name: value})
