"""Whether it is worth while to connect, or whether the last attempt failed only just now.

The pause before the next attempt doubles with each that fails. Used by several threads: what they
may overlook of each other is one attempt more.
"""

from smtpforward.net.clock import Clock

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 5.0  # seconds


class Outage:
    """What is known of the way to one server."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pause = 0.0
        self._until = 0.0
        self._why: str | None = None

    @property
    def refusal(self) -> str | None:
        """Why nothing is tried now, or ``None``."""
        return self._why if self._clock.seconds() < self._until else None

    def failed(self, why: str) -> None:
        """A connection could not be made."""
        now = self._clock.seconds()
        if now >= self._until:
            # Else several have failed at the same time, which says no more than one.
            self._pause = min(max(2 * self._pause, FIRST_PAUSE), LONGEST_PAUSE)
            self._until = now + self._pause
        self._why = why

    def ended(self) -> None:
        """One was made."""
        self._pause, self._until, self._why = 0.0, 0.0, None
