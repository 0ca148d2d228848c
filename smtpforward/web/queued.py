"""What one process answers of the outbound queue, and what it changes there for an operator.

It sees the queue through IQueueStore, as ``smtpforward queue`` does. What one question takes is
bounded: a list looks at ``MOST_LOOKED`` entries, and may give fewer than were asked for, with a
cursor to go on from.
"""

import math
import re
from collections.abc import Callable
from typing import Any

from smtpforward.client.target import ForwardTarget
from smtpforward.envelope import NULL_SENDER, Envelope
from smtpforward.job import Delivery
from smtpforward.outbound import as_json
from smtpforward.outbound.entry import Change, Filter, Listed, Message, Stats
from smtpforward.outbound.looking import PAGE, found
from smtpforward.outbound.queue import OutboundQueue
from smtpforward.outbound.states import state as state_of
from smtpforward.questions import Refused

STATES = ("due", "deferred", "held", "leased")
MOST_LISTED = 500
MOST_LOOKED = 2000
MOST_RECIPIENTS = 10_000  # of all entries of one list together
CURSOR = re.compile(r"(\d{1,12}(?:\.\d{1,17})?(?:e[+-]?\d{1,2})?):(\d{1,18})", re.ASCII)
NO_QUEUE = Refused(404, "there is no outbound queue")
NOT_OPEN = Refused(503, "the store of the outbound queue is not open")


class Queued:
    """The queue of this process.

    :param changed: called after a change.
    """

    def __init__(
        self,
        queue: Callable[[], tuple[OutboundQueue, ForwardTarget] | None],
        changed: Callable[[], None],
    ) -> None:
        self._queue = queue
        self._changed = changed

    def _open(self) -> OutboundQueue | Refused:
        queue = self._queue()
        if queue is None:
            return NO_QUEUE
        return queue[0] if queue[0].is_open else NOT_OPEN

    async def entries(
        self,
        state: str = "",
        destination: str = "",
        sender: str = "",
        limit: int = MOST_LISTED,
        after: str = "",
    ) -> dict[str, Any] | Refused:
        """One page of the list, the oldest message first."""
        queue = self._open()
        if isinstance(queue, Refused):
            return queue
        last, listed, looked, recipients = from_cursor(after), [], 0, 0
        which = Filter(sender=sender or None, destination=destination or None, held=_held(state))
        most = min(limit, MOST_LISTED)
        while looked < MOST_LOOKED:
            page = await queue.store.listed(which, min(PAGE, MOST_LOOKED - looked), last)
            now = queue.store.now()
            for entry in page:
                last, looked = entry, looked + 1
                if not state or state_of(entry, now) == state:
                    listed.append(as_json.listed(entry, now))
                    recipients += len(entry.recipients)
                    if len(listed) >= most or recipients >= MOST_RECIPIENTS:
                        return {"entries": listed, "next": cursor(last)}
            if len(page) < PAGE:
                return {"entries": listed, "next": None}
        return {"entries": listed, "next": cursor(last)}

    async def message(self, id: str) -> dict[str, Any] | Refused | None:
        """All about one; ``None`` when it is not there."""
        queue = self._open()
        if isinstance(queue, Refused):
            return queue
        kept = await found(queue.store, id)
        if kept is None:
            return None
        message, content = kept
        try:
            return as_json.document(message, content, queue.store.now())
        finally:
            content.close()

    async def change(self, what: str, ids: list[str]) -> dict[str, Any] | Refused:
        """Do ``what`` to the messages with these ids."""
        if not ids:
            return Refused(400, "no ids")  # A filter without any would mean the whole queue.
        queue = self._open()
        if isinstance(queue, Refused):
            return queue
        number = await queue.change(Filter(ids=tuple(ids)), Change(what))
        self._changed()
        return {"changed": number}


def _held(state: str) -> bool | None:
    """What is known of ``held`` in a state: the store need not look at the others."""
    return state == "held" if state else None


def cursor(last: Listed | None) -> str | None:
    """Where a list goes on behind ``last``."""
    return None if last is None else f"{last.message.received!r}:{last.entry}"


def from_cursor(text: str) -> Listed | None:
    """What stands for the entry of a cursor; ``None`` for an empty one.

    :raise ValueError: when it is none.
    """
    if not text:
        return None
    match = CURSOR.fullmatch(text)
    received = float(match[1]) if match else math.inf
    if match is None or not math.isfinite(received):
        raise ValueError("after is not what next has said")
    message = Message("", received, Envelope(NULL_SENDER, ()), 0)
    return Listed(
        *(int(match[2]), message, "", Delivery.OUTBOUND, (), 0, 0.0),
        held=False,
        leased=False,
        last="",
    )


def numbers(stats: Stats | None, now: float) -> dict[str, Any]:
    """The queue in numbers; all 0 where they are not known."""
    if stats is None:
        entries: dict[str, Any] = dict.fromkeys(STATES, 0)
        return {
            "messages": 0, "bytes": 0, "oldest": None, "entries": entries, "destinations": []
        }  # fmt: skip
    return {
        "messages": stats.messages,
        "bytes": stats.octets,
        "oldest": None if stats.oldest is None else max(0.0, now - stats.oldest),
        "entries": {state: getattr(stats, state) for state in STATES},
        "destinations": [
            {"destination": one.destination, "entries": one.entries} for one in stats.destinations
        ],
    }
