"""Reading the settings again: when, how often, and what becomes of them."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.config import ConfigurationError, Settings
from smtpforward.config.problems import Problem
from smtpforward.config.settings import Outbound
from smtpforward.config.stamps import stamp
from smtpforward.reload import SETTLE, Hangup, Reloader, Stage, lasting, takes_a_restart
from tests.support import settings

BAD = Problem("/etc/x/smtp_forward.ini", 7, "port", "'many' is wrong", "a number")


class Unwatched:
    """Notes which directories are to be watched; a test says when something happens there."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.touched: Callable[[], None] = self.fail

    def fail(self) -> None:
        """Nothing was to be watched yet."""
        raise AssertionError("nobody watches")

    def watch(self, paths: list[str], touched: Callable[[], None]) -> None:
        """See ``Watcher``."""
        self.paths = list(paths)
        self.touched = touched

    def stop(self) -> None:
        """See ``Watcher``."""
        self.paths = []


class ReloaderCase(SynchronousTestCase):
    """A reloader whose readings a test ends, on one file."""

    def setUp(self) -> None:
        """It runs, and the file has not changed."""
        self.file = Path(self.mktemp())
        self.file.write_text("one")
        self.clock = Clock()
        self.readings: list[Deferred[Settings]] = []
        self.applied: list[Settings] = []
        self.watcher = Unwatched()
        self.reloader = Reloader(
            settings,
            self.applied.append,
            {str(self.file): stamp(str(self.file))},
            self.clock,
            self.begin,
            self.watcher,  # type: ignore[arg-type]
        )
        self.reloader.startService()

    def begin(self, read: Callable[[], Settings]) -> "Deferred[Settings]":
        """A reading has begun in its thread."""
        self.assertIs(read, settings)
        reading: Deferred[Settings] = Deferred()
        self.readings.append(reading)
        return reading

    def read(self) -> Settings:
        """The reading ends well, with the file as it is now."""
        good = settings(files={str(self.file): stamp(str(self.file))})
        self.readings[-1].callback(good)
        return good

    def change(self, text: str = "two, and longer") -> None:
        """The file changes, and the watcher says so."""
        self.file.write_text(text)
        self.watcher.touched()


class WhenTests(ReloaderCase):
    """When it reads."""

    def test_not_by_itself(self) -> None:
        """Without a change nothing is read, and nothing is left in the clock."""
        self.assertEqual(self.watcher.paths, [os.path.dirname(os.path.abspath(self.file))])
        self.assertEqual((self.readings, self.clock.getDelayedCalls()), ([], []))

    def test_at_once_when_asked(self) -> None:
        """SIGHUP reads whether or not something has changed."""
        self.reloader.reload()
        self.assertEqual(len(self.readings), 1)
        good = self.read()
        self.assertEqual(self.applied, [good])
        self.assertIs(self.reloader.stage, Stage.QUIET)

    def test_after_a_change(self) -> None:
        """A change is given a second; several in it are one."""
        self.change()
        self.change("three, and longer still")
        self.clock.advance(SETTLE - 0.1)
        self.assertEqual(self.readings, [])
        self.clock.advance(0.1)
        self.assertEqual(len(self.readings), 1)
        self.read()
        self.assertEqual(len(self.applied), 1)

    def test_not_for_other_files(self) -> None:
        """What happens to other files of the directory matters to nobody."""
        self.watcher.touched()
        self.clock.advance(SETTLE)
        self.assertEqual(self.readings, [])
        self.assertIs(self.reloader.stage, Stage.QUIET)

    def test_asked_while_settling(self) -> None:
        """It does not wait, and reads once."""
        self.change()
        self.reloader.reload()
        self.read()
        self.clock.advance(SETTLE)
        self.assertEqual(len(self.readings), 1)

    def test_changed_while_reading(self) -> None:
        """What was read is applied, and then read again."""
        self.change()
        self.clock.advance(SETTLE)
        seen = stamp(str(self.file))
        self.change("three, and longer still")
        self.readings[0].callback(settings(files={str(self.file): seen}))
        self.assertEqual(len(self.applied), 1)
        self.clock.advance(SETTLE)
        self.assertEqual(len(self.readings), 2)
        self.read()
        self.assertEqual(len(self.applied), 2)

    def test_asked_while_reading(self) -> None:
        """A second SIGHUP makes no second reading beside the first."""
        self.reloader.reload()
        self.reloader.reload()
        self.assertEqual(len(self.readings), 1)
        self.read()
        self.clock.advance(SETTLE)
        self.assertEqual(len(self.readings), 1)

    def test_changed_before_anyone_watched(self) -> None:
        """A change between the reading of a file and the watch on it is not missed."""
        self.reloader.reload()
        seen = stamp(str(self.file))
        self.file.write_text("two, and longer")
        self.readings[0].callback(settings(files={str(self.file): seen}))
        self.clock.advance(SETTLE)
        self.assertEqual(len(self.readings), 2)

    def test_a_file_that_was_missing(self) -> None:
        """A file that was looked for and was not there counts when it comes."""
        absent = Path(self.mktemp())
        self.reloader.reload()
        self.readings[0].callback(settings(files={str(absent): None}))
        absent.write_text("here")
        self.watcher.touched()
        self.clock.advance(SETTLE)
        self.assertEqual(len(self.readings), 2)


