"""The outbound queue, measured: run as ``python -m benchmarks.queue``; ``--help`` says more."""

import argparse

from benchmarks.common.bench import Bench, arguments, run
from benchmarks.queue.rates import Rates
from benchmarks.queue.systems import System, gateway_queue, postfix_queue

PARTS = ("rates",)
PROGRAMS = ("Postfix", "PostgreSQL")
FULL = "5000 mails for each figure, in place of 1000"


def options() -> argparse.Namespace:
    parser = arguments(__doc__ or "", FULL)
    parser.add_argument("--only", choices=PARTS, action="append", help="leave out the other parts")
    parser.add_argument("--messages", type=int, help="for each rate")
    parser.add_argument("--systems", default="sqlite,postgresql,postfix", help="with commas")
    return parser.parse_args()


async def measure(bench: Bench, asked: argparse.Namespace) -> None:
    """The parts that are asked for."""
    parts = asked.only or PARTS
    if "rates" in parts:
        systems = await _systems(bench, asked.systems.split(","))
        rates = Rates(bench, systems, asked.messages or (5000 if asked.full else 1000))
        await rates.measure(asked.repeat or 3)


async def _systems(bench: Bench, names: list[str]) -> list[System]:
    systems: list[System] = []
    if "sqlite" in names:
        systems.append(await gateway_queue(bench, "SQLite"))
    if "postfix" in names:
        systems.append(await postfix_queue(bench))
    return systems


if __name__ == "__main__":
    run("queue", options(), PROGRAMS, measure)
