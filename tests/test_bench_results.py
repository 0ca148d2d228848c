"""The arithmetic of the measurements, and what their reports say."""

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from benchmarks.common.client import Told
from benchmarks.common.report import Report, Table, grid
from benchmarks.forward.goals import GOALS, Goal, judge
from benchmarks.forward.peers import HAPROXY, HARAKA, OURS, STRAIGHT
from benchmarks.forward.results import CPU, MEDIAN, RATE, SLOWEST, Results, percentile
from benchmarks.forward.runs import Run
from benchmarks.forward.strace import parsed
from benchmarks.forward.systems import Kind
from benchmarks.forward.workloads import Amounts, FaultError, Workload, told, workloads

OTHER = "aiosmtpd"
KINDS = {
    STRAIGHT: Kind.BOUND,
    HAPROXY: Kind.BOUND,
    OURS: Kind.OURS,
    HARAKA: Kind.PEER,
    OTHER: Kind.PEER,
}
SMALL, LARGE = workloads(0)[0], workloads(0)[2]
SUMMARY = """\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 46.70    0.009876           4      2400           sendto
 30.00    0.006345           3      2100       300 recvfrom
------ ----------- ----------- --------- --------- ----------------
100.00    0.021148           4      4500       300 total
"""


def ran(seconds: float, cpu: float, messages: int = 100) -> Run:
    return Run(messages, seconds, cpu, Told())


class ArithmeticTests(SynchronousTestCase):
    """Figures of one run."""

    def test_percentiles(self) -> None:
        """The least value that so many percent do not exceed, in any order, of few as of many."""
        hundred = list(range(100, 0, -1))
        self.assertEqual([percentile(hundred, percent) for percent in (50, 99, 100)], [50, 99, 100])
        self.assertEqual(percentile([3.0, 1.0, 2.0], 50), 2.0)
        self.assertEqual(percentile([3.0, 1.0], 99), 3.0)
        self.assertEqual(percentile([7.0], 50), 7.0)

    def test_mails(self) -> None:
        """Mails a second, and milliseconds of CPU for each."""
        run = ran(0.5, 0.025)
        self.assertEqual((run.rate(SMALL), run.cost(SMALL)), (200.0, 0.25))

    def test_mebibytes(self) -> None:
        """Of large mails the bytes count."""
        run = ran(2.0, 0.1, 4)
        self.assertEqual((run.rate(LARGE), run.cost(LARGE)), (20.0, 2.5))

    def test_amounts(self) -> None:
        """As many mails as the time takes at that rate, and one for each session at least."""
        amounts = Amounts(seconds=2.0)
        self.assertEqual(amounts.of(SMALL, 1000.0), 2000)
        self.assertEqual(amounts.of(SMALL, 3.0), SMALL.sessions)
        fixed = evolve(amounts, messages=500)
        self.assertEqual((fixed.of(SMALL, 9000.0), fixed.of(LARGE, 9.0)), (500, 10))

    def test_system_calls(self) -> None:
        """strace's summary, with errors and without."""
        self.assertEqual(parsed(SUMMARY), {"sendto": 2400, "recvfrom": 2100, "total": 4500})


class ClientTests(SynchronousTestCase):
    """What our client has printed."""

    def test_told(self) -> None:
        """Its last line counts."""
        output = 'ready\n{"seconds": 1.5, "latencies": [0.1, 0.2], "fault": ""}\n'
        self.assertEqual(told(output), Told(1.5, [0.1, 0.2]))

    def test_fault(self) -> None:
        """A fault that it tells, and an end without a word, are no result."""
        for output in ('{"seconds": 1, "latencies": [], "fault": "550 no"}', "Traceback", ""):
            with self.assertRaises(FaultError):
                told(output)


class ReportTests(SynchronousTestCase):
    """What people read."""

    def test_markdown(self) -> None:
        """Medians with least and greatest; a remark is the last column."""
        table = Table("t", "about")
        for value in (1.0, 9.0, 2.0):
            table.add("a", "rate", value, "mails/s")
        table.remark("b|c", "not\nhere")
        self.assertEqual(
            table.markdown().splitlines()[4:],
            [
                "|  | rate, mails/s | remark |",
                "| --- | ---: | --- |",
                "| a | 2 (1 to 9) |  |",
                "| b\\|c | - | not here |",
            ],
        )

    def test_remarked_rows_have_no_median(self) -> None:
        """A figure of a row with which something is wrong is compared with nothing."""
        table = Table("t", "about")
        table.add("a", "rate", 1.0, "")
        self.assertEqual(table.medians("rate"), {"a": 1.0})
        table.remark("a", "does not count")
        self.assertIsNone(table.median("a", "rate"))
        self.assertEqual(table.medians("rate"), {})

    def test_columns(self) -> None:
        """In the order of the row that has the most, whichever comes first."""
        table = Table("t", "about")
        for row, columns in (("bound", ("rate", "p50")), ("ours", ("rate", "CPU", "p50"))):
            for column in columns:
                table.add(row, column, 1.0, "")
        self.assertEqual(list(table.columns), ["rate", "CPU", "p50"])

    def test_grid(self) -> None:
        """A head, its rule, the rows."""
        self.assertEqual(grid([["", "x"], ["a", "1"]]), "|  | x |\n| --- | ---: |\n| a | 1 |")


