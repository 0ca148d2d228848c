"""Values of the queue as JSON: times as RFC 3339 in UTC, sizes and counts as numbers.

The keys are part of what the command and the API promise: ``docs/queue-command.md`` has them. Text
is as it was, control characters escaped, so that a terminal and a program may both have it.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from smtpforward.content import Content
from smtpforward.outbound.entry import Attempt, Listed, Message, Shown, Stats
from smtpforward.outbound.header import decoded, header, lines
from smtpforward.outbound.states import state


def moment(at: float) -> str:
    """A time as RFC 3339 has it, in UTC, to the millisecond."""
    text = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def dumped(value: object) -> str:
    """One line, all of it printable ASCII."""
    return json.dumps(value, ensure_ascii=True)


def listed(entry: Listed, now: float) -> dict[str, Any]:
    """One line of ``list``."""
    return _message(entry.message) | _entry(entry, now)


def shown(message: Shown, section: Iterable[bytes], now: float) -> dict[str, Any]:
    """One message of ``show``, without its body."""
    envelope = message.message.envelope
    pairs = zip(envelope.recipients, message.states, strict=True)
    return _message(message.message) | {
        "parameters": _parameters(envelope.parameters),
        "recipients": [
            {
                "address": str(recipient.address),
                "parameters": _parameters(recipient.parameters),
                "state": became.value,
            }
            for recipient, became in pairs
        ],
        "entries": [_entry(entry, now) for entry in message.entries],
        "attempts": [_attempt(attempt, message.message) for attempt in message.attempts],
        "header": [decoded(line) for line in section],
    }


def document(
    message: Shown, content: Content, now: float, with_body: bool = False
) -> dict[str, Any]:
    """One message of ``show``, with what its content holds."""
    section, body = header(lines(content.plain()))
    made = shown(message, section, now)
    return made | {"body": list(map(decoded, body))} if with_body else made


def stats(numbers: Stats) -> dict[str, Any]:
    """The document of ``stats``."""
    oldest = numbers.oldest
    return {
        "messages": numbers.messages,
        "octets": numbers.octets,
        "entries": numbers.due + numbers.deferred + numbers.held + numbers.leased,
        "due": numbers.due,
        "deferred": numbers.deferred,
        "held": numbers.held,
        "leased": numbers.leased,
        "oldest": None if oldest is None else moment(oldest),
        "destinations": [
            {"destination": one.destination, "entries": one.entries, "oldest": moment(one.oldest)}
            for one in numbers.destinations
        ],
    }


def _message(message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "received": moment(message.received),
        "size": message.size,
        "origin": message.origin,
        "sender": str(message.envelope.sender),
    }


def _entry(entry: Listed, now: float) -> dict[str, Any]:
    return {
        "entry": entry.entry,
        "destination": entry.destination,
        "delivery": entry.delivery.value,
        "to": [str(recipient.address) for recipient in entry.recipients],
        "attempts": entry.attempts,
        "state": state(entry, now),
        "due": moment(entry.due),
        "last": entry.last,
    }


def _attempt(attempt: Attempt, message: Message) -> dict[str, Any]:
    recipients = message.envelope.recipients
    return {
        "at": moment(attempt.at),
        "took": attempt.took,
        "peer": attempt.peer,
        "results": [
            {
                "address": str(recipients[result.index].address),
                "state": result.state.value,
                "reply": result.reply,
            }
            for result in attempt.results
        ],
    }


def _parameters(parameters: Mapping[bytes, bytes]) -> dict[str, str]:
    return {decoded(keyword): decoded(value) for keyword, value in parameters.items()}
