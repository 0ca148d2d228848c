"""Monotonic time, and the timer that costs nothing to move."""

import ast
import time
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.net.clock import Watch, make_monotonic


class WatchTests(SynchronousTestCase):
    """One timer."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.expired: list[float] = []
        self.watch = Watch(self.clock, lambda: self.expired.append(self.clock.seconds()))

    def calls(self) -> list[float]:
        """When the clock will call."""
        return [call.getTime() for call in self.clock.getDelayedCalls()]

    def test_expires_once(self) -> None:
        """After the armed time it calls, once, and is not armed any more."""
        self.watch.arm(10)
        self.clock.advance(9.5)
        self.assertEqual(self.expired, [])
        self.clock.advance(0.5)
        self.clock.advance(100)
        self.assertEqual(self.expired, [10.0])
        self.assertIsNone(self.watch.due)
        self.assertEqual(self.calls(), [])

    def test_ended(self) -> None:
        """One that has ended tells nobody anything, even when it is armed once more."""
        self.watch.arm(10)
        self.watch.end()
        self.assertEqual(self.calls(), [])
        self.watch.arm(5)
        self.clock.advance(20)
        self.assertEqual(self.expired, [])

    def test_moved_lazily(self) -> None:
        """Moving it later leaves the clock's call as it is; that one is put off once."""
        self.watch.arm(10)
        [call] = self.clock.getDelayedCalls()
        for _ in range(5):
            self.clock.advance(1)
            self.watch.arm(10)
        self.assertEqual(self.clock.getDelayedCalls(), [call])
        self.assertEqual((call.getTime(), self.watch.due), (10, 15))
        self.clock.advance(5)
        self.assertEqual((self.expired, self.calls()), ([], [15]))
        self.clock.advance(5)
        self.assertEqual(self.expired, [15])

    def test_moved_earlier(self) -> None:
        """An earlier due time replaces the clock's call."""
        self.watch.arm(100)
        self.watch.arm(5)
        self.assertEqual(self.calls(), [5])
        self.clock.advance(5)
        self.assertEqual((self.expired, self.calls()), ([5], []))

    def test_in_the_past(self) -> None:
        """A due time that has passed expires at the clock's next turn, not at once."""
        self.clock.advance(50)
        self.watch.arm_until(10)
        self.assertEqual(self.expired, [])
        self.clock.advance(0)
        self.assertEqual(self.expired, [50])

    def test_disarm(self) -> None:
        """Once disarmed it does not expire, and the call that is left goes by in silence."""
        self.watch.arm(10)
        self.watch.disarm()
        self.assertIsNone(self.watch.due)
        self.clock.advance(20)
        self.assertEqual((self.expired, self.calls()), ([], []))

    def test_armed_again_after_disarm(self) -> None:
        """The call that was left is used again."""
        self.watch.arm(10)
        [call] = self.clock.getDelayedCalls()
        self.watch.disarm()
        self.watch.arm(12)
        self.assertEqual(self.clock.getDelayedCalls(), [call])
        self.clock.advance(12)
        self.assertEqual(self.expired, [12])

    def test_stop(self) -> None:
        """Stopping leaves nothing behind in the clock; doing it twice is no harm."""
        self.watch.arm(10)
        self.watch.stop()
        self.watch.stop()
        self.assertEqual((self.calls(), self.watch.due), ([], None))
        self.watch.arm(1)
        self.clock.advance(1)
        self.assertEqual(self.expired, [1])

    def test_armed_while_expiring(self) -> None:
        """What is called may arm it again."""
        watch = Watch(self.clock, lambda: (self.expired.append(1.0), watch.arm(10))[0])
        watch.arm(10)
        self.clock.pump([10, 10, 10])
        self.assertEqual(self.expired, [1.0] * 3)
        watch.stop()
        self.assertEqual(self.calls(), [])

    @given(
        st.lists(st.tuples(st.integers(0, 20), st.sampled_from((None, 1, 5, 10, 30))), max_size=12)
    )
    @examples(max_examples=150, deadline=None)
    def test_like_a_plain_timer(self, steps: list[tuple[int, int | None]]) -> None:
        """Any sequence of moves gives the expiries that one timer a move would give."""
        clock, seen, expected = Clock(), list[float](), list[float]()
        watch = Watch(clock, lambda: seen.append(clock.seconds()))
        due: float | None = None
        for wait, delay in steps:
            for _ in range(wait):
                clock.advance(1)
                if due is not None and clock.seconds() >= due:
                    expected.append(clock.seconds())
                    due = None
            if delay is None:
                watch.disarm()
                due = None
            else:
                watch.arm(delay)
                due = clock.seconds() + delay
            self.assertLessEqual(len(clock.getDelayedCalls()), 1)
        self.assertEqual(seen, expected)
        self.assertEqual(watch.due, due)


class FakeReactor:
    """What ``make_monotonic`` looks at."""

    def __init__(self, *calls: Any) -> None:
        self.calls = calls
        self.seconds = time.time

    def getDelayedCalls(self) -> Any:
        return self.calls


class MonotonicTests(SynchronousTestCase):
    """The reactor's time."""

    def test_made_monotonic(self) -> None:
        """A reactor without timers counts monotonic time from now on."""
        reactor = FakeReactor()
        make_monotonic(reactor)
        self.assertIs(reactor.seconds, time.monotonic)

    def test_left_alone(self) -> None:
        """Where timers were set in wall-clock time already, nothing is changed."""
        reactor = FakeReactor(object())
        make_monotonic(reactor)
        self.assertIs(reactor.seconds, time.time)


# What is written down with the time of day, and ids that are to be new after a restart.
STAMPS = {"server/received.py", "server/submission.py", "record.py", "workers/lines.py"}
STAMPS |= {"commands/send.py", "commands/trace/files.py"}
# How old a certificate is.
AGES = {"config/load.py", "commands/probe.py"}
# When queued mail is due, which outlives a restart.
QUEUES = {"outbound/store/sqlite/store.py", "outbound/store/postgresql/clock.py"}
# What is shown with the time of day; steps of rates, which several processes have in common.
SHOWN = {"web/answering.py", "web/history.py", "web/overview.py"}
TIME_OF_DAY = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today"}


class TimeOfDayTests(SynchronousTestCase):
    """No timer asks for the time of day, which may be set."""

    def test_who_asks(self) -> None:
        """Only what is named here: all else has its time from a clock that it is given."""
        package = Path(__file__).parents[1] / "smtpforward"
        asking = {
            path.relative_to(package).as_posix()
            for path in package.rglob("*.py")
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.Attribute) and _last_two(node) in TIME_OF_DAY
        }
        self.assertEqual(asking, STAMPS | AGES | QUEUES | SHOWN)

    def test_no_other_name(self) -> None:
        """The module's functions have no other names, under which this would not see them."""
        package = Path(__file__).parents[1] / "smtpforward"
        imports = [
            path.name
            for path in package.rglob("*.py")
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.ImportFrom) and node.module == "time"
        ]
        self.assertEqual(imports, [])


def _last_two(node: ast.Attribute) -> str:
    """``time.time`` of ``time.time`` and of ``x.time.time``."""
    of = node.value
    name = of.attr if isinstance(of, ast.Attribute) else of.id if isinstance(of, ast.Name) else ""
    return f"{name}.{node.attr}"
