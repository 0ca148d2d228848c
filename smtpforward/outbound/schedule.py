"""When what failed for a time is attempted again: pure, nothing here waits.

Each message goes through the same list of intervals (``temp_fail_intervals``); the failure that
finds none left is the last. A destination that cannot be reached backs off as a whole, for a time
that doubles with each failure in a row, so that a dead domain costs a connection now and then and
not one for each of its messages.
"""

from collections.abc import Sequence

FIRST_BACKOFF = 60.0
LONGEST_BACKOFF = 900.0


def next_due(attempts: int, intervals: Sequence[float], at: float) -> float | None:
    """When to try again after a failure at ``at``, or ``None`` when it was the last one.

    :param attempts: that had failed before this one.
    """
    return at + intervals[attempts] if attempts < len(intervals) else None


def last_attempt(attempts: int, intervals: Sequence[float], due: float) -> float:
    """When the last attempt would be of what is due at ``due`` after one failure more."""
    return due + sum(intervals[attempts + 1 :])


def backoff(failures: int) -> float:
    """Seconds that a destination is left alone after ``failures`` in a row, at least one."""
    # The exponent is bounded: a domain may be dead for years.
    return min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(failures - 1, 10))
