"""Takes out one guard after the other, and sees that its test notices.

Run as ``python -m tests.guards``, with words to pick the tests whose names hold one of them. Works
on copies of the tree, two at a time. Exit status 1 when a guard can be taken out unnoticed, when
its text does not stand just once in its file, when the file is no Python without it, or when a
test fails with the guard in place.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.guards import Guard
from tests.guards.known import GUARDS

ROOT = Path(__file__).resolve().parent.parent.parent
PARTS = ("smtpforward", "twisted", "tests")
AT_ONCE = 2
TIMEOUT = 300


class Copy:
    """The tree in a directory of its own."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="guards-")
        self.root = Path(self._directory.name)
        leave_out = shutil.ignore_patterns("__pycache__", "*.cache", "_trial_temp*")
        for part in PARTS:
            shutil.copytree(ROOT / part, self.root / part, ignore=leave_out)

    def passes(self, tests: Sequence[str]) -> tuple[bool, str]:
        """Whether trial is content with ``tests``, and the end of what it says."""
        command = [sys.executable, "-B", "-m", "twisted.trial", "--reporter=text", *tests]
        try:
            ended = subprocess.run(
                command, cwd=self.root, capture_output=True, text=True, timeout=TIMEOUT, check=False
            )
        except subprocess.TimeoutExpired:
            return (False, "no end in time")
        return (ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:])

    def without(self, guard: Guard) -> str:
        """Why ``guard`` is none; empty when its test notices that it is gone."""
        path = self.root / guard.file
        text = path.read_text()
        if text.count(guard.before) != 1:
            return f"stands {text.count(guard.before)} times in {guard.file}: {guard.before!r}"
        changed = text.replace(guard.before, guard.after)
        try:
            if path.suffix == ".py":
                compile(changed, guard.file, "exec")
        except SyntaxError as error:
            return f"no Python without it: {error}"
        path.write_text(changed)
        try:
            passes, _ = self.passes([guard.test])
        finally:
            path.write_text(text)
        return f"nobody misses it in {guard.file}: {guard.before!r}" if passes else ""

    def remove(self) -> None:
        """Leave nothing behind."""
        self._directory.cleanup()


def check(guards: Sequence[Guard]) -> list[str]:
    """What is wrong with ``guards``, one line each."""
    copies = [Copy() for _ in range(AT_ONCE)]
    try:
        passes, said = copies[0].passes(sorted({guard.test for guard in guards}))
        if not passes:
            return [f"with all guards in place:\n{said}"]
        shares = [guards[number::AT_ONCE] for number in range(AT_ONCE)]
        with ThreadPoolExecutor(AT_ONCE) as threads:
            results = threads.map(_check_share, copies, shares)
            return [line for lines in results for line in lines]
    finally:
        for copy in copies:
            copy.remove()


def _check_share(copy: Copy, guards: Sequence[Guard]) -> list[str]:
    wrong = [(guard, copy.without(guard)) for guard in guards]
    return [f"{guard.test}: {why}" for guard, why in wrong if why]


def main(words: Sequence[str]) -> int:
    """Check, say what is wrong, and give the exit status."""
    chosen = [g for g in GUARDS if not words or any(word in g.test for word in words)]
    wrong = check(chosen)
    for line in wrong:
        print(line)
    print(f"{len(chosen)} guards, {len(wrong)} wrong")
    return 1 if wrong or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
