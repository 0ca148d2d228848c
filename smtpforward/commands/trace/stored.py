"""What the store of the outbound queue knows of messages, as events."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from attrs import frozen

from smtpforward.commands.trace.event import Told
from smtpforward.content import Content
from smtpforward.interfaces import IQueueStore
from smtpforward.outbound import as_json
from smtpforward.outbound.entry import Shown, State
from smtpforward.outbound.header import header, lines
from smtpforward.outbound.looking import found
from smtpforward.outbound.notices import ORIGIN

SOURCE = "queue"
STATUS = {State.DELIVERED: "sent", State.QUEUED: "deferred", State.FAILED: "bounced"}
# In the text of a notification: which message it is about.
_ABOUT = re.compile(rb"gave\s+it\s+the\s+id\s+([0-9A-F]{1,20})")
MOST_READ = 65536


@frozen
class Stored:
    """One message.

    :ivar document: as ``smtpforward queue show --json`` has it.
    :ivar about: the id of the message that it is a notification of; or empty.
    """

    events: tuple[Told, ...]
    document: dict[str, Any]
    about: str = ""


async def look(store: IQueueStore, ids: Sequence[str]) -> dict[str, Stored]:
    """Those of ``ids`` that are there."""
    known = {}
    for id in ids:
        one = await found(store, id)
        if one is not None:
            message, content = one
            try:
                known[id] = _stored(message, content, store.now())
            finally:
                content.close()
    return known


def _stored(message: Shown, content: Content, now: float) -> Stored:
    section, _ = header(lines(content.plain()))
    document = as_json.shown(message, section, now)
    about = _about(content) if message.message.origin == ORIGIN else ""
    return Stored(tuple(_events(message)), document, about)


def _about(content: Content) -> str:
    read = b""
    for piece in content.plain():
        read += piece
        if len(read) > MOST_READ:
            break
    match = _ABOUT.search(read)
    return match[1].decode("ascii") if match else ""


def _events(shown: Shown) -> Iterator[Told]:
    message = shown.message
    recipients = [str(one.address) for one in message.envelope.recipients]
    facts = {
        "from": str(message.envelope.sender),
        "to": recipients,
        "nrcpt": len(recipients),
        "size": message.size,
        "origin": message.origin,
    }
    yield Told(message.received, "received", message.id, facts, (SOURCE,))
    for attempt in shown.attempts:
        for result in attempt.results:
            facts = {
                "to": [recipients[result.index]],
                "relay": attempt.peer or None,
                "status": STATUS[result.state],
                "reply": result.reply,
                "took": attempt.took,
            }
            yield Told(attempt.at, "attempt", message.id, facts, (SOURCE,))
