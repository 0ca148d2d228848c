"""Mail for many domains: each is looked up, and has a connection of its own."""

from benchmarks.common.bench import Bench
from benchmarks.common.measuring import Stretch, reached
from benchmarks.queue.fill import fill, opened
from benchmarks.queue.places import LIVE, Places, places
from benchmarks.queue.stores import Stores
from benchmarks.queue.systems import gateway_queue

EACH = 5  # messages for a domain
WITHIN = 60.0


class Spread:
    """A table, a row for each store."""

    def __init__(self, bench: Bench, stores: Stores, messages: int) -> None:
        self._bench = bench
        self._stores = stores
        self._domains = [f"d{number}.{LIVE}" for number in range(messages // EACH)]
        self._table = bench.report.table(
            "Given out to many domains",
            f"{len(self._domains) * EACH} mails that wait, for {len(self._domains)} domains with"
            " MX hosts of their own, which all are one smtp-sink.",
        )

    async def measure(self, repeat: int) -> None:
        """Each store in turn, so many times."""
        where = await places(self._bench)
        where.add_all(self._domains, LIVE)
        for number in range(repeat):
            for name in self._stores.names:
                self._bench.say(f"spread {number + 1}/{repeat}: {name}")
                stretch = await self._once(name, where)
                self._table.add(name, "rate", stretch.rate, "mails/s")
                self._table.add(name, "CPU", stretch.cost, "ms/mail", 2)

    async def _once(self, name: str, where: Places) -> Stretch:
        address, sink = await self._stores.new(name), where.sink
        destinations = self._domains * EACH
        async with opened(address) as store:
            await fill(store, destinations)
        system = await gateway_queue(
            self._bench, name, address, sink, where.settings(), self._stores.server(name)
        )
        wanted = sink.messages + len(destinations)
        watch = await system.release()
        await reached(lambda: sink.messages, wanted, WITHIN, f"{name}: mails for many domains")
        stretch = await watch.stretch(len(destinations))
        assert sink.messages == wanted, f"{name}: mail came twice"
        system.gateway.kill()
        return stretch
