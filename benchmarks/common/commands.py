"""A command that is run to its end, or until it has printed enough: its time and its memory."""

import contextlib
import os
import re
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic

from attrs import frozen
from twisted.internet.threads import deferToThread

LOOK_EVERY = 0.02
HIGHEST = re.compile(r"^VmHWM:\s*(\d+) kB", re.MULTILINE)


@frozen
class Ran:
    """What a command took.

    :ivar first: seconds until its first line. ``seconds``: until its end.
    :ivar memory: bytes that it has had resident, at most. ``lines``: that were read.
    """

    first: float
    seconds: float
    memory: int
    lines: int


async def run(
    command: Sequence[str], environ: Mapping[str, str], folder: Path, lines: int | None = None
) -> Ran:
    """Run it; as ``head`` does, stop reading after ``lines``, where that is given.

    :raise AssertionError: when it ends with an error, or prints nothing.
    """
    return await deferToThread(_run, command, environ, folder, lines)


def _run(
    command: Sequence[str], environ: Mapping[str, str], folder: Path, lines: int | None
) -> Ran:
    errors = folder / "stderr"
    began, first, read = monotonic(), 0.0, 0
    with errors.open("wb") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=file,
            env={**os.environ, **environ},
        )
    assert process.stdout is not None
    with _Highest(process.pid) as highest:
        with process.stdout as output:
            for _ in output:
                first = first or monotonic() - began
                read += 1
                if read == lines:
                    break
        process.wait()
    seconds = monotonic() - began
    assert process.returncode == 0, f"{command}: {process.returncode}: {errors.read_text()}"
    assert read, f"{command}: nothing printed"
    return Ran(first, seconds, highest.octets, read)


class _Highest:
    """Looks at what a process has resident, from time to time, while it runs.

    What ``wait4`` says would begin with what its parent had.

    :ivar octets: the most that it had.
    """

    def __init__(self, pid: int) -> None:
        self.octets = 0
        self._status = Path(f"/proc/{pid}/status")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "_Highest":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(LOOK_EVERY):
            with contextlib.suppress(OSError):
                found = HIGHEST.search(self._status.read_text())
                self.octets = max(self.octets, int(found[1]) * 1024 if found else 0)
