"""What attempts made of entries: recorded once, however often it is said."""

import json
from collections.abc import Sequence
from typing import Any

from attrs import frozen

from smtpforward.outbound.entry import NewMessage, Result
from smtpforward.outbound.store.rows import (
    ASKED,
    Standing,
    deferral_text,
    envelope_of,
    last_reply,
    of_indices,
    results_text,
    searchable,
    storable,
)
from smtpforward.outbound.store.sqlite.adding import add
from smtpforward.outbound.store.sqlite.bodies import Body
from smtpforward.outbound.store.sqlite.connection import Transaction
from smtpforward.outbound.store.sqlite.schema import WAITING

HISTORY = 50  # attempts that are kept of each entry

_ENTRY = """
SELECT entry.message, owner, queued, delivered, failed, file,
    (SELECT count(*) FROM entry AS other WHERE other.message = entry.message
     AND other.id <> entry.id AND other.due IS NOT NULL)
FROM entry JOIN message ON message.number = entry.message
JOIN body ON body.message = entry.message
WHERE entry.id = ? AND message.id = ?
"""
_KNOWN = "SELECT 1 FROM attempt WHERE entry = ? AND at = ? AND owner = ?"
_ATTEMPT = "INSERT INTO attempt (entry, at, owner, took, peer, results) VALUES (?, ?, ?, ?, ?, ?)"
_FORGET = f"""
DELETE FROM attempt WHERE number IN (
    SELECT number FROM attempt WHERE entry = ? ORDER BY at DESC, number DESC
    LIMIT -1 OFFSET {HISTORY})
"""
_STANDING = "UPDATE entry SET queued = ?, delivered = ?, failed = ?, recipients = ? WHERE id = ?"
_NEXT = """
UPDATE entry SET due = ?, owner = NULL, attempts = attempts + ?, noticed = noticed OR ?, last = ?
WHERE id = ?
"""
_DEFERRED = f"""
SELECT json_group_array(id) FROM (
    SELECT id FROM entry INDEXED BY entry_destination
    WHERE {WAITING} AND destination = ? AND due <= ? AND due > {ASKED} AND attempts < ?
    ORDER BY due LIMIT ?)
"""
_ATTEMPTS = """
INSERT INTO attempt (entry, at, owner, took, peer, results)
SELECT id, ?, '', 0, '', ? || queued || ? FROM entry WHERE id IN (SELECT value FROM json_each(?))
"""
_DEFER = """
UPDATE entry SET owner = NULL, attempts = attempts + 1, last = ?,
    due = ? + (SELECT value FROM json_each(?) WHERE key = attempts)
WHERE id IN (SELECT value FROM json_each(?))
"""


@frozen
class _Entry:
    """An entry as a result finds it. ``others``: entries of its message that still wait."""

    id: int
    message: int
    owner: str | None
    standing: Standing
    file: str | None
    others: int


def record(
    transaction: Transaction, result: Result, notices: Sequence[tuple[NewMessage, Body]], now: float
) -> bool:
    """See :meth:`smtpforward.interfaces.IQueueStore.record`; whether ``notices`` were put in."""
    entry = _entry(transaction, result)
    if entry is None:
        return False
    after = entry.standing.after(result.attempt.results)
    done = not after.queued and not entry.others
    # What ends a message has not been recorded before: there was a message.
    if not done and _is_known(transaction, result):
        return False
    own = entry.owner == result.owner
    # Where it changes nothing, whoever has it now tells the sender, or has done so.
    tell = own or after != entry.standing
    for new, body in notices if tell else ():
        add(transaction, new, body, now)
    if done:
        remove(transaction, entry.message, entry.file)
        return tell
    _keep(transaction, entry, result, after)
    if not after.queued:
        finish(transaction, entry.id)
    elif own:
        _put_off(transaction, result, now)
    return tell


def _entry(transaction: Transaction, result: Result) -> _Entry | None:
    row: Any = transaction.execute(_ENTRY, (result.entry, result.message)).fetchone()
    if row is None:
        return None
    message, owner, queued, delivered, failed, file, others = row
    standing = Standing.of(queued, delivered, failed)
    return _Entry(result.entry, message, owner, standing, file, others)


def _is_known(transaction: Transaction, result: Result) -> bool:
    which = (result.entry, result.attempt.at, result.owner)
    return transaction.execute(_KNOWN, which).fetchone() is not None


def _keep(transaction: Transaction, entry: _Entry, result: Result, after: Standing) -> None:
    attempt = result.attempt
    note(
        *(transaction, entry.id, attempt.at, result.owner, attempt.took, attempt.peer),
        results_text(attempt.results),
    )
    if after != entry.standing:
        stand(transaction, entry.id, entry.message, after)


def _put_off(transaction: Transaction, result: Result, now: float) -> None:
    # Without a time, though some stay, it would wait for ever.
    due = now if result.due is None else result.due
    last = last_reply(result.attempt.results)
    transaction.execute(_NEXT, (due, result.counted, result.noticed, last, result.entry))


def note(
    transaction: Transaction,
    entry: int,
    at: float,
    owner: str,
    took: float,
    peer: str,
    results: str,
) -> None:
    """Put an attempt into the history; of too many the oldest go."""
    transaction.execute(_ATTEMPT, (entry, at, owner, took, peer, results))
    transaction.execute(_FORGET, (entry,))


def stand(transaction: Transaction, entry: int, message: int, standing: Standing) -> None:
    """Write down what has become of an entry's recipients."""
    found = ""
    if standing.queued:
        row = transaction.execute("SELECT envelope FROM message WHERE number = ?", (message,))
        recipients = of_indices(envelope_of(row.fetchone()[0]), standing.queued)
        found = searchable([each.address for each in recipients])
    transaction.execute(_STANDING, (*standing.columns, found, entry))


def finish(transaction: Transaction, entry: int) -> None:
    """An entry none of whose recipients is queued, of a message that stays for others."""
    transaction.execute("UPDATE entry SET due = NULL, owner = NULL WHERE id = ?", (entry,))


def remove(transaction: Transaction, message: int, file: str | None) -> None:
    """Delete a message and all that is known of it."""
    transaction.execute("DELETE FROM message WHERE number = ?", (message,))
    transaction.freed = True
    if file is not None:
        transaction.files.append(file)


def defer(
    transaction: Transaction,
    destination: str,
    reply: str,
    intervals: Sequence[float],
    most: int,
    now: float,
) -> int:
    """See :meth:`smtpforward.interfaces.IQueueStore.defer`."""
    which = (destination, now, len(intervals), most)
    ids: str = transaction.execute(_DEFERRED, which).fetchone()[0]
    transaction.execute(_ATTEMPTS, (now, *deferral_text(reply), ids))
    last = storable(reply)
    changed = transaction.execute(_DEFER, (last, now, json.dumps(list(intervals)), ids))
    return changed.rowcount
