"""What is wrong with a configuration directory, collected so that all of it is reported at once.

Rules: a problem stops the start, a warning does not. A problem names file, line, key, and what
would be right; it never shows a secret, nor a line that could hold one.
"""

from typing import NamedTuple

from attrs import define, field, frozen

from smtpforward.config.stamps import Stamp, Stamps, stamp

SHOWN = 60


class Place(NamedTuple):
    """Where something stands: the file's path and the line, counted from 1."""

    file: str
    line: int | None = None

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"


@frozen
class Problem:
    """One thing that is wrong.

    :ivar file: path of the file. ``line``: counted from 1, ``None`` when it is about the file.
    :ivar key: the key, where it is about one.
    :ivar message: what is wrong. ``remedy``: what would be right.
    """

    file: str
    line: int | None
    key: str | None
    message: str
    remedy: str

    def __str__(self) -> str:
        """One printable line: ``FILE:LINE: key: message; remedy``."""
        where = [str(Place(self.file, self.line)), self.key, f"{self.message}; {self.remedy}"]
        return printable(": ".join(part for part in where if part is not None))


class ConfigurationError(Exception):
    """The directory cannot be used.

    :ivar problems: all that is wrong with it. ``files``: those that were looked at.
    """

    def __init__(self, problems: tuple[Problem, ...], files: Stamps | None = None) -> None:
        super().__init__(problems)
        self.problems = problems
        self.files: Stamps = files or {}

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


@define
class Report:
    """Collects while the directory is read."""

    problems: list[Problem] = field(factory=list)
    warnings: list[str] = field(factory=list)
    files: dict[str, Stamp] = field(factory=dict)

    def reads(self, path: str) -> None:
        """``path`` is going to be looked at, whether or not it is there."""
        self.files.setdefault(path, stamp(path))

    def add(self, place: Place, key: str | None, message: str, remedy: str) -> None:
        """A problem at ``place``."""
        self.problems.append(Problem(place.file, place.line, key, message, remedy))

    def warn(self, text: str) -> None:
        """Something that does not stop the start."""
        self.warnings.append(printable(text))


def printable(text: str) -> str:
    """``text`` in one line that changes nothing on a terminal."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def shown(value: object) -> str:
    """A value as a message quotes it: one line, not endless. Never for a secret."""
    text = str(value)
    return repr(text if len(text) <= SHOWN else text[:SHOWN] + "...")
