"""Servers that rest without probes: in which order a job tries them, and for how long."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.client.rests import PassingRests
from smtpforward.job import NextHop, Server

A, B, C = (
    Server("mx.example.com", 25, "gateway.example", address=f"192.0.2.{number}")
    for number in (1, 2, 3)
)
ALL = NextHop((A, B, C), retry_dead_after=60.0)


class PassingRestsTests(SynchronousTestCase):
    """On a fake clock."""

    def setUp(self) -> None:
        """Nobody rests."""
        self.clock = Clock()
        self.rests = PassingRests(self.clock, most=2)

    def down(self, *servers: Server) -> None:
        """They cannot be reached, a second apart."""
        for server in servers:
            self.rests.failed(server, ALL, "refused")
            self.clock.advance(1)

    def order(self, hop: NextHop = ALL) -> list[Server]:
        """In which order a job tries them."""
        return list(self.rests.order(hop))

    def test_tried_last(self) -> None:
        """One that failed comes after the others."""
        self.assertEqual(self.order(), [A, B, C])
        self.down(A)
        self.assertEqual(self.order(), [B, C, A])
        self.assertEqual(list(self.rests.resting), [A])

    def test_passes(self) -> None:
        """After ``retry_dead_after`` it is like any other; no timer was set for it."""
        self.down(A)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(58.5)
        self.assertEqual(self.order(), [B, C, A])
        self.clock.advance(0.5)
        self.assertEqual(self.order(), [A, B, C])
        self.assertEqual(list(self.rests.resting), [])

    def test_several(self) -> None:
        """The one that failed the longest ago comes first of those that rest."""
        self.down(B, A)
        self.assertEqual(self.order(), [C, B, A])
        self.down(B)
        self.assertEqual(self.order(), [C, A, B])
        self.assertEqual(list(self.rests.resting), [A, B])

    def test_one_of_two_passes(self) -> None:
        """Each rest has its own end."""
        self.down(A)
        self.clock.advance(30)
        self.down(B)
        self.clock.advance(30)
        self.assertEqual(self.order(), [A, C, B])

    def test_reached(self) -> None:
        """A connection ends the rest."""
        self.down(A)
        self.rests.reached(A)
        self.rests.reached(C)
        self.assertEqual(self.order(), [A, B, C])

    def test_only_server(self) -> None:
        """A hop's only server is tried whatever rests; for other hops it rests."""
        alone = NextHop((A,))
        self.rests.failed(A, alone, "refused")
        self.assertEqual(self.order(alone), [A])
        self.assertEqual(self.order(), [B, C, A])

    def test_bounded(self) -> None:
        """The one that failed the longest ago is forgotten."""
        self.down(A, B, A, C)
        self.assertEqual(list(self.rests.resting), [A, C])

    def test_keep(self) -> None:
        """All others are forgotten."""
        self.down(A, B)
        self.rests.keep({B})
        self.assertEqual(list(self.rests.resting), [B])

    def test_told(self) -> None:
        """Other processes hear of it, and who hears tells nobody."""
        told: list[tuple[object, ...]] = []
        self.rests.tell = lambda *fact: told.append(fact)
        other = PassingRests(self.clock)
        other.tell = lambda *_: self.fail()
        self.down(A)
        other.hear(*told.pop())  # type: ignore[arg-type]
        self.assertEqual(list(other.resting), [A])
        self.rests.reached(A)
        self.rests.reached(A)
        self.assertEqual(told, [(A, None)])
        other.hear(*told.pop())  # type: ignore[arg-type]
        self.assertEqual(list(other.resting), [])

    def test_stop(self) -> None:
        """There is nothing to stop."""
        self.down(A)
        self.rests.stop()
        self.assertEqual(self.order(), [B, C, A])
