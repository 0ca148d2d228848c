"""What the gateway has in memory: with large mails, and after few and after many small ones."""

from twisted.internet.defer import Deferred

from benchmarks.common.bench import Bench
from benchmarks.common.measuring import pause, reached
from benchmarks.common.report import Table
from benchmarks.forward.systems import System
from benchmarks.forward.workloads import MIB, WITHIN, Amounts, Workload
from benchmarks.scaling.curve import gateway

LOOK_EVERY = 0.05
LARGE = Workload("large", "40 of 10 MiB, 4 at once", sessions=4, size=10 * MIB)
SMALL = Workload("small", "4 KiB, 50 at once, a session each")
COUNTS = (10_000, 100_000)


async def memory(bench: Bench, amounts: Amounts) -> None:
    """A gateway for each load."""
    table = bench.report.table(
        "Memory",
        f"PSS of the gateway before, at most meanwhile, and after: `{LARGE.command}`, and"
        f" `{SMALL.command}`.",
    )
    counts = COUNTS if amounts.messages is None else (amounts.messages, 10 * amounts.messages)
    large = 40 if amounts.messages is None else 8
    for workload, number in ((LARGE, large), *((SMALL, count) for count in counts)):
        async with gateway(bench) as (_, system, _process):
            bench.say(f"memory: {number} {workload.name}")
            await _watched(table, system, workload, number)


async def _watched(table: Table, system: System, workload: Workload, number: int) -> None:
    row = f"{number} {workload.name}"
    before = most = system.group.memory
    wanted = system.sink.messages + number
    sending = Deferred.fromCoroutine(workload.send(system.port, number))
    while not sending.called:
        await pause(LOOK_EVERY)
        most = max(most, system.group.memory)
    await sending
    await reached(lambda: system.sink.messages, wanted, WITHIN, "mails at the sink")
    await system.group.rested()
    for column, octets in (("before", before), ("at most", most), ("after", system.group.memory)):
        table.add(row, column, octets / MIB, "MiB", 1)
