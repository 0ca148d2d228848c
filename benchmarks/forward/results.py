"""What came out, and how systems compare: pure figures, no measuring.

Failure policy: a system whose run was wrong has no figure, and whatever would be compared with it
is left out.
"""

from collections.abc import Mapping, Sequence

from attrs import Factory, define

from benchmarks.common.report import Report, Table, grid
from benchmarks.forward.peers import HAPROXY, HARAKA, STRAIGHT
from benchmarks.forward.runs import Probed, Run
from benchmarks.forward.systems import Kind
from benchmarks.forward.workloads import MIB, Workload

RATE, CPU, MEDIAN, SLOWEST, MEMORY, IDLE = "rate", "CPU", "p50", "p99", "memory", "idle connection"
KIB = 1024


def percentile(values: Sequence[float], percent: float) -> float:
    """The least value that so many percent of ``values`` do not exceed."""
    ranked = sorted(values)
    place = -(-len(ranked) * percent // 100)
    return ranked[max(0, int(place) - 1)]


@define
class Results:
    """A table for each workload.

    :param kinds: of each system.
    """

    kinds: Mapping[str, Kind]
    tables: dict[str, Table] = Factory(dict)

    def begin(self, report: Report, workload: Workload) -> Table:
        """The table of one more workload."""
        title = f"{workload.name}: {workload.about}"
        table = self.tables[workload.name] = report.table(title, f"`{workload.command}`")
        # All of them in one order, also those that have only a remark.
        table.rows.update({name: {} for name in self.kinds})
        return table

    def note(self, workload: Workload, system: str, run: Run) -> None:
        """What a run took."""
        table, unit = self.tables[workload.name], "MiB" if workload.in_mebibytes else "mails"
        table.add(system, RATE, run.rate(workload), f"{unit}/s")
        if self.kinds[system] is not Kind.BOUND or run.cpu:
            table.add(system, CPU, run.cost(workload), f"ms/{unit.removesuffix('s')}", 3)

    def note_times(self, workload: Workload, system: str, latencies: Sequence[float]) -> None:
        """How long single mails took."""
        table = self.tables[workload.name]
        table.add(system, MEDIAN, percentile(latencies, 50) * 1000, "ms", 2)
        table.add(system, SLOWEST, percentile(latencies, 99) * 1000, "ms", 2)

    def note_memory(self, workload: Workload, system: str, probed: Probed) -> None:
        """What it had at most."""
        if probed.memory:
            self.tables[workload.name].add(system, MEMORY, probed.memory / MIB, "MiB", 1)

    def note_idle(self, workload: Workload, system: str, octets: float) -> None:
        """What one idle connection takes."""
        self.tables[workload.name].add(system, IDLE, octets / KIB, "KiB", 1)

    # -- and how they compare

    def of(self, workload: str, system: str, column: str) -> float | None:
        """A median, where there is one."""
        table = self.tables.get(workload)
        return None if table is None else table.median(system, column)

    def best_peer(self, workload: str, column: str) -> float | None:
        """The highest rate, or the least of what is a price, among the peers."""
        peers = [name for name, kind in self.kinds.items() if kind is Kind.PEER]
        found = (self.of(workload, name, column) for name in peers)
        figures = [figure for figure in found if figure is not None]
        if not figures:
            return None
        return max(figures) if column == RATE else min(figures)

    def against(self, workload: str, column: str) -> dict[str, float]:
        """What ours are compared with: the two bounds, the best peer, Haraka."""
        others = {
            STRAIGHT: self.of(workload, STRAIGHT, column),
            HAPROXY: self.of(workload, HAPROXY, column),
            "best peer": self.best_peer(workload, column),
            HARAKA: self.of(workload, HARAKA, column),
        }
        return {name: value for name, value in others.items() if value}

    def summary(self) -> str:
        """A table of all: a row for each system, in each cell rate and CPU."""
        units = {name: _units(table) for name, table in self.tables.items()}
        lines = [["", *(f"{name}, {unit}" for name, unit in units.items())]]
        for system in self.kinds:
            lines.append([system, *(self._cell(name, system) for name in self.tables)])
        return f"Rates, and CPU of a mail or a MiB:\n\n{grid(lines)}"

    def _cell(self, workload: str, system: str) -> str:
        rate, cost = (self.of(workload, system, column) for column in (RATE, CPU))
        if rate is None:
            return "-"
        return f"{rate:.0f}" if cost is None else f"{rate:.0f}; {cost:.3f} ms"

    def ratios(self, report: Report, column: str) -> None:
        """A table of ours over each of those, a row for each workload."""
        table = report.table(
            f"Ratios of {column}",
            "Ours, over that of the same run: the two bounds, the best of the peers, Haraka.",
        )
        for workload in self.tables:
            for name, kind in self.kinds.items():
                own = self.of(workload, name, column)
                if kind is not Kind.OURS or own is None:
                    continue
                for other, value in self.against(workload, column).items():
                    table.add(f"{workload}: {name}", f"to {other}", own / value, "", 2)


def _units(table: Table) -> str:
    return table.columns.get(RATE, "")
