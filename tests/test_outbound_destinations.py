"""Whose turn it is, and who backs off."""

from twisted.trial.unittest import SynchronousTestCase

from smtpforward.outbound import destinations, schedule
from smtpforward.outbound.destinations import Destinations
from smtpforward.reply import Reply

DEAD = Reply(451, (b"4.4.1 dead",))


class AttemptsTests(SynchronousTestCase):
    """How many attempts there may be."""

    def setUp(self) -> None:
        self.known = Destinations(total=5, each=2)
        for name in ("a.example", "b.example", "a", "b"):
            self.known.reached(name)

    def test_each(self) -> None:
        """No destination has more than its share."""
        self.assertEqual(self.known.spare("a.example"), 2)
        self.known.begin("a.example", 2)
        self.assertEqual((self.known.spare("a.example"), self.known.spare("b.example")), (0, 2))
        self.known.end("a.example")
        self.assertEqual(self.known.spare("a.example"), 1)

    def test_not_reached_yet(self) -> None:
        """One that may be dead has a single attempt, until it is reached."""
        self.assertEqual(self.known.spare("new.example"), 1)
        self.known.begin("new.example")
        self.assertFalse(self.known.may_begin_at_once("new.example"))
        self.known.reached("new.example")
        self.assertEqual(self.known.spare("new.example"), 1)
        self.known.end("new.example")
        self.assertEqual(self.known.spare("new.example"), 2)

    def test_reached_last(self) -> None:
        """Of too many that were reached the one of longest ago is forgotten."""
        self.known.reached("a.example")
        for number in range(destinations.MOST_REACHED - 1):
            self.known.reached(f"{number}.example")
        self.assertEqual((self.known.spare("a.example"), self.known.spare("b.example")), (2, 1))

    def test_total(self) -> None:
        """All together have no more than the total."""
        for name in ("a", "b"):
            self.known.begin(name, 2)
        self.assertEqual((self.known.room, self.known.spare("c")), (1, 1))
        self.known.begin("c")
        self.assertEqual((self.known.room, self.known.spare("d")), (0, 0))

    def test_forgets(self) -> None:
        """Nothing is kept of a destination that has no attempt."""
        self.known.begin("a.example", 2)
        self.known.end("a.example", 2)
        self.assertEqual((self.known.active, self.known._active), (0, {}))

    def test_none(self) -> None:
        """To end none is nothing, also for one that has none."""
        self.known.end("a.example", 0)
        self.assertEqual(self.known.active, 0)

    def test_fewer(self) -> None:
        """A total that becomes smaller leaves no room, and less than none neither."""
        self.known.begin("a.example", 2)
        self.known.total = self.known.each = 1
        self.assertEqual((self.known.room, self.known.spare("a.example")), (0, 0))


class TurnsTests(SynchronousTestCase):
    """One after the other."""

    def setUp(self) -> None:
        self.known = Destinations(total=10, each=1)

    def test_round(self) -> None:
        """Those that are ready take turns."""
        for name in ("a", "b", "c"):
            self.assertTrue(self.known.has_due(name))
        self.assertEqual([self.known.next() for _ in range(5)], ["a", "b", "c", "a", "b"])

    def test_busy_ones_are_passed_over(self) -> None:
        """One that may have no attempt more keeps its place and is left out."""
        for name in ("a", "b"):
            self.known.has_due(name)
        self.known.begin("a")
        self.assertEqual([self.known.next(), self.known.next()], ["b", "b"])
        self.known.begin("b")
        self.assertIsNone(self.known.next())
        self.known.end("a")
        self.assertEqual(self.known.next(), "a")

    def test_no_room(self) -> None:
        """Without room it is nobody's turn."""
        self.known.has_due("a")
        self.known.total = 0
        self.assertIsNone(self.known.next())

    def test_bounded(self) -> None:
        """What is not kept in mind is said."""
        most = destinations.MOST_READY + self.known.total
        taken = [self.known.has_due(f"{n}.example") for n in range(most + 1)]
        self.assertEqual((taken.count(False), taken[-1]), (1, False))
        self.assertTrue(self.known.has_due("0.example"), "known already")
        self.assertEqual(len(self.known.ready), most)

    def test_resting(self) -> None:
        """One that rests has no turn, is known, and takes a place; then its turn comes again."""
        for name in ("a", "b"):
            self.known.has_due(name)
        self.assertTrue(self.known.rest("a"))
        self.assertTrue(self.known.has_due("a"))
        self.assertEqual([self.known.next(), self.known.next()], ["b", "b"])
        self.assertEqual((set(self.known.known_due), list(self.known.ready)), ({"a", "b"}, ["b"]))
        self.assertFalse(self.known.may_learn(destinations.MOST_READY + self.known.total - 1))
        self.known.rested()
        self.assertEqual([self.known.next(), self.known.next()], ["b", "a"])

    def test_no_longer_resting(self) -> None:
        """One that is reached has its turn, and so have all when they are to be tried again."""
        for name in ("a", "b"):
            self.known.rest(name)
        self.known.reached("a")
        self.assertEqual((self.known.next(), self.known.next()), ("a", "a"))
        self.known.forget_backoffs()
        self.assertEqual(set(self.known.ready), {"a", "b"})

    def test_rest_bounded(self) -> None:
        """What is not kept in mind does not rest neither."""
        for number in range(destinations.MOST_READY + self.known.total):
            self.known.has_due(f"{number}.example")
        self.assertFalse(self.known.rest("a"))
        self.assertTrue(self.known.rest("0.example"))

    def test_at_once(self) -> None:
        """New mail is attempted as it comes only where nothing waits before it."""
        self.assertTrue(self.known.may_begin_at_once("a"))
        self.known.has_due("a")
        self.assertFalse(self.known.may_begin_at_once("a"))
        self.known.has_none_due("a")
        self.known.begin("a")
        self.assertFalse(self.known.may_begin_at_once("a"))


