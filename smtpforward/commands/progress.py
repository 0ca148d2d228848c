"""How far long work has come, for somebody who waits at a terminal; nobody else is told.

What takes no longer than a moment is not told of either.
"""

import time
from collections.abc import Callable
from typing import TextIO

FIRST, EVERY = 1.0, 0.2  # seconds: before anything is shown, and between two looks
WIDTH = 30
CLEAR = "\r\x1b[K"


class Progress:
    """A line that is written again and again, and removed at the end.

    :param stream: it is shown when this is a terminal.
    :param what: is done. ``total``: how much there is of it; 0 where that is not known.
    """

    def __init__(
        self,
        stream: TextIO,
        what: str,
        total: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._what = what
        self._total = total
        self._clock = clock
        self._on = stream.isatty()
        self._due = clock() + FIRST
        self._shown = False
        self._done = 0

    def more(self, amount: int) -> None:
        """So much more has been done."""
        self._done += amount
        if self._on and self._clock() >= self._due:
            self._due = self._clock() + EVERY
            self._shown = True
            self._stream.write(f"{CLEAR}{self._what}: {self._told()}")
            self._stream.flush()

    def _told(self) -> str:
        if not self._total:
            return f"{self._done:,}"
        share = min(1.0, self._done / self._total)
        return f"[{'#' * int(share * WIDTH):{WIDTH}}] {share:4.0%}"

    def end(self) -> None:
        """Leave nothing of it at the terminal."""
        if self._shown:
            self._stream.write(CLEAR)
            self._stream.flush()
            self._shown = False
