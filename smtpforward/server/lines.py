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
    :ivar octets: empty while nothing waits. Of those in it the first may have been taken.
    """

    __slots__ = ("_at", "_limit", "octets")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.octets = b""
        self._at = 0

    def __len__(self) -> int:
        """How many bytes wait."""
        return len(self.octets) - self._at

    def append(self, data: bytes) -> None:
        """More has come."""
        if self.octets:
            data = self.octets[self._at :] + data
            self._at = 0
        self.octets = data

    def only(self, data: bytes) -> bytes | None:
        """The one whole and good line that ``data`` is, when nothing else waits.

        That is what a client without pipelining sends; anything else goes through ``append``.
        """
        last = len(data) - 2
        if self.octets or last < 0 or last + 2 > self._limit:
            return None
        if data.find(b"\n") != last + 1 or data.find(b"\r") != last or b"\0" in data:
            return None
        return data[:-2]

    def take(self, limit: int = 0) -> bytes | Breach | None:
        """The next line without its CRLF, or ``None`` while it is not whole.

        :param limit: for this line, in place of the usual one.
        """
        unread, at = self.octets, self._at
        if not unread:
            return None
        limit = limit or self._limit
        end = unread.find(b"\n", at)
        if end < 0:
            return Breach.ENDLESS if len(unread) - at > limit else None
        line = unread[at : end + 1]
        if end + 1 == len(unread):
            self.octets = b""
            self._at = 0
        else:
            self._at = end + 1
        if not line.endswith(b"\r\n") or b"\0" in line or line.find(b"\r") != len(line) - 2:
            return Breach.NEWLINE
        return Breach.LENGTH if len(line) > limit else line[:-2]

    def chunk(self, most: int) -> bytes:
        """The next bytes, whatever they are: at most so many, and as many as have come."""
        end = self._at + most
        taken = self.octets[self._at : end]
        if end < len(self.octets):
            self._at = end
        else:
            self.clear()
        return taken

    @property
    def end_with_quit(self) -> bool:
        """Whether the last of the commands that wait is QUIT."""
        return (b"\n" + self.octets[self._at :].upper()).endswith(b"\nQUIT\r\n")

    def clear(self) -> None:
        """Forget what waits."""
        self.octets = b""
        self._at = 0
