"""How many messages were accepted, deferred, refused and delivered, in steps of ten seconds.

A timer looks at the counters at the end of each step: a message costs nothing here. The steps are
those of the wall clock, so that those of several processes add up.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from twisted.internet.interfaces import IDelayedCall

from smtpforward.counts import NONE, Counts

STEP = 10.0
STEPS = 180
SERIES = ("accepted", "deferred", "refused", "delivered")
TAKEN = frozenset({"sent", "queued"})
Numbers = tuple[int, ...]  # one of each of SERIES


def totals(counts: Counts) -> Numbers:
    """All since the start, in the order of ``SERIES``.

    Accepted and deferred are messages; refused is what a rule refused, or a backend for good;
    delivered are messages that a backend took, and recipients of the queue's attempts.
    """
    accepted = deferred = refused = delivered = 0
    for (backend, status), number in counts.transactions.items():
        accepted += number if status in TAKEN else 0
        deferred += number if status == "deferred" else 0
        # Without a backend a rule has refused it: that counts below.
        refused += number if status == "bounced" and backend != NONE else 0
        delivered += number if status == "sent" else 0
    refused += sum(counts.refusals.values())
    delivered += sum(n for (_, status), n in counts.deliveries.items() if status == "sent")
    return accepted, deferred, refused, delivered


class History:
    """The last steps of one process.

    :param wall: seconds since the epoch.
    """

    def __init__(self, counts: Counts, clock: Any, wall: Callable[[], float] = time.time) -> None:
        self._counts = counts
        self._clock = clock
        self._wall = wall
        self._before = totals(counts)
        # Number of the step since the epoch, and what happened in it.
        self._steps: deque[tuple[int, Numbers]] = deque(maxlen=STEPS)
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """Look at the end of each step from now on."""
        self._wait(STEP - self._wall() % STEP)

    def _wait(self, seconds: float) -> None:
        self._timer = self._clock.callLater(seconds, self._look)

    def stop(self) -> None:
        """Leave nothing in the clock."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        # The step that has just ended, also when the timer is a little early or late.
        number = round(self._wall() / STEP) - 1
        now = totals(self._counts)
        self._steps.append((number, tuple(a - b for a, b in zip(now, self._before, strict=True))))
        self._before = now
        rest = STEP - self._wall() % STEP
        self._wait(rest if rest > STEP / 2 else rest + STEP)

    def steps(self) -> list[tuple[int, Numbers]]:
        """The steps that have ended, the oldest first."""
        return list(self._steps)


def history(processes: Iterable[Sequence[Sequence[Any]]], now: float) -> dict[str, Any]:
    """What ``processes`` have told as one series, which ends with the last whole step."""
    last = int(now // STEP) - 1
    first = last + 1 - STEPS
    series = [[0] * STEPS for _ in SERIES]
    seen = STEPS
    for steps in processes:
        for number, numbers in steps:
            if first <= number <= last:
                seen = min(seen, number - first)
                for values, value in zip(series, numbers, strict=True):
                    values[number - first] += value
    told = {name: values[seen:] for name, values in zip(SERIES, series, strict=True)}
    return {"step": STEP, "end": (last + 1) * STEP, **told}
