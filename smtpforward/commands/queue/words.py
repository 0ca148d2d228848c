"""Numbers as an operator reads and writes them: spans of time, moments, sizes."""

import re
from datetime import UTC, datetime
from math import ceil

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
SPAN = "a span of time such as 30s, 15m, 2h, 3d or 1d12h"
_SPAN = re.compile(r"(?:\d+[smhd])+", re.ASCII)
_STEP = re.compile(r"(\d+)([smhd])", re.ASCII)
# Up to which span a unit is used: below two hours minutes say more.
_NAMES = ((60, 1, "s", "s"), (7200, 60, "m", "min"), (172800, 3600, "h", "h"))
MAX_SPAN = 100 * 365 * UNITS["d"]


def seconds(text: str) -> float:
    """The seconds of a span such as ``2d`` or ``1h30m``.

    :raise ValueError: when it is none; its text says what would be one.
    """
    if not _SPAN.fullmatch(text):
        raise ValueError(f"{text!r} is not {SPAN}")
    total = sum(int(count) * UNITS[unit] for count, unit in _STEP.findall(text))
    if total > MAX_SPAN:
        raise ValueError(f"{text!r} is too long for {SPAN}")
    return float(total)


def short_span(span: float) -> str:
    """How long something has lasted, in a column: ``45s``, ``12m``, ``3h``, ``9d``."""
    number, unit, _ = _step(max(0, int(span)))
    return f"{number}{unit}"


def spoken_span(span: float) -> str:
    """How long something lasts, in a sentence: ``45 s``, ``12 min``, ``3 h``, ``9 days``."""
    number, _, name = _step(max(0, ceil(span)))
    return f"{number} {name}"


def _step(span: int) -> tuple[int, str, str]:
    for below, length, unit, name in _NAMES:
        if span < below:
            return span // length, unit, name
    return span // UNITS["d"], "d", "days"


def minute(at: float) -> str:
    """A time for the eye, to the second, in UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}Z"


def octets(size: int) -> str:
    """A size in at most five characters: ``812``, ``4.1K``, ``25M``."""
    if size < 1000:
        return str(size)
    power = next((power for power in (1, 2, 3) if size / 1024**power < 999.5), 4)
    amount = size / 1024**power
    return f"{amount:.{int(amount < 9.95)}f}{'KMGT'[power - 1]}"


def octets_in_words(size: int) -> str:
    """A size where no heading says what it is: ``812B``, ``4.1KB``."""
    return f"{octets(size)}B"


def counted(number: int, one: str, many: str) -> str:
    """``1 entry``, ``2 entries``."""
    return f"{number} {one if number == 1 else many}"
