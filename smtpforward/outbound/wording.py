"""Words from outside in a notification: made printable, bounded, and folded.

Nothing that a remote server or a client said can end a line of a notification, or begin a field.
"""

import re
import textwrap
from datetime import UTC, datetime
from email.utils import format_datetime

from smtpforward.record import printable
from smtpforward.reply import Reply

MAX_REPLY = 4096  # characters of one reply
MAX_REPLIES = 512 * 1024  # of all the replies in one notification
WIDTH = 76
MAX_WORD = 900  # a line may have 998 characters (RFC 5322 2.1.1)
_TOO_LONG = re.compile(rf"\S{{{MAX_WORD}}}(?=\S)")
_NOT_PRINTABLE_ASCII = re.compile(r"[^\x20-\x7e]")
_NOT_IN_ADDRESS = re.compile(r"[^\x21-\x2a\x2c-\x3c\x3e-\x5b\x5d-\x7e]")


def room_for_each(count: int) -> int:
    """How many characters each of so many replies may have: a thousand servers may say a lot."""
    return min(MAX_REPLY, MAX_REPLIES // count)


def said(reply: Reply, room: int) -> list[str]:
    """The lines of a reply as they stood on the wire, in printable characters, at least one.

    :param room: for so many characters; the last line ends with dots where more was said.
    """
    lines: list[str] = []
    for number, line in enumerate(reply.lines, 1):
        text = printable(line.decode("utf-8", "backslashreplace"))
        if len(text) > room:
            return [*lines, f"{reply.code} {text[:room]}..."]
        room -= len(text)
        lines.append(f"{reply.code}{'-' if number < len(reply.lines) else ' '}{text}".rstrip())
    return lines


def in_ascii(text: str) -> str:
    r"""``text`` with what is not printable ASCII as ``\x{HEX}``, as addresses have it."""
    return _NOT_PRINTABLE_ASCII.sub(_embedded, text)


def address_in_ascii(address: str) -> str:
    """An address as ``utf-8-addr-xtext`` (RFC 6533 3)."""
    return _NOT_IN_ADDRESS.sub(_embedded, address)


def _embedded(match: re.Match[str]) -> str:
    return rf"\x{{{ord(match[0]):02X}}}"


def wrapped(text: str, first: str = "", rest: str = "") -> str:
    """One paragraph in lines of ``WIDTH``, where its words allow; none is too long for a mail.

    :param first: what its first line begins with. ``rest``: the other ones.
    :return: the lines with CRLF between them.
    """
    lines = textwrap.wrap(
        _TOO_LONG.sub(r"\g<0> ", text),
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\r\n".join(lines)


def date(seconds: float) -> str:
    """A time as a mail has it (RFC 5322 3.3), in UTC."""
    return format_datetime(datetime.fromtimestamp(int(seconds), UTC))
