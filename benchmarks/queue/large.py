"""A large queue: how soon the gateway is there, what a question costs, how much memory it takes."""

import sys
from collections.abc import Sequence
from time import monotonic

from benchmarks.common.bench import Bench
from benchmarks.common.commands import run
from benchmarks.common.measuring import Stopwatch, pause, reached, resident
from benchmarks.queue.fill import fill, opened, put_off
from benchmarks.queue.places import LIVE, REFUSED, Places, places
from benchmarks.queue.stores import Stores
from benchmarks.queue.systems import GatewayQueue, gateway_queue
from tests.peers.gateway import environment

SIZE = 1024
EACH = 10  # messages for each of the many destinations
WITHIN = 60.0
LATER = 86400.0
DEFERRED = "deferred"
# Lines that are read of each, if not all.
COMMANDS = {"list": 10, "list --limit 0": None, "stats": None}
REPEAT = 3
MIB = 2**20


class Large:
    """Tables of one queue, a row for each store.

    :param messages: half of them for one destination, the others for many.
    :param minutes: how long its memory is looked at.
    """

    def __init__(self, bench: Bench, stores: Stores, messages: int, minutes: float) -> None:
        self._bench = bench
        self._stores = stores
        self._messages = messages
        self._seconds = minutes * 60
        report, many = bench.report, messages // 2 // EACH
        self._start = report.table(
            f"{messages} messages queued",
            f"{SIZE} bytes each, half for one destination, half for {many} others; from the start"
            " of the gateway, all of it due.",
        )
        self._commands = report.table(
            f"smtpforward queue, with {messages} messages",
            "Each a process of its own, beside a gateway that runs, its start included.",
        )
        self._memory = report.table(
            "Memory of the gateway",
            f"Resident, when it listens and within {minutes:g} min from then; CPU over that time.",
        )

    async def measure(self) -> None:
        """Each store in turn."""
        where = await places(self._bench)
        numbers = range(self._messages // 2 // EACH)
        live, lost = ([f"d{n}.{domain}" for n in numbers] for domain in (LIVE, REFUSED))
        where.add_all(live, LIVE)
        where.add_all(lost, REFUSED)
        for name in self._stores.names:
            self._bench.say(f"large: {name}")
            await self._watched(name, "empty", where, await self._stores.new(name))
            await self._started(name, where, await self._filled(name, _spread(live, LIVE)))
            address = await self._filled(name, _spread(lost, REFUSED))
            async with opened(address) as store:
                number = await put_off(store, (REFUSED, *lost), LATER)
                assert number == self._messages, f"{number} deferred"
            await self._watched(name, DEFERRED, where, address)
            address = await self._filled(name, _spread(lost, REFUSED))
            await self._watched(name, "due, all refused", where, address)

    async def _filled(self, name: str, destinations: Sequence[str]) -> str:
        """The address of a store with a message for each."""
        address = await self._stores.new(name)
        async with opened(address) as store:
            began = monotonic()
            await fill(store, destinations, SIZE)
            self._start.add(name, "filled", len(destinations) / (monotonic() - began), "mails/s")
        return address

    async def _started(self, name: str, where: Places, address: str) -> None:
        """From the start of the process."""
        before, began = where.sink.messages, monotonic()
        system = await self._gateway(name, where, address)
        self._start.add(name, "listens", monotonic() - began, "s", 2)
        await until_more(where, before)
        self._start.add(name, "first delivery", monotonic() - began, "s", 2)
        system.gateway.kill()

    async def _watched(self, name: str, state: str, where: Places, address: str) -> None:
        """Its memory, while it runs."""
        system = await self._gateway(name, where, address)
        pid, row = system.gateway.pid, f"{name}, {state}"
        watch, most = Stopwatch(system.pids), 0
        self._memory.add(row, "at first", resident(pid) / MIB, "MiB", 1)
        while watch.seconds < self._seconds:
            most = max(most, resident(pid))
            await pause(0.5)
        self._memory.add(row, "at most", most / MIB, "MiB", 1)
        self._memory.add(row, "at last", resident(pid) / MIB, "MiB", 1)
        self._memory.add(row, "CPU", watch.cpu, "s", 1)
        if state == DEFERRED:
            await self._asked(name, system)
        system.gateway.kill()

    async def _asked(self, name: str, system: GatewayQueue) -> None:
        """What an operator asks."""
        config = str(system.gateway.folder / "config")
        command = [sys.executable, "-m", "smtpforward.commands.main", "queue"]
        for words, lines in COMMANDS.items():
            shown = f"{words} | head" if lines else words
            for _ in range(REPEAT):
                ran = await run(
                    [*command, *words.split(), "--config", config],
                    environment(),
                    system.gateway.folder,
                    lines,
                )
                row = f"{name}, {shown}"
                self._commands.add(row, "first line", ran.first, "s", 2)
                self._commands.add(row, "its end", ran.seconds, "s", 2)
                self._commands.add(row, "memory", ran.memory / MIB, "MiB")
                self._commands.add(row, "lines", ran.lines, "")

    async def _gateway(self, name: str, where: Places, store: str) -> GatewayQueue:
        keys = {**where.settings(), "disabled": "false"}
        return await gateway_queue(
            self._bench, name, store, where.sink, keys, self._stores.server(name)
        )


async def until_more(where: Places, than: int) -> None:
    """Wait for the next mail at the sink."""
    await reached(lambda: min(where.sink.messages, than + 1), than + 1, WITHIN, "a first mail")


def _spread(many: Sequence[str], one: str) -> list[str]:
    """A destination for each message: the one with much, and the others, in turns."""
    return [each for _ in range(EACH) for other in many for each in (one, other)]
