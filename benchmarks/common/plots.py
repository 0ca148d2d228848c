"""Plots of what was measured, under ``build/``, where matplotlib (the extra ``bench``) is there."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.common.report import BUILD

AVAILABLE = find_spec("matplotlib") is not None
if AVAILABLE:
    from matplotlib.figure import Figure

MISSING = "no plots: matplotlib is not installed (pip install '.[bench]')"
COLUMNS = 2
WIDTH, HEIGHT = 6.0, 3.2  # inches of one panel
OURS, OTHER = "#1f77b4", "#b0b0b0"

# By the title of each panel: values by label, or points of several lines.
Bars = Mapping[str, Mapping[str, float]]
Points = Sequence[tuple[float, float]]


def bars(name: str, panels: Bars, ours: str) -> Path:
    """A panel of bars for each workload.

    :param ours: what the labels of our own begin with.
    :return: the path of the picture.
    """
    figure, axes = _panels(len(panels))
    for axis, (title, values) in zip(axes, panels.items(), strict=False):
        labels = list(values)[::-1]
        colours = [OURS if label.startswith(ours) else OTHER for label in labels]
        drawn = axis.barh(labels, [values[label] for label in labels], color=colours)
        axis.bar_label(drawn, [_short(values[label]) for label in labels], padding=2, fontsize=7)
        axis.margins(x=0.15)
        _titled(axis, title)
    return _saved(figure, name)


def lines(
    name: str, panels: Mapping[str, Mapping[str, Points]], over: str, logarithmic: bool = True
) -> Path:
    """A panel of lines for each figure.

    :param over: what the points are over. ``logarithmic``: its axis.
    """
    figure, axes = _panels(len(panels))
    for axis, (title, drawn) in zip(axes, panels.items(), strict=False):
        for label, points in drawn.items():
            axis.plot(*zip(*points, strict=True), marker="o", label=label)
        if logarithmic:
            axis.set_xscale("symlog", linthresh=1)
        axis.set_ylim(bottom=0)
        axis.set_xlabel(over, fontsize=8)
        axis.legend(fontsize=7)
        _titled(axis, title)
    return _saved(figure, name)


def _panels(number: int) -> tuple[Any, Sequence[Any]]:
    columns = min(COLUMNS, number)
    rows = -(-number // columns)
    figure = Figure(figsize=(WIDTH * columns, HEIGHT * rows), layout="constrained")
    axes = [figure.add_subplot(rows, columns, place + 1) for place in range(number)]
    return figure, axes


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _titled(axis: Any, title: str) -> None:
    axis.set_title(title, fontsize=9)
    axis.tick_params(labelsize=7)


def _saved(figure: Any, name: str) -> Path:
    BUILD.mkdir(exist_ok=True)
    path = BUILD / f"{name}.png"
    figure.savefig(path, dpi=110)
    return path
