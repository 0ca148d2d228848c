"""The MIME parts of a notification (RFC 2045), made of bytes that have CRLF as their only line end.

The policy of ``email`` is the one that leaves a header as it stands: the others fold it anew, and
encode a long word of ASCII, which an address or an id does not survive.
"""

import binascii
from collections.abc import Iterable, Sequence
from email.generator import BytesGenerator
from email.message import Message as Part
from email.policy import compat32
from io import BytesIO

MAX_LINE = 998  # octets without the CRLF (RFC 5322 2.1.1)
_POLICY = compat32.clone(linesep="\r\n", max_line_length=None)

Fields = Iterable[tuple[str, str]]


def is_mail(data: bytes) -> bool:
    """Whether data may stand in a mail as it is: no NUL, and no line that is too long."""
    return b"\0" not in data and max(map(len, data.split(b"\r\n"))) <= MAX_LINE


def text_part(subtype: str, text: bytes) -> Part:
    """A text of any bytes: as it is where it is ASCII and may be, else quoted-printable."""
    if text.isascii() and is_mail(text):
        return as_it_is(f"text/{subtype}; charset=us-ascii", text)
    part = _part(f"text/{subtype}; charset={_charset(text)}", "quoted-printable")
    part.set_payload(as_text(binascii.b2a_qp(text)))
    return part


def as_it_is(kind: str, data: bytes) -> Part:
    """Data that :func:`is_mail`."""
    part = _part(kind, "7bit" if data.isascii() else "8bit")
    part.set_payload(as_text(data))
    return part


def groups_part(kind: str, groups: Iterable[Fields]) -> Part:
    """Groups of header fields, an empty line after each; all ASCII."""
    part = _part(kind, "7bit")
    part.set_payload([_with_fields(Part(), group) for group in groups])
    return part


def report_of(headers: Fields, parts: Sequence[Part], name: str) -> Part:
    """The multipart/report (RFC 6522 3) of ``parts``, which are in no way changed.

    :param name: what the line between them is called after; where it stands in one of them, it gets
        longer until it does not.
    """
    held = b"".join(map(flat, parts))
    boundary = f"=_{name}"
    while boundary.encode("ascii") in held:
        boundary += "_"
    report = _with_fields(Part(), headers)
    report["Content-Type"] = (
        f'multipart/report; report-type=delivery-status;\r\n boundary="{boundary}"'
    )
    report["Content-Transfer-Encoding"] = "7bit" if held.isascii() else "8bit"
    for part in parts:
        report.attach(part)
    return report


def flat(part: Part) -> bytes:
    """A part with all that is in it, as it goes into a mail."""
    written = BytesIO()
    BytesGenerator(written, mangle_from_=False, policy=_POLICY).flatten(part)
    return written.getvalue()


def as_text(data: bytes) -> str:
    """Bytes as ``email`` has them, in a header or a body that is not to be encoded."""
    return data.decode("ascii", "surrogateescape")


def _part(kind: str, encoding: str) -> Part:
    return _with_fields(Part(), (("Content-Type", kind), ("Content-Transfer-Encoding", encoding)))


def _with_fields(part: Part, fields: Fields) -> Part:
    for name, value in fields:
        part[name] = value
    return part


def _charset(text: bytes) -> str:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return "unknown-8bit"  # RFC 1428
    return "utf-8"
