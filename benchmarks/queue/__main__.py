"""The outbound queue, measured: run as ``python -m benchmarks.queue``; ``--help`` says more."""

import argparse
from collections.abc import Sequence

from benchmarks.common.bench import Bench, arguments, run
from benchmarks.queue.dead import Dead
from benchmarks.queue.large import Large
from benchmarks.queue.rates import Rates
from benchmarks.queue.stores import ALL, Stores
from benchmarks.queue.systems import System, gateway_queue, postfix_queue
from tests.peers.sink import SmtpSink

PARTS = ("rates", "dead", "large")
POSTFIX = "Postfix"
PROGRAMS = ("Postfix", "PostgreSQL")
FULL = "5000 mails for each figure, in place of 1000"


def options() -> argparse.Namespace:
    parser = arguments(__doc__ or "", FULL)
    parser.add_argument("--only", choices=PARTS, action="append", help="leave out the other parts")
    parser.add_argument("--messages", type=int, help="for each rate")
    parser.add_argument("--systems", default=",".join((*ALL, POSTFIX)), help="with commas")
    return parser.parse_args()


async def measure(bench: Bench, asked: argparse.Namespace) -> None:
    """The parts that are asked for."""
    parts, names = asked.only or PARTS, asked.systems.split(",")
    stores = Stores(bench, [name for name in ALL if name in names])
    await stores.start()
    if "rates" in parts:
        systems = await _systems(bench, stores, names)
        rates = Rates(bench, systems, asked.messages or (5000 if asked.full else 1000))
        await rates.measure(asked.repeat or 3)
    if "dead" in parts:
        live, dead = (1000, 10_000) if asked.full else (500, 2500)
        await Dead(bench, stores, live, dead).measure(asked.repeat or 3)
    if "large" in parts:
        messages, minutes = (100_000, 3.0) if asked.full else (10_000, 0.2)
        await Large(bench, stores, messages, minutes).measure()


async def _systems(bench: Bench, stores: Stores, names: Sequence[str]) -> list[System]:
    systems: list[System] = []
    for name in stores.names:
        sink = await bench.keep(SmtpSink(bench.folder())).ready()
        keys = {"smart_host": f"127.0.0.1:{sink.port}"}
        address, server = await stores.new(name), stores.server(name)
        systems.append(await gateway_queue(bench, name, address, sink, keys, server))
    if POSTFIX in names:
        systems.append(await postfix_queue(bench))
    return systems


if __name__ == "__main__":
    run("queue", options(), PROGRAMS, measure)
