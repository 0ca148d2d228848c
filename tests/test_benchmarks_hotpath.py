"""What is counted of a mail's way, and that a ceiling holds."""

import gc
import time

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.hotpath.__main__ import above
from benchmarks.hotpath.counting import calls, kept
from benchmarks.hotpath.path import Path, message
from smtpforward.reply import Reply


class CountingTests(SynchronousTestCase):
    """Calls and blocks of memory."""

    def test_calls(self) -> None:
        """Those of and by the package count as its own; those of others do not."""
        self.assertEqual(calls(lambda: None, 3).own, 0)
        self.assertEqual(calls(lambda: None, 3).all, 3 + 1)  # the profile's own end
        counted = calls(lambda: Reply(250, (b"2.0.0 Ok",)).text.split(), 2)
        self.assertTrue(0 < counted.own < counted.all, str(counted))

    def test_the_same_each_time(self) -> None:
        """It is no measurement: the same work has the same figure."""
        # A date is made once a second.
        self.patch(time, "time", lambda: 1.0)
        client = Path().connect()
        mail = message(4096)
        for _ in range(300):
            client.mail(2, mail)
        first = calls(lambda: client.mail(2, mail), 20)
        self.assertEqual(calls(lambda: client.mail(2, mail), 20).own, first.own)

    def test_kept(self) -> None:
        """What a list gets stays; what is dropped does not."""
        there: list[object] = []
        self.assertGreaterEqual(kept(lambda: there.append(object()), 1000), 1.0)
        self.assertLess(kept(lambda: object() and None, 1000), 0.1)


class PathTests(SynchronousTestCase):
    """The way of a mail, in memory."""

    def test_arrives(self) -> None:
        """The backend has the message, whatever its size and the number of recipients."""
        way = Path()
        client = way.connect()
        for recipients, size in ((1, 4096), (60, 4096), (1, 300_000)):
            before = way.octets
            client.mail(recipients, message(size))
            self.assertGreater(way.octets - before, size - 100)
        client.quit()


class CycleTests(SynchronousTestCase):
    """What a session leaves behind."""

    def test_none(self) -> None:
        """It goes with its connection: what refers to itself stays until a rare search finds it."""
        way = Path()

        def session() -> None:
            client = way.connect()
            client.mail(1, message(4096))
            client.quit()

        session()
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        session()
        self.assertEqual(gc.collect(), 0)


class CeilingTests(SynchronousTestCase):
    """The check."""

    def test_above(self) -> None:
        """What is above is named, with both figures; what is at it or below is well."""
        found = {"small": {"calls": 5.0, "timers": 2.0}, "large": {"calls": 1.0}}
        self.assertEqual(above(found, {"small": {"calls": 5.0, "timers": 3.0}}), [])
        self.assertEqual(
            above(found, {"small": {"calls": 4.5}}),
            ["small: 5 calls a mail, the ceiling is 4.5"],
        )
