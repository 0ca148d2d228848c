"""What is written while the reactor serves the events of a round, sent together at its end.

Who is sent something wakes up. Sent one by one, with the work for a command between them, a peer
falls asleep each time, and to wake it anew costs the sender more than what it sends. What has
nothing left to send is closed then, too: no timer has to be set for that.

What was logged meanwhile is written before anything is sent, all of it at once: an answer that has
left this process has its line in the log.

Failure policy: what writing, sending or closing raises is logged, and the others have their turn.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import connectionDone
from twisted.logger import Logger

MOST = 16  # transports that wait: a round with many events keeps nobody waiting for all of them

_log = Logger()


class Outbox:
    """The transports that hold something back until the end of the round.

    :ivar open: whether a round's events are being served: only then is anything held back.
    :ivar writes: what has been logged is written by these.
    """

    def __init__(self) -> None:
        self.open = False
        self.writes: list[Callable[[], None]] = []
        self._waiting: list[Any] = []
        self._closing: list[Any] = []

    def write_later(self, write: Callable[[], None]) -> None:
        """``write``, which writes what has been logged, is called before anything is sent."""
        self.writes.append(write)

    def add(self, transport: Any) -> None:
        """``transport`` has something that its ``flush`` sends."""
        self._waiting.append(transport)
        if len(self._waiting) >= MOST:
            self.flush()

    def close(self, transport: Any) -> None:
        """``transport`` has been closed: it is lost as soon as nobody is using it any more."""
        self._closing.append(transport)

    def write(self) -> None:
        """Write what was logged."""
        writes, self.writes = self.writes, []
        for write in writes:
            try:
                write()
            except Exception:
                _log.failure("a fault while writing the log")

    def flush(self) -> None:
        """Send what waits."""
        if self.writes:
            self.write()
        waiting, self._waiting = self._waiting, []
        for transport in waiting:
            try:
                transport.flush()
            except Exception:
                _log.failure("a fault while sending to {what}", what=repr(transport))

    def end(self) -> None:
        """The round is over: send what waits, and close what is to be closed."""
        self.open = False
        if self._waiting or self.writes:
            self.flush()
        while self._closing:
            transport = self._closing.pop()
            try:
                transport.connectionLost(connectionDone)
            except Exception:
                _log.failure("a fault at the end of {what}", what=repr(transport))


# There is one reactor in a process, and so there is one of these.
OUTBOX = Outbox()