class WrongTests(ReloaderCase):
    """Settings that are wrong, and what is unforeseen."""

    def test_wrong(self) -> None:
        """Each problem is logged, nothing is applied, and the next change is another try."""
        self.change()
        self.clock.advance(SETTLE)
        files = {str(self.file): stamp(str(self.file))}
        events = self.logged(lambda: self.readings[0].errback(ConfigurationError((BAD,), files)))
        self.assertEqual(events[0], str(BAD))
        self.assertEqual(events[1], "1 problem: the settings stay as they were")
        self.assertEqual(self.applied, [])
        self.assertEqual(self.reloader.problems, (str(BAD),))
        self.change("three, and longer still")
        self.clock.advance(SETTLE)
        good = self.read()
        self.assertEqual(self.applied, [good])
        self.assertEqual((self.reloader.good, self.reloader.bad), (1, 1))
        self.assertEqual(self.reloader.problems, ())

    def logged(self, act: Callable[[], None]) -> list[str]:
        """What is said while ``act`` runs."""
        said: list[str] = []
        observer = lambda event: said.append(formatEvent(event))  # noqa: E731
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        act()
        return said

    def test_reading_fails(self) -> None:
        """A fault while reading is logged with its traceback; the next try is made."""
        self.reloader.reload()
        self.readings[0].errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.reloader.reload()
        self.assertEqual(len(self.readings), 2)

    def test_applying_fails(self) -> None:
        """So is one while applying."""
        self.reloader._apply = lambda settings: 1 / 0  # type: ignore[assignment,return-value]
        self.reloader.reload()
        self.read()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIs(self.reloader.stage, Stage.QUIET)


class EndTests(ReloaderCase):
    """Nothing is left behind."""

    def test_while_settling(self) -> None:
        """The timer goes, and nobody watches."""
        self.change()
        self.reloader.stopService()
        self.assertEqual((self.clock.getDelayedCalls(), self.watcher.paths), ([], []))

    def test_while_reading(self) -> None:
        """What is read then is not applied, be it good or bad."""
        for end in (
            lambda: self.readings[-1].callback(settings()),
            lambda: self.readings[-1].errback(ConfigurationError((BAD,))),
        ):
            self.reloader.reload()
            self.reloader.stopService()
            end()
            self.assertEqual(self.applied, [])
            self.assertIs(self.reloader.stage, Stage.STOPPED)
            self.reloader.startService()

    def test_asked_afterwards(self) -> None:
        """A stopped one reads nothing."""
        self.reloader.stopService()
        self.reloader.reload()
        self.reloader.touched()
        self.assertEqual(self.readings, [])

    def test_without_a_watcher(self) -> None:
        """Where files are not watched, asking works."""
        reloader = Reloader(settings, self.applied.append, {}, self.clock, self.begin)
        reloader.startService()
        reloader.reload()
        self.readings[0].callback(settings())
        self.assertEqual(len(self.applied), 1)
        reloader.stopService()


class Threads:
    """The part of a reactor that a signal needs."""

    def callFromThread(self, call: Callable[[], None]) -> None:
        """At once."""
        call()


class HangupTests(SynchronousTestCase):
    """The signal."""

    def test_caught(self) -> None:
        """Each SIGHUP calls, as long as the service runs; afterwards it does no harm."""
        self.addCleanup(signal.signal, signal.SIGHUP, signal.getsignal(signal.SIGHUP))
        calls: list[int] = []
        hangup = Hangup(Threads(), lambda: calls.append(1))
        hangup.startService()
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
        self.assertEqual(calls, [1, 1])
        hangup.stopService()
        signal.raise_signal(signal.SIGHUP)
        self.assertEqual(calls, [1, 1])


class RestartTests(SynchronousTestCase):
    """What new settings do not change in a gateway that runs."""

    def test_nothing(self) -> None:
        """The same settings change nothing."""
        self.assertEqual(list(takes_a_restart(settings(), settings())), [])

    def test_attributes(self) -> None:
        """Where it listens, and with how many workers."""
        said = list(takes_a_restart(settings(), settings(listen=("tcp:2525",), nodes=2)))
        self.assertEqual(said, ["what is listened on", "the number of worker processes"])

    def test_store(self) -> None:
        """Where the queue is kept; the rest of what it is told holds from now on."""
        one = settings(outbound=Outbound(store="sqlite:/a"))
        for other, said in (
            (Outbound(store="sqlite:/b"), ["where the outbound queue is kept"]),
            (Outbound(store="sqlite:/a", disabled=True), []),
            (None, ["whether there is an outbound queue"]),
        ):
            self.assertEqual(list(takes_a_restart(one, settings(outbound=other))), said)
            self.assertEqual(list(takes_a_restart(settings(), settings(outbound=other))), [])

    def test_lasting(self) -> None:
        """A queue that runs stays where it is, and goes on where the new settings have none."""
        runs = settings(outbound=Outbound(store="sqlite:/a"))
        for given, holds in (
            (
                Outbound(store="sqlite:/b", disabled=True),
                Outbound(store="sqlite:/a", disabled=True),
            ),
            (
                Outbound(store="sqlite:/a", disabled=True),
                Outbound(store="sqlite:/a", disabled=True),
            ),
            (None, Outbound(store="sqlite:/a")),
        ):
            new = settings(outbound=given, nodes=3)
            self.assertEqual(lasting(runs, new), settings(outbound=holds, nodes=3))
            self.assertIs(lasting(settings(), new), new)
