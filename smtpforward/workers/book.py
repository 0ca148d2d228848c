"""The parent's book of figures: it asks the workers when somebody wants to see them.

A worker that does not answer in time counts with what it said last. The counters of those that
have ended are kept, so that the gateway's own never fall; what a worker counted after its last
answer goes with it.
"""

import itertools
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred

from smtpforward.figures import Figures, Observation, together
from smtpforward.workers.messages import Ask, Seen

PATIENCE = 2.0
COUNTER = "_total"
NONE_READY = "no worker process is there"


class _Question:
    """One that is open: who has not answered, and who wants to know."""

    def __init__(self, owed: set[int], wanted: "Deferred[None]", timer: Any) -> None:
        self.owed = owed
        self.wanted = wanted
        self.timer = timer


class Book:
    """What is known of each worker.

    :param say: sends a message to a worker, by number.
    """

    def __init__(self, say: Callable[[int, Ask], None], clock: Any) -> None:
        self._say = say
        self._clock = clock
        self._numbers = itertools.count(1)
        self._questions: dict[int, _Question] = {}
        self._latest: dict[int, Observation] = {}
        self._ended = Figures()

    def ask(self, workers: Iterable[int]) -> "Deferred[Observation]":
        """What is to be seen of all of them."""
        number, owed = next(self._numbers), set(workers)
        wanted: Deferred[None] = Deferred()
        timer = self._clock.callLater(PATIENCE, self._close, number)
        self._questions[number] = _Question(set(owed), wanted, timer)
        seen = wanted.addCallback(lambda _: self._all())
        for worker in owed:
            self._say(worker, Ask(number))
        self._settle()
        return seen

    def answered(self, worker: int, seen: Seen) -> None:
        """A worker has."""
        self._latest[worker] = seen.observation
        question = self._questions.get(seen.number)
        if question is not None:
            question.owed.discard(worker)
            self._settle()

    def gone(self, worker: int) -> None:
        """A worker has ended."""
        latest = self._latest.pop(worker, None)
        if latest is not None:
            self._ended = together([self._ended, _lasting(latest.figures)])
        for question in self._questions.values():
            question.owed.discard(worker)
        self._settle()

    def stop(self) -> None:
        """Wait for nothing more."""
        for number in list(self._questions):
            self._close(number)

    def _settle(self) -> None:
        for number in [n for n, question in self._questions.items() if not question.owed]:
            self._close(number)

    def _close(self, number: int) -> None:
        question = self._questions.pop(number)
        if question.timer.active():
            question.timer.cancel()
        question.wanted.callback(None)

    def _all(self) -> Observation:
        """Ready where one is; else all the reasons."""
        latest = self._latest
        figures = together([*(seen.figures for seen in latest.values()), self._ended])
        count = Figures({("workers", ()): float(len(latest))})
        ready = any(not seen.reasons for seen in latest.values())
        reasons: tuple[str, ...] = () if ready else (NONE_READY,)
        if latest and not ready:
            found = (reason for seen in latest.values() for reason in seen.reasons)
            reasons = tuple(dict.fromkeys(found))
        return Observation(together([figures, count]), reasons)


def _lasting(figures: Figures) -> Figures:
    """What remains true of a worker that has ended."""
    values = {key: value for key, value in figures.values.items() if key[0].endswith(COUNTER)}
    return Figures(values, figures.times)
