"""What attempts made of entries: recorded once, however often it is said.

A message is locked before its entries, so that of several results of one message the last one
removes it.
"""

from collections.abc import Sequence
from typing import Any

from attrs import frozen

from smtpforward.outbound.entry import Attempt, RecipientResult, Result, State
from smtpforward.outbound.store.postgresql.adding import add
from smtpforward.outbound.store.postgresql.connections import Work
from smtpforward.outbound.store.postgresql.faults import reading
from smtpforward.outbound.store.postgresql.leases import WAITING
from smtpforward.outbound.store.rows import (
    ASKED,
    Standing,
    deferral_text,
    envelope_of,
    indices_text,
    last_reply,
    of_indices,
    results_text,
    searchable,
    storable,
)

HISTORY = 50  # attempts that are kept of each entry

# What is settled stays so, and no entry comes to a message: who sees no other one is the last.
_REMOVE = """
DELETE FROM message USING entry, unnest(%s::text[], %s::int8[], %s::text[])
    AS settled (message, entry, queued)
WHERE message.id = settled.message AND entry.id = settled.entry AND entry.message = message.id
AND entry.queued = settled.queued AND NOT EXISTS (SELECT FROM entry AS other
    WHERE other.message = message.id AND other.id <> entry.id AND other.due IS NOT NULL)
RETURNING entry.id
"""
_LOCK = "SELECT envelope FROM message WHERE id = %s FOR UPDATE"
_ENTRY = """
SELECT owner, queued, delivered, failed,
    EXISTS (SELECT FROM entry AS other
        WHERE other.message = entry.message AND other.id <> entry.id AND other.due IS NOT NULL),
    EXISTS (SELECT FROM attempt
        WHERE attempt.entry = entry.id AND attempt.at = %s AND attempt.owner = %s)
FROM entry WHERE message = %s AND id = %s FOR UPDATE
"""
_ATTEMPT = """
INSERT INTO attempt (entry, at, owner, took, peer, results) VALUES (%s, %s, %s, %s, %s, %s)
"""
_FORGET = f"""
DELETE FROM attempt WHERE number IN (
    SELECT number FROM attempt WHERE entry = %s ORDER BY at DESC, number DESC OFFSET {HISTORY})
"""
_STANDING = """
UPDATE entry SET queued = %s, delivered = %s, failed = %s, recipients = %s WHERE id = %s
"""
_FINISH = "UPDATE entry SET due = NULL, owner = NULL WHERE id = %s"
_NEXT = """
UPDATE entry SET due = %s, owner = NULL, attempts = attempts + %s, noticed = noticed OR %s,
    last = %s
WHERE id = %s
"""
_DEFER = f"""
WITH picked AS (
    SELECT id FROM entry WHERE {WAITING} AND destination = %(destination)s AND due <= %(now)s
        AND due > {ASKED} AND attempts < cardinality(%(intervals)s::float8[])
    ORDER BY due LIMIT %(most)s FOR UPDATE SKIP LOCKED
), deferred AS (
    UPDATE entry SET owner = NULL, attempts = attempts + 1, last = %(last)s,
        due = %(now)s + (%(intervals)s::float8[])[attempts + 1]
    FROM picked WHERE entry.id = picked.id RETURNING entry.id, queued
), noted AS (
    INSERT INTO attempt (entry, at, owner, took, peer, results)
    SELECT id, %(now)s, '', 0, '', %(before)s::text || queued || %(after)s FROM deferred
)
SELECT count(*) FROM deferred
"""


@frozen
class _Entry:
    """An entry as a result finds it.

    :ivar others: whether other entries of its message wait. ``known``: whether it has the result.
    """

    id: int
    envelope: str
    owner: str | None
    standing: Standing
    others: bool
    known: bool


def is_plain(result: Result) -> bool:
    """Whether nothing is to be kept of it, if it ends its message: as nearly every one does."""
    settled = all(each.state is not State.QUEUED for each in result.attempt.results)
    return settled and not result.notices


