"""Reads the configuration directory again: on SIGHUP, and when one of its files has changed.

What is watched are the directories of all files that were looked at, those of certificates and
passwords included, with inotify. A change is given a second, then the stamps of the files say
whether it matters; a file in the middle of being written is seen again when it is closed. Reading
happens in a thread.

Failure policy: settings that are wrong are logged, each problem by itself, and change nothing.
Where nothing can be watched the log says so, and SIGHUP remains.
"""

import enum
import signal
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from attrs import evolve, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from smtpforward.background import beside_the_reactor
from smtpforward.config import ConfigurationError, Settings
from smtpforward.config.stamps import Stamps, changed, directories
from smtpforward.net.watching import Watcher

SETTLE = 1.0
# What is not applied to a gateway that runs, in words.
TAKES_A_RESTART = {
    "listen": "what is listened on",
    "nodes": "the number of worker processes",
    "log_format": "the format of the log",
    "http": "what http.ini says",
}


def takes_a_restart(old: Settings, new: Settings) -> Iterator[str]:
    """What differs in settings that hold from the start to the end."""
    for part, words in TAKES_A_RESTART.items():
        if getattr(old, part) != getattr(new, part):
            yield words
    if old.outbound and not new.outbound:
        yield "whether there is an outbound queue"
    elif old.outbound and new.outbound and old.outbound.store != new.outbound.store:
        yield "where the outbound queue is kept"


def lasting(old: Settings, new: Settings) -> Settings:
    """``new``, but for the queue that runs: it stays where it is kept, and goes on in any case.

    What is in it is still to be delivered; and whoever starts later has to find the same queue.
    """
    before, after = old.outbound, new.outbound
    if before is None or (after is not None and after.store == before.store):
        return new
    outbound = before if after is None else evolve(after, store=before.store)
    return evolve(new, outbound=outbound)


class Stage(enum.Enum):
    """Where a reading stands."""

    STOPPED = "nothing is looked at"
    QUIET = "nothing has changed"
    SETTLING = "something has changed, and more may"
    READING = "the directory is being read"
    READING_STALE = "it is being read, and something has changed since"


class Good(Protocol):
    """What a reading gives where nothing is wrong."""

    @property
    def files(self) -> Stamps:
        """Those that were looked at."""


@frozen
class Prepared:
    """Settings that only have to be let hold.

    :ivar files: those that were looked at. ``hold``: lets them hold, in the reactor's thread.
    """

    files: Stamps
    hold: Callable[[], None]

    def let_hold(self) -> None:
        """Have them hold from now on."""
        self.hold()


def prepared(
    read: Callable[[], Settings], prepare: Callable[[Settings], Callable[[], None]]
) -> Prepared:
    """Read the directory and prepare what it says, in a thread beside the reactor.

    :param prepare: compares with what holds; gives what lets the settings hold.
    """
    with beside_the_reactor():
        settings = read()
        return Prepared(settings.files, prepare(settings))


class Noticed(Protocol):
    """Who is told of each reading."""

    def begun(self) -> None:
        """It begins, or what has been read is to be read again."""

    def ended(self, good: bool) -> None:
        """There is none in progress; ``good``: whether the last one gave settings."""


