"""Composes delivery status notifications: bounces, delay notices, and notices of success.

RFC 3461 (what a sender asked for), RFC 3464 and 6522 (the form). Three parts: a text for people,
one for programs, and of the message what may be returned. A notification comes from the null
sender, so that none is ever made of it; whether there is to be one, ``notify.wanted`` says.

Failure policy: whatever clients and servers said is made to fit. Only a message that cannot be read
makes it fail, with OSError.
"""

from collections.abc import Sequence

from attrs import field, frozen

from smtpforward.content import Content
from smtpforward.envelope import NULL_SENDER, Address, Envelope, Recipient
from smtpforward.outbound.entry import Message
from smtpforward.outbound.explanation import explanation, subject
from smtpforward.outbound.notify import Action, Report
from smtpforward.outbound.parts import report, text_part
from smtpforward.outbound.returned import Kind, returned
from smtpforward.outbound.status import status_part
from smtpforward.outbound.wording import date

_CODAS = {
    Kind.WHOLE: "Your message follows.",
    Kind.HEADER: "The header of your message follows.",
    Kind.NOTHING: "",
}


@frozen
class Notice:
    """A notification, to be queued or sent like any message.

    :ivar content: in plain form, in memory; the caller closes it.
    """

    envelope: Envelope
    content: Content = field(repr=False)


def compose(
    message: Message, original: Content, reports: Sequence[Report], me: str, now: float, id: str
) -> Notice:
    """One notification of all ``reports`` on ``message``, to its sender, who is not the null one.

    :param original: the message's content, its prefix with it; stays the caller's.
    :param reports: of the recipients for whom it is wanted; at least one.
    :param me: this gateway's name. ``now``: seconds since the epoch. ``id``: of the notification.
    :raise OSError: when ``original`` cannot be read.
    """
    back = returned(original, _may_return_whole(message, reports))
    text = text_part("plain", explanation(message, me, reports, _CODAS[back.kind]))
    parts = [text, status_part(message, me, reports), *back.parts]
    sender = message.envelope.sender
    to = sender.in_ascii() or sender
    headers = [
        ("From", f"Mail Delivery System <MAILER-DAEMON@{me}>"),
        ("To", to.path.decode("utf-8")),
        ("Subject", subject(reports)),
        ("Date", date(now)),
        ("Message-ID", f"<{id}@{me}>"),
        *((name, back.message_id) for name in ("In-Reply-To", "References") if back.message_id),
        ("Auto-Submitted", "auto-replied"),
        ("MIME-Version", "1.0"),
    ]
    mail = report(headers, parts, id)
    return Notice(_envelope(to, mail), Content.from_plain(mail))


def _may_return_whole(message: Message, reports: Sequence[Report]) -> bool:
    """RET speaks of failures; other notices return the header only (RFC 3461 4.3)."""
    failed = any(one.action is Action.FAILED for one in reports)
    return failed and message.envelope.parameters.get(b"RET", b"").upper() != b"HDRS"


def _envelope(to: Address, mail: bytes) -> Envelope:
    parameters = {}
    if not mail.isascii():
        parameters[b"BODY"] = b"8BITMIME"
    if not to.path.isascii():
        parameters[b"SMTPUTF8"] = b""
    return Envelope(NULL_SENDER, (Recipient(to),), parameters)
