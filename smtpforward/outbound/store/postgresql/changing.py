"""What an operator does to entries. Those that are leased are left to their attempt, uncounted.

Many entries are changed in steps, each a transaction: what fails has changed those before it.
"""

from collections.abc import Sequence

from smtpforward.outbound.entry import Attempt, Change, Filter, RecipientResult, State
from smtpforward.outbound.store.postgresql.connections import Work
from smtpforward.outbound.store.postgresql.faults import reading
from smtpforward.outbound.store.postgresql.looking import FROM, LEASED, conditions
from smtpforward.outbound.store.postgresql.results import finish, note, stand
from smtpforward.outbound.store.rows import ASKED, Standing

AT_ONCE = 500  # entries that one transaction changes
DELETED = "deleted by an operator"

_THESE = f"""
(SELECT id FROM entry WHERE due IS NOT NULL AND NOT {LEASED} AND id = ANY (%(ids)s::int8[])
 ORDER BY id FOR UPDATE)
"""
_STATEMENTS = {
    Change.RETRY: f"due = {ASKED}, owner = NULL FROM these WHERE entry.id = these.id",
    Change.HOLD: "held = true, owner = NULL FROM these WHERE entry.id = these.id AND NOT held",
    Change.RELEASE: "held = false FROM these WHERE entry.id = these.id AND held",
}
_LOCK_MESSAGES = """
SELECT id FROM message WHERE id IN (SELECT message FROM entry WHERE id = ANY (%(ids)s::int8[]))
ORDER BY id FOR UPDATE
"""
# Messages of which nothing stays; then what goes of the others.
_REMOVE = """
DELETE FROM message WHERE id = ANY (%(messages)s::text[]) AND NOT EXISTS (
    SELECT FROM entry WHERE entry.message = message.id AND entry.due IS NOT NULL
        AND entry.id <> ALL (%(going)s::int8[]))
"""
_STAYING = """
SELECT entry.id, envelope, queued, delivered, failed
FROM entry JOIN message ON message.id = entry.message WHERE entry.id = ANY (%(going)s::int8[])
"""


def change(work: Work, which: Filter, what: Change, now: float) -> int:
    """Do it to those for which it makes a difference, now; how many they were."""
    terms, values = conditions(which)
    rows = work.rows(f"SELECT entry.id {FROM}{terms} ORDER BY entry.id", values)
    ids = [row[0] for row in rows]
    steps = (ids[start : start + AT_ONCE] for start in range(0, len(ids), AT_ONCE))
    apply = _delete if what is Change.DELETE else _update
    return sum(apply(work, step, what, now) for step in steps)


def _update(work: Work, ids: Sequence[int], what: Change, now: float) -> int:
    statement = f"WITH these AS {_THESE} UPDATE entry SET {_STATEMENTS[what]}"
    return work.do(statement, {"ids": ids, "now": now})


def _delete(work: Work, ids: Sequence[int], what: Change, now: float) -> int:
    values = {"ids": ids, "now": now}
    with work.connection.transaction():
        messages = [row[0] for row in work.rows(_LOCK_MESSAGES, values)]
        going = [row[0] for row in work.rows(_THESE.strip()[1:-1], values)]
        work.do(_REMOVE, {"messages": messages, "going": going})
        for id_, envelope, *columns in work.rows(_STAYING, {"going": going}):
            with reading():
                before = Standing.of(*columns)
            results = [RecipientResult(index, State.FAILED, DELETED) for index in before.queued]
            note(work, id_, "", Attempt(now, 0.0, "", tuple(results)))
            stand(work, id_, envelope, before.given_up())
            finish(work, id_)
    return len(going)