class ComparisonTests(SynchronousTestCase):
    """Ours beside the others."""

    def setUp(self) -> None:
        self.report = Report("t", {})
        self.results = Results(KINDS)
        self.table = self.results.begin(self.report, SMALL)

    def note(self, **runs: Run) -> None:
        for name, run in runs.items():
            self.results.note(SMALL, name, run)

    def all(self) -> None:
        self.note(
            **{
                STRAIGHT: ran(0.1, 0.0),
                HAPROXY: ran(0.2, 0.01),
                OURS: ran(0.25, 0.02),
                HARAKA: ran(2.5, 0.2),
                OTHER: ran(0.5, 0.1),
            }
        )

    def test_bounds_have_no_price_of_their_own(self) -> None:
        """Nothing stands between smtp-source and the sink: it has a rate, and no CPU."""
        self.all()
        self.assertEqual(self.results.of("small", STRAIGHT, RATE), 1000.0)
        self.assertIsNone(self.results.of("small", STRAIGHT, CPU))

    def test_best_peer(self) -> None:
        """The highest rate, the least CPU; a bound is no peer."""
        self.all()
        self.assertEqual(self.results.best_peer("small", RATE), 200.0)
        self.assertEqual(self.results.best_peer("small", CPU), 1.0)
        self.assertIsNone(self.results.best_peer("reuse", CPU))

    def test_ratios(self) -> None:
        """Ours over each of the others; without Haraka there is no such column."""
        self.all()
        self.table.remark(HARAKA, "does not count: 550")
        self.results.ratios(self.report, RATE)
        row = self.report.tables[-1].rows[f"small: {OURS}"]
        self.assertEqual(
            {column: figure.median for column, figure in row.items()},
            {"to straight": 0.4, "to HAProxy": 0.8, "to best peer": 2.0},
        )

    def test_times(self) -> None:
        """In milliseconds."""
        self.results.note_times(SMALL, OURS, [0.001] * 98 + [0.5, 1.0])
        of_ours = [self.results.of("small", OURS, column) for column in (MEDIAN, SLOWEST)]
        self.assertEqual(of_ours, [1.0, 500.0])

    def test_goals(self) -> None:
        """Reached, missed, or not measured."""
        self.all()
        fast = Goal("small", RATE, 0.8, at_least=True, over=HAPROXY)
        cheap = Goal("small", CPU, 0.19, "ms")
        self.assertEqual(fast.reached(self.results), (0.8, True))
        self.assertEqual(cheap.reached(self.results), (0.2, False))
        self.assertIsNone(Goal("reuse", CPU, 1.0).reached(self.results))
        judge(self.report, self.results)
        remarks = self.report.tables[-1].remarks
        self.assertEqual(list(remarks.values()), ["MISSED", "reached"])
        self.assertEqual(list(remarks), [str(goal) for goal in GOALS[:2]])

    def test_summary(self) -> None:
        """A row for each system; what has no figure has a dash."""
        self.all()
        self.table.remark(OTHER, "does not count: 550")
        rows = self.results.summary().splitlines()[2:]
        self.assertEqual(rows[0], "|  | small, mails/s |")
        self.assertEqual(
            rows[2:],
            [
                "| straight | 1000 |",
                "| HAProxy | 500; 0.100 ms |",
                "| smtpforward | 400; 0.200 ms |",
                "| Haraka | 40; 2.000 ms |",
                "| aiosmtpd | - |",
            ],
        )


class WorkloadTests(SynchronousTestCase):
    """What is sent, and by what."""

    def test_commands(self) -> None:
        """Each says how it can be repeated."""
        commands = {workload.name: workload.command for workload in workloads(2000)}
        self.assertEqual(commands["reuse"], "smtp-source -s 50 -m N -l 4096 -d")
        self.assertEqual(commands["recipients"], "smtp-source -s 50 -m N -l 4096 -d -r 50")
        self.assertTrue(commands["tls-in"].endswith("--size 4096 --starttls"))
        self.assertEqual(
            Workload("", "", to="a@b").command, "smtp-source -s 50 -m N -l 4096 -t a@b"
        )
