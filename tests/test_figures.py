"""What is counted, and how the figures of several processes become those of one gateway."""

from twisted.trial.unittest import SynchronousTestCase

from smtpforward.counts import BOUNDS, NONE, Times, backend_of
from smtpforward.figures import Figures, together


class TimesTests(SynchronousTestCase):
    """How long something took."""

    def test_buckets(self) -> None:
        """A bound belongs to its bucket; what is above all has one of its own."""
        times = Times()
        for seconds in (0.0, BOUNDS[0], BOUNDS[1], BOUNDS[-1] + 1):
            times.note(seconds)
        self.assertEqual(times.buckets[:3], [2, 1, 0])
        self.assertEqual(times.buckets[-1], 1)
        self.assertEqual(len(times.buckets), len(BOUNDS) + 1)
        self.assertEqual(times.total, BOUNDS[0] + BOUNDS[1] + BOUNDS[-1] + 1)


class BackendTests(SynchronousTestCase):
    """The label of a backend."""

    def test_without_the_address(self) -> None:
        """The address that a name had is no part of it."""
        for peer, label in (
            ("mx.example.com[192.0.2.1]:25", "mx.example.com:25"),
            ("mx.example.com[2001:db8::1]:25", "mx.example.com:25"),
            ("192.0.2.1[192.0.2.1]:26", "192.0.2.1:26"),
            ("mx.example.com:25", "mx.example.com:25"),
            ("[2001:db8::1]:25", "[2001:db8::1]:25"),
            ("2001:db8::1[2001:db8::1]:25", "[2001:db8::1]:25"),
            ("", NONE),
        ):
            self.assertEqual(backend_of(peer), label)


class TogetherTests(SynchronousTestCase):
    """Figures of several processes."""

    def test_sums(self) -> None:
        """Numbers add up, and times bucket by bucket; of ages the greatest counts.

        A backend is down where one of them says so.
        """
        age, down = ("queue_oldest_age_seconds", ()), ("backend_down", ("x",))
        one = Figures({("a", ("x",)): 1, ("b", ()): 2, age: 7.0, down: 1}, {"edge": ((1, 2), 0.5)})
        other = Figures(
            {("a", ("x",)): 3, age: 5.0, down: 1}, {"edge": ((1, 0), 1.0), "wait": ((4,), 2.0)}
        )
        both = together([one, other])
        self.assertEqual(both.values, {("a", ("x",)): 4, ("b", ()): 2, age: 7.0, down: 1})
        self.assertEqual(both.times, {"edge": ((2, 2), 1.5), "wait": ((4,), 2.0)})

    def test_of_none(self) -> None:
        """Of nobody there is nothing."""
        self.assertEqual(together([]), Figures())
