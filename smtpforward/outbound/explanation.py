"""The part of a notification that people read: what happened, to whom, and what comes next."""

from collections.abc import Iterable, Sequence

from smtpforward.outbound.entry import Message
from smtpforward.outbound.notify import Action, Report
from smtpforward.outbound.wording import date, room_for_each, said, wrapped

_INDENT = "    "
_SUBJECTS = {
    Action.FAILED: "Undelivered mail: returned to its sender",
    Action.DELAYED: "Delayed mail: not delivered yet, and still being tried",
    Action.RELAYED: "Relayed mail: handed on",
    Action.DELIVERED: "Delivered mail",
}
_HAPPENED = {
    Action.FAILED: "Your message could not be delivered to:",
    Action.DELAYED: "Your message has not been delivered yet to:",
    Action.RELAYED: "Your message was handed on, on its way to:",
    Action.DELIVERED: "Your message was delivered to:",
}


def subject(reports: Iterable[Report]) -> str:
    """The subject, which speaks of the worst."""
    actions = {report.action for report in reports}
    return next(text for action, text in _SUBJECTS.items() if action in actions)


def explanation(message: Message, me: str, reports: Sequence[Report], coda: str) -> bytes:
    """The text, UTF-8 with CRLF.

    :param coda: what is said at the end of what is returned of the message, if anything.
    """
    begun = (
        f"This is the mail gateway {me}. It took a message from you on"
        f" {date(message.received)}, and gave it the id {message.id}."
    )
    paragraphs = [wrapped(begun)]
    room = room_for_each(len(reports))
    for alike in _grouped(reports):
        paragraphs += _told(alike, room)
    if coda:
        paragraphs.append(coda)
    return "\r\n\r\n".join(paragraphs).encode() + b"\r\n"


def _grouped(reports: Iterable[Report]) -> Iterable[Sequence[Report]]:
    """The reports in groups that differ in nothing but the recipient, in their order."""
    groups: dict[object, list[Report]] = {}
    for report in reports:
        key = (report.action, report.reply, report.peer, report.remote, report.retry_until)
        groups.setdefault(key, []).append(report)
    return groups.values()


def _told(alike: Sequence[Report], room: int) -> list[str]:
    """The paragraphs about recipients whose reports are the same."""
    first = alike[0]
    names = "\r\n".join(_INDENT + r.recipient.address.path.decode("utf-8") for r in alike)
    words = "\r\n".join(wrapped(line, _INDENT, _INDENT * 2) for line in said(first.reply, room))
    return [
        _HAPPENED[first.action],
        names,
        wrapped(_who_said(first)),
        words,
        wrapped(_what_next(first)),
    ]


def _who_said(report: Report) -> str:
    if report.remote:
        return f"The server {report.peer} answered:" if report.peer else "The next server answered:"
    where = f" with the server {report.peer}" if report.peer else ""
    return f"This is what the gateway found{where}:"


def _what_next(report: Report) -> str:
    if report.action is Action.FAILED:
        tried = f"The last attempt was on {date(report.at)}. "
        gave_up = "The gateway has given up, and does not try again."
        return gave_up if report.reply.permanent else tried + gave_up
    if report.action is Action.DELAYED:
        until = f" until {date(report.retry_until)}" if report.retry_until is not None else ""
        return (
            f"The gateway goes on trying{until}. There is no need to send the message again: if it"
            " cannot be delivered at all, you will be told."
        )
    if report.action is Action.RELAYED:
        return (
            "That server reports no deliveries: unless something goes wrong there, you will hear no"
            " more of it."
        )
    return "Nothing more is to be done."
