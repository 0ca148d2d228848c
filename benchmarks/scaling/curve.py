"""A figure over something that grows: a row of a table for each value of it, and a plot.

At each value there is a gateway of its own, with all its checks on.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from benchmarks.common import plots
from benchmarks.common.bench import Bench
from benchmarks.common.sinks import Sink
from benchmarks.forward.peers import OURS, gateway_with
from benchmarks.forward.runs import Run, once, warmed_up
from benchmarks.forward.systems import TLS, Candidate, Kind, Setup, System, start
from benchmarks.forward.workloads import Amounts, Workload
from tests.peers.gateway import Gateway
from tests.peers.sink import SmtpSink
from tests.peers.wait import until

TIME, CPU = "time", "CPU"
TAKES_MAIL = " forwards to "
WITHIN = 120.0


@asynccontextmanager
async def gateway(
    bench: Bench, files: Mapping[str, str] | None = None, nodes: int = 0
) -> AsyncIterator[tuple[Bench, System, Gateway]]:
    """A running one with a sink; what is asked of the :class:`Bench` ends with it.

    :param files: of its directory; ``PORT`` in them is that of the sink.
    :param nodes: worker processes.
    """
    made: list[Gateway] = []

    def begin(setup: Setup) -> Gateway:
        texts = (files or {}).items()
        filled = {name: text.replace("PORT", str(setup.sink.port)) for name, text in texts}
        made.append(gateway_with(setup, nodes, filled))
        return made[0]

    async def new_sink(bench: Bench) -> Sink:
        return await bench.keep(SmtpSink(bench.folder())).ready()

    async with AsyncExitStack() as stack:
        own = bench.within(stack)
        candidate = Candidate(OURS, Kind.OURS, begin)
        system = await start(own, candidate, TLS.NONE, Path(), new_sink)
        yield own, system, made[0]


async def all_take_mail(process: Gateway, processes: int) -> None:
    """Workers that still start answer late."""
    await until(
        lambda: process.output().count(TAKES_MAIL) >= processes,
        lambda: f"{TAKES_MAIL}: {process.output()[-2000:]}",
        WITHIN,
    )


class Curve:
    """One table and one plot.

    :param over: what grows. ``amounts``: how much is measured at each value.
    """

    def __init__(self, bench: Bench, name: str, about: str, over: str, amounts: Amounts) -> None:
        self._bench = bench
        self._name = name
        self._over = over
        self._amounts = amounts
        self.table = bench.report.table(f"{name}: over {over}", about)

    async def measure(self, value: int, system: System, workload: Workload, mark: str = "") -> None:
        """Time and CPU of a mail at one value.

        :param mark: beside the columns, where there are several loads.
        """
        self._bench.say(f"{self._name} {value} {mark}")
        messages = await warmed_up(system, workload, self._amounts)
        for _ in range(self._amounts.repeat):
            self._note(value, mark, await once(system, workload, messages))

    def _note(self, value: int, mark: str, run: Run) -> None:
        beside = f" ({mark})" if mark else ""
        self.table.add(str(value), TIME + beside, run.seconds * 1000 / run.messages, "ms/mail", 3)
        self.table.add(str(value), CPU + beside, run.cpu * 1000 / run.messages, "ms/mail", 3)

    def draw(self) -> None:
        """The plot, where one can be made."""
        if not plots.AVAILABLE:
            return
        drawn = {}
        for column, unit in self.table.columns.items():
            points = [(float(row), value) for row, value in self.table.medians(column).items()]
            drawn[f"{column}, {unit}"] = {column: points}
        name = f"{self._bench.report.name}-{self._name}"
        self._bench.say(f"Drawn: {plots.lines(name, drawn, self._over)}")
