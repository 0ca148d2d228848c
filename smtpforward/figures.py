"""What a process tells of itself when it is asked: numbers by name, and why it is not ready.

Values, so that worker processes can send them; those of several add up. What the names mean stands
in ``web/metrics.py``.
"""

from collections.abc import Iterable, Mapping

from attrs import field, frozen

Key = tuple[str, tuple[str, ...]]  # the metric, and the values of its labels
# What is not added up, but is the greatest of all.
MAXIMA = frozenset({"queue_oldest_age_seconds", "backend_down"})


@frozen
class Figures:
    """Numbers.

    :ivar values: counters and gauges. ``times``: by phase, how often it took how long
        (``counts.Times.buckets``), and the seconds, all together.
    """

    values: Mapping[Key, float] = field(factory=dict)
    times: Mapping[str, tuple[tuple[int, ...], float]] = field(factory=dict)


@frozen
class Observation:
    """What there is to be seen of a process.

    :ivar reasons: why it does not take mail, or not to any purpose; none where it is ready.
    """

    figures: Figures
    reasons: tuple[str, ...] = ()


def together(parts: Iterable[Figures]) -> Figures:
    """The figures of several processes as those of one gateway."""
    values: dict[Key, float] = {}
    times: dict[str, tuple[tuple[int, ...], float]] = {}
    for part in parts:
        for key, value in part.values.items():
            known = values.get(key, 0)
            values[key] = max(known, value) if key[0] in MAXIMA else known + value
        for phase, (buckets, total) in part.times.items():
            if phase in times:
                others, sum_ = times[phase]
                buckets = tuple(map(sum, zip(buckets, others, strict=True)))
                total += sum_
            times[phase] = (buckets, total)
    return Figures(values, times)
