"""The part of a notification that programs read: message/delivery-status (RFC 3464 2).

Rules: all of it is ASCII, also where an address or a reply is not (RFC 6533 3: an address of the
type ``utf-8`` has a form for that), so that every server takes it. What is optional and does not
parse is left out.
"""

import ipaddress
import re
from collections.abc import Sequence

from smtpforward.envelope import Recipient
from smtpforward.outbound.entry import Message
from smtpforward.outbound.notify import Action, Report
from smtpforward.outbound.parts import Part, header
from smtpforward.outbound.wording import (
    MAX_WORD,
    address_in_ascii,
    date,
    in_ascii,
    room_for_each,
    said,
    wrapped,
)

_XTEXT = re.compile(rb"(?:[\x21-\x2a\x2c-\x3c\x3e-\x7e]|\+[0-9A-Fa-f]{2})*")
_ENCODED = re.compile(rb"\+([0-9A-Fa-f]{2})")
_EMBEDDED = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
_PEER = re.compile(r"(.*?)(?:\[(.*)\])?:\d+")
_TYPE = re.compile(rb"[A-Za-z0-9-]{1,40}")
_CLASS = {Action.FAILED: "5", Action.DELAYED: "4", Action.DELIVERED: "2", Action.RELAYED: "2"}


def status_part(message: Message, me: str, reports: Sequence[Report]) -> Part:
    """The groups of fields, the message's own first."""
    room = room_for_each(len(reports))
    groups = [of_message(message, me), *(of_recipient(report, room) for report in reports)]
    return Part("message/delivery-status", "7bit", b"\r\n".join(map(header, groups)))


def of_message(message: Message, me: str) -> list[tuple[str, str]]:
    """The fields that speak of the message (RFC 3464 2.2)."""
    fields = [("Reporting-MTA", f"dns; {me}")]
    envelope_id = decoded(message.envelope.parameters.get(b"ENVID", b""))
    if envelope_id.strip():
        fields.append(("Original-Envelope-Id", envelope_id))
    fields.append(("Arrival-Date", date(message.received)))
    return fields


def of_recipient(report: Report, room: int) -> list[tuple[str, str]]:
    """The fields that speak of one recipient (RFC 3464 2.3), in the RFC's order.

    :param room: characters for what was replied.
    """
    fields = [
        ("Original-Recipient", original_recipient(report.recipient)),
        ("Final-Recipient", final_recipient(report.recipient)),
        ("Action", report.action.value),
        ("Status", status(report)),
        ("Remote-MTA", _remote_mta(report)),
        ("Diagnostic-Code", _diagnostic_code(report, room)),
        ("Last-Attempt-Date", date(report.at)),
    ]
    if report.action is Action.DELAYED and report.retry_until is not None:
        fields.append(("Will-Retry-Until", date(report.retry_until)))
    return [(name, value) for name, value in fields if value]


def decoded(xtext: bytes) -> str:
    """What ``xtext`` (RFC 3461 4) stands for; empty where it is none, or not printable ASCII."""
    if not _XTEXT.fullmatch(xtext):
        return ""
    plain = _unencoded(xtext).decode("latin-1")
    return plain if plain.isascii() and plain.isprintable() and len(plain) <= MAX_WORD else ""


def _unencoded(xtext: bytes) -> bytes:
    return _ENCODED.sub(lambda match: bytes([int(match[1], 16)]), xtext)


def original_recipient(recipient: Recipient) -> str:
    """ORCPT as the field has it, decoded; empty without one, or with one that does not parse."""
    kind, _, value = recipient.parameters.get(b"ORCPT", b"").partition(b";")
    if not _TYPE.fullmatch(kind):
        return ""
    address = _of_utf8(value) if kind.lower() == b"utf-8" else decoded(value)
    return f"{kind.decode()}; {address}" if address.strip() else ""


def _of_utf8(value: bytes) -> str:
    """An address of the type ``utf-8`` (RFC 6533 3), which may come in any of its forms."""
    try:
        text = _unencoded(value).decode("utf-8")
        plain = _EMBEDDED.sub(lambda match: chr(int(match[1], 16)), text)
    except ValueError:
        return ""
    address = address_in_ascii(plain)
    return address if len(address) <= MAX_WORD else ""


def final_recipient(recipient: Recipient) -> str:
    """The address that the gateway sends to."""
    address = recipient.address.in_ascii()
    if address is not None:
        return f"rfc822; {address}"
    return f"utf-8; {address_in_ascii(str(recipient.address))}"


def status(report: Report) -> str:
    """The enhanced status code (RFC 3463).

    One that was given up after temporary failures keeps the last of them: RFC 3463 3.5 prefers it
    to 4.4.7, delivery time expired, which stands where the last one says nothing. Its class tells
    a sender's program that the address may still be good.
    """
    given = report.reply.status.decode("ascii")
    if report.action is Action.FAILED and given.startswith("4"):
        return "4.4.7" if given == "4.0.0" else given
    expected = _CLASS[report.action]
    return given if given.startswith(expected) else f"{expected}.0.0"


def _remote_mta(report: Report) -> str:
    """The server's name; an address literal (RFC 5321 4.1.3) where it has none."""
    match = _PEER.fullmatch(report.peer) if report.remote else None
    name = (match[1] or match[2]) if match else ""
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return f"dns; {in_ascii(name)}" if name else ""
    return f"dns; [{'IPv6:' if address.version == 6 else ''}{address}]"


def _diagnostic_code(report: Report, room: int) -> str:
    """The reply, line by line (RFC 3461 9.2); the gateway's own words have a type of their own."""
    first, *more = map(in_ascii, said(report.reply, room))
    first = f"{'smtp' if report.remote else 'x-smtpforward'}; {first}"
    lines = [
        wrapped(first, " " * len("Diagnostic-Code: "), "  ").lstrip(),
        *(wrapped(line, " ", "  ") for line in more),
    ]
    return "\r\n".join(lines)
