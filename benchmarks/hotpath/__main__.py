"""What a mail costs, counted: run as ``python -m benchmarks.hotpath``.

Without options it prints the figures of each workload and the ceilings of this version of Python.
``--check`` fails, with exit status 1, where a figure is above its ceiling; ``--write`` makes the
figures of now the ceilings: a commit that raises one says why.
"""

import argparse
import io
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from twisted.logger import FileLogObserver, globalLogBeginner

from benchmarks.hotpath.counting import calls, kept
from benchmarks.hotpath.path import Path as Way
from benchmarks.hotpath.path import message
from smtpforward.logs import LogText

CEILINGS = Path(__file__).with_name("ceilings.json")
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
WARM, TIMES = 300, 200
SMALL = message(4096)
LARGE = message(10 * 65536)
Figures = Mapping[str, float]


class Sink(io.StringIO):
    """The log's file: what is written is formatted, and not kept."""

    def write(self, text: str) -> int:
        return len(text)


def workloads(way: Way) -> Mapping[str, Callable[[], None]]:
    """What is done once, by its name."""
    reused = way.connect()

    def a_session_each() -> None:
        client = way.connect()
        client.mail(1, SMALL)
        client.quit()

    return {
        "a session each": a_session_each,
        "sessions reused": lambda: reused.mail(1, SMALL),
        "50 recipients": lambda: reused.mail(50, SMALL),
        "640 KiB": lambda: reused.mail(1, LARGE),
    }


def figures(way: Way, work: Callable[[], None]) -> Figures:
    """Of one workload, a mail each."""
    for _ in range(WARM):
        work()
    before = way.meter.events
    counted = calls(work, TIMES)
    events = way.meter.events - before
    return {
        "calls": round(counted.own / TIMES, 1),
        "calls with libraries": round(counted.all / TIMES, 1),
        "reads, writes and timers": round(events / TIMES, 1),
        "blocks kept": max(0.0, round(kept(work, TIMES), 1)),
    }


CHECKED = ("calls", "reads, writes and timers", "blocks kept")


def measured() -> dict[str, Figures]:
    """All of them."""
    globalLogBeginner.beginLoggingTo([FileLogObserver(Sink(), LogText())], redirectStandardIO=False)
    way = Way()
    return {name: figures(way, work) for name, work in workloads(way).items()}


def above(found: Mapping[str, Figures], ceilings: Mapping[str, Figures]) -> list[str]:
    """What costs more than it may, in words."""
    return [
        f"{name}: {found[name][what]:g} {what} a mail, the ceiling is {most:g}"
        for name, limits in ceilings.items()
        for what, most in limits.items()
        if found[name][what] > most
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hotpath", description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail where a ceiling is exceeded")
    parser.add_argument("--write", action="store_true", help="make these the ceilings")
    asked = parser.parse_args()
    known: dict[str, dict[str, Figures]] = json.loads(CEILINGS.read_text())
    found = measured()
    for name, each in found.items():
        print(f"{name}: " + ", ".join(f"{value:g} {what}" for what, value in each.items()))
    if asked.write:
        known[VERSION] = {n: {what: each[what] for what in CHECKED} for n, each in found.items()}
        CEILINGS.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")
    if VERSION not in known:
        print(f"no ceilings for Python {VERSION}")
    wrong = above(found, known.get(VERSION, {}))
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if asked.check and wrong else 0


if __name__ == "__main__":
    sys.exit(main())
