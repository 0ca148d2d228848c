"""What is due, and who has it: a lease moves ``due`` to its end, and so ends by itself.

Whoever locks several entries locks them in the order of their ids, or passes over those that
somebody has locked: so nobody waits for one who waits for them.
"""

import math
from collections.abc import Collection, Sequence
from typing import Any

from smtpforward.content import Content
from smtpforward.job import Delivery
from smtpforward.outbound.entry import Claimed, Lease
from smtpforward.outbound.store.postgresql.connections import Work
from smtpforward.outbound.store.postgresql.faults import reading
from smtpforward.outbound.store.postgresql.schema import MESSAGE
from smtpforward.outbound.store.rows import ASKED, indices_of, message_of

# The words of the partial indexes.
WAITING = "NOT held AND due IS NOT NULL"
LOOKED_AT = 1000
SMALL = 64 * 1024  # bytes of a message that comes with its claim

_FIRST = f"""
SELECT destination, min(due), count(*) FROM
    (SELECT destination, due FROM entry WHERE {WAITING} AND due <= %s
     ORDER BY due LIMIT {LOOKED_AT}) AS first
GROUP BY destination ORDER BY 2, 1
"""
# From each destination straight to the next one, however many entries it has.
_ALL = f"""
WITH RECURSIVE each (destination, due) AS (
    (SELECT destination, due FROM entry WHERE {WAITING} ORDER BY destination, due LIMIT 1)
    UNION ALL
    SELECT next.destination, next.due FROM each, LATERAL
        (SELECT destination, due FROM entry WHERE {WAITING} AND destination > each.destination
         ORDER BY destination, due LIMIT 1) AS next
) SELECT destination, due FROM each
WHERE due <= %s AND destination <> ALL (%s::text[]) ORDER BY due, destination LIMIT %s
"""
_CLAIM = f"""
WITH picked AS (
    SELECT id, due FROM entry
    WHERE {WAITING} AND destination = %s AND due <= %s
    ORDER BY due LIMIT %s FOR UPDATE SKIP LOCKED
), leased AS (
    UPDATE entry SET due = %s, owner = %s FROM picked WHERE entry.id = picked.id
    RETURNING entry.*, picked.due AS was_due
)
SELECT leased.id, destination, delivery, queued, attempts, noticed, was_due = {ASKED},
    octets, data, {MESSAGE}
FROM leased JOIN message ON message.id = leased.message
LEFT JOIN part ON part.message = message.id AND number = 0 AND octets <= {SMALL}
ORDER BY was_due, leased.id
"""
_OWN = """
(SELECT id FROM entry WHERE owner = %s AND due IS NOT NULL AND id = ANY (%s::int8[])
 ORDER BY id FOR UPDATE)
"""
_RENEW = f"""
WITH own AS {_OWN} UPDATE entry SET due = %s FROM own WHERE entry.id = own.id RETURNING own.id
"""
_GIVE_BACK = f"""
WITH own AS {_OWN} UPDATE entry SET due = %s, owner = NULL FROM own WHERE entry.id = own.id
"""


def due(work: Work, most: int, but: Collection[str], now: float) -> list[str]:
    """See :meth:`smtpforward.interfaces.IQueueStore.due`."""
    return [destination for destination, _ in _earliest(work, most, but, now)]


def next_due(work: Work, but: Collection[str]) -> float | None:
    """See :meth:`smtpforward.interfaces.IQueueStore.next_due`."""
    found = _earliest(work, 1, but, math.inf)
    return found[0][1] if found else None


def _earliest(work: Work, most: int, but: Collection[str], until: float) -> list[tuple[str, float]]:
    looked_at = work.rows(_FIRST, (until,))
    found = [(row[0], row[1]) for row in looked_at if row[0] not in but]
    if len(found) < most and sum(row[2] for row in looked_at) == LOOKED_AT:
        # Those looked at are of few destinations that have much; others come after them.
        found = work.rows(_ALL, (until, list(but), most))
    return found[:most]


def claim(work: Work, destination: str, most: int, lease: Lease, until: float) -> list[Claimed]:
    """See :meth:`smtpforward.interfaces.IQueueStore.claim`."""
    rows = work.rows(_CLAIM, (destination, until, most, lease.until, lease.owner))
    with reading():
        return [_claimed(row) for row in rows]


def _claimed(row: Sequence[Any]) -> Claimed:
    id_, destination, delivery, queued, attempts, noticed, asked, octets, data = row[:9]
    message = message_of(row[9:])
    recipients = message.envelope.recipients
    return Claimed(
        *(id_, message, destination, Delivery(delivery)),
        *(tuple((index, recipients[index]) for index in indices_of(queued)), attempts, noticed),
        asked,
        # What is not all there is found out when it is asked for.
        Content.of_wire(data) if data is not None and len(data) == octets else None,
    )


def renew(work: Work, entries: Collection[int], lease: Lease) -> frozenset[int]:
    """See :meth:`smtpforward.interfaces.IQueueStore.renew`."""
    rows = work.rows(_RENEW, (lease.owner, list(entries), lease.until))
    return frozenset(row[0] for row in rows)


def give_back(work: Work, entries: Collection[int], owner: str, due: float) -> None:
    """See :meth:`smtpforward.interfaces.IQueueStore.give_back`."""
    work.do(_GIVE_BACK, (owner, list(entries), due))
