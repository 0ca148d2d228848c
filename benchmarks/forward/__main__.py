"""Forwarding, measured: run as ``python -m benchmarks.forward``; ``--help`` says more."""

import argparse
from collections.abc import Sequence

from attrs import evolve

from benchmarks.common import machine, plots
from benchmarks.common.bench import Bench, arguments, run
from benchmarks.common.group import Group
from benchmarks.forward import goals
from benchmarks.forward.compare import Comparison
from benchmarks.forward.peers import CANDIDATES, OURS, certificate_in
from benchmarks.forward.results import CPU, MEDIAN, RATE, Results
from benchmarks.forward.strace import count_calls
from benchmarks.forward.systems import Candidate
from benchmarks.forward.workloads import Amounts, workloads

PROGRAMS = ("Postfix", "HAProxy", "Node", "Haraka", "aiosmtpd", "aiosmtplib", "OpenSSL")
NAMES = tuple(workload.name for workload in workloads(0))
SHORT = Amounts(0.6, 3, workloads=("small", "reuse", "large", "latency", "tls-out", "idle"))
FULL = Amounts(4.0, 5, workloads=NAMES)
NOTES = (
    "CPU is user and system time of all processes of a system, those that have ended included;"
    " that of the sender and of the sink is not in it. On a machine with few processors these two"
    " take a part of what a rate could be.",
    "A run counts when each mail had its 250 and the sink has each once. Rates and CPU are medians"
    " of turns in which each system comes once, least and greatest beside. p50, p99 and memory"
    " (PSS) are of one more run, with a client of our own beside smtp-source that sends one mail of"
    " 4 KiB after the other: the times of a session where each mail has one, else of a"
    " transaction.",
    "smtp-source has no TLS and tells no times: `latency` and `tls-in` are sent by that client. The"
    " sink of `tls-out` is one of ours with STARTTLS, which smtp-sink lacks.",
    "`Postfix, relay` answers when the mail is in its queue on disk, not when the sink has it; its"
    " rate is up to the sink. All others answer when the sink has.",
    f"`{OURS}` has all its checks on and takes mail from strangers for a domain of `host_list`.",
)


def options() -> argparse.Namespace:
    parser = arguments(
        __doc__ or "", f"all workloads, {FULL.seconds:g} s a run, {FULL.repeat} repetitions"
    )
    parser.add_argument("--only", choices=NAMES, action="append", help="these workloads alone")
    parser.add_argument("--messages", type=int, help="of each run, in place of so many seconds")
    parser.add_argument("--seconds", type=float, help="that one run is to take")
    parser.add_argument("--idle", type=int, default=2000, help="connections that are idle (2000)")
    parser.add_argument("--systems", help="whose names begin so, with semicolons")
    parser.add_argument(
        "--strace", action="store_true", help="in place of all else: system calls a mail"
    )
    return parser.parse_args()


def amounts(asked: argparse.Namespace) -> Amounts:
    """What the options say."""
    given = {name: getattr(asked, name) for name in ("seconds", "repeat", "messages", "idle")}
    chosen = {name: value for name, value in given.items() if value is not None}
    return evolve(FULL if asked.full else SHORT, **chosen)


def candidates(bench: Bench, asked: argparse.Namespace) -> Sequence[Candidate]:
    """Those that are asked for and can be had; of the others a note."""
    wanted = tuple(asked.systems.split(";")) if asked.systems else ("",)
    found = []
    for candidate in CANDIDATES:
        lacks = candidate.missing()
        if lacks:
            bench.report.notes.append(f"{candidate.name} is left out: no {lacks} here.")
        elif candidate.name.startswith(wanted):
            found.append(candidate)
    return found


async def measure(bench: Bench, asked: argparse.Namespace) -> None:
    """The workloads that are asked for."""
    machine.allow_many_files()
    bench.report.notes += NOTES
    group = Group()
    bench.later(group.remove)
    if not group.exact:
        bench.report.notes.append("No control group could be made: CPU is in steps of a tick.")
    size, certificate = amounts(asked), certificate_in(bench.folder())
    comparison = Comparison(bench, candidates(bench, asked), size, certificate)
    chosen = [one for one in workloads(size.idle) if one.name in (asked.only or size.workloads)]
    if asked.strace:
        await count_calls(bench, comparison, chosen)
        return
    for workload in chosen:
        await comparison.measure(workload)
    results = comparison.results
    bench.report.summary = results.summary()
    for column in (RATE, CPU, MEDIAN):
        results.ratios(bench.report, column)
    goals.judge(bench.report, results)
    _plot(bench, results)


def _plot(bench: Bench, results: Results) -> None:
    if not plots.AVAILABLE:
        bench.report.notes.append(plots.MISSING)
        return
    for column in (RATE, CPU, MEDIAN):
        panels = {
            f"{table.title}: {column}, {table.columns[column]}": medians
            for table in results.tables.values()
            if (medians := table.medians(column))
        }
        if panels:
            path = plots.bars(f"{bench.report.name}-{column.lower()}", panels, OURS)
            bench.say(f"Drawn: {path}")


if __name__ == "__main__":
    run("forward", options(), PROGRAMS, measure)
