"""When what is due is leased, in every order of answers, ends and timers."""

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.outbound import deferral, destinations, turns
from smtpforward.outbound.deferral import A_SECOND, AT_ONCE
from smtpforward.outbound.turns import AFTER_ERROR, LEAST_WAIT, LOOK_AGAIN, TURNS_AT_ONCE
from tests.clientsupport import run_machine
from tests.turnssupport import BEGAN, DEAD, Queue

NAMES = ("a", "b", "c", "d")


class DueTests(SynchronousTestCase):
    """What is due is attempted."""

    def test_at_the_start(self) -> None:
        """What is there already is found, the earliest destination first."""
        queue = Queue()
        for name, due in (("b", -1.0), ("a", -2.0), ("a", 5.0)):
            queue.store.put(name, due)
        queue.start()
        self.assertEqual(queue.destinations, ["a", "b"])

    def test_in_its_time(self) -> None:
        """What falls due is attempted then, without a call from anyone."""
        queue = Queue()
        queue.store.put("a", 17.0)
        queue.start()
        queue.advance(16.9)
        self.assertEqual(queue.begun, [])
        queue.advance(0.1)
        self.assertEqual(queue.begun, [(17.0, "a", None)])

    def test_put_off_while_it_looks(self) -> None:
        """What is put off while the next time is asked for is attempted in its time."""
        queue = Queue(each=2)
        queue.known.reached("a")
        queue.store.put("a")
        queue.start()
        queue.store.put("b", 50.0)
        queue.turns.look()
        queue.store.answer()
        self.assertEqual([call.name for call in queue.store.calls], ["next_due"])
        [entry] = queue.running
        queue.store.calls[0].do()
        queue.end(entry, 20.0)
        queue.store.answer_all()
        queue.advance(20.0)
        self.assertEqual(queue.begun[-1][:2], (20.0, "a"))

    def test_put_in_while_it_claims(self) -> None:
        """What is put in while the rest of its destination is leased is not forgotten."""
        queue = Queue(each=3)
        queue.known.reached("a")
        queue.store.put("a")
        queue.turns.look()
        queue.store.answer()
        [call] = queue.store.calls
        call.do()
        queue.store.put("a")
        queue.turns.put_in(["a"])
        queue.store.answer_all()
        self.assertEqual(queue.destinations, ["a", "a"])

    def test_put_in_at_the_end_of_a_look(self) -> None:
        """What is put in when nothing but the next time is asked for any more has its turn."""
        queue = Queue()
        queue.turns.look()
        queue.store.answer()
        self.assertEqual([call.name for call in queue.store.calls], ["next_due"])
        queue.store.calls[0].do()
        queue.store.put("a")
        queue.turns.put_in(["a"])
        queue.store.answer_all()
        self.assertEqual(queue.destinations, ["a"])

    def test_falls_due_after_all_was_leased(self) -> None:
        """The next time of a destination all of whose mail was leased is asked for."""
        queue = Queue(each=2)
        queue.known.reached("a")
        queue.start()
        for due in (0.0, 9.0):
            queue.store.put("a", due)
        queue.turns.put_in(["a"])
        queue.store.answer_all()
        queue.advance(9.0)
        self.assertEqual([at for at, _, _ in queue.begun], [0.0, 9.0])

    def test_looks_no_more_than_it_has_to(self) -> None:
        """What was due once wakes nobody again."""
        queue = Queue()
        queue.store.put("a", 5.0)
        queue.start()
        queue.advance(5.0)
        queue.end(queue.running[0])
        queue.store.answer_all()
        times = [call.getTime() for call in queue.clock.getDelayedCalls()]
        self.assertEqual(min(times), 5.0 + LOOK_AGAIN)

    def test_looked_for_while_it_looks(self) -> None:
        """What another process puts in while it looks is found."""
        queue = Queue()
        queue.turns.look()
        [call] = queue.store.calls
        call.do()
        queue.store.put("a")
        queue.turns.look()
        queue.store.answer_all()
        self.assertEqual(queue.destinations, ["a"])

    def test_at_the_latest(self) -> None:
        """What nobody has spoken of is found all the same, after a while."""
        queue = Queue()
        queue.start()
        queue.store.put("a")
        queue.advance(LOOK_AGAIN)
        self.assertEqual(queue.destinations, ["a"])

    def test_too_many_destinations(self) -> None:
        """All have their turn, also where not all are kept in mind."""
        self.patch(destinations, "MOST_READY", 5)
        self.patch(turns, "BATCH", 3)
        queue = Queue(total=2)
        for number in range(40):
            queue.store.put(f"{number}.example", number - 100.0)
        queue.start()
        while queue.running:
            queue.end(queue.running[0])
            queue.store.answer_all()
        self.assertEqual(len(set(queue.destinations)), 40)
        self.assertEqual(queue.clock.seconds(), 0.0)

    def test_put_in_where_too_many_are_known(self) -> None:
        """Mail for one more than is kept in mind has its turn too, with no time lost."""
        self.patch(destinations, "MOST_READY", 1)
        queue = Queue(total=1)
        for name in ("a", "b", "c"):
            queue.store.put(name)
            queue.turns.put_in([name])
        queue.store.answer_all()
        while queue.running:
            queue.end(queue.running[0])
            queue.store.answer_all()
        self.assertEqual((sorted(queue.destinations), queue.clock.seconds()), (["a", "b", "c"], 0))


