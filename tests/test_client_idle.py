"""Idle connections: who is taken, who is due, and that what is asked of many costs no more."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from smtpforward.client.idle import IdleConnections

NEVER = 1e9


class IdleCase(SynchronousTestCase):
    """Connections named a, b, c."""

    def setUp(self) -> None:
        """None is idle."""
        self.idle: IdleConnections[Any] = IdleConnections()
        self.a, self.b, self.c = "abc"

    def due(self, now: float) -> str:
        """Who is to end by now."""
        return "".join(self.idle.due(now))


class TakeTests(IdleCase):
    """Which one is used next."""

    def test_most_recent(self) -> None:
        """The one that was used last; the others keep their order."""
        for at, connection in enumerate("abc"):
            self.idle.add(connection, at + 30.0, NEVER)
        self.assertEqual(self.idle.take(), ("c", 32.0))
        self.assertEqual(
            (self.idle.oldest(), list(self.idle), len(self.idle)), ("a", ["a", "b"], 2)
        )
        self.assertIn("b", self.idle)
        self.assertNotIn("c", self.idle)

    def test_none(self) -> None:
        """There may be none; one that is not idle is no error to leave out."""
        self.idle.discard("a")
        self.assertIsNone(self.idle.take())
        self.assertIsNone(self.idle.next_due())


class DueTests(IdleCase):
    """Who has lain too long, or is too old."""

    def test_in_time(self) -> None:
        """Each at its time, and it is said when the next one is."""
        for at, connection in enumerate("abc"):
            self.assertEqual(self.idle.add(connection, at + 30.0, NEVER), at + 30.0)
        self.assertEqual(self.due(29.0), "")
        self.assertEqual(self.due(31.0), "ab")
        self.assertEqual((list(self.idle), self.idle.next_due()), (["c"], 32.0))

    def test_age(self) -> None:
        """An age that ends sooner counts, wherever the connection stands in the order."""
        self.idle.add("a", 30.0, NEVER)
        self.assertEqual(self.idle.add("b", 31.0, 20.0), 20.0)
        self.idle.add("c", 32.0, 25.0)
        self.assertEqual(self.idle.next_due(), 20.0)
        self.assertEqual(self.due(20.0), "b")
        self.assertEqual(self.due(26.0), "c")
        self.assertEqual(self.due(30.0), "a")

    def test_age_while_in_use(self) -> None:
        """One that is in use when its age ends is not due; what is kept of it is kept once."""
        for at in range(100):
            self.idle.add("a", 100.0 + at, 120.0)
            self.idle.take()
        self.idle.add("b", 200.0, NEVER)
        self.assertEqual(self.due(120.0), "")
        self.assertEqual(self.idle.next_due(), 200.0)
        self.idle.add("a", 230.0, 120.0)
        self.assertEqual(self.due(121.0), "a")

    def test_taken_out_first(self) -> None:
        """Who hears of one may do as it likes with the others."""
        for connection in "abc":
            self.idle.add(connection, 30.0, NEVER)
        seen = []
        for connection in self.idle.due(30.0):
            self.assertNotIn(connection, self.idle)
            seen.append(connection)
            self.idle.discard("b")
        self.assertEqual(seen, ["a", "c"])


class ChangeTests(IdleCase):
    """Other times for all."""

    def test_hurry(self) -> None:
        """All end sooner by as much."""
        self.idle.add("a", 30.0, NEVER)
        self.idle.add("b", 31.0, NEVER)
        self.idle.hurry(10.0)
        self.assertEqual(self.idle.next_due(), 20.0)
        self.assertEqual(self.due(21.0), "ab")

    def test_shorten(self) -> None:
        """None lies longer than that, and ages are looked up anew."""
        self.idle.add("a", 30.0, 25.0)
        self.idle.add("b", 40.0, NEVER)
        self.idle.shorten(35.0, {"a": NEVER, "b": 33.0}.__getitem__)
        self.assertEqual(self.due(29.0), "")
        self.assertEqual(self.due(30.0), "a")
        self.assertEqual((self.due(32.0), self.due(33.0)), ("", "b"))


class Counted(float):
    """A time that counts how often it is compared."""

    compared = 0

    def __le__(self, other: float) -> bool:
        Counted.compared += 1
        return float(self) <= other

    def __lt__(self, other: float) -> bool:
        Counted.compared += 1
        return float(self) < other


class CostTests(IdleCase):
    """What is done does not grow with how many there are."""

    def comparisons(self, count: int) -> int:
        """Of times: one of ``count`` ends, one is used again, and the next time is asked for."""
        idle: IdleConnections[str] = IdleConnections()
        for at in range(count):
            idle.add(str(at), Counted(30.0 + at), NEVER)
        Counted.compared = 0
        self.assertEqual(len(list(idle.due(30.0))), 1)
        self.assertIsNotNone(idle.next_due())
        taken = idle.take()
        assert taken is not None
        idle.add(taken[0], Counted(30.0 + count), 10.0)
        self.assertEqual(idle.next_due(), 10.0)
        return Counted.compared

    def test_many(self) -> None:
        """A thousand cost what ten do."""
        self.assertEqual(self.comparisons(1000), self.comparisons(10))
        self.assertGreater(self.comparisons(10), 0)
