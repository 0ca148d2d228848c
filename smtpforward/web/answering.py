"""What one process answers when somebody looks: of its transactions, its backends and the queue.

It observes the log from its start to its end. Failure policy: a store that cannot be asked is an
answer of its own (503); a fault is a fault of the one who asks, no mail hears of it.
"""

import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import globalLogPublisher

from smtpforward.client.target import ForwardTarget
from smtpforward.counts import Counts
from smtpforward.job import NextHop
from smtpforward.outbound.errors import StoreError
from smtpforward.outbound.queue import OutboundQueue
from smtpforward.questions import Question, Refused
from smtpforward.web import transactions
from smtpforward.web.backends import backends
from smtpforward.web.gathering import QueueStats
from smtpforward.web.history import History
from smtpforward.web.queued import Queued, numbers
from smtpforward.web.recent import Recent

AT_A_TIME = 100  # entries that are looked at before mail has its turn again
MOST_LISTED = 500
TOP = 20

Queue = Callable[[], tuple[OutboundQueue, ForwardTarget] | None]


class Answering(Service):
    """Knows, while it runs, what has happened of late.

    :param queue: the outbound queue and the target of its mail hosts, where there is one.
    :param hops: of the settings that hold now. ``smart``: the smart host, where they name one.
    :param wall: seconds since the epoch.
    """

    def __init__(
        self,
        counts: Counts,
        target: ForwardTarget,
        queue: Queue,
        hops: Callable[[], Iterable[NextHop]],
        clock: Any,
        wall: Callable[[], float] = time.time,
        recent: Recent | None = None,
        publisher: Any = globalLogPublisher,
        smart: Callable[[], NextHop | None] = lambda: None,
    ) -> None:
        self.recent = recent or Recent()
        self._counts = counts
        self._target = target
        self._queue = queue
        self._hops = hops
        self._smart = smart
        self._clock = clock
        self._wall = wall
        self._publisher = publisher
        self._history = History(counts, clock, wall)
        self._stats = QueueStats(clock, TOP)
        self._queued = Queued(queue, self._stats.forget)
        self._answers: dict[str, Callable[..., Awaitable[Any]]] = {
            "status": self._status,
            "transactions": self._transactions,
            "ended": self._ended,
            "transaction": self._transaction,
            "queue list": self._queued.entries,
            "queue show": self._queued.message,
            "queue change": self._queued.change,
        }

    def startService(self) -> None:
        """Begin to observe."""
        Service.startService(self)
        self._publisher.addObserver(self.recent)
        self._history.start()

    def stopService(self) -> None:
        """Observe no more."""
        self._publisher.removeObserver(self.recent)
        self._history.stop()
        Service.stopService(self)

    def answer(self, question: Question) -> "Deferred[Any]":
        """Its answer, made of what JSON has; or a :class:`smtpforward.questions.Refused`."""
        return Deferred.fromCoroutine(self._answer(question))

    async def _answer(self, question: Question) -> Any:
        try:
            return await self._answers[question.kind](**question.about)
        except StoreError as error:
            return Refused(503, str(error))

    async def _status(self) -> dict[str, Any]:
        queue = self._queue()
        direct = None if queue is None else queue[1]
        ago = self._wall() - self._clock.seconds()
        return {
            "history": self._history.steps(),
            "backends": backends(
                self._target, self._hops(), direct, self._counts, ago, self._smart()
            ),
            "queue": None if queue is None else await self._numbers(queue[0]),
        }

    async def _numbers(self, queue: OutboundQueue) -> dict[str, Any] | None:
        """Of the queue as a whole: from the one process that delivers."""
        if not queue.delivers:
            return None
        stats = await self._stats.of(queue) if queue.is_open else None
        return {"open": queue.is_open, **numbers(stats, queue.store.now())}

    async def _transactions(self, search: str, limit: int) -> dict[str, Any]:
        found: list[transactions.Told] = []
        needle, most = search.lower(), min(limit, MOST_LISTED)
        for number, (at, facts) in enumerate(self.recent.transactions(), 1):
            if not needle or transactions.matches(facts, needle):
                found.append(transactions.told(at, facts))
                if len(found) >= most:
                    break
            if number % AT_A_TIME == 0:
                await deferLater(self._clock, 0)
        kept = len(self.recent.messages) + len(self.recent.refusals)
        return {"transactions": found, "kept": kept, "since": self.recent.oldest}

    async def _ended(self, after: float, most: int) -> dict[str, Any]:
        """The newest of those that have ended since then."""
        found: list[transactions.Told] = []
        now = self._wall()
        for at, facts in self.recent.transactions():
            if at < after or len(found) >= most:
                break
            found.append(transactions.told(at, facts))
        return {"now": now, "transactions": found}

    async def _transaction(self, id: str) -> list[transactions.Told]:
        """The events of an id, in order."""
        events: list[transactions.Told] = []
        for number, (at, facts) in enumerate(self.recent.all(), 1):
            if facts["id"] == id or facts.get("notice") == id:
                events.extend(transactions.timeline(at, facts))
            if number % AT_A_TIME == 0:
                await deferLater(self._clock, 0)
        return sorted(events, key=lambda event: event["at"])
