"""Tables of medians: as Markdown for people, as JSON for programs, both under ``build/``."""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import Factory, asdict, define

from benchmarks.common import machine

BUILD = Path(__file__).resolve().parents[2] / "build"


@define
class Measured:
    """One figure, measured several times: its median counts.

    :ivar unit: such as ``mails/s``. ``digits``: of the decimal places that are shown.
    """

    unit: str
    digits: int = 0
    values: list[float] = Factory(list)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def __str__(self) -> str:
        """The median, and the least and the greatest where there are several."""
        if not self.values:
            return "-"
        shown = f"{self.median:.{self.digits}f}"
        if len(self.values) > 1:
            least, most = min(self.values), max(self.values)
            shown += f" ({least:.{self.digits}f} to {most:.{self.digits}f})"
        return shown


@define
class Table:
    """Rows of figures.

    :ivar title: of the table. ``about``: what was done, in one sentence.
    :ivar rows: by the name of each row, by the name of each column. ``remarks``: on rows; one may
        have nothing else.
    """

    title: str
    about: str
    rows: dict[str, dict[str, Measured]] = Factory(dict)
    remarks: dict[str, str] = Factory(dict)

    def add(self, row: str, column: str, value: float, unit: str, digits: int = 0) -> None:
        """One more value of a figure."""
        figures = self.rows.setdefault(row, {})
        figures.setdefault(column, Measured(unit, digits)).values.append(value)

    def remark(self, row: str, text: str) -> None:
        """What a reader must know of a row, such as why it has no figures."""
        self.rows.setdefault(row, {})
        self.remarks[row] = text

    def median(self, row: str, column: str) -> float | None:
        """Of one figure, where there is one and nothing is wrong with its row."""
        figure = self.rows.get(row, {}).get(column)
        return None if figure is None or row in self.remarks else figure.median

    def medians(self, column: str) -> dict[str, float]:
        """Of one figure, by row."""
        found = {row: self.median(row, column) for row in self.rows}
        return {row: value for row, value in found.items() if value is not None}

    @property
    def columns(self) -> dict[str, str]:
        """The unit of each column, in the order in which they came; the fullest row's first."""
        rows = sorted(self.rows.values(), key=len, reverse=True)
        return {name: figure.unit for figures in rows for name, figure in figures.items()}

    def markdown(self) -> str:
        columns = self.columns
        head = ["", *(f"{name}, {unit}" if unit else name for name, unit in columns.items())]
        lines = [head]
        lines += [
            [row, *(str(figures.get(name, "-")) for name in columns)]
            for row, figures in self.rows.items()
        ]
        if self.remarks:
            ends = ["remark", *(self.remarks.get(row, "") for row in self.rows)]
            lines = [[*cells, end] for cells, end in zip(lines, ends, strict=True)]
        text = grid(lines, int(bool(self.remarks)))
        return f"### {self.title}\n\n{self.about}\n\n{text}\n"


@define
class Report:
    """All that one command has measured.

    :ivar name: of its files. ``facts``: of the machine, the versions. ``notes``: what to know.
    :ivar summary: a text before the tables.
    """

    name: str
    facts: dict[str, str]
    notes: list[str] = Factory(list)
    summary: str = ""
    tables: list[Table] = Factory(list)

    def table(self, title: str, about: str) -> Table:
        """A new table, at the end."""
        self.tables.append(Table(title, about))
        return self.tables[-1]

    def markdown(self) -> str:
        parts = [f"Measured by `{machine.command()}`.\n\n{_listed(self.facts)}\n"]
        if self.notes:
            parts.append("".join(f"- {note}\n" for note in self.notes))
        parts += [f"{self.summary}\n"] if self.summary else []
        parts += [table.markdown() for table in self.tables]
        return "\n".join(parts)

    def values(self) -> dict[str, Any]:
        """For JSON; every single value is in it."""
        return {"command": machine.command(), **asdict(self)}

    def write(self) -> Sequence[Path]:
        """Write both files; their paths."""
        BUILD.mkdir(exist_ok=True)
        paths = (BUILD / f"{self.name}.md", BUILD / f"{self.name}.json")
        paths[0].write_text(self.markdown(), "utf-8")
        paths[1].write_text(json.dumps(self.values(), indent=1) + "\n", "utf-8")
        return paths


def grid(lines: Sequence[Sequence[str]], words: int = 0) -> str:
    """A table of Markdown.

    :param lines: the cells of the head, then those of each row.
    :param words: how many of the last columns hold text, not figures.
    """
    rule = ["---"] + ["---:"] * (len(lines[0]) - 1 - words) + ["---"] * words
    return "\n".join(_line(cells) for cells in [lines[0], rule, *lines[1:]])


def _line(cells: Iterable[str]) -> str:
    shown = (" ".join(cell.split()).replace("|", r"\|") for cell in cells)
    return f"| {' | '.join(shown)} |"


def _listed(facts: Mapping[str, str]) -> str:
    shown: Iterable[str] = (f"{name}: {value}" for name, value in facts.items())
    return "; ".join(shown) + "."
