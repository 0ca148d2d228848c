"""The chunks of one message (BDAT, RFC 3030): a count of octets ends each, and no mark in the data.

A recogniser without a socket. What follows ``BDAT n`` is ``n`` octets of the message in plain form,
whatever they look like. Those of a chunk that is refused are read all the same and thrown away, so
that none is ever taken for a command; once a chunk is refused, all that follow it are.
"""

import re

from attrs import frozen

from smtpforward import answers
from smtpforward.content import Form
from smtpforward.reply import Reply
from smtpforward.server.data import Arrival
from smtpforward.server.endofdata import EndOfData

_ARGUMENT = re.compile(rb"([0-9]{1,20})( +LAST)?", re.IGNORECASE)  # RFC 3030 2
CRLF = b"\r\n"


@frozen
class Chunk:
    """What a BDAT command announces: how many octets, and whether they end the message."""

    size: int
    last: bool


def parse(rest: bytes, most: int) -> Chunk | Reply:
    """The argument of BDAT, or the reply to one after which nothing can be read any more.

    :param most: how many octets a chunk may have.
    """
    match = _ARGUMENT.fullmatch(rest)
    if match is None:
        return answers.BAD_CHUNK
    size = int(match[1])
    return answers.TOO_LARGE if size > most else Chunk(size, match[2] is not None)


class Octets(EndOfData):
    """Looks at line ends as :class:`EndOfData` does, and finds no end: ``finish`` says it.

    :param normalize: whether what it hands out has CRLF in place of each bare LF.
    """

    __slots__ = ("_normalize",)

    def __init__(self, normalize: bool) -> None:
        EndOfData.__init__(self)
        self._normalize = normalize

    def feed(self, chunk: bytes) -> bytes:
        """The part of the message that ``chunk`` is."""
        before = self._seam
        if chunk:
            self._check_newlines(chunk)
            self._seam = (before + chunk[-2:])[-2:]
        return _normalized(before, chunk) if self._normalize and self.bare_lf else chunk

    def finish(self) -> bytes:
        """What the message lacks at its end: a CRLF, when its last line has none."""
        self.ended = True
        self._check_newlines(b"", final=True)
        return b"" if self._seam.endswith(b"\n") else CRLF


def _normalized(before: bytes, piece: bytes) -> bytes:
    """A piece of a message without bare CRs, each bare LF a CRLF, in plain form."""
    first = b""
    if before.endswith(b"\r") and piece.startswith(b"\n"):
        first, piece = b"\n", piece[1:]
    return first + piece.replace(CRLF, b"\n").replace(b"\n", CRLF)


class ChunkedArrival(Arrival):
    """A message that comes in chunks. See :class:`Arrival`."""

    __slots__ = ()

    form = Form.PLAIN

    def _recogniser(self, normalize: bool) -> EndOfData:
        return Octets(normalize)

    def finish(self) -> None:
        """The last chunk has come.

        What DATA brings ends with CRLF always, and what is stored must: without one the final dot
        would stand in the last line. It does not count for the limits.
        """
        tail = self._end.finish() if isinstance(self._end, Octets) else b""
        if self.refusal is None:
            self._collect(tail)


class Chunks:
    """All chunks of one transaction.

    :param most: how many octets are read when they are only thrown away.
    :ivar arrival: the message; ``None`` where no chunk was allowed.
    :ivar chunk: the one that is being read.
    :ivar refusal: the answer to it and all further ones, once it has been given.
    """

    __slots__ = ("_most", "_received", "arrival", "chunk", "left", "refusal")

    def __init__(self, chunk: Chunk, most: int) -> None:
        self.arrival: ChunkedArrival | None = None
        self.refusal: Reply | None = None
        self._most = most
        self._received = 0
        self.begin(chunk)

    def begin(self, chunk: Chunk) -> None:
        """A BDAT command has come."""
        self.chunk = chunk
        self.left = chunk.size

    def feed(self, data: bytes) -> bytes | None:
        """Take ``data``; what came behind the chunk, or ``None`` before its end."""
        octets = data[: self.left]
        self.left -= len(octets)
        self._received += len(octets)
        if self.arrival is not None:
            self.arrival.feed(octets)
        return None if self.left else data[len(octets) :]

    @property
    def failed(self) -> bool:
        """Whether this chunk, or one before it, is refused."""
        return self.refusal is not None or (
            self.arrival is not None and self.arrival.refusal is not None
        )

    @property
    def hopeless(self) -> bool:
        """Whether so much came for nothing that no more is read."""
        return self.failed and self._received > self._most
