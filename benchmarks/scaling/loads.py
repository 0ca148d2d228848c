"""The price of a mail as the pool, its recipients, and idle connections grow in number."""

import signal
from collections.abc import Sequence
from pathlib import Path

from twisted.internet.defer import Deferred

from benchmarks.common.bench import Bench
from benchmarks.common.idlers import Idlers
from benchmarks.common.measuring import reached
from benchmarks.forward.systems import System
from benchmarks.forward.workloads import Amounts, Workload
from benchmarks.scaling.curve import Curve, gateway
from tests.peers.sink import SmtpSink

POOL = (10, 20, 50, 100, 200, 500, 1000)
RECIPIENTS = (1, 2, 5, 10, 50, 100, 500, 1000)
IDLE = (0, 10, 100, 500, 1000, 2000)
REUSED = Workload("reuse", "4 KiB, 50 at once, sessions are reused", reuse=True)
FEW = Workload("few", "4 KiB, 10 at once, sessions are reused", reuse=True, sessions=10)
EACH = Workload("small", "4 KiB, 50 at once, a session for each mail")
# Nothing of the pool is to go while it is measured.
KEPT = """\
host=127.0.0.1
port=PORT
enable_tls=false
max_connections={number}
max_connecting={number}
timeout=200
max_age=10000
max_messages=1000000
"""
ESTABLISHED = "01"
WITHIN = 60.0


async def pool(bench: Bench, amounts: Amounts, sizes: Sequence[int] = POOL) -> None:
    """The pool has so many connections, of which the load uses ten."""
    about = f"`{FEW.command}`, with so many connections to the backend, all of them open."
    curve = Curve(bench, "pool", about, "connections in the pool", amounts)
    for number in sizes:
        files = {"smtp_forward.ini": KEPT.format(number=number)}
        async with gateway(bench, files) as (_, system, _process):
            await _grow(system, number)
            await curve.measure(number, system, FEW)
            assert connections(system.sink.port) == number, "some of the pool have gone"
    curve.draw()


async def _grow(system: System, number: int) -> None:
    """Have so many mails wait for the backend at the same time, then let it go on."""
    sink = system.sink
    assert isinstance(sink, SmtpSink), "it can be stopped for a while"
    sink.signal(signal.SIGSTOP)
    try:
        wave = Workload("wave", "", sessions=number)
        sending = Deferred.fromCoroutine(wave.send(system.port, number))
        await reached(lambda: connections(sink.port), number, WITHIN, "connections of the pool")
    finally:
        sink.signal(signal.SIGCONT)
    await sending
    await reached(lambda: sink.messages, number, WITHIN, "mails of the first wave")


def connections(port: int) -> int:
    """How many there are to a port of 127.0.0.1: their ends at the one that has connected."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[2].endswith(f":{port:04X}") and row[3] == ESTABLISHED for row in rows)


async def recipients(bench: Bench, amounts: Amounts, numbers: Sequence[int] = RECIPIENTS) -> None:
    """One gateway, and mails with more and more recipients."""
    about = f"`{FEW.command}`, with `-r` for so many recipients."
    curve = Curve(bench, "recipients", about, "recipients of a mail", amounts)
    async with gateway(bench) as (_, system, _process):
        for number in numbers:
            workload = Workload(
                "recipients", "", sessions=10, reuse=True, recipients=number, warm_up=20
            )
            await curve.measure(number, system, workload)
    curve.draw()


async def idle(bench: Bench, amounts: Amounts, numbers: Sequence[int] = IDLE) -> None:
    """Connections that are there and do nothing."""
    about = f"`{EACH.command}`, and with `-d`, beside so many connections that have said EHLO."
    curve = Curve(bench, "idle", about, "idle connections", amounts)
    for number in numbers:
        async with gateway(bench) as (own, system, _process):
            if number:
                await own.keep(Idlers(own.folder(), system.port, number)).ready()
            await curve.measure(number, system, EACH, "a session each")
            await curve.measure(number, system, REUSED, "sessions reused")
    curve.draw()
