"""One message's data, in memory or, when it is large, in a file that has no name.

Rules: what is stored holds CRLF as its only line end and ends with one, or is empty. It is in one
of two forms: *wire* (dot-stuffed, RFC 5321 4.5.2, without the final dot) as it came from a client,
or *plain*. A message none of whose lines begins with a dot is the same in both. Header lines that
the gateway adds are a prefix, which is the same in both by construction.

Failure policy: a write that fails raises OSError, and the content is of no more use but to close.
What is in memory is counted there until it is in a file, or the content is closed.
"""

import enum
import errno
import os
import re
import tempfile
from collections.abc import Callable, Iterator

HEADER_LIMIT = 1048576
READ_SIZE = 256 * 1024
SMALL = 1024  # pieces below are joined: each costs memory of its own
BARE_NEWLINE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


class Form(enum.Enum):
    """How lines that begin with a dot are stored."""

    WIRE = "wire"
    PLAIN = "plain"


class Memory:
    """How many bytes of messages are in memory, of all those that share this account.

    :ivar held: the bytes.
    """

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held = 0


class Content:
    """A message that is collected once and may then be read several times.

    :param memory: where its bytes are counted; above ``most`` there it goes to a file at once.
    :ivar prefix: header lines put before the message, CRLF at the end of each.
    :ivar size: bytes stored, without the prefix.
    """

    __slots__ = (
        "_chunks",
        "_fd",
        "_form",
        "_lowered",
        "_memory",
        "_most",
        "_spool_after",
        "_spool_dir",
        "prefix",
        "size",
    )

    def __init__(
        self,
        spool_dir: str,
        spool_after: int,
        form: Form = Form.WIRE,
        memory: Memory | None = None,
        most: int = 0,
    ) -> None:
        self.prefix = b""
        self.size = 0
        self._form = form
        self._spool_dir = spool_dir
        self._spool_after = spool_after
        self._chunks: list[bytes] = []
        self._lowered: bytes | None = None
        self._memory = memory
        self._most = most
        self._fd = -1

    @classmethod
    def from_plain(cls, data: bytes) -> "Content":
        """A message in memory from ``data`` in plain form.

        :raise ValueError: when ``data`` holds a bare CR or LF; a missing last CRLF is added.
        """
        if BARE_NEWLINE.search(data):
            raise ValueError("bare CR or LF in a message")
        content = cls("", len(data) + 2, Form.PLAIN)
        content.append(data if not data or data.endswith(b"\r\n") else data + b"\r\n")
        return content

    @classmethod
    def of_wire(cls, data: bytes) -> "Content":
        """A message in memory from ``data`` in wire form, which was checked when it was stored."""
        content = cls("", len(data))
        content.append(data)
        return content

    @classmethod
    def of_file(cls, descriptor: int, size: int) -> "Content":
        """A message in wire form that an open file holds, ``size`` bytes: complete.

        The descriptor is the content's own from now on.
        """
        content = cls("", 0)
        content._fd = descriptor
        content.size = size
        return content

    def append(self, piece: bytes) -> None:
        """Add ``piece``. Moves everything to a file above ``spool_after``, or ``most`` in all."""
        self.size += len(piece)
        memory = self._memory
        if memory is not None:
            memory.held += len(piece)
        elif self._fd >= 0:
            self._write(piece)
            return
        if len(piece) < SMALL and self._chunks and len(self._chunks[-1]) < SMALL:
            self._chunks[-1] += piece
        else:
            self._chunks.append(piece)
        if self.size > self._spool_after or (memory is not None and memory.held > self._most):
            self._spool()

    def _spool(self) -> None:
        with tempfile.TemporaryFile(dir=self._spool_dir, buffering=0) as nameless:
            self._fd = os.dup(nameless.fileno())
        self._write(b"".join(self._chunks))
        self._leave_memory()

    def _leave_memory(self) -> None:
        self._chunks = []
        memory, self._memory = self._memory, None
        if memory is not None:
            memory.held -= self.size

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]

    @property
    def spooled(self) -> bool:
        """Whether the message is in a file."""
        return self._fd >= 0

    def wire(self) -> Iterator[bytes]:
        """The message in wire form, prefix first, in pieces; the final dot is the caller's."""
        yield self.prefix
        yield from self.stored() if self._form is Form.WIRE else _stuffed(self.stored())

    def plain(self) -> Iterator[bytes]:
        """The message in plain form, prefix first, in pieces."""
        yield self.prefix
        yield from self.stored() if self._form is Form.PLAIN else _unstuffed(self.stored())

    def octets(self, most: int) -> bytes | None:
        """The message in plain form, prefix first, in one piece.

        ``None`` where that is more work than to send it in wire form: it is in a file, longer than
        ``most`` bytes, or has stuffed dots.
        """
        if self._fd >= 0 or len(self.prefix) + self.size > most:
            return None
        stored = b"".join(self._chunks)
        if self._form is Form.WIRE and (stored.startswith(b".") or b"\n." in stored):
            return None
        return self.prefix + stored

    def stored(self, offset: int = 0) -> Iterator[bytes]:
        """What is stored, in pieces, prefix left out; in a file from ``offset`` on.

        :raise OSError: when the file cannot be read to its end.
        """
        if self._fd < 0:
            yield from self._chunks
            return
        while offset < self.size:
            piece = os.pread(self._fd, READ_SIZE, offset)
            if not piece:
                raise OSError(errno.EIO, f"ends at {offset} of {self.size} bytes")
            offset += len(piece)
            yield piece

    @property
    def wire_in_file(self) -> bool:
        """Whether what is stored is in wire form and in a file: :meth:`send` has a use."""
        return self._fd >= 0 and self._form is Form.WIRE

    def send(self, send_file: Callable[[int, int, int], int], offset: int) -> int:
        """Have ``send_file`` send what the file holds from ``offset`` on.

        :param send_file: takes a descriptor, an offset and a count, and returns what it has sent.
        """
        return send_file(self._fd, offset, self.size - offset)

    def is_ascii(self) -> bool:
        """Whether no byte is above 127, by reading all of it; the prefix never holds one.

        :raise OSError: when the file cannot be read.
        """
        return all(map(bytes.isascii, self.stored()))

    def lowered_header(self) -> bytes:
        """The header in lower case, for searches; made once, of a message that is complete.

        At most ``HEADER_LIMIT`` bytes of it.
        """
        if self._lowered is None:
            self._lowered = self.header(HEADER_LIMIT).lower()
        return self._lowered

    def header(self, limit: int) -> bytes:
        """The header section as stored, prefix left out: at most ``limit`` bytes of it."""
        if self._chunks:
            # Nearly always the whole header is in the first piece.
            first = self._chunks[0]
            end = first.find(b"\r\n\r\n")
            if end >= 0 and not first.startswith(b"\r\n"):
                return first[: min(end + 2, limit)]
        # A message may begin with the empty line: then it has no header.
        start = bytearray(b"\r\n")
        for piece in self.stored():
            searched = len(start) - 3
            start += piece
            end = start.find(b"\r\n\r\n", max(0, searched))
            if end >= 0:
                return bytes(start[2 : min(end, limit) + 2])
            if len(start) >= limit + 4:
                break
        return bytes(start[2 : limit + 2])

    def copy(self) -> "Content":
        """The same message for someone who keeps it longer; to be closed by itself.

        No byte is copied. What it holds in memory is counted by nobody.

        :raise OSError: when there is no descriptor left for its file.
        """
        other = Content(self._spool_dir, self._spool_after, self._form)
        other.prefix, other.size = self.prefix, self.size
        other._chunks = list(self._chunks)
        if self._fd >= 0:
            other._fd = os.dup(self._fd)
        return other

    def close(self) -> None:
        """Give up the data; a second call does nothing."""
        self._leave_memory()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _stuffed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Wire form of plain pieces, whatever lies on either side of a seam."""
    at_line_start = True
    for piece in pieces:
        stuffed = piece.replace(b"\n.", b"\n..")
        yield b"." + stuffed if at_line_start and piece.startswith(b".") else stuffed
        at_line_start = piece.endswith(b"\n") if piece else at_line_start


def _unstuffed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Plain form of wire pieces, whatever lies on either side of a seam."""
    at_line_start = True
    for piece in pieces:
        kept = piece[1:] if at_line_start and piece.startswith(b".") else piece
        yield kept.replace(b"\n.", b"\n")
        at_line_start = piece.endswith(b"\n") if piece else at_line_start
