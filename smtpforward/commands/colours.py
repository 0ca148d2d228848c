"""Colours, where somebody sees them: at a terminal, unless ``NO_COLOR`` is set (no-color.org)."""

import os
from collections.abc import Mapping
from typing import TextIO

GOOD, BAD, ODD, DIM, STRONG = "32", "31", "33", "2", "1"


class Colours:
    """Wraps text in them, or leaves it as it is."""

    def __init__(self, on: bool) -> None:
        self._on = on

    def __call__(self, colour: str, text: str) -> str:
        """``text`` in ``colour``; an empty one is none."""
        return f"\x1b[{colour}m{text}\x1b[0m" if self._on and colour and text else text


def colours(stream: TextIO, environ: Mapping[str, str] = os.environ) -> Colours:
    """Those for what is written to ``stream``."""
    wanted = not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
    return Colours(wanted and stream.isatty())
