"""What a service manager hears of the gateway, and the hand-over to a successor.

It hears when mail is taken (``READY``), when settings are read, when the end begins, and, where it
has asked for it, that the reactor turns: a timer of the reactor's own says so, so that a process
that hangs is silent. Nothing of this is done where nobody has asked.

Failure policy: a hand-over that fails is an error in the log, and the gateway goes on.
"""

import enum
import os
from collections.abc import Callable
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from smtpforward.running.notify import MICRO, Supervisor, reloading
from smtpforward.running.pidfile import PidFile
from smtpforward.running.successor import Predecessor, Successor

TAKING = "STATUS=taking mail"


class Stage(enum.Enum):
    """Where the process stands."""

    STARTING = "it does not take mail yet"
    RUNNING = "it takes mail"
    READING = "it takes mail, and reads its settings"
    REPLACING = "it takes mail, and a successor starts"
    LEAVING = "a successor takes mail; clients that are still here may end"
    STOPPING = "it ends"


class Serving(Protocol):
    """The gateway, as far as it matters here."""

    def ready(self) -> "Deferred[None]":
        """Fires when it takes mail."""

    def leave(self) -> "Deferred[None]":
        """Accept no client; fires when those that are here have gone, or had their time."""


class Supervised(Service):
    """Says how ``serving`` does, and replaces it.

    :param ending: seconds that its end may take.
    :param listening: gives the description and the port of each place where it listens.
    :param succeed: makes a successor, with that environment beside its own.
    """

    log = Logger()

    def __init__(
        self,
        serving: Serving,
        supervisor: Supervisor,
        predecessor: Predecessor | None,
        listening: Callable[[], list[tuple[str, Any]]],
        succeed: Callable[[dict[str, str]], Successor],
        pid_file: PidFile,
        ending: Callable[[], float],
        reactor: Any,
    ) -> None:
        self._serving = serving
        self._supervisor = supervisor
        self._predecessor = predecessor
        self._listening = listening
        self._succeed = succeed
        self._pid_file = pid_file
        self._ending = ending
        self._reactor = reactor
        self._watchdog: IDelayedCall | None = None
        self._successor: Successor | None = None
        self.stage = Stage.STARTING

    # -- the beginning

    def startService(self) -> None:
        """All services have started when the reactor runs."""
        Service.startService(self)
        self._reactor.callWhenRunning(self._begin)

    def _begin(self) -> None:
        ready = self._serving.ready()
        if self._predecessor is not None:
            predecessor = self._predecessor
            ready.addCallback(lambda _: predecessor.relieve())
        ready.addCallback(self._runs)

    def _runs(self, _: object) -> None:
        if self.stage is not Stage.STARTING:
            return
        self.stage = Stage.RUNNING
        self._supervisor.say(f"MAINPID={os.getpid()}", "READY=1", TAKING)
        self.log.info("process {pid} takes mail", pid=os.getpid())
        self._pat()

    def _pat(self) -> None:
        """Say that the reactor turns, and again in half the time that may pass."""
        if self._supervisor.watchdog is not None:
            self._supervisor.say("WATCHDOG=1")
            half = self._supervisor.watchdog / 2
            self._watchdog = self._reactor.callLater(half, self._pat)

    # -- settings

    def begun(self) -> None:
        """Settings are being read."""
        if self.stage in (Stage.RUNNING, Stage.READING):
            self.stage = Stage.READING
            self._supervisor.say(*reloading(), "STATUS=reading its settings")

    def ended(self, good: bool) -> None:
        """They have been read."""
        if self.stage is Stage.READING:
            self.stage = Stage.RUNNING
            wrong = "STATUS=taking mail; the settings are wrong, those before hold: see the log"
            self._supervisor.say("READY=1", TAKING if good else wrong)

    # -- the successor

    def replace(self) -> None:
        """Start a successor on the same sockets, and end when it takes mail."""
        if self.stage not in (Stage.RUNNING, Stage.READING):
            self.log.error("no successor is started now: {stage}", stage=self.stage.value)
            return
        if os.getpid() == 1:
            self.log.error("no successor is started: a container ends with its first process")
            return
        try:
            self._pid_file.give_way()
        except OSError as error:
            self.log.error("no successor is started: {why}; see --pidfile", why=str(error))
            return
        self._start()

    def _start(self) -> None:
        self.stage = Stage.REPLACING
        self._successor = self._succeed(self._supervisor.environment())
        try:
            ready = self._successor.start(self._listening())
        except OSError as error:
            self._not_replaced(Failure(error))
            return
        self.log.info("a successor starts on the same sockets")
        ready.addCallbacks(self._replaced, self._not_replaced)

    def _replaced(self, pid: int) -> None:
        if self.stage is not Stage.REPLACING or self._successor is None:
            return
        self.stage = Stage.LEAVING
        self._pid_file.leave()
        self._hush()
        leaving = self._serving.leave()
        self._supervisor.say(f"MAINPID={pid}", "STATUS=handing over to a successor")
        # Nothing of the end of this process is the service's any more.
        self._supervisor = Supervisor()
        self._successor.let_go()
        self.log.info("process {pid} has taken over; what is in flight here ends", pid=pid)
        leaving.addErrback(lambda failure: self.log.failure("a fault while leaving", failure))
        leaving.addCallback(lambda _: self._end())

    def _not_replaced(self, failure: Failure) -> None:
        if self.stage is not Stage.REPLACING:
            return
        self.stage, self._successor = Stage.RUNNING, None
        self._pid_file.take_back()
        # If settings were being read, their end has not been said.
        self._supervisor.say("READY=1", TAKING)
        why = failure.getErrorMessage()
        self.log.error("no successor: {why}; this process goes on", why=why)

    def _end(self) -> None:
        if self.stage is Stage.LEAVING:
            self._reactor.stop()

    # -- the end

    def stopService(self) -> None:
        """Say so; the manager is asked for as much time as the settings give."""
        Service.stopService(self)
        before, self.stage = self.stage, Stage.STOPPING
        self._hush()
        if before is Stage.REPLACING and self._successor is not None:
            self._successor.kill()
        extend = f"EXTEND_TIMEOUT_USEC={round(self._ending() * MICRO)}"
        self._supervisor.say("STOPPING=1", extend, "STATUS=lets what is in flight end")

    def _hush(self) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