def record_all(work: Work, results: Sequence[Result], now: float) -> list[None]:
    """Record plain results."""
    # In one order, so that nobody waits for one who waits for them.
    rows = sorted(
        (result.message, result.entry, indices_text(each.index for each in _in_order(result)))
        for result in results
    )
    removed = {
        row[0] for row in work.rows(_REMOVE, [list(column) for column in zip(*rows, strict=True)])
    }
    for result in results:
        if result.entry not in removed:
            record(work, result, now)
    return [None] * len(results)


def _in_order(result: Result) -> list[RecipientResult]:
    return sorted(result.attempt.results, key=lambda each: each.index)


def record(work: Work, result: Result, now: float) -> None:
    """See :meth:`smtpforward.interfaces.IQueueStore.record`."""
    with work.connection.pipeline(), work.connection.transaction():
        entry = _entry(work, result)
        if entry is not None:
            _record(work, result, entry, now)


def _entry(work: Work, result: Result) -> _Entry | None:
    messages: list[Any] = work.rows(_LOCK, (result.message,))
    values = (result.attempt.at, result.owner, result.message, result.entry)
    entries = work.rows(_ENTRY, values) if messages else []
    if not entries:
        return None
    owner, queued, delivered, failed, others, known = entries[0]
    with reading():
        standing = Standing.of(queued, delivered, failed)
    return _Entry(result.entry, messages[0][0], owner, standing, others, known)


def _record(work: Work, result: Result, entry: _Entry, now: float) -> None:
    after = entry.standing.after(result.attempt.results)
    done = not after.queued and not entry.others
    # What ends a message has not been recorded before: there was a message.
    if not done and entry.known:
        return
    own = entry.owner == result.owner
    if own or after != entry.standing:
        # Else whoever has it now tells the sender, or has done so.
        for new in result.notices:
            add(work, new, now)
    if done:
        remove(work, result.message)
        return
    note(work, entry.id, result.owner, result.attempt)
    if after != entry.standing:
        stand(work, entry.id, entry.envelope, after)
    if not after.queued:
        finish(work, entry.id)
    elif own:
        # Without a time, though some stay, it would wait for ever.
        due = now if result.due is None else result.due
        last = last_reply(result.attempt.results)
        work.do(_NEXT, (due, int(result.counted), result.noticed, last, entry.id))


def note(work: Work, entry: int, owner: str, attempt: Attempt) -> None:
    """Put an attempt into the history; of too many the oldest go."""
    said = (storable(attempt.peer), results_text(attempt.results))
    work.do(_ATTEMPT, (entry, attempt.at, owner, attempt.took, *said))
    work.do(_FORGET, (entry,))


def stand(work: Work, entry: int, envelope: str, standing: Standing) -> None:
    """Write down what has become of an entry's recipients."""
    with reading():
        recipients = of_indices(envelope_of(envelope), standing.queued)
    found = searchable([each.address for each in recipients])
    work.do(_STANDING, (*standing.columns, found, entry))


def finish(work: Work, entry: int) -> None:
    """An entry none of whose recipients is queued, of a message that stays for others."""
    work.do(_FINISH, (entry,))


def remove(work: Work, message: str) -> None:
    """Delete a message and all that is known of it."""
    work.do("DELETE FROM message WHERE id = %s", (message,))


def defer(
    work: Work, destination: str, reply: str, intervals: Sequence[float], most: int, now: float
) -> int:
    """See :meth:`smtpforward.interfaces.IQueueStore.defer`."""
    before, after = deferral_text(reply)
    values = {
        "destination": destination,
        "now": now,
        "intervals": list(intervals),
        "most": most,
        "last": storable(reply),
        "before": before,
        "after": after,
    }
    count: int = work.rows(_DEFER, values)[0][0]
    return count