class FairnessTests(SynchronousTestCase):
    """Whose mail goes first."""

    def test_alternating(self) -> None:
        """Two that have mail take turns, whatever number waits for each."""
        queue = Queue(total=1)
        for name, number in (("a", 20), ("b", 4)):
            for _ in range(number):
                queue.store.put(name)
        queue.start()
        for _ in range(7):
            queue.end(queue.running[0])
            queue.store.answer_all()
        self.assertEqual(queue.destinations, ["a", "b"] * 4)

    def test_very_many(self) -> None:
        """Many destinations have their turn together, some at a time, and none waits for long."""
        queue = Queue(total=100)
        for number in range(50):
            queue.store.put(f"{number}.example", number - 100.0)
        queue.turns.look()
        queue.store.answer()
        self.assertEqual(len(queue.store.calls), TURNS_AT_ONCE)
        queue.store.answer_all()
        self.assertEqual(queue.destinations, [f"{number}.example" for number in range(50)])

    def test_never_without_mail(self) -> None:
        """Those that always have mail do not keep out what falls due meanwhile."""
        queue = Queue(total=2, each=2)
        for name in ("a", "b"):
            queue.known.reached(name)
            for _ in range(50):
                queue.store.put(name)
        queue.store.put("late", 5.0)
        queue.start()
        queue.advance(5.0)
        for _ in range(4):
            queue.end(queue.running[0])
            queue.store.answer_all()
        self.assertIn("late", queue.destinations)


class BoundTests(SynchronousTestCase):
    """No room."""

    def test_waits_without_asking(self) -> None:
        """While there is no room for what is due nothing is asked, by no timer."""
        queue = Queue(total=1)
        queue.store.put("a")
        queue.store.put("b", 5.0)
        queue.start()
        queue.advance(5.0)
        asked = len(queue.store.asked)
        for _ in range(500):
            self.assertGreater(
                queue.clock.getDelayedCalls()[0].getTime() - queue.clock.seconds(), 1
            )
            queue.advance(0.1)
        self.assertEqual(len(queue.store.asked), asked)
        queue.end(queue.running[0])
        queue.store.answer_all()
        self.assertEqual(queue.destinations, ["a", "b"])

    def test_disabled(self) -> None:
        """Disabled, it asks nothing, by no timer, and goes on when it is enabled."""
        queue = Queue()
        queue.store.put("a", 5.0)
        queue.start()
        queue.outbound = attrs.evolve(queue.outbound, disabled=True)
        queue.advance(5.0)
        for call in queue.clock.getDelayedCalls():
            self.assertGreater(call.getTime() - queue.clock.seconds(), 1.0)
        queue.advance(100.0)
        self.assertEqual(queue.begun, [])
        queue.outbound = attrs.evolve(queue.outbound, disabled=False)
        queue.start()
        self.assertEqual(queue.destinations, ["a"])

    def test_disabled_while_it_looks(self) -> None:
        """Disabled in between, nothing more is leased."""
        queue = Queue()
        queue.store.put("a")
        queue.turns.look()
        queue.outbound = attrs.evolve(queue.outbound, disabled=True)
        queue.store.answer_all()
        self.assertEqual(queue.begun, [])

    def test_each_lowered_while_it_claims(self) -> None:
        """Fewer attempts allowed: those that are on their way begin, and no more."""
        queue = Queue(total=4, each=4)
        queue.known.reached("a")
        for _ in range(10):
            queue.store.put("a")
        queue.turns.look()
        queue.store.answer()
        queue.known.total = queue.known.each = 1
        queue.store.answer_all()
        self.assertEqual(len(queue.running), 4)
        for left in (3, 2, 1, 1):
            queue.end(queue.running[0])
            queue.store.answer_all()
            self.assertEqual(len(queue.running), left)


