"""CPU time of a process tree, from ``/proc/*/stat``: see proc(5)."""

import os
from pathlib import Path
from typing import NamedTuple

TICKS = os.sysconf("SC_CLK_TCK")


class _Stat(NamedTuple):
    parent: int
    ticks: int


def tree_seconds(pid: int) -> float:
    """User and system seconds of ``pid`` and its living descendants, with their reaped children.

    0.0 when there is no such process.
    """
    stats = _all_stats()
    return sum(stats[member].ticks for member in _family(pid, stats) if member in stats) / TICKS


def family(pid: int) -> set[int]:
    """``pid`` and its living descendants."""
    return _family(pid, _all_stats())


def _family(pid: int, stats: dict[int, _Stat]) -> set[int]:
    members = {pid}
    grown = True
    while grown:
        children = {child for child, stat in stats.items() if stat.parent in members}
        grown = not children <= members
        members |= children
    return members


def _all_stats() -> dict[int, _Stat]:
    stats = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = entry.read_text("utf-8", "backslashreplace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        # The command name, in parentheses, may itself hold blanks and parentheses.
        fields = text.rpartition(")")[2].split()
        stats[int(entry.parent.name)] = _Stat(int(fields[1]), sum(map(int, fields[11:15])))
    return stats
