"""SMTP as a server reads it: command lines, messages and chunks, out of the bytes as they came.

The end of a message is CRLF, dot, CRLF and nothing else (RFC 5321 4.1.1.4), however the bytes were
cut into segments.
"""

END = b"\r\n.\r\n"
EMPTY = b".\r\n"


class Received:
    """The unread bytes of one connection."""

    def __init__(self) -> None:
        self._unread = bytearray()
        self._searched = 0

    def __bytes__(self) -> bytes:
        return bytes(self._unread)

    def feed(self, data: bytes) -> None:
        self._unread += data

    def line(self) -> bytes | None:
        """The next line without its CRLF; None when it is not complete."""
        at = self._find(b"\r\n")
        return None if at < 0 else self._take(at, 2)

    def message(self) -> bytes | None:
        """The next message without the dot line that ends it, still dot-stuffed; else None."""
        if self._unread.startswith(EMPTY):
            return self._take(0, len(EMPTY))
        at = self._find(END)
        return None if at < 0 else self._take(at + 2, len(EMPTY))

    def chunk(self, size: int) -> bytes | None:
        """The next ``size`` bytes (BDAT, RFC 3030); None when they are not all there."""
        return self._take(size, 0) if len(self._unread) >= size else None

    def _find(self, mark: bytes) -> int:
        at = self._unread.find(mark, self._searched)
        self._searched = max(0, len(self._unread) - len(mark) + 1) if at < 0 else 0
        return at

    def _take(self, size: int, mark: int) -> bytes:
        taken = bytes(self._unread[:size])
        del self._unread[: size + mark]
        self._searched = 0
        return taken


def undotted(wire: bytes) -> bytes:
    """The message in ``wire``: the dot that was added to each line that begins with one, removed.

    >>> undotted(stuffed(b".a\\r\\n..\\r\\n")) == b".a\\r\\n..\\r\\n"
    True
    """
    plain = wire.replace(b"\r\n.", b"\r\n")
    return plain[1:] if plain.startswith(b".") else plain


def stuffed(plain: bytes) -> bytes:
    """``plain``, whose lines end in CRLF, as it goes over the wire, without the dot line."""
    wire = plain.replace(b"\r\n.", b"\r\n..")
    return b"." + wire if wire.startswith(b".") else wire
