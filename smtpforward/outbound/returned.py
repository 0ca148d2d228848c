"""What a notification returns of the message: all of it, or its header (RFC 3461 4.3, RFC 6522).

Rules: the whole only with a failure, where ``RET=HDRS`` does not forbid it, up to ``MAX_WHOLE``
bytes, and as long as it may stand in a mail as it is: lines of at most 998 octets, no NUL, and a
header of ASCII alone (one with UTF-8 would need a server with SMTPUTF8, RFC 6532 3.7). Else the
header, up to ``MAX_HEADER`` bytes, encoded where it must be. No more than that is read.
"""

import enum
import re

from attrs import frozen

from smtpforward.content import Content
from smtpforward.outbound.parts import Part, as_it_is, is_mail, text_part

MAX_WHOLE = 50 * 1024
MAX_HEADER = 64 * 1024
_FIELDS = re.compile(rb"(?:[\x21-\x39\x3b-\x7e]+[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*)*")
_MESSAGE_ID = re.compile(
    rb"^message-id[ \t]*:\s*(<[\x21-\x3b\x3d\x3f-\x7e]{3,250}>)[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)


class Kind(enum.Enum):
    """How much goes back."""

    WHOLE = "the whole message"
    HEADER = "the header"
    NOTHING = "nothing: there is no header"


@frozen
class Returned:
    """What goes back.

    :ivar parts: the third part of the notification, or none.
    :ivar message_id: the message's own, with angle brackets, or empty.
    """

    kind: Kind
    parts: tuple[Part, ...]
    message_id: str


def returned(original: Content, whole: bool) -> Returned:
    """What is returned of ``original``, whose prefix is part of it.

    :param whole: whether all of it may be.
    :raise OSError: when it cannot be read.
    """
    start = _beginning(original, MAX_HEADER)
    header = _header(start)
    found = _MESSAGE_ID.search(header.replace(b"\r\n", b"\n"))
    message_id = found[1].decode("ascii") if found else ""
    if whole and 0 < len(start) <= MAX_WHOLE and header.isascii() and is_mail(start):
        return Returned(Kind.WHOLE, (as_it_is("message/rfc822", start),), message_id)
    if header:
        return Returned(Kind.HEADER, (text_part("rfc822-headers", header),), message_id)
    return Returned(Kind.NOTHING, (), message_id)


def _beginning(original: Content, most: int) -> bytes:
    """The message, or its first ``most`` bytes, as its sender wrote it: without stuffed dots."""
    pieces, room = [], most
    for piece in original.plain():
        pieces.append(piece[:room])
        room -= len(piece)
        if room <= 0:
            break
    return b"".join(pieces)


def _header(start: bytes) -> bytes:
    """The whole lines of the header: up to what is no header field."""
    fields = _FIELDS.match(start)
    return fields[0] if fields else b""
