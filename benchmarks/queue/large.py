"""A large queue: how soon the gateway is there, what a question costs, how much memory it takes."""

from collections.abc import Sequence
from time import monotonic
from typing import Any

from benchmarks.common.bench import Bench
from benchmarks.common.measuring import Stopwatch, pause, reached, resident
from benchmarks.queue.fill import fill, opened, put_off
from benchmarks.queue.places import LIVE, REFUSED, Places, places
from benchmarks.queue.stores import Stores
from benchmarks.queue.systems import GatewayQueue, gateway_queue
from smtpforward.outbound.entry import Filter

SIZE = 1024
EACH = 10  # messages for each of the many destinations
WITHIN = 60.0
LATER = 86400.0
PAGE, MOST = 100, 10
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
        report = bench.report
        self._start = report.table(
            f"{messages} messages queued",
            f"{SIZE} bytes each, half for one destination, half for {messages // 2 // EACH} others."
            f" A page has {PAGE} entries; start: from the start of the process.",
        )
        self._memory = report.table(
            "Memory of the gateway",
            f"Resident, at first and at most within {minutes:g} min; CPU over that time.",
        )

    async def measure(self) -> None:
        """Each store in turn."""
        where = await places(self._bench)
        live = [_numbered(number, LIVE) for number in range(self._messages // 2 // EACH)]
        lost = [_numbered(number, REFUSED) for number in range(self._messages // 2 // EACH)]
        where.add_all(live, LIVE)
        where.add_all(lost, REFUSED)
        for name in self._stores.names:
            self._bench.say(f"large: {name}")
            await self._watched(name, "empty", where, await self._stores.new(name))
            address = await self._stores.new(name)
            async with opened(address) as store:
                began = monotonic()
                await fill(store, _spread(live, LIVE), SIZE)
                rate = self._messages / (monotonic() - began)
                self._start.add(name, "filled", rate, "mails/s")
                await self._asked(name, store)
            await self._started(name, where, address)
            address = await self._stores.new(name)
            async with opened(address) as store:
                await fill(store, _spread(lost, REFUSED), SIZE)
                await put_off(store, (REFUSED, *lost), LATER)
            await self._watched(name, f"{self._messages} deferred", where, address)
            address = await self._stores.new(name)
            async with opened(address) as store:
                await fill(store, _spread(lost, REFUSED), SIZE)
            await self._watched(name, f"{self._messages} due, all refused", where, address)

    async def _asked(self, name: str, store: Any) -> None:
        """What an operator asks."""
        began = monotonic()
        page = await store.listed(Filter(), PAGE, None)
        self._start.add(name, "first page", 1000 * (monotonic() - began), "ms", 1)
        assert len(page) == PAGE
        began = monotonic()
        while len(page) == PAGE:
            page = await store.listed(Filter(), PAGE, page[-1])
        self._start.add(name, "all pages", monotonic() - began, "s", 2)
        began = monotonic()
        stats = await store.stats(MOST)
        self._start.add(name, "stats", 1000 * (monotonic() - began), "ms", 1)
        assert stats.messages == self._messages

    async def _started(self, name: str, where: Places, address: str) -> None:
        """From the start of the process, with all of it due."""
        before, began = where.sink.messages, monotonic()
        system = await self._gateway(name, where, address, "false")
        self._start.add(name, "listens", monotonic() - began, "s", 2)
        await until_more(where, before)
        self._start.add(name, "first delivery", monotonic() - began, "s", 2)
        system.gateway.kill()

    async def _watched(self, name: str, state: str, where: Places, address: str) -> None:
        """Its memory, while it runs."""
        system = await self._gateway(name, where, address, "false")
        pid, row = system.gateway.pid, f"{name}, {state}"
        watch = Stopwatch([pid])
        self._memory.add(row, "at first", resident(pid) / MIB, "MiB", 1)
        most = 0
        while watch.seconds < self._seconds:
            most = max(most, resident(pid))
            await pause(0.5)
        self._memory.add(row, "at most", most / MIB, "MiB", 1)
        self._memory.add(row, "at last", resident(pid) / MIB, "MiB", 1)
        self._memory.add(row, "CPU", watch.cpu, "s", 1)
        system.gateway.kill()

    async def _gateway(self, name: str, where: Places, store: str, disabled: str) -> GatewayQueue:
        keys = {**where.settings(), "disabled": disabled}
        return await gateway_queue(self._bench, name, store, where.sink, **keys)


async def until_more(where: Places, than: int) -> None:
    """Wait for the next mail at the sink."""
    await reached(lambda: min(where.sink.messages, than + 1), than + 1, WITHIN, "a first mail")


def _numbered(number: int, domain: str) -> str:
    return f"d{number}.{domain}"


def _spread(many: Sequence[str], one: str) -> list[str]:
    """A destination for each message: the one with much, and the others, in turns."""
    return [each for _ in range(EACH) for other in many for each in (one, other)]
