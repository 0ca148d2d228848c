"""Reads a backend's replies (RFC 5321 4.2), bounded: bytes in, whole replies out, no socket.

Lenient about a missing CR before the LF; strict about everything by which replies could fall out
of step with commands: a line that is no reply line ends the connection.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from smtpforward.reply import Reply

MAX_LINE = 4096
MAX_REPLY = 65536
_LINE = re.compile(rb"([2-5][0-5][0-9])(?:([ -])(.*))?", re.DOTALL)


class NotAReply(ValueError):  # noqa: N818 -- it says what came
    """What the backend sent is no reply, or does not end."""


@lru_cache(maxsize=256)
def _whole(line: bytes) -> Reply | None:
    """The reply that ``line`` is by itself. A backend says the same few over and over."""
    match = _LINE.fullmatch(line) if len(line) <= MAX_LINE else None
    if match is None or match[2] == b"-":
        return None
    return Reply(int(match[1]), (match[3] or b"",))


class ReplyReader:
    """Fed with what a backend sends."""

    __slots__ = ("_code", "_lines", "_size", "_to_come", "_unread")

    def __init__(self) -> None:
        self._unread = b""
        self._code = b""
        self._lines: list[bytes] = []
        self._size = 0
        # Whole lines of the same read, behind the one that is being taken.
        self._to_come = 0

    @property
    def empty(self) -> bool:
        """Whether nothing has come beyond the reply that was taken last."""
        return not self._to_come and not self._unread and not self._lines

    def feed(self, data: bytes) -> Iterator[Reply]:
        """The replies that ``data`` completes, each as soon as it is asked for.

        :raise NotAReply: after the replies that were good; the connection is of no more use.
        """
        lines = (self._unread + data if self._unread else data).split(b"\n")
        self._unread = lines.pop()
        self._to_come = len(lines)
        for line in lines:
            self._to_come -= 1
            reply = self._take(line)
            if reply is not None:
                yield reply
        if len(self._unread) > MAX_LINE + 1:  # The CR is not of the line.
            raise NotAReply("a line without end")

    def _take(self, line: bytes) -> Reply | None:
        if line.endswith(b"\r"):
            line = line[:-1]
        if not self._lines and (reply := _whole(line)) is not None:
            return reply
        match = _LINE.fullmatch(line) if len(line) <= MAX_LINE else None
        if match is None or (self._lines and match[1] != self._code):
            raise NotAReply(repr(line[:100]))
        self._code = match[1]
        self._lines.append(match[3] or b"")
        self._size += len(line)
        if match[2] != b"-":
            reply = Reply(int(self._code), tuple(self._lines))
            self._lines = []
            self._size = 0
            return reply
        if self._size > MAX_REPLY or len(self._lines) > MAX_REPLY // 64:
            raise NotAReply("a reply without end")
        return None
