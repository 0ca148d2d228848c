"""The metrics as Prometheus gets them, and docs/metrics.md."""

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from smtpforward import answers
from smtpforward.counts import BOUNDS, Counts
from smtpforward.figures import Figures
from smtpforward.web.metrics import KINDS, PHASES, PREFIX, exposed

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "metrics.md"
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \|([^|]*)\| ", re.MULTILINE)
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def text(figures: Figures, accept: str = "") -> str:
    """What is told of them."""
    return exposed(figures, accept)[0].decode()


class ExposedTests(SynchronousTestCase):
    """The text."""

    def test_counter_and_gauge(self) -> None:
        """A counter and a gauge with their labels, told what they are."""
        said = text(
            Figures({("transactions_total", ("a:25", "sent")): 3, ("open_connections", ()): 2})
        )
        self.assertIn("# TYPE smtpforward_transactions_total counter\n", said)
        self.assertIn('smtpforward_transactions_total{backend="a:25",status="sent"} 3.0\n', said)
        self.assertIn("# TYPE smtpforward_open_connections gauge\n", said)
        self.assertIn("smtpforward_open_connections 2.0\n", said)

    def test_histogram(self) -> None:
        """Each bucket holds those below it."""
        times = Counts().edge
        for seconds in (0.0001, 0.02, 1000.0):
            times.note(seconds)
        said = text(Figures({}, {"edge": (tuple(times.buckets), times.total)}))
        for bound, count in ((0.001, 1), (0.01, 1), (0.025, 2), (BOUNDS[-1], 2), ("+Inf", 3)):
            line = f'smtpforward_phase_seconds_bucket{{le="{bound}",phase="edge"}} {count}.0\n'
            self.assertIn(line, said)
        self.assertIn('smtpforward_phase_seconds_count{phase="edge"} 3.0\n', said)
        self.assertIn(f'smtpforward_phase_seconds_sum{{phase="edge"}} {times.total}\n', said)

    def test_openmetrics(self) -> None:
        """Whoever asks for OpenMetrics gets it."""
        body, content_type = exposed(Figures({("ready", ()): 1}), OPENMETRICS)
        self.assertTrue(body.endswith(b"# EOF\n"))
        self.assertIn("openmetrics", content_type)

    def test_nothing(self) -> None:
        """What there is no figure of is not mentioned."""
        self.assertEqual(text(Figures()), "")


class DocumentTests(SynchronousTestCase):
    """docs/metrics.md against what there is."""

    def setUp(self) -> None:
        """Read it."""
        self.document = DOCUMENT.read_text("utf-8")

    def test_metrics(self) -> None:
        """Each metric stands there, with its kind and its labels, and nothing else."""
        told = {
            name: (kind, tuple(re.findall(r"`(\w+)`", labels)))
            for name, kind, labels in ROW.findall(self.document)
        }
        known = {
            PREFIX + kind.name: ("counter" if kind.is_counter else "gauge", kind.labels)
            for kind in KINDS
        }
        known[PREFIX + PHASES] = ("histogram", ("phase",))
        self.assertEqual(told, known)

    def test_rules(self) -> None:
        """Each value of the label ``rule`` stands there."""
        chapter = self.document.partition("## Rules")[2]
        told = set(re.findall(r"^\| `(\w+)` \|", chapter, re.MULTILINE))
        self.assertEqual(told, {*answers.RULES.values(), answers.LEARNED, answers.OTHER_RULE})
        self.assertEqual(len(set(answers.RULES.values())), len(answers.RULES))

    def test_names(self) -> None:
        """Units stand at the end, as Prometheus wants it."""
        for kind in KINDS:
            words = kind.name.removesuffix("_total").split("_")
            for unit in ("seconds", "bytes"):
                if unit in words:
                    self.assertEqual(words[-1], unit, kind.name)
