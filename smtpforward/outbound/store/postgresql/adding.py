"""Putting a message into the tables: one statement, unless it is large."""

import contextlib

from psycopg.errors import UniqueViolation

from smtpforward.outbound.entry import Claimed, NewMessage
from smtpforward.outbound.errors import StoreError
from smtpforward.outbound.store.postgresql.connections import Work
from smtpforward.outbound.store.postgresql.contents import PART, put_all_but_last
from smtpforward.outbound.store.rows import (
    MESSAGE_COLUMNS,
    indices_text,
    message_row,
    of_indices,
    searchable,
    storable,
)

_ADD = f"""
WITH put AS (
    INSERT INTO message ({MESSAGE_COLUMNS}, octets)
    VALUES (%s, %s, %s, %s, %s, %s, %s)
), last AS (
    INSERT INTO part (message, number, data) VALUES (%s, %s, %s)
), new AS (
    INSERT INTO entry (message, received, destination, delivery, due, owner, queued, recipients)
    SELECT %s, %s, destination, delivery, %s, %s, queued, recipients
    FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[]) WITH ORDINALITY
        AS each (destination, delivery, queued, recipients, number)
    ORDER BY number RETURNING id
) SELECT id FROM new ORDER BY id
"""


def add(work: Work, new: NewMessage, now: float) -> list[Claimed]:
    """Put in ``new``, in a transaction that there is or one of its own; what its lease has of it.

    :raise StoreError: when there is a message with its id.
    """
    content = new.content
    small = not content.spooled and len(content.prefix) + content.size < PART
    try:
        # Alone, the statement that puts in a small one is a transaction.
        with contextlib.nullcontext() if small else work.connection.transaction():
            ids = _put(work, new, now)
    except UniqueViolation:
        raise StoreError(f"a message with the id {new.message.id} is in the queue already")
    return _claimed(new, ids) if new.lease else []


def _put(work: Work, new: NewMessage, now: float) -> list[int]:
    message, lease = new.message, new.lease
    number, last = put_all_but_last(work, message.id, new.content)
    row = message_row(message)
    values = (
        *(*row[:-1], storable(row[-1]), number * PART + len(last)),
        *(message.id, number, last),
        *(message.id, message.received),
        *((lease.until, lease.owner) if lease else (now, None)),
        [storable(entry.destination) for entry in new.entries],
        [entry.delivery.value for entry in new.entries],
        [indices_text(entry.indices) for entry in new.entries],
        [_recipients(new, entry.indices) for entry in new.entries],
    )
    return [row[0] for row in work.rows(_ADD, values)]


def _recipients(new: NewMessage, indices: tuple[int, ...]) -> str:
    return searchable([each.address for each in of_indices(new.message.envelope, indices)])


def _claimed(new: NewMessage, ids: list[int]) -> list[Claimed]:
    message = new.message
    recipients = message.envelope.recipients
    return [
        Claimed(
            *(id_, message, entry.destination, entry.delivery),
            *(tuple((index, recipients[index]) for index in entry.indices), 0, False),
        )
        for id_, entry in zip(ids, new.entries, strict=True)
    ]
