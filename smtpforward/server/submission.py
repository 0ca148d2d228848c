"""What a message of a client that relays may lack: ``Date`` and ``Message-ID`` (RFC 6409 8.2, 8.3).

Mail of others is left as it is: whoever sent it first has had its turn.
"""

import re
import time

from smtpforward.content import HEADER_LIMIT, Content
from smtpforward.server.received import date_of

_FIELDS = re.compile(rb"^(date|message-id)[ \t]*:", re.MULTILINE)


def missing_fields(content: Content, me: str, transaction: str) -> bytes:
    """Those of the two lines that the header lacks, each with its CRLF.

    A header that is too long to be looked through gets none: a second line would be worse.
    """
    header = content.lowered_header()
    if b"\ndate:" in header and b"\nmessage-id:" in header:
        return b""
    if len(header) >= HEADER_LIMIT:
        return b""
    there = set(_FIELDS.findall(header))
    lines = b""
    if b"date" not in there:
        lines += b"Date: %b\r\n" % date_of(int(time.time()))
    if b"message-id" not in there:
        lines += b"Message-ID: <%b@%b>\r\n" % (transaction.encode("ascii"), me.encode("ascii"))
    return lines
