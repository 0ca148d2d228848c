"""The parent's book of figures: it asks the workers when somebody wants to see them.

A worker that does not answer in time counts with what it said last. The counters of those that
have ended are kept, so that the gateway's own never fall; what a worker counted after its last
answer goes with it.
"""

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred

from smtpforward.figures import Figures, Observation, together
from smtpforward.workers.messages import Ask, Seen
from smtpforward.workers.rounds import Rounds

PATIENCE = 2.0
COUNTER = "_total"
NONE_READY = "no worker process is there"


class Book:
    """What is known of each worker.

    :param say: sends a message to a worker, by number.
    """

    def __init__(self, say: Callable[[int, Any], None], clock: Any) -> None:
        self._rounds = Rounds(say, clock)
        self._latest: dict[int, Observation] = {}
        self._ended = Figures()

    def ask(self, workers: Iterable[int]) -> "Deferred[Observation]":
        """What is to be seen of all of them."""
        asking: Deferred[Any] = self._rounds.ask(workers, Ask, PATIENCE)
        return asking.addCallback(lambda _: self._all())

    def answered(self, worker: int, seen: Seen) -> None:
        """A worker has."""
        self._latest[worker] = seen.observation
        self._rounds.answered(worker, seen.number, seen)

    def gone(self, worker: int) -> None:
        """A worker has ended."""
        latest = self._latest.pop(worker, None)
        if latest is not None:
            self._ended = together([self._ended, _lasting(latest.figures)])
        self._rounds.gone(worker)

    def stop(self) -> None:
        """Wait for nothing more."""
        self._rounds.stop()

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