class BackoffTests(SynchronousTestCase):
    """A destination that backs off."""

    def test_deferred_in_steps(self) -> None:
        """All that is due is put off, some at a time; nothing is leased for it."""
        queue = Queue()
        queue.known.failed("a", DEAD, 0.0)
        for _ in range(2 * AT_ONCE + 1):
            queue.store.put("a")
        queue.start()
        self.assertEqual(queue.store.asked.count("defer a"), 3)
        self.assertEqual((queue.store.waiting(), queue.begun), ([], []))

    def test_spread(self) -> None:
        """In one second only so many are put off; meanwhile nobody is asked about it."""
        queue = Queue()
        queue.known.failed("a", DEAD, 0.0)
        for _ in range(2 * A_SECOND + 1):
            queue.store.put("a")
        left = []
        queue.start()
        for _ in range(3):
            left.append(len(queue.store.waiting()))
            asked = len(queue.store.asked)
            queue.turns.go_on()
            queue.turns.look()
            queue.store.answer_all()
            self.assertEqual([n for n in queue.store.asked[asked:] if n.endswith(" a")], [])
            queue.advance(1.0)
        self.assertEqual((left, queue.begun), ([A_SECOND + 1, 1, 0], []))

    def test_spread_over_many(self) -> None:
        """It is one measure for all of them; one with nothing to be put off counts as well."""
        queue = Queue(total=1000)
        names = [str(number) for number in range(A_SECOND + 1)]
        for name in names:
            queue.known.failed(name, DEAD, 0.0)
            queue.store.put(name, attempts=2)
        queue.start()
        self.assertEqual((len(queue.begun), len(queue.store.waiting())), (A_SECOND, 1))
        queue.advance(1.0)
        self.assertEqual((set(queue.destinations), queue.begun[-1][0]), (set(names), 1.0))

    def test_asked_for_while_others_wait(self) -> None:
        """What an operator asks for does not wait until all the others are put off."""
        queue = Queue()
        queue.known.failed("a", DEAD, 0.0)
        for _ in range(A_SECOND + 1):
            queue.store.put("a")
        queue.start()
        queue.store.put("a", -BEGAN, asked=True)
        queue.turns.look()
        queue.store.answer_all()
        queue.advance(1.0)
        self.assertEqual(queue.begun, [(1.0, "a", None)])

    def test_reached_while_others_wait(self) -> None:
        """One that is reached, by what an operator asked for, gets the rest at once."""
        queue = Queue()
        queue.known.failed("a", DEAD, 0.0)
        for _ in range(2 * A_SECOND):
            queue.store.put("a")
        queue.store.put("a", -BEGAN, asked=True)
        queue.start()
        queue.end(queue.running[0])
        queue.store.answer_all()
        self.assertEqual([instead for _, _, instead in queue.begun], [None] * 4)

    def test_hurry(self) -> None:
        """Dead ones do not keep live ones out: where very many wait nothing is spread."""
        self.patch(destinations, "MOST_READY", 2 * turns.BATCH)
        self.patch(deferral, "A_SECOND", 1)
        queue = Queue()
        for number in range(4 * turns.BATCH):
            queue.known.failed(f"{number}", DEAD, 0.0)
            queue.store.put(f"{number}", -1.0)
        queue.store.put("live")
        queue.start()
        self.assertIn("live", queue.destinations)

    def test_last_and_asked_for(self) -> None:
        """A last attempt comes to its end unattempted; what an operator asks for is attempted."""
        queue = Queue()
        queue.known.failed("a", DEAD, 0.0)
        queue.store.put("a", attempts=2)
        queue.store.put("a", -BEGAN, asked=True)
        queue.start()
        queue.end(queue.running[0], 60.0, reached=False)
        queue.store.answer_all()
        self.assertEqual([instead for _, _, instead in queue.begun], [None, DEAD])

    def test_reached_while_it_claims(self) -> None:
        """One that was reached while its mail was leased gets it."""
        queue = Queue()
        queue.known.failed("a", DEAD, 0.0)
        queue.store.put("a", attempts=2)
        queue.turns.look()
        for _ in range(2):
            queue.store.answer()
        self.assertEqual([call.name for call in queue.store.calls], ["claim a 1"])
        queue.known.reached("a")
        queue.store.answer_all()
        self.assertEqual(queue.begun, [(0.0, "a", None)])

    def test_time_set_back(self) -> None:
        """A clock that is set back prolongs nothing."""
        queue = Queue()
        queue.known.failed("a", DEAD, 0.0)
        queue.clock.advance(60.0)
        queue.store.set_back = 3600.0
        queue.store.put("a", -3600.0)
        queue.start()
        self.assertEqual(queue.begun, [(60.0, "a", None)])


