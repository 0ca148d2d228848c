"""How the gateway scales: run as ``python -m benchmarks.scaling``; ``--help`` says more."""

import argparse
from collections.abc import Awaitable, Callable

from attrs import evolve

from benchmarks.common import machine, plots
from benchmarks.common.bench import Bench, arguments, run
from benchmarks.forward.workloads import Amounts
from benchmarks.scaling import loads, sections
from benchmarks.scaling.memory import memory
from benchmarks.scaling.workers import workers

PARTS: dict[str, Callable[[Bench, Amounts], Awaitable[None]]] = {
    "pool": loads.pool,
    "sections": sections.sections,
    "recipients": loads.recipients,
    "idle": loads.idle,
    "reload": sections.reload,
    "workers": workers,
    "memory": memory,
}
PROGRAMS = ("Postfix",)
SHORT, FULL = Amounts(0.7, 3), Amounts(3.0, 5)
NOTE = (
    "Time is that of the whole run over its mails, with sender and sink beside the gateway; CPU is"
    " the gateway's alone, and a machine that does other things blurs it less."
)


def options() -> argparse.Namespace:
    parser = arguments(__doc__ or "", f"{FULL.seconds:g} s a run, {FULL.repeat} repetitions")
    parser.add_argument("--only", choices=PARTS, action="append", help="leave out the other parts")
    parser.add_argument("--messages", type=int, help="of each run, in place of so many seconds")
    return parser.parse_args()


async def measure(bench: Bench, asked: argparse.Namespace) -> None:
    """The parts that are asked for."""
    machine.allow_many_files()
    bench.report.notes.append(NOTE)
    if not plots.AVAILABLE:
        bench.report.notes.append(plots.MISSING)
    given = {name: getattr(asked, name) for name in ("messages", "repeat")}
    chosen = {name: value for name, value in given.items() if value is not None}
    amounts = evolve(FULL if asked.full else SHORT, **chosen)
    for name, part in PARTS.items():
        if name in (asked.only or PARTS):
            await part(bench, amounts)


if __name__ == "__main__":
    run("scaling", options(), PROGRAMS, measure)
