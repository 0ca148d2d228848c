"""Rates in steps of ten seconds, on a fake clock."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.counts import NONE, Counts
from smtpforward.web.history import SERIES, STEP, STEPS, History, history, totals

BEGAN = 1_800_000_003.0  # three seconds into a step
FIRST = 180_000_000


class HistoryTests(SynchronousTestCase):
    """One process."""

    def setUp(self) -> None:
        """It has begun within a step."""
        self.clock = Clock()
        self.ahead = 0.0
        self.counts = Counts()
        self.history = History(self.counts, self.clock, self.wall)
        self.history.start()

    def wall(self) -> float:
        """Seconds since the epoch."""
        return BEGAN + self.clock.seconds() + self.ahead

    def test_steps(self) -> None:
        """What happens in a step is told when it has ended, and only there."""
        self.counts.transactions["a:25", "sent"] += 2
        self.assertEqual(self.history.steps(), [])
        self.clock.advance(7.0)
        self.counts.transactions["a:25", "deferred"] += 1
        self.clock.advance(STEP)
        self.assertEqual(self.history.steps(), [(FIRST, (2, 0, 0, 2)), (FIRST + 1, (0, 1, 0, 0))])

    def test_bounded(self) -> None:
        """As many as the last half hour has."""
        for _ in range(STEPS + 20):
            self.clock.advance(STEP)
        self.assertEqual(len(self.history.steps()), STEPS)

    def test_wall_clock_set_back(self) -> None:
        """No step is looked at twice in a row because the time is a little early."""
        self.clock.advance(7.0 - 0.01)
        self.ahead = -0.02
        self.clock.advance(0.01)
        self.assertEqual([number for number, _ in self.history.steps()], [FIRST])
        self.clock.advance(STEP / 2)
        self.assertEqual(len(self.history.steps()), 1)
        self.clock.advance(STEP / 2 + 0.02)
        self.assertEqual([number for number, _ in self.history.steps()], [FIRST, FIRST + 1])

    def test_stopped(self) -> None:
        """Nothing is left in the clock."""
        self.history.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.history.stop()

    def test_totals(self) -> None:
        """What counts as what."""
        counts = Counts()
        counts.transactions.update({
            ("a:25", "sent"): 1, ("queue", "queued"): 2, ("a:25", "deferred"): 4,
            ("a:25", "bounced"): 8, (NONE, "bounced"): 16,
        })  # fmt: skip
        counts.refusals.update({"relaying": 32, "loop": 64})
        counts.deliveries.update({("mx", "sent"): 128, ("mx", "bounced"): 256})
        self.assertEqual(totals(counts), (3, 4, 8 + 32 + 64, 1 + 128))


class TogetherTests(SynchronousTestCase):
    """Several processes."""

    NOW = (FIRST + 10) * STEP + 4.0

    def test_added(self) -> None:
        """Steps of the same time add up; the series begins with the first that one has."""
        told = history(
            [[(FIRST + 7, (1, 1, 1, 1)), (FIRST + 9, (2, 0, 0, 0))], [(FIRST + 9, (1, 0, 0, 3))]],
            self.NOW,
        )
        self.assertEqual(told["accepted"], [1, 0, 3])
        self.assertEqual(told["delivered"], [1, 0, 3])
        self.assertEqual((told["step"], told["end"]), (STEP, (FIRST + 10) * STEP))

    def test_too_old(self) -> None:
        """What is not of the last half hour, or of the future, is left out."""
        steps = [(FIRST - STEPS, (5,) * 4), (FIRST + 10, (5,) * 4), (FIRST + 9, (1,) * 4)]
        told = history([steps], self.NOW)
        self.assertEqual([told[name] for name in SERIES], [[1]] * 4)

    def test_none(self) -> None:
        """Without any the lists are empty."""
        self.assertEqual([history([], self.NOW)[name] for name in SERIES], [[]] * 4)