class Reloader(Service):
    """Keeps the settings of a running gateway as its files are.

    :param read: reads the directory, in a thread; raises :class:`ConfigurationError`.
    :param apply: takes what ``read`` has given, in the reactor's thread.
    :param files: those that were looked at for the settings that hold.
    :param in_thread: calls a function in a thread; ``deferToThread`` of the reactor.
    :ivar good: how often settings were applied. ``bad``: how often they could not be.
    :ivar problems: of the last reading, where its settings could not be applied.
    :param watcher: calls :meth:`touched`; ``None`` where files are not to be watched.
    :param noticed: who is told of each reading, if anyone.
    """

    log = Logger()

    def __init__(
        self,
        read: Callable[[], Good],
        apply: Callable[[Any], None],
        files: Stamps,
        clock: Any,
        in_thread: "Callable[[Callable[[], Good]], Deferred[Good]]",
        watcher: Watcher | None = None,
        noticed: Noticed | None = None,
    ) -> None:
        self._read = read
        self._apply = apply
        self._files = files
        self._clock = clock
        self._in_thread = in_thread
        self._watcher = watcher
        self._noticed = noticed
        self._last_good = True
        self._timer: IDelayedCall | None = None
        self.stage = Stage.STOPPED
        self.good = self.bad = 0
        self.problems: tuple[str, ...] = ()

    def startService(self) -> None:
        """Begin to watch."""
        Service.startService(self)
        self.stage = Stage.QUIET
        self._watch()

    def stopService(self) -> None:
        """Watch no more; what is being read is not applied."""
        self.stage = Stage.STOPPED
        self._stop_timer()
        if self._watcher is not None:
            self._watcher.stop()
        Service.stopService(self)

    def reload(self) -> None:
        """Read again now, changed or not."""
        if self.stage in (Stage.QUIET, Stage.SETTLING):
            self._begin()
        elif self.stage is not Stage.STOPPED:
            self.stage = Stage.READING_STALE
            self._say_begun()

    def touched(self) -> None:
        """Something has happened in one of the directories."""
        if self.stage is Stage.QUIET:
            self._settle()
        elif self.stage is Stage.READING:
            self.stage = Stage.READING_STALE

    def _settle(self) -> None:
        self.stage = Stage.SETTLING
        self._timer = self._clock.callLater(SETTLE, self._settled)

    def _settled(self) -> None:
        self._timer = None
        if changed(self._files):
            self._begin()
        else:
            self._done()

    def _begin(self) -> None:
        self._stop_timer()
        self.stage = Stage.READING
        self._last_good = False
        self._say_begun()
        self._in_thread(self._read).addCallbacks(self._good, self._bad).addErrback(self._fault)

    def _good(self, settings: Good) -> None:
        if self.stage is Stage.STOPPED:
            return
        self._files = settings.files
        try:
            self._apply(settings)
            self.good += 1
            self.problems = ()
            self._last_good = True
        finally:
            self._done()

    def _bad(self, failure: Failure) -> None:
        failure.trap(ConfigurationError)
        if self.stage is Stage.STOPPED:
            return
        error: ConfigurationError = failure.value  # type: ignore[assignment]
        self._files = error.files
        self.bad += 1
        self.problems = tuple(map(str, error.problems))
        self._last_good = False
        for problem in error.problems:
            self.log.error("{problem}", problem=str(problem))
        count = len(error.problems)
        what = "1 problem" if count == 1 else f"{count} problems"
        self.log.error("{what}: the settings stay as they were", what=what)
        self._done()

    def _fault(self, failure: Failure) -> None:
        """The unforeseen: whatever was not applied is not; the next change is another try."""
        self.log.failure("the settings could not be read again", failure)
        if self.stage in (Stage.READING, Stage.READING_STALE):
            self._done()

    def _done(self) -> None:
        again = self.stage is Stage.READING_STALE
        self.stage = Stage.QUIET
        self._watch()
        if again and self.stage is Stage.QUIET:
            self._settle()
        if self.stage is Stage.QUIET and self._noticed is not None:
            self._noticed.ended(self._last_good)

    def _say_begun(self) -> None:
        if self._noticed is not None:
            self._noticed.begun()

    def _watch(self) -> None:
        """Watch what there is to watch now; what changed before that has begun is seen here."""
        if self._watcher is None:
            return
        self._watcher.watch(directories(self._files), self.touched)
        if changed(self._files):
            self.touched()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class OnSignal(Service):
    """Calls what it is given at each signal, in the reactor's thread, as long as it runs."""

    def __init__(self, reactor: Any, number: signal.Signals, call: Callable[[], None]) -> None:
        self._reactor = reactor
        self._number = number
        self._call = call

    def startService(self) -> None:
        """Take the signal over."""
        Service.startService(self)
        signal.signal(self._number, lambda *_: self._reactor.callFromThread(self._caught))

    def _caught(self) -> None:
        # While the gateway ends the signal means nothing, but must not kill it.
        if self.running:
            self._call()
