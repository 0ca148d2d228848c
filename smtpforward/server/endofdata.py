"""Finds the end of a message's data: ``<CRLF>.<CRLF>`` in the bytes as they came, nothing else.

A recogniser without a socket: bytes in, message bytes and what follows them out. It also sees each
bare CR and bare LF (RFC 5321 2.3.8), which other servers take for line ends: the ground of SMTP
smuggling. Nothing is done by lines: searches run over whole chunks, and only the seam between two
chunks is looked at by itself.
"""

from io import IncrementalNewlineDecoder

END = b".\r\n"
_MARK = b"\r\n" + END


class EndOfData:
    """Fed with chunks until the end has come.

    :ivar bare_cr: whether a bare CR was seen in the message so far. ``bare_lf``: a bare LF.
    :ivar ended: whether the end was seen; ``rest`` is what came behind it.
    """

    __slots__ = ("_held", "_newlines", "_seam", "bare_cr", "bare_lf", "ended", "rest")

    def __init__(self) -> None:
        # The CRLF of the DATA command counts: a message may be empty (RFC 5321 4.1.1.4).
        self._seam = b"\r\n"
        self._held = b""
        # It counts kinds of newlines, keeps a CR at the end of a chunk in mind, and is the quickest
        # at it: a third of what three searches take.
        self._newlines = IncrementalNewlineDecoder(None, translate=False)
        self.bare_cr = False
        self.bare_lf = False
        self.ended = False
        self.rest = b""

    def feed(self, chunk: bytes) -> bytes:
        """The part of the message that ``chunk`` makes certain.

        A dot that begins a line at the very end of what came is held back, with the CR behind it,
        until it is known whether it ends the data.
        """
        if self._held:
            chunk = self._held + chunk
            self._held = b""
        end = self._find(chunk)
        if end >= 0:
            self.ended = True
            self.rest = chunk[end + len(END) :]
            chunk = chunk[:end]
        else:
            chunk = self._hold_back(chunk)
        if chunk:
            self._check_newlines(chunk)
            self._seam = (self._seam + chunk[-2:])[-2:]
        return chunk

    def _find(self, chunk: bytes) -> int:
        """Where in ``chunk`` the final dot stands, or -1."""
        # The seam is two bytes long, so a mark that begins in it begins at its index 0 or 1.
        at_seam = (self._seam + chunk[:4]).find(_MARK)
        if at_seam >= 0:
            return at_seam
        if b"." not in chunk:
            return -1  # As in base64: one byte is found many times as fast as five.
        inside = chunk.find(_MARK)
        return inside + 2 if inside >= 0 else -1

    def _hold_back(self, chunk: bytes) -> bytes:
        last = (self._seam + chunk[-4:])[-4:]
        held = 1 if last.endswith(b"\r\n.") else 2 if last.endswith(b"\r\n.\r") else 0
        if not held:
            return chunk
        self._held = chunk[-held:]
        return chunk[:-held]

    def _check_newlines(self, chunk: bytes, final: bool = False) -> None:
        self._newlines.decode(chunk.decode("latin-1"), final)
        seen = self._newlines.newlines
        if seen is not None and seen != "\r\n":
            kinds = (seen,) if isinstance(seen, str) else seen
            self.bare_cr = "\r" in kinds
            self.bare_lf = "\n" in kinds


class NormalizingEndOfData(EndOfData):
    """The same, and what it hands out has CRLF in place of each bare LF.

    The end has been found by then, in the bytes as they came, so that a bare LF never makes one. A
    message with a bare CR is not made good: it is to be refused.
    """

    __slots__ = ()

    def feed(self, chunk: bytes) -> bytes:
        """See :meth:`EndOfData.feed`."""
        before = self._seam
        piece = EndOfData.feed(self, chunk)
        return normalized(before, piece) if self.bare_lf else piece


def normalized(before: bytes, piece: bytes) -> bytes:
    """A piece of a message without bare CRs, each bare LF a CRLF, in wire form.

    A dot behind a bare LF was not at the beginning of a line when the client stuffed its dots, so
    it is stuffed now. One that was, and has a bare LF behind it, would stand alone on its line.

    :param before: the last two bytes before it; for the first piece the CRLF of DATA.
    """
    first = last = b""
    if before.endswith(b"\r") and piece.startswith(b"\n"):
        first, piece, before = b"\n", piece[1:], b"\r\n"
    if piece.endswith(b"\r"):
        last, piece = b"\r", piece[:-1]
    # Nothing but CRLFs hold a CR by now: alone it stands for one, and a LF for a bare one.
    seam = b"\r" if before == b"\r\n" else before[-1:]
    marked = seam + piece.replace(b"\r\n", b"\r")
    marked = marked.replace(b"\r.\n", b"\r..\n").replace(b"\n.", b"\n..")
    return first + marked[1:].replace(b"\n", b"\r").replace(b"\r", b"\r\n") + last
