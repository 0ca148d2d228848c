"""Many domains in ``smtp_forward.ini``: a mail's price, the start, and a reload under load."""

import signal
from collections.abc import Sequence
from time import monotonic

from benchmarks.common.bench import Bench
from benchmarks.common.client import Told
from benchmarks.common.measuring import pause
from benchmarks.common.report import Table
from benchmarks.forward.results import percentile
from benchmarks.forward.systems import System
from benchmarks.forward.workloads import CLIENT, MIB, Amounts, Workload, told
from benchmarks.scaling.curve import WITHIN, Curve, all_take_mail, gateway
from tests.peers.gateway import Gateway, environment
from tests.peers.process import Process
from tests.peers.wait import until

SECTIONS = (1, 10, 100, 1000, 10_000, 100_000)
MANY = 100_000
READ_AGAIN = "the settings were read again"
QUIET = 3.0  # seconds of the same without a reload
NODES = (0, 2)
DOMAIN = "d{number}.example.com"
TOP = "host=127.0.0.1\nport=PORT\nenable_tls=false\ncheck_recipient=true\n"
SECTION = f"[{DOMAIN}]\nhost=127.0.0.1\nport=PORT\n"


def directory(number: int) -> dict[str, str]:
    """The file with so many domains; no other list accepts any."""
    text = TOP + "".join(SECTION.format(number=each) for each in range(number))
    return {"smtp_forward.ini": text, "host_list": "example.com\n"}


async def sections(bench: Bench, amounts: Amounts, numbers: Sequence[int] = SECTIONS) -> None:
    """A gateway for each number of domains: its start, and a mail for one of them."""
    workload = Workload("sections", "", sessions=10, reuse=True)
    about = (
        f"`{workload.command}`, for the domain in the middle. The start is up to the first answer."
    )
    curve = Curve(bench, "sections", about, "domains with a section", amounts)
    for number in numbers:
        began = monotonic()
        async with gateway(bench, directory(number)) as (_, system, _process):
            curve.table.add(str(number), "start", monotonic() - began, "s", 2)
            curve.table.add(str(number), "memory", system.group.memory / MIB, "MiB", 1)
            to = f"rcpt@{DOMAIN.format(number=number // 2)}"
            load = Workload("sections", "", sessions=10, reuse=True, to=to)
            await curve.measure(number, system, load)
    curve.draw()


async def reload(bench: Bench, amounts: Amounts, number: int = MANY) -> None:
    """The longest that one client has to wait while the directory is read again."""
    table = bench.report.table(
        f"Reading {number} sections again",
        "One session, one mail after the other: the longest that one took while the gateway read"
        " its directory again after a SIGHUP, and without that.",
    )
    for _ in range(amounts.repeat):
        for nodes in NODES:
            async with gateway(bench, directory(number), nodes) as (own, system, process):
                bench.say(f"reload of {number} sections, nodes={nodes}")
                await all_take_mail(process, max(1, nodes))
                began = monotonic()
                quiet = await _watched(own, system, None)
                _note(table, f"nodes={nodes}, without", quiet, monotonic() - began)
                began = monotonic()
                busy = await _watched(own, system, process, nodes)
                _note(table, f"nodes={nodes}, with", busy, monotonic() - began)


def _note(table: Table, row: str, seen: Told, seconds: float) -> None:
    table.add(row, "p50", percentile(seen.latencies, 50) * 1000, "ms", 2)
    table.add(row, "p99", percentile(seen.latencies, 99) * 1000, "ms", 2)
    table.add(row, "longest", max(seen.latencies) * 1000, "ms", 1)
    table.add(row, "seconds", seconds, "s", 1)


async def _watched(bench: Bench, system: System, reloaded: Gateway | None, nodes: int = 0) -> Told:
    """What a client saw meanwhile."""
    command = [*CLIENT, "--port", str(system.port), "--every", "0", "--messages", "20", "--reuse"]
    client = bench.keep(Process(command, bench.folder(), environment(), "client"))
    await client.until(lambda: "ready" in client.stdout, "the client is ready")
    if reloaded is None:
        await pause(QUIET)
    else:
        await _reload(reloaded, max(1, nodes))
    await client.terminate()
    return told(client.stdout)


async def _reload(process: Gateway, processes: int) -> None:
    """Until all processes that take mail say that they have the settings."""
    before = process.output().count(READ_AGAIN)
    process.signal(signal.SIGHUP)
    await until(
        lambda: process.output().count(READ_AGAIN) >= before + processes,
        lambda: f"{READ_AGAIN}: {process.output()[-2000:]}",
        WITHIN,
    )
