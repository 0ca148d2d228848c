"""The parent's book of figures, on a fake clock."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.figures import Figures, Observation
from smtpforward.workers.book import NONE_READY, PATIENCE, Book
from smtpforward.workers.messages import Ask, Seen

TOTAL = ("connections_total", ())
NOW = ("open_connections", ())


def seen(total: float, now: float, *reasons: str) -> Observation:
    """What a worker sees."""
    return Observation(Figures({TOTAL: total, NOW: now}, {"edge": ((1,), total)}), reasons)


class BookTests(SynchronousTestCase):
    """Questions and answers."""

    def setUp(self) -> None:
        """Nobody has been asked."""
        self.clock = Clock()
        self.said: list[tuple[int, int]] = []
        self.book = Book(self.say, self.clock)
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))

    def say(self, worker: int, message: Ask) -> None:
        """A worker is asked."""
        self.said.append((worker, message.number))

    def ask(self, *answers: Observation, of: tuple[int, ...] = (1, 2)) -> "Deferred[Observation]":
        """Ask workers; the first ones answer."""
        asking = self.book.ask(of)
        number = self.said[-1][1]
        for worker, answer in enumerate(answers, 1):
            self.book.answered(worker, Seen(number, answer))
        return asking

    def values(self, asking: "Deferred[Observation]") -> tuple[float, float, float]:
        """All counted, all there, and how many workers."""
        values = self.successResultOf(asking).figures.values
        return values[TOTAL], values[NOW], values["workers", ()]

    def test_all_answer(self) -> None:
        """As soon as the last one has, all is known."""
        asking = self.ask(seen(1, 1))
        self.assertNoResult(asking)
        self.book.answered(2, Seen(self.said[-1][1], seen(2, 3)))
        self.assertEqual(self.said, [(1, 1), (2, 1)])
        self.assertEqual(self.values(asking), (3, 4, 2))

    def test_one_is_silent(self) -> None:
        """It is waited for, and counts as it was before."""
        self.successResultOf(self.ask(seen(1, 1), seen(2, 3)))
        asking = self.ask(seen(5, 0))
        self.clock.advance(PATIENCE - 0.1)
        self.assertNoResult(asking)
        self.clock.advance(0.1)
        self.assertEqual(self.values(asking), (7, 3, 2))

    def test_late_answer(self) -> None:
        """It counts from then on."""
        asking = self.ask(seen(1, 1))
        self.clock.advance(PATIENCE)
        self.assertEqual(self.values(asking), (1, 1, 1))
        self.book.answered(2, Seen(1, seen(9, 9)))
        asking = self.ask(seen(1, 1))
        self.clock.advance(PATIENCE)
        self.assertEqual(self.values(asking), (10, 10, 2))

    def test_gone(self) -> None:
        """What has been counted never falls; what was there is there no more."""
        self.successResultOf(self.ask(seen(1, 1), seen(2, 3)))
        self.book.gone(2)
        asking = self.ask(seen(1, 1), of=(1,))
        self.assertEqual(self.values(asking), (3, 1, 1))
        # Its successor begins anew.
        asking = self.ask(seen(1, 1), seen(1, 0))
        self.assertEqual(self.values(asking), (4, 1, 2))
        times = self.successResultOf(self.ask(seen(1, 1), seen(1, 0))).figures.times
        self.assertEqual(times, {"edge": ((3,), 4.0)})

    def test_gone_while_asked(self) -> None:
        """It is not waited for."""
        asking = self.ask(seen(1, 1))
        self.book.gone(2)
        self.assertEqual(self.values(asking), (1, 1, 1))

    def test_ready(self) -> None:
        """One that is ready is enough; where none is, all reasons are told, each once."""
        some = self.successResultOf(self.ask(seen(0, 0, "a"), seen(0, 0)))
        self.assertEqual(some.reasons, ())
        none = self.successResultOf(self.ask(seen(0, 0, "a", "b"), seen(0, 0, "a", "c")))
        self.assertEqual(none.reasons, ("a", "b", "c"))

    def test_nobody(self) -> None:
        """Without workers nothing is ready, and nothing is waited for."""
        self.assertEqual(self.successResultOf(self.book.ask(())).reasons, (NONE_READY,))

    def test_asker_goes(self) -> None:
        """Whoever asked may give up."""
        asking = self.ask(seen(1, 1))
        asking.cancel()
        self.failureResultOf(asking)
        self.clock.advance(PATIENCE)

    def test_stop(self) -> None:
        """At the end nobody is left waiting, and nothing in the clock."""
        asking = self.ask(seen(1, 1))
        self.book.stop()
        self.assertEqual(self.values(asking), (1, 1, 1))
