"""Rounds of asking: a number for each, who still owes an answer, and an end in any case.

Failure policy: a round ends when all have answered or gone, or when its time is over; whoever waits
gets the answers that have come.
"""

import itertools
from collections.abc import Callable, Iterable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred

from smtpforward.workers.messages import Message


@define(eq=False)
class _Round:
    """One that is open: who has not answered, what came, and who wants to know."""

    owed: set[int]
    wanted: "Deferred[dict[int, Any]]"
    timer: Any
    answers: dict[int, Any] = field(factory=dict)


class Rounds:
    """Those that are open.

    :param say: sends a message to a worker, by number.
    """

    def __init__(self, say: Callable[[int, Message], None], clock: Any) -> None:
        self._say = say
        self._clock = clock
        self._numbers = itertools.count(1)
        self._open: dict[int, _Round] = {}

    def ask(
        self, workers: Iterable[int], message: Callable[[int], Message], patience: float
    ) -> "Deferred[dict[int, Any]]":
        """Ask ``workers``; fires with the answers by worker.

        :param message: from the round's number to what is said.
        :param patience: seconds.
        """
        number, owed = next(self._numbers), set(workers)
        wanted: Deferred[dict[int, Any]] = Deferred()
        timer = self._clock.callLater(patience, self._close, number)
        self._open[number] = _Round(set(owed), wanted, timer)
        for worker in owed:
            self._say(worker, message(number))
        self._settle()
        return wanted

    def answered(self, worker: int, number: int, answer: object) -> None:
        """A worker has; too late, it changes nothing."""
        round_ = self._open.get(number)
        if round_ is not None and worker in round_.owed:
            round_.owed.discard(worker)
            round_.answers[worker] = answer
            self._settle()

    def gone(self, worker: int) -> None:
        """A worker has ended."""
        for round_ in self._open.values():
            round_.owed.discard(worker)
        self._settle()

    def stop(self) -> None:
        """Wait for nothing more."""
        for number in list(self._open):
            self._close(number)

    def _settle(self) -> None:
        for number in [number for number, round_ in self._open.items() if not round_.owed]:
            self._close(number)

    def _close(self, number: int) -> None:
        round_ = self._open.pop(number, None)
        if round_ is None:
            return  # Closed by what another one's end has set off.
        if round_.timer.active():
            round_.timer.cancel()
        round_.wanted.callback(round_.answers)
