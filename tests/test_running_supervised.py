"""What a service manager hears of the gateway, and the steps of a hand-over."""

import os
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.running.notify import Supervisor
from smtpforward.running.pidfile import PidFile
from smtpforward.running.successor import NoSuccessorError, Predecessor, Successor
from smtpforward.running.supervised import Stage, Supervised

WATCHDOG = 6.0
READY = f"MAINPID={os.getpid()} READY=1 STATUS=taking mail"


class Told(Supervisor):
    """Notes what is said."""

    def __init__(self, watchdog: float | None = None) -> None:
        Supervisor.__init__(self, "/run/x", watchdog)
        self.heard: list[str] = []

    def say(self, *assignments: str) -> None:
        """Note it."""
        self.heard.append(" ".join(assignments))


class FakeSuccessor(Successor):
    """Does as the test says."""

    def __init__(self) -> None:
        self.comes: Deferred[int] = Deferred()
        self.did: list[str] = []
        self.listening: list[tuple[str, Any]] = []
        self.error: OSError | None = None

    def start(self, listening: Any) -> "Deferred[int]":
        """See Successor."""
        if self.error is not None:
            raise self.error
        self.listening = listening
        return self.comes

    def kill(self) -> None:
        """Note it."""
        self.did.append("kill")

    def let_go(self) -> None:
        """Note it."""
        self.did.append("let go")


class FakePredecessor(Predecessor):
    """Goes when the test says so."""

    def __init__(self) -> None:
        self.relieved = 0
        self.gone: Deferred[None] = Deferred()

    def relieve(self) -> "Deferred[None]":
        """See Predecessor."""
        self.relieved += 1
        return self.gone


class FakeReactor(Clock):
    """Runs at once."""

    stopped = 0

    def callWhenRunning(self, callable: Any) -> None:
        """See IReactorCore."""
        callable()

    def stop(self) -> None:
        """See IReactorCore."""
        self.stopped += 1


class SupervisedCase(SynchronousTestCase):
    """One that has started, where the gateway does not take mail yet."""

    watchdog: float | None = None

    def setUp(self) -> None:
        """It is its own gateway."""
        self.lines: list[str] = []
        note = lambda event: self.lines.append(formatEvent(event))  # noqa: E731
        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)
        self.reactor = FakeReactor()
        self.manager = Told(self.watchdog)
        self.successor = FakeSuccessor()
        self.more: list[dict[str, str]] = []
        self.is_ready: Deferred[None] = Deferred()
        self.left: Deferred[None] = Deferred()
        self.pid_file = Path(self.mktemp())
        self.pid_file.write_text(str(os.getpid()))
        self.options: dict[str, Any] = {"pidfile": str(self.pid_file)}
        self.service = self.make()

    def make(self, predecessor: Predecessor | None = None) -> Supervised:
        """One that has started."""
        service = Supervised(
            self,
            self.manager,
            predecessor,
            lambda: [("tcp:25", "a port")],
            self.succeed,
            PidFile(self.options),
            lambda: 45.0,
            self.reactor,
        )
        service.startService()
        return service

    def ready(self) -> "Deferred[None]":
        """See Serving."""
        return self.is_ready

    def leave(self) -> "Deferred[None]":
        """See Serving."""
        self.manager.heard.append("leave")
        return self.left

    def succeed(self, more: dict[str, str]) -> FakeSuccessor:
        """Make the one."""
        self.more.append(more)
        return self.successor

    def heard(self) -> list[str]:
        """What the manager has heard since the last time."""
        heard, self.manager.heard = self.manager.heard, []
        return heard

    def run_it(self) -> None:
        """It takes mail."""
        self.is_ready.callback(None)
        self.heard()


class BeginTests(SupervisedCase):
    """The beginning and the end."""

    def test_ready(self) -> None:
        """It is said when mail is taken, and not before; nothing is left in the clock."""
        self.assertEqual(self.heard(), [])
        self.is_ready.callback(None)
        self.assertEqual(self.heard(), [READY])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_successor(self) -> None:
        """A successor relieves the one before first, and speaks when that has let go."""
        predecessor = FakePredecessor()
        self.make(predecessor)
        self.assertEqual(predecessor.relieved, 0)
        self.is_ready.callback(None)
        self.assertEqual((predecessor.relieved, self.heard()), (1, [READY]))
        predecessor.gone.callback(None)
        self.assertEqual(self.heard(), [READY])

    def test_stopping(self) -> None:
        """The end is said, with the time that it may take."""
        self.run_it()
        self.service.stopService()
        said = "STOPPING=1 EXTEND_TIMEOUT_USEC=45000000 STATUS=lets what is in flight end"
        self.assertEqual(self.heard(), [said])

    def test_stopped_early(self) -> None:
        """What comes to take mail while it ends is not said."""
        self.service.stopService()
        self.heard()
        self.is_ready.callback(None)
        self.assertEqual(self.heard(), [])