class FailureTests(SynchronousTestCase):
    """The store cannot be used."""

    def test_each_call(self) -> None:
        """Whatever fails, it looks again after some seconds, and no slot is lost."""
        for name in ("due", "claim a 1", "defer b", "next_due"):
            queue = Queue()
            queue.known.failed("b", DEAD, 0.0)
            queue.store.put("a")
            queue.store.put("b", attempts=2)
            queue.turns.look()
            while name not in [call.name for call in queue.store.calls]:
                queue.store.answer()
            index = [call.name for call in queue.store.calls].index(name)
            queue.store.answer(index, fails=True)
            queue.store.answer_all()
            queue.advance(AFTER_ERROR)
            self.assertEqual(sorted(queue.destinations), ["a", "b"], name)
            self.assertEqual(queue.known.active, 2)
            self.assertFalse(queue.turns.busy)

    def test_unforeseen(self) -> None:
        """So it does when something else is wrong, which is logged."""
        queue = Queue()
        queue.store.put("a")
        queue.turns.look()
        queue.store.calls.pop().answer.errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        queue.advance(AFTER_ERROR)
        self.assertEqual(queue.destinations, ["a"])

    def test_others_begin(self) -> None:
        """What was leased beside a call that fails begins."""
        queue = Queue()
        for name in ("a", "b"):
            queue.store.put(name)
        queue.turns.look()
        queue.store.answer()
        queue.store.answer(0, fails=True)
        queue.store.answer_all()
        self.assertEqual(queue.destinations, ["b"])
        queue.advance(AFTER_ERROR)
        self.assertEqual(queue.destinations, ["b", "a"])


class StopTests(SynchronousTestCase):
    """The end."""

    def test_idle(self) -> None:
        """Without a pass it ends at once, and nothing is asked any more."""
        queue = Queue()
        queue.start()
        self.successResultOf(queue.turns.stop())
        asked = len(queue.store.asked)
        queue.store.put("a")
        for call in (queue.turns.look, lambda: queue.turns.wake_at(0.0)):
            call()
        self.assertEqual((len(queue.store.asked), queue.clock.getDelayedCalls()), (asked, []))

    def test_in_a_pass(self) -> None:
        """What is on its way is leased and begins; it ends then, for all who wait."""
        queue = Queue()
        for name in ("a", "b"):
            queue.store.put(name)
        queue.turns.look()
        queue.store.answer()
        stops = [queue.turns.stop(), queue.turns.stop()]
        self.assertNoResult(stops[0])
        queue.store.answer_all()
        self.assertEqual(queue.destinations, ["a", "b"])
        for stopped in stops:
            self.successResultOf(stopped)
        self.assertEqual(queue.store.asked.count("next_due"), 0)

    def test_while_others_wait(self) -> None:
        """What is not put off by then stays as it is, and nothing is left running."""
        queue = Queue()
        queue.known.failed("a", DEAD, 0.0)
        for _ in range(A_SECOND + 1):
            queue.store.put("a")
        queue.start()
        self.successResultOf(queue.turns.stop())
        self.assertEqual((queue.clock.getDelayedCalls(), len(queue.store.waiting())), ([], 1))


