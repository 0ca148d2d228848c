"""The header line that the gateway puts before every message: ``Received`` (RFC 5321 4.4)."""

import re
import time
from functools import lru_cache

from smtpforward.envelope import Client

_SAFE = re.compile(rb"[^\x21-\x27\x2a-\x5b\x5d-\x7e]")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)
_last_date = (-1, b"")
MAX_PATH = 256  # RFC 5321 4.5.3.1.3; a line of a message has at most 998 bytes


def received_line(
    client: Client, me: str, transaction: str, recipient: bytes, utf8: bool = False
) -> bytes:
    """The line, folded, with its CRLF.

    :param recipient: named in ``for`` when the message has just one; empty leaves that out, so
        that no recipient learns of another (RFC 5321 7.6). So does one longer than a path may be,
        or outside ASCII: the line goes to every backend.
    :param utf8: whether the client gave SMTPUTF8.
    """
    named = 0 < len(recipient) <= MAX_PATH and recipient.isascii()
    return b"%b id %b%b;\r\n\t%b\r\n" % (
        _from_and_by(client, me, utf8),
        transaction.encode("ascii"),
        b"\r\n\tfor " + recipient if named else b"",
        date_of(int(time.time())),
    )


@lru_cache(maxsize=1024)
def _from_and_by(client: Client, me: str, utf8: bool) -> bytes:
    """What is the same for all messages of a connection."""
    literal = f"IPv6:{client.ip}" if ":" in client.ip else client.ip
    helo = _SAFE.sub(b"?", client.helo)[:255] or b"unknown"
    keyword = client.transmission
    if utf8:  # RFC 6531 4.3
        keyword = "UTF8" + keyword.removeprefix("E")
    words = (client.name, literal, me, keyword)
    return b"Received: from %b (%b [%b])\r\n\tby %b with %b" % (
        helo,
        *(word.encode("ascii") for word in words),
    )


def date_of(now: int) -> bytes:
    """``now`` as RFC 5322 3.3 writes it, in UTC; made once a second."""
    global _last_date
    when, text = _last_date
    if when != now:
        t = time.gmtime(now)
        text = (
            f"{_DAYS[t.tm_wday]}, {t.tm_mday:02} {_MONTHS[t.tm_mon - 1]} {t.tm_year}"
            f" {t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} +0000"
        ).encode("ascii")
        _last_date = (now, text)
    return text
