"""Questions to workers, on a fake clock."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.workers.messages import Ask
from smtpforward.workers.rounds import Rounds

PATIENCE = 3.0


class RoundsTests(SynchronousTestCase):
    """Who answers, and when it is enough."""

    def setUp(self) -> None:
        """Nobody was asked."""
        self.clock = Clock()
        self.said: list[tuple[int, Any]] = []
        self.rounds = Rounds(
            lambda worker, message: self.said.append((worker, message)), self.clock
        )
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))

    def ask(self, *workers: int) -> "Deferred[dict[int, Any]]":
        """Ask them."""
        return self.rounds.ask(workers, Ask, PATIENCE)

    def test_all(self) -> None:
        """It ends with the last answer."""
        asking = self.ask(1, 2)
        self.assertEqual(self.said, [(1, Ask(1)), (2, Ask(1))])
        self.rounds.answered(2, 1, "b")
        self.assertNoResult(asking)
        self.rounds.answered(1, 1, "a")
        self.assertEqual(self.successResultOf(asking), {1: "a", 2: "b"})

    def test_nobody(self) -> None:
        """Without workers there is nothing to wait for."""
        self.assertEqual(self.successResultOf(self.ask()), {})

    def test_enough(self) -> None:
        """It ends when its time is over; what comes later is of no use."""
        asking = self.ask(1, 2)
        self.rounds.answered(1, 1, "a")
        self.clock.advance(PATIENCE)
        self.assertEqual(self.successResultOf(asking), {1: "a"})
        self.rounds.answered(2, 1, "b")

    def test_gone(self) -> None:
        """Who has gone owes nothing."""
        asking = self.ask(1, 2)
        self.rounds.answered(1, 1, "a")
        self.rounds.gone(2)
        self.assertEqual(self.successResultOf(asking), {1: "a"})

    def test_others(self) -> None:
        """The answer of one that was not asked, or to another question, is none."""
        asking, other = self.ask(1), self.ask(1)
        self.rounds.answered(2, 1, "x")
        self.rounds.answered(1, 2, "b")
        self.assertNoResult(asking)
        self.assertEqual(self.successResultOf(other), {1: "b"})
        self.rounds.stop()
        self.assertEqual(self.successResultOf(asking), {})

    def test_one_ends_another(self) -> None:
        """What the end of one sets off may end others."""
        first, second = self.ask(1), self.ask(1)
        first.addCallback(lambda _: self.rounds.stop())
        self.rounds.gone(1)
        self.assertEqual(self.successResultOf(second), {})
