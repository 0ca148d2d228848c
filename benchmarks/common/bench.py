"""One measurement from its start to its end: folders on disk, peers that are stopped, a report.

Failure policy: a figure whose counts are wrong stops the measurement with an error; what was
measured until then is written.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from benchmarks.common import machine
from benchmarks.common.report import Report
from tests.peers.process import Process

# /tmp may be in memory, and what is measured here is what reaches a disk.
ON_DISK = "/var/tmp"
AnyProcess = TypeVar("AnyProcess", bound=Process)


class Bench:
    """Where a measurement gets its folders and peers, and what it says on the way.

    :param disk: a directory on the disk that counts.
    """

    def __init__(self, report: Report, stack: AsyncExitStack, disk: str) -> None:
        self.report = report
        self.disk = Path(disk)
        self._stack = stack

    def within(self, stack: AsyncExitStack) -> "Bench":
        """The same, but what it is asked to stop and to remove is so when ``stack`` ends."""
        return Bench(self.report, stack, str(self.disk))

    def folder(self) -> Path:
        """A new one that every user may enter, removed at the end; its path is short."""
        path = Path(tempfile.mkdtemp(prefix="bench-", dir=self.disk))
        path.chmod(0o755)
        self._stack.callback(shutil.rmtree, path, ignore_errors=True)
        return path

    def later(self, stop: Callable[[], Awaitable[Any]]) -> None:
        """Run ``stop`` at the end, before what was asked for earlier."""
        self._stack.push_async_callback(stop)

    def keep(self, process: AnyProcess) -> AnyProcess:
        """``process``, which is stopped at the end."""
        self.later(process.stop)
        return process

    def say(self, text: str) -> None:
        """What goes on: to standard error, so that standard output is the report alone."""
        print(text, file=sys.stderr, flush=True)


Main = Callable[[Bench, argparse.Namespace], Coroutine[Any, Any, None]]


def arguments(description: str, full: str) -> argparse.ArgumentParser:
    """The options that every measurement has.

    :param full: what ``--full`` means.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--full", action="store_true", help=full)
    parser.add_argument("--repeat", type=int, help="how often each figure is measured")
    parser.add_argument("--disk", default=ON_DISK, help=f"where queues lie ({ON_DISK})")
    parser.add_argument("--name", help="of the files in build/, without their endings")
    return parser


def run(name: str, options: argparse.Namespace, programs: tuple[str, ...], main: Main) -> None:
    """Measure, print the report, write it to ``build/``; ends the process.

    :param programs: what beside Python is measured, for its version.
    """
    facts = {**machine.facts(*programs), "disk": machine.file_system(Path(options.disk))}
    report = Report(options.name or name, facts)

    async def measure() -> None:
        try:
            async with AsyncExitStack() as stack:
                await main(Bench(report, stack, options.disk), options)
        finally:
            report.facts["load after"] = machine.load()
            paths = report.write()
            print(report.markdown())
            print(f"Written to {' and '.join(map(str, paths))}", file=sys.stderr)

    react(lambda _: Deferred.fromCoroutine(measure()))
