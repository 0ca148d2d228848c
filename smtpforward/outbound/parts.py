"""The MIME parts of a notification (RFC 2045), put together from bytes.

``email`` does not do it: what it writes is not the original byte for byte once that holds 8-bit
bytes, and it encodes long words of ASCII, such as an id, which then are others.

Rules: CRLF is the only line end, everything ends with one, and no line is longer than ``MAX_LINE``.
"""

import binascii
from collections.abc import Iterable, Sequence

from attrs import frozen

MAX_LINE = 998  # octets without the CRLF (RFC 5322 2.1.1)

Fields = Iterable[tuple[str, str]]


@frozen
class Part:
    """A part with its body as it is encoded."""

    kind: str
    encoding: str
    body: bytes

    def flat(self) -> bytes:
        """Header and body."""
        fields = (("Content-Type", self.kind), ("Content-Transfer-Encoding", self.encoding))
        return header(fields) + b"\r\n" + self.body


def is_mail(data: bytes) -> bool:
    """Whether data may stand in a mail as it is: no NUL, and no line that is too long."""
    return b"\0" not in data and max(map(len, data.split(b"\r\n"))) <= MAX_LINE


def text_part(subtype: str, text: bytes) -> Part:
    """A text of any bytes: as it is where it is ASCII and may be, else quoted-printable."""
    kind = f"text/{subtype}; charset={_charset(text)}"
    if text.isascii() and is_mail(text):
        return Part(kind, "7bit", text)
    return Part(kind, "quoted-printable", binascii.b2a_qp(text))


def as_it_is(kind: str, data: bytes) -> Part:
    """Data that :func:`is_mail`."""
    return Part(kind, "7bit" if data.isascii() else "8bit", data)


def header(fields: Fields) -> bytes:
    """Header fields; a line end in a value is one that folds it."""
    return "".join(f"{name}: {value}\r\n" for name, value in fields).encode()


def report(fields: Fields, parts: Sequence[Part], name: str) -> bytes:
    """A mail that is a multipart/report (RFC 6522 3) of ``parts``.

    :param name: what the line between them is called after; where it stands in one of them, it gets
        longer until it does not.
    """
    flat = [part.flat() for part in parts]
    boundary = f"=_{name}".encode("ascii")
    while any(boundary in part for part in flat):
        boundary += b"_"
    kind = f'multipart/report; report-type=delivery-status;\r\n boundary="{boundary.decode()}"'
    encoding = "7bit" if all(map(bytes.isascii, flat)) else "8bit"
    body = b"".join(b"--%b\r\n%b\r\n" % (boundary, part) for part in flat)
    return header(fields) + Part(kind, encoding, b"%b--%b--\r\n" % (body, boundary)).flat()


def _charset(text: bytes) -> str:
    if text.isascii():
        return "us-ascii"
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return "unknown-8bit"  # RFC 1428
    return "utf-8"
