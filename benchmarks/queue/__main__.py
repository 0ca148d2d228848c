"""The outbound queue, measured: run as ``python -m benchmarks.queue``; ``--help`` says more."""

import argparse
from collections.abc import Sequence

from attrs import evolve, frozen

from benchmarks.common.bench import Bench, arguments, run
from benchmarks.queue.dead import Dead
from benchmarks.queue.large import Large
from benchmarks.queue.rates import Rates
from benchmarks.queue.spread import Spread
from benchmarks.queue.stores import ALL, Stores
from benchmarks.queue.systems import System, gateway_queue, postfix_queue
from tests.peers.sink import SmtpSink

PARTS = ("rates", "spread", "dead", "large")
POSTFIX = "Postfix"
PROGRAMS = ("Postfix", "PostgreSQL")
NOTE = "Rates depend on what else the machine does; CPU a mail hardly does."


@frozen
class Sizes:
    """How much is measured.

    :ivar messages: for each rate. ``live``, ``dead``: beside each other. ``queued``: a large queue,
        watched for ``minutes``. ``repeat``: how often rates and times are measured.
    """

    messages: int = 1000
    live: int = 1000
    dead: int = 2500
    queued: int = 10_000
    minutes: float = 0.1
    repeat: int = 2


FULL = Sizes(5000, 1000, 10_000, 100_000, 3.0, 3)


def options() -> argparse.Namespace:
    full = f"{FULL}, in place of {Sizes()}"
    parser = arguments(__doc__ or "", full)
    parser.add_argument("--only", choices=PARTS, action="append", help="leave out the other parts")
    parser.add_argument("--messages", type=int, help="for each rate")
    parser.add_argument("--minutes", type=float, help="how long a large queue is watched")
    parser.add_argument("--systems", default=",".join((*ALL, POSTFIX)), help="with commas")
    return parser.parse_args()


def sizes(asked: argparse.Namespace) -> Sizes:
    """What the options say."""
    given = {name: getattr(asked, name) for name in ("messages", "minutes")}
    chosen = FULL if asked.full else Sizes()
    return evolve(chosen, **{name: value for name, value in given.items() if value is not None})


async def measure(bench: Bench, asked: argparse.Namespace) -> None:
    """The parts that are asked for."""
    parts, names, size = asked.only or PARTS, asked.systems.split(","), sizes(asked)
    repeat = asked.repeat or size.repeat
    bench.report.notes.append(NOTE)
    stores = Stores(bench, [name for name in ALL if name in names])
    await stores.start()
    if "rates" in parts:
        systems = await _systems(bench, stores, names)
        await Rates(bench, systems, size.messages).measure(repeat)
    if "spread" in parts:
        await Spread(bench, stores, size.messages).measure(repeat)
    if "dead" in parts:
        await Dead(bench, stores, size.live, size.dead).measure(repeat)
    if "large" in parts:
        await Large(bench, stores, size.queued, size.minutes).measure()


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
