"""Putting messages into the tables: one statement, unless they are large."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

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
    INSERT INTO message ({MESSAGE_COLUMNS}, octets) SELECT *
    FROM unnest(%s::text[], %s::float8[], %s::text[], %s::text[], %s::int8[], %s::text[],
        %s::int8[])
), last AS (
    INSERT INTO part (message, number, data)
    SELECT * FROM unnest(%s::text[], %s::int4[], %s::bytea[])
), new AS (
    INSERT INTO entry (message, received, destination, delivery, due, owner, queued, recipients)
    SELECT message, received, destination, delivery, due, owner, queued, recipients
    FROM unnest(%s::text[], %s::float8[], %s::text[], %s::text[], %s::float8[], %s::text[],
        %s::text[], %s::text[]) WITH ORDINALITY
        AS each (message, received, destination, delivery, due, owner, queued, recipients, number)
    ORDER BY number RETURNING id
) SELECT id FROM new ORDER BY id
"""


def add(work: Work, new: NewMessage, now: float) -> list[Claimed]:
    """Put in ``new``, in a transaction that there is or one of its own; what its lease has of it.

    :raise StoreError: when there is a message with its id.
    """
    content = new.content
    small = not content.spooled and len(content.prefix) + content.size < PART
    # Alone, the statement that puts in a small one is a transaction.
    with contextlib.nullcontext() if small else work.connection.transaction():
        return add_all(work, [(new, *put_all_but_last(work, new.message.id, content))], now)[0]


def add_all(
    work: Work, those: Sequence[tuple[NewMessage, int, bytes]], now: float
) -> list[list[Claimed]]:
    """Put in messages of which only the last part is missing: its number, and what it holds.

    :return: for each what its lease has of it.
    :raise StoreError: when there is a message with the id of one; then none is put in.
    """
    messages = zip(*(_message(*each) for each in those), strict=True)
    parts = zip(*((new.message.id, number, last) for new, number, last in those), strict=True)
    entries = zip(*(row for new, _, _ in those for row in _entries(new, now)), strict=True)
    try:
        rows = work.rows(_ADD, [list(column) for column in (*messages, *parts, *entries)])
    except UniqueViolation:
        named = "" if len(those) > 1 else f" {those[0][0].message.id}"
        raise StoreError(f"a message with the id{named} is in the queue already")
    ids = iter(rows)
    return [_claimed(new, [next(ids)[0] for _ in new.entries]) for new, _, _ in those]


def _message(new: NewMessage, number: int, last: bytes) -> tuple[Any, ...]:
    row = message_row(new.message)
    return (*row[:-1], storable(row[-1]), number * PART + len(last))


def _entries(new: NewMessage, now: float) -> Iterator[tuple[Any, ...]]:
    message, lease = new.message, new.lease
    due, owner = (lease.until, lease.owner) if lease else (now, None)
    for entry in new.entries:
        recipients = of_indices(message.envelope, entry.indices)
        yield (
            *(message.id, message.received, storable(entry.destination), entry.delivery.value),
            *(due, owner, indices_text(entry.indices)),
            searchable([each.address for each in recipients]),
        )


def _claimed(new: NewMessage, ids: list[int]) -> list[Claimed]:
    if new.lease is None:
        return []
    message = new.message
    recipients = message.envelope.recipients
    return [
        Claimed(
            *(id_, message, entry.destination, entry.delivery),
            *(tuple((index, recipients[index]) for index in entry.indices), 0, False),
        )
        for id_, entry in zip(ids, new.entries, strict=True)
    ]
