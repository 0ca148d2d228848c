"""Where the command says things: results on one stream, remarks on the other.

Failure policy: what cannot be written ends the command; that its reader has gone is no error.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterable
from io import TextIOWrapper
from typing import TextIO

from attrs import frozen


class UnwrittenError(Exception):
    """Results could not be written.

    :ivar gone: whether the one who reads has gone: it has seen enough.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(f"the output cannot be written: {error.strerror}")
        self.gone = isinstance(error, BrokenPipeError)


@frozen
class Output:
    """Two streams, and how wide a table may be.

    :ivar width: cells of the terminal; ``None`` where there is none: nothing is cut.
    """

    out: TextIO
    err: TextIO
    width: int | None = None

    def say(self, lines: Iterable[str]) -> None:
        """Write lines, so that they are seen at once.

        :raise UnwrittenError: when they cannot be written.
        """
        for line in lines:
            self._try(self.out.write, f"{line}\n")
        self._try(self.out.flush)

    def _try(self, write: Callable[..., object], *text: str) -> None:
        try:
            write(*text)
        except OSError as error:
            # At its end Python tries once more what is left.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.out.fileno())
            raise UnwrittenError(error)

    def remark(self, line: str) -> None:
        """What is no result."""
        print(line, file=self.err, flush=True)


def standard() -> Output:
    """The standard streams, which take every character from now on."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    return Output(sys.stdout, sys.stderr, width)


def confirmed(question: str) -> bool:
    """Whether someone at the terminal says yes; Ctrl-C and the end of input say no.

    The question is no result: it is put on standard error. While it waits the reactor's handler of
    SIGINT is out, for it would only make a note of it.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return False
    finally:
        signal.signal(signal.SIGINT, before)
