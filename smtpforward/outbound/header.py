"""A message in two parts, header section and body, whatever it holds, line by line.

The header section ends where a line is no field and no continuation of one (RFC 5322 2.2), so that
a message without an empty line does not show its text as a header.
"""

import re
from collections.abc import Iterable, Iterator

from smtpforward.record import printable

_FIELD = re.compile(rb"[\x21-\x39\x3b-\x7e]+[ \t]*:")


def lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a message that comes in pieces with CRLF as its line end, without it."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\r\n")
        yield from whole
    if rest:
        yield rest


def header(message: Iterator[bytes]) -> tuple[list[bytes], Iterator[bytes]]:
    """The lines of the header section, and those of the body, the latter not yet read."""
    section: list[bytes] = []
    for line in message:
        if not line:
            break
        if not _FIELD.match(line) and not (section and line.startswith((b" ", b"\t"))):
            return section, _before(line, message)
        section.append(line)
    return section, message


def _before(line: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield line
    yield from rest


def decoded(line: bytes) -> str:
    """A line as text: what is no UTF-8 is written ``\\xNN``."""
    return line.decode("utf-8", "backslashreplace")


def visible(line: bytes) -> str:
    """A line for a terminal: control characters but the tab are made visible."""
    return "\t".join(map(printable, decoded(line).split("\t")))
