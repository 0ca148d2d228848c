"""The queue of a client's commands: the bytes that it sent and nobody has taken yet.

No socket and no protocol: bytes in, whole lines out. A line ends with CRLF; a bare CR or LF, or a
NUL, is a breach that the caller answers and ends the connection for.
"""

import enum


class Breach(enum.Enum):
    """What is wrong with a line, in place of the line."""

    NEWLINE = "a bare CR, a bare LF or a NUL"
    LENGTH = "longer than the limit"
    ENDLESS = "longer than the limit, and its end has not come"


class CommandLines:
    """Unread bytes, taken line by line.

    :param limit: of one line, in bytes, its CRLF included.
    """

    __slots__ = ("_at", "_limit", "_unread")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._unread = b""
        self._at = 0

    def __len__(self) -> int:
        """How many bytes wait."""
        return len(self._unread) - self._at

    def append(self, data: bytes) -> None:
        """More has come."""
        self._unread = self._unread[self._at :] + data if self else data
        self._at = 0

    def take(self, limit: int = 0) -> bytes | Breach | None:
        """The next line without its CRLF, or ``None`` while it is not whole.

        :param limit: for this line, in place of the usual one.
        """
        limit = limit or self._limit
        end = self._unread.find(b"\n", self._at)
        if end < 0:
            return Breach.ENDLESS if len(self) > limit else None
        line = self._unread[self._at : end - 1]
        whole = self._unread[end - 1 : end] == b"\r" and end > self._at
        length = end + 1 - self._at
        self._at = end + 1
        if not whole or b"\r" in line or b"\0" in line:
            return Breach.NEWLINE
        return Breach.LENGTH if length > limit else line

    def take_all(self) -> bytes:
        """Everything that waits."""
        rest = self._unread[self._at :]
        self.clear()
        return rest

    def clear(self) -> None:
        """Forget what waits."""
        self._unread = b""
        self._at = 0
