"""What an operator asks: lists, one message, numbers. Reads only."""

import json
from collections.abc import Sequence
from typing import Any

from smtpforward.job import Delivery
from smtpforward.outbound.entry import DestinationCount, Filter, Listed, Shown, Stats
from smtpforward.outbound.store.rows import (
    Standing,
    attempt_of,
    indices_of,
    message_of,
    of_indices,
    sought,
    states_of,
)
from smtpforward.outbound.store.sqlite.connection import Transaction
from smtpforward.outbound.store.sqlite.schema import MESSAGE

_COLUMNS = "entry.id, destination, delivery, queued, attempts, due, held, owner, last"
OPEN_ENTRIES = "FROM entry JOIN message ON message.number = entry.message WHERE due IS NOT NULL"
_OPEN = f"SELECT {_COLUMNS}, {MESSAGE} {OPEN_ENTRIES}"
_ORDER = "ORDER BY entry.received, entry.id"
_STANDINGS = "SELECT queued, delivered, failed FROM entry WHERE message = ?"
_ATTEMPTS = """
SELECT at, took, peer, results FROM attempt JOIN entry ON entry.id = attempt.entry
WHERE message = ? ORDER BY at, attempt.number
"""
# An entry that is held is never leased: it is not claimed, and a leased one is not held.
LEASED = "(owner IS NOT NULL AND due > :now)"
_MESSAGES = "SELECT count(*), coalesce(sum(size), 0), min(received) FROM message"
_ENTRIES = f"""
SELECT coalesce(sum(held), 0), coalesce(sum({LEASED}), 0),
    coalesce(sum(NOT held AND due <= :now), 0), count(*)
FROM entry WHERE due IS NOT NULL
"""
_DESTINATIONS = """
SELECT destination, count(*) AS entries, min(received) FROM entry WHERE due IS NOT NULL
GROUP BY destination ORDER BY entries DESC, destination LIMIT ?
"""


def conditions(which: Filter) -> tuple[str, dict[str, Any]]:
    """What a filter asks of entries with their messages: terms after a ``WHERE``, and values."""
    asked = (
        ("ids", "message.id IN (SELECT value FROM json_each(:ids))", json.dumps(which.ids)),
        ("sender", "instr(sender, :sender)", sought(which.sender or "")),
        ("recipient", "instr(recipients, :recipient)", sought(which.recipient or "")),
        ("destination", "destination = :destination", which.destination),
        ("held", "held = :held", which.held),
        ("older", "entry.received < :older", which.older),
    )
    given = [each for each in asked if getattr(which, each[0]) not in (None, ())]
    return (
        "".join(f" AND {term}" for _, term, _ in given),
        {name: value for name, _, value in given},
    )


def listed(
    transaction: Transaction, which: Filter, most: int, after: Listed | None, now: float
) -> list[Listed]:
    """See :meth:`smtpforward.interfaces.IQueueStore.listed`."""
    terms, values = conditions(which)
    if after is not None:
        terms += " AND (entry.received, entry.id) > (:received, :after)"
        values |= {"received": after.message.received, "after": after.entry}
    statement = f"{_OPEN}{terms} {_ORDER} LIMIT :most"
    rows = transaction.execute(statement, {**values, "most": most}).fetchall()
    return [_listed(row, now) for row in rows]


def _listed(row: Sequence[Any], now: float) -> Listed:
    id_, destination, delivery, queued, attempts, due, held, owner, last = row[:9]
    message = message_of(row[9:])
    return Listed(
        *(id_, message, destination, Delivery(delivery)),
        *(of_indices(message.envelope, indices_of(queued)), attempts, due, bool(held)),
        *(owner is not None and due > now, last),
    )


def shown(transaction: Transaction, id_: str, now: float) -> Shown | None:
    """See :meth:`smtpforward.interfaces.IQueueStore.shown`."""
    found = transaction.execute(f"SELECT number, {MESSAGE} FROM message WHERE id = ?", (id_,))
    row = found.fetchone()
    if row is None:
        return None
    number, message = row[0], message_of(row[1:])
    entries = transaction.execute(f"{_OPEN} AND message = ? ORDER BY entry.id", (number,))
    standings = transaction.execute(_STANDINGS, (number,))
    attempts = transaction.execute(_ATTEMPTS, (number,))
    return Shown(
        message,
        tuple(_listed(each, now) for each in entries),
        states_of(len(message.envelope.recipients), (Standing.of(*each) for each in standings)),
        tuple(attempt_of(*each) for each in attempts),
    )


def stats(transaction: Transaction, most: int, now: float) -> Stats:
    """See :meth:`smtpforward.interfaces.IQueueStore.stats`."""
    messages, octets, oldest = transaction.execute(_MESSAGES).fetchone()
    held, leased, due, entries = transaction.execute(_ENTRIES, {"now": now}).fetchone()
    destinations = transaction.execute(_DESTINATIONS, (most,)).fetchall()
    return Stats(
        *(messages, octets, due, entries - held - leased - due, held, leased, oldest),
        tuple(DestinationCount(*row) for row in destinations),
    )
