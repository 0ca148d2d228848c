"""What an operator does to entries. Those that are leased are left to their attempt, uncounted."""

import json
from collections.abc import Sequence

from smtpforward.outbound.entry import Change, Filter, RecipientResult, State
from smtpforward.outbound.store.rows import ASKED, Standing, results_text
from smtpforward.outbound.store.sqlite.connection import Transaction
from smtpforward.outbound.store.sqlite.looking import LEASED, OPEN_ENTRIES, conditions
from smtpforward.outbound.store.sqlite.results import finish, note, remove, stand

AT_ONCE = 500  # entries that one transaction changes
DELETED = "deleted by an operator"

_FREE = f"due IS NOT NULL AND NOT {LEASED}"
_THESE = f"{_FREE} AND id IN (SELECT value FROM json_each(:ids))"
_STATEMENTS = {
    Change.RETRY: f"UPDATE entry SET due = {ASKED}, owner = NULL WHERE {_THESE}",
    Change.HOLD: f"UPDATE entry SET held = 1, owner = NULL WHERE {_THESE} AND held = 0",
    Change.RELEASE: f"UPDATE entry SET held = 0 WHERE {_THESE} AND held = 1",
}
_GOING = f"""
SELECT entry.message, queued, delivered, failed, file,
    (SELECT count(*) FROM entry AS other WHERE other.message = entry.message
     AND other.id <> entry.id AND other.due IS NOT NULL)
FROM entry JOIN body ON body.message = entry.message
WHERE {_FREE} AND id = :id
"""


def meant(transaction: Transaction, which: Filter) -> list[int]:
    """The ids of the entries of a filter, leased ones among them."""
    terms, values = conditions(which)
    # One row: for each that is fetched, Python would take its lock anew.
    found = transaction.execute(
        f"SELECT json_group_array(entry.id) {OPEN_ENTRIES}{terms}",
        values,
    )
    ids: list[int] = json.loads(found.fetchone()[0])
    return ids


def change(transaction: Transaction, ids: Sequence[int], what: Change, now: float) -> int:
    """Do it to those of ``ids`` for which it makes a difference, now; how many they were."""
    if what is Change.DELETE:
        return sum(_delete(transaction, id_, now) for id_ in ids)
    values = {"ids": json.dumps(ids), "now": now}
    return transaction.execute(_STATEMENTS[what], values).rowcount


def _delete(transaction: Transaction, id_: int, now: float) -> bool:
    row = transaction.execute(_GOING, {"id": id_, "now": now}).fetchone()
    if row is None:
        return False
    message, queued, delivered, failed, file, others = row
    if not others:
        remove(transaction, message, file)
        return True
    before = Standing.of(queued, delivered, failed)
    results = [RecipientResult(index, State.FAILED, DELETED) for index in before.queued]
    note(transaction, id_, now, "", 0.0, "", results_text(results))
    stand(transaction, id_, message, before.given_up())
    finish(transaction, id_)
    return True
