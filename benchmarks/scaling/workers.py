"""What a mail costs two workers and one process: with the same sessions, and with as many each."""

from contextlib import AsyncExitStack

from attrs import evolve, frozen

from benchmarks.common.bench import Bench
from benchmarks.common.report import Table
from benchmarks.forward.peers import certificate_in
from benchmarks.forward.runs import once, warmed_up
from benchmarks.forward.systems import TLS, System
from benchmarks.forward.workloads import MIB, Amounts, Workload
from benchmarks.scaling.curve import all_take_mail, gateway

WORKERS = 2
LOADS = (
    Workload("small", "4 KiB, 50 at once, a session each"),
    Workload("reuse", "4 KiB, 50 at once, sessions reused", reuse=True),
    Workload("large", "10 MiB, 4 at once", sessions=4, size=10 * MIB, warm_up=8),
    Workload("recipients", "50 recipients a mail", recipients=50, reuse=True),
    Workload("tls-in", "STARTTLS by the sender, a session each", tls=TLS.SENDERS, own=True),
)
ONE, SAME, EACH = "one process", "two workers", "two workers, as many each"


@frozen
class _Way:
    """One column: a gateway, and what it is sent."""

    column: str
    system: System
    load: Workload
    messages: int


async def workers(bench: Bench, amounts: Amounts) -> None:
    """Both run, and take turns."""
    table = bench.report.table(
        f"One process and {WORKERS} workers",
        "CPU of a mail, or of a MiB where mails are large. Two workers have the sessions that one"
        " process has, and then twice as many, so that each has as many as that:"
        f" `{LOADS[0].command}` and `{_doubled(LOADS[0]).command}`. Sender and sink take their part"
        " of the same processors.",
    )
    for load in LOADS:
        async with AsyncExitStack() as stack:
            ways = await _ways(bench.within(stack), stack, load, amounts)
            for number in range(amounts.repeat):
                bench.say(f"workers {load.name} {number + 1}/{amounts.repeat}")
                for way in reversed(ways) if number % 2 else ways:
                    run = await once(way.system, way.load, way.messages)
                    table.add(load.name, way.column, run.cost(load), "ms", 3)
        _compare(table, load.name)


def _doubled(load: Workload) -> Workload:
    return evolve(load, sessions=WORKERS * load.sessions)


async def _ways(
    bench: Bench, stack: AsyncExitStack, load: Workload, amounts: Amounts
) -> list[_Way]:
    files = {}
    if load.tls is TLS.SENDERS:
        pem = certificate_in(bench.folder())
        files["tls.ini"] = f"key={pem}\ncert={pem}\n"
    found = []
    for nodes, columns in ((0, {ONE: load}), (WORKERS, {SAME: load, EACH: _doubled(load)})):
        _, system, process = await stack.enter_async_context(gateway(bench, files, nodes))
        await all_take_mail(process, max(1, nodes))
        for column, brought in columns.items():
            messages = await warmed_up(system, brought, amounts)
            found.append(_Way(column, system, brought, messages))
    return found


def _compare(table: Table, row: str) -> None:
    """How much more the workers' columns have than the first, by their medians."""
    one = table.median(row, ONE)
    for column in (SAME, EACH):
        workers = table.median(row, column)
        if one and workers is not None:
            table.add(row, f"{column}: more", 100 * (workers / one - 1), "%", 0)