class WatchdogTests(SupervisedCase):
    """The manager wants to hear that it lives."""

    watchdog = WATCHDOG

    def test_half_the_time(self) -> None:
        """Twice in each interval, as long as it runs."""
        self.is_ready.callback(None)
        self.assertEqual(self.heard(), [READY, "WATCHDOG=1"])
        self.reactor.advance(WATCHDOG / 2 - 0.1)
        self.assertEqual(self.heard(), [])
        self.reactor.advance(0.1)
        self.reactor.advance(WATCHDOG / 2)
        self.assertEqual(self.heard(), ["WATCHDOG=1"] * 2)
        self.service.stopService()
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class ReadingTests(SupervisedCase):
    """Settings are read again."""

    def test_good_and_bad(self) -> None:
        """The state says what became of it."""
        self.run_it()
        self.service.begun()
        (said,) = self.heard()
        self.assertRegex(said, "^RELOADING=1 MONOTONIC_USEC=[0-9]+ STATUS=")
        self.service.ended(True)
        self.assertEqual(self.heard(), ["READY=1 STATUS=taking mail"])
        self.service.begun()
        self.service.begun()
        self.heard()
        self.service.ended(False)
        (said,) = self.heard()
        self.assertRegex(said, "^READY=1 STATUS=taking mail; the settings are wrong")

    def test_not_begun(self) -> None:
        """A look at files that have not changed is nothing to tell, nor one before the start."""
        self.service.begun()
        self.service.ended(True)
        self.run_it()
        self.service.ended(True)
        self.assertEqual(self.heard(), [])


class ReplaceTests(SupervisedCase):
    """A successor."""

    watchdog = WATCHDOG

    def setUp(self) -> None:
        """It takes mail."""
        SupervisedCase.setUp(self)
        self.run_it()

    def test_replaced(self) -> None:
        """Accepting ends, then the manager hears who is next, then that one is let go, in order."""
        self.service.replace()
        self.assertEqual(self.successor.listening, [("tcp:25", "a port")])
        self.assertEqual(self.more[0]["WATCHDOG_USEC"], "6000000")
        self.assertFalse(self.pid_file.exists())
        self.assertEqual((self.heard(), self.successor.did), ([], []))
        self.successor.comes.callback(4711)
        self.assertEqual(self.heard(), ["leave", "MAINPID=4711 STATUS=handing over to a successor"])
        self.assertEqual(self.successor.did, ["let go"])
        self.assertEqual((self.options["pidfile"], self.reactor.stopped), ("", 0))
        self.left.callback(None)
        self.assertEqual(self.reactor.stopped, 1)
        self.service.stopService()
        # The end is this process's, not the service's.
        self.assertEqual((self.heard(), self.reactor.getDelayedCalls()), ([], []))

    def test_no_successor(self) -> None:
        """It goes on, says so in the log, and may be asked again."""
        self.service.replace()
        self.successor.comes.errback(NoSuccessorError("it has ended"))
        self.assertIn("no successor: it has ended; this process goes on", self.lines)
        self.assertEqual(self.pid_file.read_text(), str(os.getpid()))
        self.assertIs(self.service.stage, Stage.RUNNING)
        self.reactor.advance(WATCHDOG / 2)
        self.assertEqual(self.heard(), ["READY=1 STATUS=taking mail", "WATCHDOG=1"])
        self.successor = FakeSuccessor()
        self.successor.error = OSError(11, "no more processes")
        self.service.replace()
        self.assertIn("no more processes", self.lines[-1])
        self.assertIs(self.service.stage, Stage.RUNNING)

    def test_pid_file_stays(self) -> None:
        """A file that cannot be removed would keep any other twistd from starting."""
        self.pid_file.unlink()
        self.service.replace()
        self.assertEqual(self.more, [])
        self.assertIn("--pidfile", self.lines[-1])

    def test_twice(self) -> None:
        """There is one successor."""
        self.service.replace()
        self.service.replace()
        self.assertEqual(len(self.more), 1)
        self.assertIn("a successor starts", self.lines[-1])

    def test_first_process(self) -> None:
        """A container would end with it."""
        self.patch(os, "getpid", lambda: 1)
        self.service.replace()
        self.assertEqual(self.more, [])
        self.assertIn("container", self.lines[-1])

    def test_stopped_meanwhile(self) -> None:
        """Who ends does not leave one behind that has just begun."""
        self.service.replace()
        self.service.stopService()
        self.assertEqual(self.successor.did, ["kill"])
        self.successor.comes.errback(NoSuccessorError("it has ended"))
        self.assertFalse(self.pid_file.exists())

    def test_stopped_while_leaving(self) -> None:
        """The reactor is stopped once."""
        self.service.replace()
        self.successor.comes.callback(4711)
        self.service.stopService()
        self.left.callback(None)
        self.assertEqual((self.reactor.stopped, self.successor.did), (0, ["let go"]))

    def test_while_reading(self) -> None:
        """Settings that are being read are no reason to wait: the successor reads them itself."""
        self.service.begun()
        self.service.replace()
        self.service.ended(True)
        self.assertIs(self.service.stage, Stage.REPLACING)
        self.successor.comes.callback(4711)
        self.assertIs(self.service.stage, Stage.LEAVING)

    def test_settings_meanwhile(self) -> None:
        """A reading while the successor starts is nobody's news: it reads them itself."""
        self.service.replace()
        self.service.begun()
        self.service.ended(True)
        self.assertEqual(self.heard(), [])
