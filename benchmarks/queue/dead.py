"""What a dead domain costs the others: mail for a live one, with and without it in the queue."""

from collections.abc import Sequence

from attrs import frozen

from benchmarks.common.bench import Bench
from benchmarks.common.measuring import reached
from benchmarks.queue.fill import fill, opened
from benchmarks.queue.places import LIVE, REFUSED, SILENT, Places, places
from benchmarks.queue.stores import Stores
from benchmarks.queue.systems import gateway_queue

WITHIN = 120.0
SEVERAL = 10
ALONE = "the live one alone"


@frozen
class Case:
    """What else is in the queue.

    :ivar dead: its domains. ``first``: whether their mail was queued before that of the live one.
    """

    name: str
    dead: tuple[str, ...] = ()
    first: bool = True

    def destinations(self, live: int, dead: int) -> list[str]:
        """One for each message, in the order in which they are queued."""
        lost = [domain for domain in self.dead for _ in range(dead // len(self.dead))]
        return lost + [LIVE] * live if self.first else [LIVE] * live + lost


def _silent(number: int) -> str:
    return f"{number}.{SILENT}"


CASES = (
    Case(ALONE),
    Case("dead: connections refused; queued first", (REFUSED,)),
    Case("dead: connections refused; queued last", (REFUSED,), False),
    Case("dead: never answers; queued first", (SILENT,)),
    Case("dead: never answers; queued last", (SILENT,), False),
    Case(f"{SEVERAL} domains that never answer; queued first", tuple(map(_silent, range(SEVERAL)))),
)


class Dead:
    """A table, a row for each case."""

    def __init__(self, bench: Bench, stores: Stores, live: int, dead: int) -> None:
        self._bench = bench
        self._stores = stores
        self._live, self._dead = live, dead
        self._table = bench.report.table(
            "Beside a dead domain",
            f"{live} mails for a live domain, beside {dead} for dead ones: from the word until all"
            " of the live one's are at the sink. Domains lead to MX hosts by DNS.",
        )

    async def measure(self, repeat: int) -> None:
        """Each case in turn, so many times."""
        where = await places(self._bench)
        where.add_all(map(_silent, range(SEVERAL)), SILENT)
        for number in range(repeat):
            for name in self._stores.names:
                self._bench.say(f"dead {number + 1}/{repeat}: {name}")
                await self._round(name, where)

    async def _round(self, store: str, where: Places) -> None:
        alone = 0.0
        for case in CASES:
            seconds = await self._once(store, where, case.destinations(self._live, self._dead))
            alone = alone or seconds
            row = f"{store}, {case.name}"
            self._table.add(row, "time", seconds, "s", 2)
            self._table.add(row, f"of {ALONE}", 100 * seconds / alone, "%")

    async def _once(self, store: str, where: Places, destinations: Sequence[str]) -> float:
        """Seconds until the live domain has its mail."""
        address = await self._stores.new(store)
        async with opened(address) as filling:
            await fill(filling, destinations)
        wanted = where.sink.messages + self._live
        system = await gateway_queue(
            self._bench,
            store,
            address,
            where.sink,
            where.settings(),
            self._stores.server(store),
        )
        try:
            watch = await system.release()
            await reached(lambda: where.sink.messages, wanted, WITHIN, "mails of the live domain")
            return watch.seconds
        finally:
            # What it waits for would keep it long, and nothing of it is needed any more.
            system.gateway.kill()
