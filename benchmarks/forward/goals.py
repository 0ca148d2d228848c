"""What the gateway is to reach with all its checks on, and whether it does.

A goal in milliseconds or KiB is for a machine such as the one of ``docs/benchmarks.md``; one that
is a ratio holds anywhere.
"""

from attrs import frozen

from benchmarks.common.report import Report
from benchmarks.forward.peers import HAPROXY, OURS, STRAIGHT
from benchmarks.forward.results import CPU, IDLE, MEDIAN, RATE, Results

BEST_PEER = "best peer"


@frozen
class Goal:
    """One figure of one workload.

    :ivar bound: that it is to reach, if ``at_least``, else to stay below.
    :ivar over: what it is divided by before, if anything.
    """

    workload: str
    column: str
    bound: float
    unit: str = ""
    at_least: bool = False
    over: str = ""

    def __str__(self) -> str:
        than = f" of {self.over}'s" if self.over else f" {self.unit}"
        sign = "at least" if self.at_least else "at most"
        return f"{self.workload}: {self.column} {sign} {self.bound:g}{than}"

    def reached(self, results: Results) -> tuple[float, bool] | None:
        """What it is and whether that is enough; None when it was not measured."""
        own = results.of(self.workload, OURS, self.column)
        divisor = 1.0
        if self.over:
            divisor = results.against(self.workload, self.column).get(self.over, 0.0)
        if own is None or not divisor:
            return None
        value = own / divisor
        return value, value >= self.bound if self.at_least else value <= self.bound


GOALS = (
    Goal("small", RATE, 1.4, at_least=True, over=HAPROXY),
    Goal("small", CPU, 0.25, "ms"),
    Goal("reuse", RATE, 3, at_least=True, over=BEST_PEER),
    Goal("reuse", CPU, 0.14, "ms"),
    Goal("large", RATE, 0.9, at_least=True, over=STRAIGHT),
    Goal("large", CPU, 1.5, "ms/MiB"),
    Goal("latency", MEDIAN, 1, over=BEST_PEER),
    Goal("tls-out", CPU, 0.27, "ms"),
    Goal("idle", IDLE, 5, "KiB"),
)


def judge(report: Report, results: Results) -> None:
    """A table of those that were measured."""
    table = report.table("Goals", "Of the gateway in one process, all checks on.")
    for goal in GOALS:
        found = goal.reached(results)
        if found is not None:
            value, enough = found
            table.add(str(goal), "measured", value, "", 3)
            table.remark(str(goal), "reached" if enough else "MISSED")
