"""A program in the foreground: started, watched, measured and stopped.

It has a session of its own, so that what it leaves behind can be ended with it, and writes to
files, so that it never waits for a reader. A program that outlives its deadline is killed; one
that the test run itself leaves behind is killed at exit.
"""

import atexit
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.peers.cpu import tree_seconds
from tests.peers.ports import is_listening
from tests.peers.wait import until

STOP_DEADLINE = 15.0

_running: set["Process"] = set()

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what runs in its background so, and programs would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Process:
    """One running program.

    :ivar folder: its working directory; ``stdout`` and ``stderr`` are files in it.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        environ: Mapping[str, str] | None = None,
        name: str = "process",
    ) -> None:
        self.folder = folder
        self._stdout = folder / f"{name}.stdout"
        self._stderr = folder / f"{name}.stderr"
        with self._stdout.open("wb") as out, self._stderr.open("wb") as err:
            self._popen = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **(environ or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self._killed = False
        _running.add(self)

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; the negated signal when one ended it."""
        return self._popen.poll()

    @property
    def stdout(self) -> str:
        return self._stdout.read_text("utf-8", "backslashreplace")

    @property
    def stderr(self) -> str:
        return self._stderr.read_text("utf-8", "backslashreplace")

    def output(self) -> str:
        """All that it has printed so far."""
        return self.stdout + self.stderr

    def cpu_seconds(self) -> float:
        """User and system time of it and all its descendants, reaped ones included."""
        return tree_seconds(self.pid)

    async def until(self, condition: Callable[[], object], what: str, timeout: float = 20) -> None:
        """Wait for ``condition``; a program that ends meanwhile is an error with its output."""

        def settled() -> bool:
            if condition():
                return True
            if self.exit_code is not None:
                raise AssertionError(f"ended with {self.exit_code} before {what}:\n{self.output()}")
            return False

        await until(settled, lambda: f"{what}; its output:\n{self.output()}", timeout)

    async def until_listening(self, port: int) -> None:
        await self.until(lambda: is_listening(port), f"listening on port {port}")

    async def ended(self, timeout: float = STOP_DEADLINE) -> int:
        """Its exit code, once it has ended by itself."""

        def still() -> str:
            return f"the end of process {self.pid}; its output:\n{self.output()}"

        await until(lambda: self.exit_code is not None, still, timeout)
        _running.discard(self)
        return self._popen.returncode

    def signal(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    async def terminate(self, timeout: float = STOP_DEADLINE) -> int:
        """Send TERM; the exit code. KILL, and an error, when it has not ended in time."""
        self.signal(signal.SIGTERM)
        try:
            return await self.ended(timeout)
        finally:
            self.kill()

    async def stop(self) -> None:
        """Terminate what still runs: for cleanup."""
        if self.exit_code is None:
            await self.terminate()
        self.kill()

    def kill(self) -> None:
        """End at once whatever is left of its session."""
        if not self._killed:
            # Once: when nothing is left of it, its number may become another program's.
            self._killed = True
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()
        _running.discard(self)


@atexit.register
def _kill_the_rest() -> None:
    for process in list(_running):
        process.kill()
