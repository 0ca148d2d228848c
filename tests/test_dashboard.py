"""``etc/grafana`` and ``etc/prometheus`` against the metrics that there are."""

import json
import re
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from smtpforward.web.metrics import KINDS, PHASES, PREFIX

ETC = Path(__file__).resolve().parents[1] / "etc"
DASHBOARD = ETC / "grafana" / "smtpforward.json"
RULES = ETC / "prometheus" / "smtpforward.rules.yml"
METRIC = re.compile(rf"\b{PREFIX}\w+")
LABELS = re.compile(r"\b(?:by|on) \(([^)]*)\)|\{\{(\w+)\}\}|(\w+)=")
COLUMNS = 24
SCRAPED = {"instance", "job", "le"}  # the labels that Prometheus adds
# What Grafana puts in place of its variables.
FILLED = {"$instance": ".*", "$__rate_interval": "1m"}


def panels() -> list[dict[str, Any]]:
    """Those of the dashboard that show something."""
    document = json.loads(DASHBOARD.read_text("utf-8"))
    return [panel for panel in document["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    """What they ask, with the variables filled in."""
    asked = [target["expr"] for panel in panels() for target in panel["targets"]]
    for name, value in FILLED.items():
        asked = [expression.replace(name, value) for expression in asked]
    return asked


def metrics(text: str) -> set[str]:
    """The metrics that it names; a histogram's without what Prometheus adds."""
    return {name.removesuffix("_bucket") for name in METRIC.findall(text)}


class DashboardTests(SynchronousTestCase):
    """The file for Grafana."""

    def setUp(self) -> None:
        """Read it."""
        self.document = json.loads(DASHBOARD.read_text("utf-8"))

    def test_metrics(self) -> None:
        """It shows every metric, and none that there is not."""
        known = {PREFIX + kind.name for kind in KINDS} | {PREFIX + PHASES}
        shown = set().union(*map(metrics, expressions()))
        self.assertEqual(known, shown)

    def test_labels(self) -> None:
        """It names only labels that the metrics have."""
        known = {label for kind in KINDS for label in kind.labels} | {"phase"} | SCRAPED
        for target in (target for panel in panels() for target in panel["targets"]):
            for found in LABELS.findall(f"{target['expr']} {target['legendFormat']}"):
                named = {name.strip() for part in found for name in part.split(",")} - {""}
                self.assertLessEqual(named, known, target)

    def test_panels(self) -> None:
        """Each has its own number, a unit, a word of help, and asks the source that is chosen."""
        ids = [panel["id"] for panel in self.document["panels"]]
        self.assertEqual(len(ids), len(set(ids)))
        variables = [one["name"] for one in self.document["templating"]["list"]]
        self.assertEqual(["datasource", "instance"], variables)
        for panel in panels():
            self.assertTrue(panel["fieldConfig"]["defaults"]["unit"], panel["title"])
            self.assertTrue(panel["description"], panel["title"])
            for asks in (panel, *panel["targets"]):
                self.assertEqual("${datasource}", asks["datasource"]["uid"], panel["title"])

    def test_places(self) -> None:
        """No two lie on each other, and none beside the page."""
        taken: set[tuple[int, int]] = set()
        for panel in self.document["panels"]:
            at = panel["gridPos"]
            place = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
            self.assertFalse(taken & place, panel["title"])
            self.assertLessEqual(at["x"] + at["w"], COLUMNS, panel["title"])
            taken |= place

    def test_variables(self) -> None:
        """Nothing of Grafana's is left when the variables are filled in."""
        for expression in expressions():
            self.assertNotIn("$", expression)


class RulesTests(SynchronousTestCase):
    """The file for Prometheus."""

    def test_metrics(self) -> None:
        """It names none that there is not."""
        known = {PREFIX + kind.name for kind in KINDS}
        named = metrics(RULES.read_text("utf-8"))
        self.assertTrue(named)
        self.assertLessEqual(named, known)
