"""The time by which all gateways of one queue agree: the database's.

A local clock that never jumps, plus what the database's was ahead of it when it was last asked.
Until then it is this host's own. A query that took long says too little, and is not believed.
"""

import time
from collections.abc import Callable

AGE = 60.0  # seconds after which the database is asked again
TRIP = 0.5  # seconds that a query may take


class DatabaseClock:
    """Seconds since the epoch.

    :param seconds: a clock from any beginning. ``wall``: this host's.
    """

    def __init__(
        self,
        seconds: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._seconds = seconds
        self._ahead = wall() - seconds()
        self._measured: float | None = None

    def now(self) -> float:
        """The time in the database."""
        return self._seconds() + self._ahead

    @property
    def is_old(self) -> bool:
        """Whether the database is to be asked."""
        return self._measured is None or self._seconds() - self._measured > AGE

    def ask(self, database: Callable[[], float]) -> None:
        """Measure by the database's clock, which ``database`` reads."""
        before = self._seconds()
        theirs = database()
        after = self._seconds()
        if self._measured is None or after - before <= TRIP:
            self._ahead = theirs - (before + after) / 2
            self._measured = after
