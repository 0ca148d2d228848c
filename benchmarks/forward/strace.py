"""System calls a mail: ``strace -c`` at all processes of a system while it forwards some.

What strace costs is no part of it: calls are counted, not timed.
"""

import re
import signal
from collections.abc import Sequence
from pathlib import Path

from benchmarks.common.bench import Bench
from benchmarks.common.measuring import pause
from benchmarks.common.report import Table
from benchmarks.forward.compare import Comparison
from benchmarks.forward.runs import once
from benchmarks.forward.systems import System
from benchmarks.forward.workloads import Workload
from tests.peers.process import Process
from tests.peers.require import find

MESSAGES = 300
MOST = 8  # calls that are shown by name
# % time, seconds, usecs/call, calls, errors where there are any, name
LINE = re.compile(r"^\s*[\d.]+\s+[\d.]+\s+\d*\s+(\d+)\s+(?:\d+\s+)?(\w+)$", re.MULTILINE)
ATTACHED = re.compile(r"Process \d+ attached")


def parsed(summary: str) -> dict[str, int]:
    """How often each call was made; ``total`` is their sum."""
    return {name: int(count) for count, name in LINE.findall(summary)}


async def count_calls(bench: Bench, comparison: Comparison, workloads: Sequence[Workload]) -> None:
    """A table for each workload that smtp-source sends, a row for each system.

    :raise AssertionError: when there is no strace.
    """
    assert find("strace"), "--strace needs the package strace"
    for workload in workloads:
        table = bench.report.table(
            f"System calls a mail: {workload.name}", f"`{workload.command}`, {MESSAGES} mails."
        )
        async with comparison.started(workload) as (own, systems):
            for system in systems:
                if system.group.pids:
                    bench.say(f"strace {workload.name}: {system.name}")
                    await _counted(own, system, workload, table)


async def _counted(bench: Bench, system: System, workload: Workload, table: Table) -> None:
    summary = bench.folder() / "calls"
    await once(system, workload, MESSAGES)
    tracer = bench.keep(_strace(system, summary))
    await tracer.until(lambda: ATTACHED.search(tracer.stderr), "attached")
    await pause(0.5)
    await once(system, workload, MESSAGES)
    tracer.signal(signal.SIGINT)
    await tracer.ended()
    calls = parsed(summary.read_text())
    table.add(system.name, "all", calls.pop("total") / MESSAGES, "", 1)
    most = sorted(calls.items(), key=lambda call: -call[1])[:MOST]
    for name, count in most:
        table.add(system.name, name, count / MESSAGES, "", 1)


def _strace(system: System, summary: Path) -> Process:
    pids = [option for pid in sorted(system.group.pids) for option in ("-p", str(pid))]
    command = [find("strace") or "", "-f", "-c", "-o", str(summary), *pids]
    return Process(command, summary.parent, name="strace")
