"""A command that is run to its end, or until it has printed enough: its time and its memory."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic

from attrs import frozen
from twisted.internet.threads import deferToThread


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
    with process.stdout as output:
        for _ in output:
            first = first or monotonic() - began
            read += 1
            if read == lines:
                break
    _, status, usage = os.wait4(process.pid, 0)
    seconds = monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"{command}: {process.returncode}: {errors.read_text()}"
    assert read, f"{command}: nothing printed"
    return Ran(first, seconds, usage.ru_maxrss * 1024, read)
