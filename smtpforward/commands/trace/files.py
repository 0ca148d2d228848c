"""Log files with all that rotation has made of them: ``NAME``, ``NAME.1``, ``NAME-20261122.gz`` ...

Failure policy: a file that cannot be read is an OSError; one that has vanished meanwhile is none.
"""

import bz2
import contextlib
import glob
import gzip
import lzma
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

from attrs import frozen

STDIN = "-"
OFTEN = 4096  # lines between two looks at how far it is
_OPEN: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


@frozen
class Log:
    """One file. ``written``: its time, seconds since the epoch."""

    path: str
    written: float

    def holding(self, needles: Iterable[bytes], more: Callable[[int], None]) -> Iterator[str]:
        """The lines that hold one of ``needles``; most lines are never decoded.

        :param more: told how many bytes of the file have been read since the last time.
        """
        wanted = tuple(needles)
        with contextlib.suppress(FileNotFoundError), self._opened() as file:
            told = 0
            for number, line in enumerate(file):
                if number % OFTEN == 0:
                    more(-told + (told := self._position(file)))
                if any(needle in line for needle in wanted):
                    yield line.decode("utf-8", "backslashreplace")
            more(self._position(file) - told)

    def _position(self, file: IO[bytes]) -> int:
        """How far the file itself has been read, packed or not."""
        return os.lseek(file.fileno(), 0, os.SEEK_CUR)

    @property
    def size(self) -> int:
        """In bytes; 0 where it has vanished."""
        try:
            return os.stat(self.path).st_size
        except FileNotFoundError:
            return 0

    def _opened(self) -> IO[bytes]:
        opening = _OPEN.get(os.path.splitext(self.path)[1], open)
        opened: IO[bytes] = opening(self.path, "rb")
        return opened


def logs(names: Iterable[str]) -> list[Log]:
    """The files of ``names``, each once; ``-`` is standard input.

    :raise OSError: for a name that neither is a file nor has been one.
    """
    found: dict[str, Log] = {}
    for name in names:
        if name == STDIN:
            found[STDIN] = Log(_kept(), time.time())
            continue
        paths = [name, *_rotated(name)]
        there = [path for path in paths if os.path.isfile(path)]
        if not there:
            os.stat(name)
            raise IsADirectoryError(21, "Is a directory", name)
        for path in there:
            found.setdefault(os.path.realpath(path), Log(path, os.stat(path).st_mtime))
    return list(found.values())


def _rotated(name: str) -> Iterator[str]:
    quoted = glob.escape(name)
    for pattern in (f"{quoted}.[0-9]*", f"{quoted}-[0-9]*"):
        yield from sorted(glob.glob(pattern))


def _kept() -> str:
    """Standard input as a file: it may have to be read twice."""
    kept = tempfile.NamedTemporaryFile(prefix="smtpforward-trace-")  # noqa: SIM115
    shutil.copyfileobj(sys.stdin.buffer, kept)
    kept.flush()
    _files.append(kept)
    return kept.name


_files: list[Any] = []  # removed when they are closed, at the end of the process
