"""The fault matrix, all of it: ``docs/fault-matrix.md`` is what this run finds.

``make fault-matrix`` writes the file; otherwise it must be what has been found.
"""

import os
from collections.abc import Iterable, Iterator, Mapping

from twisted.internet.defer import Deferred, gatherResults

from tests.integration.faultcells import CellCase, Found
from tests.integration.faultmatrix import Cell, Connection, How, Point, cells, expected
from tests.peers.gateway import TREE

FILE = TREE / "docs" / "fault-matrix.md"
AT_ONCE = 8
HEAD = """\
# The fault matrix

What a sender hears, and how often the backend has the message, when the backend fails: each cell
was played over real sockets, with `make fault-matrix`, which wrote this file; a test plays them
again and compares. After each fault the next message of the same session reached its own
recipients, once.

In a cell stands the answer, and `x 1` where the backend got the message to its dot and has not
refused it, `x 0` where not. So `250` is always `x 1`; `451 4.4.2 x 1` is what may become a
duplicate, and is never a loss. Nothing is ever `x 2`.

A `-` is what cannot be: no reply comes before there is a connection, a reused connection is not
opened, and none lies idle that has not been used. 4xx is `450 4.2.0`, 5xx `550 5.7.1`, garbage
`hello`. *close* is FIN, *reset* RST, *silence* lasts until the gateway's timeout. A reused
connection has carried a message before. It is replaced once, in silence, by a fresh one, where it
ends before the dot: "replacing" is a fault that this one meets.
"""


class FaultMatrixTests(CellCase):
    """Every cell is as the table of answers says, and as the document says."""

    timeout = 120

    async def test_every_cell(self) -> None:
        """The sender's answer, the backend's messages, and the next message."""
        found: dict[Cell, Found] = {}
        wrong: list[str] = []
        to_play = cells()
        await gatherResults(
            [Deferred.fromCoroutine(self.work(to_play, found, wrong)) for _ in range(AT_ONCE)]
        )
        self.assertEqual([], wrong)
        text = document(found)
        if os.environ.get("SMTPFORWARD_WRITE") == "1":
            FILE.write_text(text, "utf-8")
        self.assertEqual(text, FILE.read_text("utf-8"), "run make fault-matrix")

    async def work(
        self, to_play: Iterator[Cell], found: dict[Cell, Found], wrong: list[str]
    ) -> None:
        """Play one cell after the other."""
        for cell in to_play:
            try:
                found[cell] = result = await self.play(cell)
            except (AssertionError, OSError, EOFError, ValueError) as error:
                wrong.append(f"{cell}: {error!r}")
                continue
            if (result.answer, result.dots) != expected(cell):
                wrong.append(f"{cell}: {result}, not {expected(cell)}")


def document(found: Mapping[Cell, Found]) -> str:
    """The whole file."""
    return HEAD + "".join(_section(point, found) for point in Point)


def _section(point: Point, found: Mapping[Cell, Found]) -> str:
    title = f"\n## {point.value[0].upper()}{point.value[1:]}\n\n"
    head = ["connection", "recipients", *(how.value for how in How)]
    lines = [head, ["---"] * len(head), *_rows(point, found)]
    return title + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _rows(point: Point, found: Mapping[Cell, Found]) -> Iterable[list[str]]:
    for connection in Connection:
        rows = []
        for recipients in (1, 3):
            there = [found.get(Cell(point, how, connection, recipients)) for how in How]
            if any(there):
                rows.append((str(recipients), [_cell(one) for one in there]))
        if len(rows) == 2 and rows[0][1] == rows[1][1]:
            rows = [("1 or 3", rows[0][1])]
        yield from ([connection.value, recipients, *texts] for recipients, texts in rows)


def _cell(found: Found | None) -> str:
    return f"{found.answer} x {found.kept}" if found else "-"
