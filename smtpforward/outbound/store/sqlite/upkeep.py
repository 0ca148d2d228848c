"""What a store does beside what it is asked: notice other processes, and give space back.

Failure policy: a look, or a step, that fails is left out; the next one may work.
"""

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall

from smtpforward.net.clock import Clock
from smtpforward.outbound.errors import StoreError
from smtpforward.outbound.store.sqlite.connection import Operation, Transaction
from smtpforward.outbound.store.sqlite.database import data_version, give_space_back

LOOK_EVERY = 0.5  # seconds between two looks
TIDY_AFTER = 1.0  # seconds from a deletion to giving space back
TIDY_AGAIN = 0.05  # seconds between two steps of that
Run = Callable[[Operation[Any]], "Deferred[Any]"]


class Watcher:
    """Calls ``changed`` after commits of other connections.

    :param run: runs an operation on the connection that writes: its own commits are not seen.
    :param version: what that saw when it was opened.
    """

    def __init__(self, clock: Clock, run: Run, version: int, changed: Callable[[], None]) -> None:
        self._run = run
        self._version = version
        self._changed = changed
        self._looking = LoopingCall(self._look)
        # What LoopingCall declares is more than it uses.
        self._looking.clock = cast(IReactorTime, clock)
        self._looking.start(LOOK_EVERY)

    def stop(self) -> None:
        """Do not look any more."""
        self._looking.stop()

    @inlineCallbacks
    def _look(self) -> Any:
        try:
            version = yield self._run(_version)
        except StoreError:
            return
        if version != self._version and self._looking.running:
            self._version = version
            self._changed()


def _version(transaction: Transaction) -> int:
    return data_version(transaction.execute)


class Tidying:
    """Gives the space of deleted messages back to the file system, a little at a time."""

    def __init__(self, clock: Clock, run: Run) -> None:
        self._clock = clock
        self._run = run
        self._call: IDelayedCall | None = None
        self._stopped = False

    def soon(self) -> None:
        """Something was deleted."""
        if self._call is None:
            self._after(TIDY_AFTER)

    def stop(self) -> None:
        """Leave the rest to another time."""
        self._stopped = True
        if self._call is not None and self._call.active():
            self._call.cancel()

    def _after(self, seconds: float) -> None:
        if not self._stopped:
            self._call = self._clock.callLater(seconds, self._step)

    @inlineCallbacks
    def _step(self) -> Any:
        try:
            more = yield self._run(_tidied)
        except StoreError:
            more = False
        self._call = None
        if more:
            self._after(TIDY_AGAIN)


def _tidied(transaction: Transaction) -> bool:
    return give_space_back(transaction.execute)
