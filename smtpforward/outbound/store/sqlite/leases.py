"""What is due, and who has it: a lease moves ``due`` to its end, and so ends by itself."""

import json
from collections.abc import Collection, Sequence
from typing import Any

from smtpforward.content import Content
from smtpforward.job import Delivery
from smtpforward.outbound.entry import Claimed, Lease
from smtpforward.outbound.store.rows import ASKED, indices_of, message_of
from smtpforward.outbound.store.sqlite.connection import Execute, Transaction
from smtpforward.outbound.store.sqlite.schema import MESSAGE, WAITING

LOOKED_AT = 1000

_FIRST_DUE = f"""
SELECT destination, min(due), count(*) FROM
    (SELECT destination, due FROM entry INDEXED BY entry_due
     WHERE {WAITING} AND due <= :now
     AND destination NOT IN (SELECT value FROM json_each(:but)) ORDER BY due LIMIT {LOOKED_AT})
GROUP BY destination ORDER BY 2 LIMIT :most
"""
# From each destination straight to the next one, however many entries it has.
_ALL_DUE = f"""
WITH RECURSIVE each (name) AS (
    SELECT min(destination) FROM entry INDEXED BY entry_destination WHERE {WAITING}
    UNION ALL
    SELECT (SELECT min(destination) FROM entry INDEXED BY entry_destination
            WHERE {WAITING} AND destination > name)
    FROM each WHERE name IS NOT NULL
)
SELECT name, (SELECT min(due) FROM entry INDEXED BY entry_destination
              WHERE {WAITING} AND destination = name) AS first
FROM each
WHERE name IS NOT NULL AND name NOT IN (SELECT value FROM json_each(:but)) AND first <= :now
ORDER BY first LIMIT :most
"""
_NEXT_DUE = f"""
SELECT due FROM entry INDEXED BY entry_due
WHERE {WAITING} AND destination NOT IN (SELECT value FROM json_each(?)) ORDER BY due LIMIT 1
"""
_CLAIM = f"""
SELECT entry.id, destination, delivery, queued, attempts, noticed, due = {ASKED}, data, {MESSAGE}
FROM entry INDEXED BY entry_destination JOIN message ON message.number = entry.message
JOIN body ON body.message = entry.message
WHERE {WAITING} AND destination = ? AND due <= ? ORDER BY due, entry.id LIMIT ?
"""
_OWN = "owner = ? AND due IS NOT NULL AND id IN (SELECT value FROM json_each(?))"


def due(transaction: Transaction, most: int, but: Collection[str], now: float) -> list[str]:
    """See :meth:`smtpforward.interfaces.IQueueStore.due`."""
    asked = {"most": most, "but": json.dumps(list(but)), "now": now}
    found = transaction.execute(_FIRST_DUE, asked).fetchall()
    if len(found) < most and sum(row[2] for row in found) == LOOKED_AT:
        # Those looked at are of few destinations that have much due; others come after them.
        found = transaction.execute(_ALL_DUE, asked).fetchall()
    return [row[0] for row in found]


def next_due(transaction: Transaction, but: Collection[str]) -> float | None:
    """See :meth:`smtpforward.interfaces.IQueueStore.next_due`."""
    row = transaction.execute(_NEXT_DUE, (json.dumps(list(but)),)).fetchone()
    return row and float(row[0])


def claim(
    transaction: Transaction, destination: str, most: int, lease: Lease, until: float
) -> list[Claimed]:
    """See :meth:`smtpforward.interfaces.IQueueStore.claim`."""
    rows = transaction.execute(_CLAIM, (destination, until, most)).fetchall()
    transaction.execute(
        "UPDATE entry SET due = ?, owner = ? WHERE id IN (SELECT value FROM json_each(?))",
        (lease.until, lease.owner, json.dumps([row[0] for row in rows])),
    )
    return [_claimed(row) for row in rows]


def _claimed(row: Sequence[Any]) -> Claimed:
    id_, destination, delivery, queued, attempts, noticed, asked, data = row[:8]
    message = message_of(row[8:])
    recipients = message.envelope.recipients
    return Claimed(
        *(id_, message, destination, Delivery(delivery)),
        *(tuple((index, recipients[index]) for index in indices_of(queued)), attempts),
        bool(noticed),
        bool(asked),
        None if data is None else Content.of_wire(data),
    )


def renew(transaction: Transaction, entries: Collection[int], lease: Lease) -> frozenset[int]:
    """See :meth:`smtpforward.interfaces.IQueueStore.renew`."""
    whose = (lease.owner, json.dumps(list(entries)))
    own = transaction.execute(f"SELECT id FROM entry WHERE {_OWN}", whose).fetchall()
    transaction.execute(f"UPDATE entry SET due = ? WHERE {_OWN}", (lease.until, *whose))
    return frozenset(row[0] for row in own)


def give_back(transaction: Transaction, entries: Collection[int], owner: str, due: float) -> None:
    """See :meth:`smtpforward.interfaces.IQueueStore.give_back`."""
    transaction.execute(
        f"UPDATE entry SET due = ?, owner = NULL WHERE {_OWN}",
        (due, owner, json.dumps(list(entries))),
    )


def give_all_back(execute: Execute, now: float) -> None:
    """End all leases: whoever had them has gone."""
    execute("UPDATE entry SET due = ?, owner = NULL WHERE owner IS NOT NULL", (now,))
