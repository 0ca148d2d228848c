"""The leases of one process: renewed while they are needed, certain while they are relied on."""

from collections.abc import Collection
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.outbound import leases
from smtpforward.outbound.entry import Lease
from smtpforward.outbound.errors import StoreUnavailableError
from smtpforward.outbound.leases import Leases
from tests.queuesupport import BEGAN

DURATION = 300.0
RENEW_EVERY, RETRY_EVERY = leases.RENEW_EVERY * DURATION, leases.RETRY_EVERY * DURATION
MARGIN = leases.MOST_MARGIN


class ScriptedStore:
    """Notes which renewals are asked for; the test answers. ``ahead``: of the test's clock."""

    def __init__(self, clock: Clock) -> None:
        self.asked: list[tuple[frozenset[int], Lease, Deferred[frozenset[int]]]] = []
        self.ahead = BEGAN
        self._clock = clock

    def now(self) -> float:
        return self.ahead + self._clock.seconds()

    def renew(self, entries: Collection[int], lease: Lease) -> "Deferred[frozenset[int]]":
        answer: Deferred[frozenset[int]] = Deferred()
        self.asked.append((frozenset(entries), lease, answer))
        return answer


class LeasesTests(SynchronousTestCase):
    """Holding, renewing, losing."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = ScriptedStore(self.clock)
        self.leases = Leases(self.store, "own", self.clock, lambda: DURATION)

    def hold(self, *entries: int) -> None:
        for entry in entries:
            self.leases.hold(entry, self.leases.new())

    def answer(self, *ours: int) -> None:
        """The last renewal has found these to be ours."""
        self.store.asked[-1][2].callback(frozenset(ours))

    def test_margin(self) -> None:
        """A dot leaves only so long before the end that it is out by then."""
        self.hold(1)
        self.clock.advance(DURATION - MARGIN - 0.1)
        self.assertTrue(self.leases.holds(1))
        self.clock.advance(0.1)
        self.assertFalse(self.leases.holds(1))

    def test_unknown(self) -> None:
        """What was never leased, or is recorded, is not held."""
        held = self.leases.leave_for(1)
        self.assertFalse(held())
        self.hold(1)
        self.assertTrue(held())
        self.leases.drop(1)
        self.assertFalse(held())
        self.leases.drop(1)

    def test_renewed(self) -> None:
        """All that is held is renewed, again and again, with one call."""
        self.hold(1, 2)
        for number in range(1, 20):
            self.clock.advance(RENEW_EVERY)
            self.assertEqual(len(self.store.asked), number)
            entries, lease, _ = self.store.asked[-1]
            self.assertEqual(entries, {1, 2})
            self.assertEqual(lease, Lease("own", self.store.now() + DURATION))
            self.answer(1, 2)
        self.assertTrue(self.leases.holds(1) and self.leases.holds(2))

    def test_one_at_a_time(self) -> None:
        """While a renewal is under way no other begins, whatever is leased meanwhile."""
        self.hold(1)
        self.clock.advance(RENEW_EVERY)
        self.hold(2)
        self.clock.advance(2 * RENEW_EVERY)
        self.assertEqual(len(self.store.asked), 1)
        self.answer(1)
        self.clock.advance(RENEW_EVERY)
        self.assertEqual(self.store.asked[-1][0], {1, 2})

    def test_none_held(self) -> None:
        """Without leases nothing is asked, and no timer runs; later ones are renewed."""
        self.hold(1)
        self.leases.drop(1)
        self.clock.advance(RENEW_EVERY)
        self.assertEqual((self.store.asked, self.clock.getDelayedCalls()), ([], []))
        self.hold(2)
        self.clock.advance(RENEW_EVERY)
        self.leases.drop(2)
        self.answer()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.hold(3)
        self.clock.advance(RENEW_EVERY)
        self.assertEqual(self.store.asked[-1][0], {3})

    def test_lost(self) -> None:
        """What is not ours any more is not sent; the rest is."""
        self.hold(1, 2)
        self.clock.advance(RENEW_EVERY)
        self.answer(2)
        self.assertEqual((self.leases.holds(1), self.leases.holds(2)), (False, True))

    def test_leased_anew_while_renewed(self) -> None:
        """A renewal that was asked for before says nothing of a lease that is newer."""
        self.hold(1)
        self.clock.advance(RENEW_EVERY)
        self.leases.drop(1)
        self.clock.advance(1.0)
        self.hold(1)
        self.answer()
        self.assertTrue(self.leases.holds(1))

    def test_dropped_while_renewed(self) -> None:
        """What is recorded while it is renewed is not held again."""
        self.hold(1)
        self.clock.advance(RENEW_EVERY)
        self.leases.drop(1)
        self.answer(1)
        self.assertEqual((self.leases.holds(1), len(self.leases)), (False, 0))

    def test_tried_again(self) -> None:
        """A renewal that fails is tried again soon; it is certain until shortly before its end."""
        self.hold(1)
        self.clock.advance(RENEW_EVERY)
        while self.leases.holds(1):
            self.store.asked[-1][2].errback(StoreUnavailableError("away"))
            before = len(self.store.asked)
            self.clock.advance(RETRY_EVERY)
            self.assertEqual(len(self.store.asked), before + 1)
        self.assertEqual(self.clock.seconds(), DURATION - MARGIN)
        self.answer(1)
        self.assertTrue(self.leases.holds(1))

    def test_unforeseen(self) -> None:
        """So is one that fails in an unforeseen way, which is logged."""
        self.hold(1)
        self.patch(self.store, "renew", lambda entries, lease: fail(ZeroDivisionError()))
        self.clock.advance(RENEW_EVERY)
        self.clock.advance(RETRY_EVERY)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_time_set_back(self) -> None:
        """A clock that is set back shortens and ends nothing; renewals go on by the other one."""
        self.hold(1)
        self.store.ahead -= 3600.0
        self.assertTrue(self.leases.holds(1))
        self.clock.advance(RENEW_EVERY)
        self.answer(1)
        self.clock.advance(DURATION - MARGIN)
        self.assertFalse(self.leases.holds(1))

    def test_stop(self) -> None:
        """Stopped, nothing is renewed any more: not by a timer, a new lease or an answer."""
        self.hold(1)
        self.leases.stop()
        self.hold(2)
        self.clock.advance(RENEW_EVERY)
        self.assertEqual((self.store.asked, self.clock.getDelayedCalls()), ([], []))
        self.leases.stop()

    def test_stop_while_renewed(self) -> None:
        """An answer that comes after that asks for no more."""
        for answers in (lambda d: d.callback(frozenset({1})),
                        lambda d: d.errback(StoreUnavailableError("away"))):  # fmt: skip
            self.setUp()
            self.hold(1)
            self.clock.advance(RENEW_EVERY)
            self.leases.stop()
            asked: Any = self.store.asked[-1][2]
            answers(asked)
            self.assertEqual(self.clock.getDelayedCalls(), [])
