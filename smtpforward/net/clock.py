"""Time as every part is handed it: seconds that never jump, calls that come later.

``Watch`` is the timer of a connection. It is moved for every read, so moving it must cost nothing:
only the due time is noted, and the reactor's call, when it comes too early, is put off once.
"""

import time
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall


class Clock(Protocol):
    """The part of IReactorTime that is used; the reactor and ``task.Clock`` both fit."""

    def seconds(self) -> float:
        """Now, in seconds from any beginning."""

    def callLater(
        self, delay: float, callable: Callable[..., Any], *args: Any, **kw: Any
    ) -> IDelayedCall:
        """Call later."""


def make_monotonic(reactor: Any) -> None:
    """Let ``reactor`` count monotonic time.

    Twisted's counts wall-clock time: when that is set back an hour, each timer is an hour late.
    A reactor that has timers already is left alone: they were set in the other time.
    """
    if not reactor.getDelayedCalls():
        reactor.seconds = time.monotonic


def _nothing() -> None:
    """What a watch does that has ended."""


class Watch:
    """Calls ``expired`` when the armed time has passed."""

    __slots__ = ("_at", "_call", "_clock", "_due", "_expired", "_now")

    def __init__(self, clock: Clock, expired: Callable[[], None]) -> None:
        self._clock = clock
        self._now = clock.seconds
        self._expired = expired
        self._due: float | None = None
        self._call: IDelayedCall | None = None
        # When the call comes: not later than what is due.
        self._at = 0.0

    @property
    def due(self) -> float | None:
        """When it expires, or ``None`` while it is not armed."""
        return self._due

    def arm(self, seconds: float) -> None:
        """Expire in ``seconds`` from now, in place of whatever was armed before."""
        self._due = due = self._now() + seconds
        if self._call is None or self._at > due:
            self._reschedule(due)

    def arm_until(self, due: float) -> None:
        """Expire at ``due`` on the clock."""
        self._due = due
        if self._call is None or self._at > due:
            self._reschedule(due)

    def disarm(self) -> None:
        """Do not expire. The reactor's call may stay, to be used again."""
        self._due = None

    def stop(self) -> None:
        """Do not expire, and leave nothing behind in the reactor."""
        self._due = None
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def end(self) -> None:
        """Stop, and let go of who would be told: whoever owns a watch is no cycle then."""
        self.stop()
        self._expired = _nothing

    def _reschedule(self, due: float) -> None:
        if self._call is not None:
            self._call.cancel()
        self._schedule(due)

    def _schedule(self, due: float) -> None:
        self._at = due
        self._call = self._clock.callLater(max(0.0, due - self._clock.seconds()), self._called)

    def _called(self) -> None:
        self._call = None
        if self._due is None:
            return
        if self._due > self._clock.seconds():
            self._schedule(self._due)
            return
        self._due = None
        self._expired()