class BackoffTests(SynchronousTestCase):
    """A destination that could not be reached."""

    def setUp(self) -> None:
        self.known = Destinations(total=100, each=10)

    def test_backs_off(self) -> None:
        """It is left alone for a time, then it gets a single attempt, until it is reached."""
        self.known.failed("a.example", DEAD, 100.0)
        self.assertIs(self.known.backing_off("a.example", 159.9), DEAD)
        self.assertIsNone(self.known.backing_off("a.example", 160.0))
        self.assertEqual(self.known.spare("a.example"), 1)
        self.assertFalse(self.known.may_begin_at_once("a.example"))
        self.known.reached("a.example")
        self.assertEqual(self.known.spare("a.example"), 10)
        self.assertTrue(self.known.may_begin_at_once("a.example"))

    def test_once_a_round(self) -> None:
        """Attempts that fail while it backs off already prolong nothing."""
        for when in (100.0, 101.0, 130.0):
            self.known.failed("a.example", DEAD, when)
        self.assertIsNone(self.known.backing_off("a.example", 160.0))

    def test_doubles(self) -> None:
        """Each round that fails doubles the time, up to a quarter of an hour."""
        now, lengths = 0.0, []
        for _ in range(6):
            self.known.failed("a.example", DEAD, now)
            lengths.append(self.known._backoffs["a.example"].until - now)
            now = self.known._backoffs["a.example"].until
        self.assertEqual(lengths, [60.0, 120.0, 240.0, 480.0, 900.0, 900.0])

    def test_starts_anew(self) -> None:
        """One that was reached in between begins with the shortest time."""
        self.known.failed("a.example", DEAD, 0.0)
        self.known.reached("a.example")
        self.known.failed("a.example", DEAD, 1000.0)
        self.assertIsNone(self.known.backing_off("a.example", 1060.0))

    def test_bounded(self) -> None:
        """Of too many the one that failed first is forgotten."""
        for number in range(destinations.MOST_BACKOFFS + 1):
            self.known.failed(f"{number}.example", DEAD, 0.0)
        self.assertIsNone(self.known.backing_off("0.example", 1.0))
        self.assertIs(self.known.backing_off("1.example", 1.0), DEAD)


class ScheduleTests(SynchronousTestCase):
    """The intervals."""

    def test_in_order(self) -> None:
        """Each failure waits the next interval, and the one that finds none is the last."""
        intervals = (60.0, 300.0, 300.0)
        due = [schedule.next_due(attempts, intervals, 1000.0) for attempts in range(4)]
        self.assertEqual(due, [1060.0, 1300.0, 1300.0, None])

    def test_none(self) -> None:
        """Without intervals the first failure is the last."""
        self.assertIsNone(schedule.next_due(0, (), 0.0))

    def test_last_attempt(self) -> None:
        """The last attempt is when all intervals have passed."""
        intervals = (60.0, 300.0, 300.0)
        ends = [
            schedule.last_attempt(n, intervals, schedule.next_due(n, intervals, 0.0) or 0.0)
            for n in range(3)
        ]
        self.assertEqual(ends, [660.0, 600.0, 300.0])

    def test_years_of_failures(self) -> None:
        """The time to back off is bounded, and so is the number that it is made of."""
        self.assertEqual(schedule.backoff(100_000), schedule.LONGEST_BACKOFF)
