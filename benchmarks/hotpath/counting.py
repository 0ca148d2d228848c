"""Counts calls and what is kept.

Only calls that the package's own functions make or are counted for the ceilings: what a version of
a library does inside is not the matter of a commit here.
"""

import gc
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from attrs import frozen

import smtpforward

PACKAGE = Path(smtpforward.__file__).parent
# The second: methods that attrs has made.
OWN = (str(PACKAGE), f"<attrs generated init {PACKAGE.name}.")
Work = Callable[[], None]


@frozen
class Calls:
    """Function calls, C functions included.

    :ivar own: those of and by functions of the package. ``all``: with those of libraries.
    """

    own: int
    all: int


def calls(work: Work, times: int) -> Calls:
    """The calls of ``work``, so often."""
    own = every = 0
    is_own: dict[Any, bool] = {}

    def belongs(frame: FrameType | None) -> bool:
        if frame is None:
            return False
        code = frame.f_code
        known = is_own.get(code)
        if known is None:
            known = is_own[code] = code.co_filename.startswith(OWN)
        return known

    def profile(frame: FrameType, event: str, _: object) -> None:
        nonlocal own, every
        if event == "c_call":
            every += 1
            own += belongs(frame)
        elif event == "call":
            every += 1
            own += belongs(frame) or belongs(frame.f_back)

    sys.setprofile(profile)
    try:
        for _ in range(times):
            work()
    finally:
        sys.setprofile(None)
    return Calls(own, every)


def kept(work: Work, times: int) -> float:
    """Blocks of memory that are still there, for each time that ``work`` was done."""
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(times):
        work()
    gc.collect()
    return (sys.getallocatedblocks() - before) / times
