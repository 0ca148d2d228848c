"""What an operator asks: lists, one message, numbers. Reads only."""

from collections.abc import Sequence
from typing import Any

from smtpforward.job import Delivery
from smtpforward.outbound.entry import DestinationCount, Filter, Listed, Shown, Stats
from smtpforward.outbound.store.postgresql.connections import Work
from smtpforward.outbound.store.postgresql.faults import reading
from smtpforward.outbound.store.postgresql.schema import MESSAGE
from smtpforward.outbound.store.rows import (
    Standing,
    attempt_of,
    indices_of,
    message_of,
    of_indices,
    sought,
    states_of,
    storable,
)

# An entry that is held is never leased: it is not claimed, and a leased one is not held.
LEASED = "(owner IS NOT NULL AND due > %(now)s)"
FROM = "FROM entry JOIN message ON message.id = entry.message WHERE due IS NOT NULL"

_OPEN = f"""
SELECT entry.id, destination, delivery, queued, attempts, due, held, {LEASED}, last, {MESSAGE}
{FROM}
"""
_ORDER = "ORDER BY entry.received, entry.id"
_MESSAGE = f"SELECT {MESSAGE} FROM message WHERE id = %(id)s"
_STANDINGS = "SELECT queued, delivered, failed FROM entry WHERE message = %s"
_ATTEMPTS = """
SELECT at, took, peer, results FROM attempt JOIN entry ON entry.id = attempt.entry
WHERE message = %s ORDER BY at, number
"""
_MESSAGES = "SELECT count(*), coalesce(sum(size), 0)::int8, min(received) FROM message"
_ENTRIES = f"""
SELECT count(*) FILTER (WHERE held), count(*) FILTER (WHERE {LEASED}),
    count(*) FILTER (WHERE NOT held AND due <= %(now)s), count(*)
FROM entry WHERE due IS NOT NULL
"""
_DESTINATIONS = """
SELECT destination, count(*), min(received) FROM entry WHERE due IS NOT NULL
GROUP BY destination ORDER BY 2 DESC, destination LIMIT %s
"""


def conditions(which: Filter) -> tuple[str, dict[str, Any]]:
    """What a filter asks of an entry and its message, ``AND`` before each, and its values."""
    asked = (
        ("ids", "message.id = ANY (%(ids)s::text[])", [storable(each) for each in which.ids]),
        ("sender", "strpos(sender, %(sender)s) > 0", sought(which.sender or "")),
        ("recipient", "strpos(recipients, %(recipient)s) > 0", sought(which.recipient or "")),
        ("destination", "destination = %(destination)s", storable(which.destination or "")),
        ("held", "held = %(held)s", which.held),
        ("older", "entry.received < %(older)s", which.older),
    )
    given = [each for each in asked if getattr(which, each[0]) not in (None, ())]
    return (
        "".join(f" AND {term}" for _, term, _ in given),
        {name: value for name, _, value in given},
    )


def listed(work: Work, which: Filter, most: int, after: Listed | None, now: float) -> list[Listed]:
    """See :meth:`smtpforward.interfaces.IQueueStore.listed`."""
    terms, values = conditions(which)
    if after is not None:
        terms += " AND (entry.received, entry.id) > (%(received)s, %(after)s)"
        values |= {"received": after.message.received, "after": after.entry}
    statement = f"{_OPEN}{terms} {_ORDER} LIMIT %(most)s"
    rows = work.rows(statement, {**values, "most": most, "now": now})
    with reading():
        return [_listed(row) for row in rows]


def _listed(row: Sequence[Any]) -> Listed:
    id_, destination, delivery, queued, attempts, due, held, leased, last = row[:9]
    message = message_of(row[9:])
    recipients = of_indices(message.envelope, indices_of(queued))
    return Listed(
        *(id_, message, destination, Delivery(delivery), recipients),
        *(attempts, due, held, leased, last),
    )


def shown(work: Work, id_: str, now: float) -> Shown | None:
    """See :meth:`smtpforward.interfaces.IQueueStore.shown`."""
    id_ = storable(id_)
    with work.connection.transaction():
        # All of one moment.
        work.do("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        found = work.rows(_MESSAGE, {"id": id_})
        if not found:
            return None
        mine = f"{_OPEN} AND message = %(id)s ORDER BY entry.id"
        entries = work.rows(mine, {"id": id_, "now": now})
        standings = work.rows(_STANDINGS, (id_,))
        attempts = work.rows(_ATTEMPTS, (id_,))
    with reading():
        message = message_of(found[0])
        return Shown(
            message,
            tuple(_listed(each) for each in entries),
            states_of(len(message.envelope.recipients), (Standing.of(*each) for each in standings)),
            tuple(attempt_of(*each) for each in attempts),
        )


def stats(work: Work, most: int, now: float) -> Stats:
    """See :meth:`smtpforward.interfaces.IQueueStore.stats`."""
    with work.connection.transaction():
        work.do("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        messages, octets, oldest = work.rows(_MESSAGES)[0]
        held, leased, due, entries = work.rows(_ENTRIES, {"now": now})[0]
        destinations = work.rows(_DESTINATIONS, (most,))
    return Stats(
        *(messages, octets, due, entries - held - leased - due, held, leased, oldest),
        tuple(DestinationCount(*row) for row in destinations),
    )
