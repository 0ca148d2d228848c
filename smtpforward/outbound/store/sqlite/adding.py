"""Putting a message into the tables."""

import sqlite3

from smtpforward.outbound.entry import Claimed, NewMessage
from smtpforward.outbound.errors import StoreError
from smtpforward.outbound.store.rows import (
    MESSAGE_COLUMNS,
    indices_text,
    message_row,
    of_indices,
    searchable,
)
from smtpforward.outbound.store.sqlite.bodies import Body
from smtpforward.outbound.store.sqlite.connection import Execute, Transaction

_MESSAGE = f"INSERT INTO message ({MESSAGE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"
_BODY = "INSERT INTO body (message, octets, file, data) VALUES (?, ?, ?, ?)"
_ENTRY = """
INSERT INTO entry (message, received, destination, delivery, due, owner, queued, recipients)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""


def add(transaction: Transaction, new: NewMessage, body: Body, now: float) -> list[Claimed]:
    """Put in ``new``, whose content is ``body``; what its lease has of it.

    :raise StoreError: when there is a message with its id.
    """
    execute, message, lease = transaction.execute, new.message, new.lease
    try:
        number = execute(_MESSAGE, message_row(message)).lastrowid
    except sqlite3.IntegrityError:
        raise StoreError(f"a message with the id {message.id} is in the queue already")
    execute(_BODY, (number, body.octets, body.file, body.data))
    due, owner = (lease.until, lease.owner) if lease else (now, None)
    claimed = []
    for entry in new.entries:
        recipients = of_indices(message.envelope, entry.indices)
        row = (
            *(number, message.received, entry.destination, entry.delivery.value, due, owner),
            *(indices_text(entry.indices), searchable([each.address for each in recipients])),
        )
        id_ = execute(_ENTRY, row).lastrowid or 0
        if lease:
            claimed.append(
                Claimed(
                    *(id_, message, entry.destination, entry.delivery),
                    *(tuple(zip(entry.indices, recipients, strict=True)), 0, False),
                )
            )
    return claimed


def files(execute: Execute) -> set[str]:
    """The names of all files that hold a message."""
    return {row[0] for row in execute("SELECT file FROM body WHERE file IS NOT NULL")}