class TurnsMachine(RuleBasedStateMachine):
    """Any order of what comes in, is answered, fails, ends and passes."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = Queue(total=3, each=2)
        self.failed = False

    @rule(name=st.sampled_from(NAMES), known=st.booleans(), after=st.sampled_from([0, 0, 1, 30]))
    def put(self, name: str, known: bool, after: int) -> None:
        """By this process, by another one that tells us, or with a time that is yet to come."""
        queue = self.queue
        queue.store.put(name, queue.clock.seconds() + after)
        if after:
            queue.turns.wake_at(queue.store.now() + after)
        elif known:
            queue.turns.put_in([name])
        else:
            queue.turns.look()

    @rule(name=st.sampled_from(NAMES))
    def retry(self, name: str) -> None:
        """An operator asks for an attempt."""
        for entry in self.queue.store.entries.values():
            if entry.destination == name and not entry.leased:
                entry.due, entry.asked = 0.0, True
        self.queue.turns.look()

    @precondition(lambda self: self.queue.store.calls)
    @rule(data=st.data(), fails=st.sampled_from([False, False, False, True]))
    def answer(self, data: st.DataObject, fails: bool) -> None:
        """The store's threads answer in any order."""
        calls = self.queue.store.calls
        self.queue.store.answer(data.draw(st.integers(0, len(calls) - 1)), fails)
        self.failed |= fails

    @precondition(lambda self: self.queue.store.calls)
    @rule()
    def do(self) -> None:
        """What was asked first is done, and the answer is on its way."""
        self.queue.store.calls[0].do()

    @precondition(lambda self: self.queue.store.calls)
    @rule()
    def answer_first(self) -> None:
        """More often than not it goes in order, and well."""
        self.queue.store.answer()

    @precondition(lambda self: self.queue.running)
    @rule(data=st.data(), how=st.sampled_from(["delivered", "deferred", "dead"]))
    def end(self, data: st.DataObject, how: str) -> None:
        """An attempt ends."""
        entry = data.draw(st.sampled_from(self.queue.running))
        due = None if how == "delivered" else self.queue.clock.seconds() + 20.0
        self.queue.end(entry, due, reached=how != "dead")

    @rule(seconds=st.sampled_from([0.5, 1.0, 5.0, 20.0, 61.0]))
    def advance(self, seconds: float) -> None:
        """Time passes."""
        self.queue.clock.advance(seconds)

    @rule(total=st.integers(1, 4), each=st.integers(1, 3), disabled=st.booleans())
    def adopt(self, total: int, each: int, disabled: bool) -> None:
        """New settings."""
        queue = self.queue
        queue.known.total, queue.known.each = total, each
        queue.outbound = attrs.evolve(queue.outbound, disabled=disabled)
        queue.turns.look()

    def settle(self) -> None:
        """The store answers all: nothing that is due and may be attempted is left."""
        self.queue.store.answer_all()
        self.queue.advance(AFTER_ERROR if self.failed else LEAST_WAIT)
        self.failed = False
        self.put_off()
        self.check()

    def put_off(self) -> None:
        """Until all is put off that is to be."""
        queue = self.queue
        while len(queue.known.known_due) > len(queue.known.ready):
            queue.advance(1.0)
            queue.advance(LEAST_WAIT)

    @rule(ahead=st.sampled_from([False, True]), now=st.sampled_from([False, False, True]))
    def look_at_it(self, ahead: bool, now: bool) -> None:
        """Nothing is forgotten; nor at the very moment when the next entry falls due."""
        if now:
            self.settle()
            if ahead:
                self.in_time()

    def in_time(self) -> None:
        queue = self.queue
        times = [e.due - queue.store.now() for e in queue.store.entries.values()]
        if ahead := [each for each in times if each > 0.0]:
            queue.advance(min(ahead))
            queue.advance(LEAST_WAIT)
            self.put_off()
            self.check()

    def check(self) -> None:
        """Quiet, and nothing forgotten."""
        queue = self.queue
        assert not queue.turns.busy
        assert queue.may_begin() == set(), queue.store.entries
        assert queue.known.active == len(queue.running)
        assert len(queue.leases) == len(queue.running)

    @invariant()
    def bounded(self) -> None:
        """No attempts beyond what was allowed when they were asked for."""
        on_their_way = sum(
            int(call.name.split()[2]) for call in self.queue.store.calls if "claim" in call.name
        )
        assert self.queue.known.active == len(self.queue.running) + on_their_way
        assert self.queue.known.active <= 4

    def teardown(self) -> None:
        self.settle()


class AnyOrderTests(SynchronousTestCase):
    """Every order."""

    def test_any_order(self) -> None:
        """Nothing that is due is forgotten, nothing is attempted beyond the bounds."""
        self.patch(deferral, "A_SECOND", 2)
        run_machine(TurnsMachine, examples=120, steps=60)
