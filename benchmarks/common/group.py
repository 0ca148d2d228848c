"""CPU and memory of all that one system consists of, those processes included that have ended.

A control group of its own counts exactly, to the microsecond. Where none can be made (no cgroup v2,
no right to), the process tree is asked, in steps of the kernel's clock tick: of what has ended it
knows only what its parent has waited for.
"""

import contextlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from benchmarks.common.measuring import pause, trees_seconds
from tests.peers.cpu import TICKS, family

MOUNTS = Path("/proc/self/mounts")
OWN = Path("/proc/self/cgroup")
LONGEST_UNREST = 10.0
GONE_LOOKS = 40
_numbers = itertools.count(1)


class Group:
    """The processes that were started within :meth:`around`.

    :ivar exact: whether a control group counts them.
    """

    def __init__(self) -> None:
        self._mine = _own_folder()
        self._folder = None
        if self._mine is not None:
            folder = self._mine / f"bench-{os.getpid()}-{next(_numbers)}"
            with contextlib.suppress(OSError):
                folder.mkdir()
                self._folder = folder
        self._pids: list[int] = []

    @property
    def exact(self) -> bool:
        return self._folder is not None

    @contextlib.contextmanager
    def around(self) -> Iterator[None]:
        """What is started meanwhile belongs to it."""
        if self._folder is None or self._mine is None:
            yield
            return
        _enter(self._folder)
        try:
            yield
        finally:
            _enter(self._mine)

    def add(self, pid: int) -> None:
        """One that was started so, with all its descendants."""
        self._pids.append(pid)

    @property
    def pids(self) -> set[int]:
        """Of the processes that it has now."""
        return {member for pid in self._pids for member in family(pid)}

    @property
    def cpu(self) -> float:
        """User and system seconds so far."""
        if self._folder is None:
            return trees_seconds(self._pids)
        first = (self._folder / "cpu.stat").read_text().splitlines()[0]
        return int(first.split()[1]) / 1e6

    @property
    def memory(self) -> int:
        """Bytes in use now: what processes share is divided among them (PSS)."""
        return sum(map(proportional, self.pids))

    async def rested(self) -> float:
        """CPU seconds so far, once next to nothing has been added for a moment."""
        # A tree's clock has steps: it needs a longer look.
        moment, little = (0.1, 0.002) if self.exact else (0.4, 1.5 / TICKS)
        before = self.cpu
        for _ in range(int(LONGEST_UNREST / moment)):
            await pause(moment)
            now = self.cpu
            if now - before <= little:
                return now
            before = now
        return before

    async def remove(self) -> None:
        """When all of it is ending: what was killed may take a moment to go."""
        for _ in range(GONE_LOOKS):
            if self._folder is None or not self._folder.exists():
                return
            with contextlib.suppress(OSError):
                self._folder.rmdir()
                return
            await pause(0.05)


def proportional(pid: int) -> int:
    """Bytes of memory of a process, its part of what it shares; 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def _own_folder() -> Path | None:
    """Of this process's own group, where there are groups of the second version."""
    mounts = [line.split() for line in MOUNTS.read_text().splitlines()]
    roots = [Path(mount[1]) for mount in mounts if mount[2] == "cgroup2"]
    lines = OWN.read_text().splitlines() if OWN.exists() else []
    paths = [line.removeprefix("0::") for line in lines if line.startswith("0::")]
    if not roots or not paths:
        return None
    folder = roots[0] / paths[0].lstrip("/")
    return folder if os.access(folder / "cgroup.procs", os.W_OK) else None


def _enter(folder: Path) -> None:
    (folder / "cgroup.procs").write_text(str(os.getpid()))
