"""What every check shares: the error it raises, and how it takes a value apart."""

import difflib
from collections.abc import Iterable

from configobj.validate import ValidateError

from smtpforward.config.problems import shown


class WrongValueError(ValidateError):
    """A value is not what its key takes: what is wrong, and what would be right."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


def near(word: str, known: Iterable[str]) -> str:
    """``; did you mean X?`` or nothing."""
    close = difflib.get_close_matches(word.lower(), known, 1)
    return f"; did you mean {close[0]}?" if close else ""


def single(value: object) -> str:
    """The one value."""
    if not isinstance(value, str):
        raise WrongValueError("is a list", "one value, as key=value without []")
    return value


def items(value: object, separators: str = ",") -> list[str]:
    """The members of a list, given as ``key[]`` or in one line; empty ones do not count."""
    texts = value if isinstance(value, list) else [str(value)]
    joined = separators[0].join(texts)
    for other in separators[1:]:
        joined = joined.replace(other, separators[0])
    return [item for item in map(str.strip, joined.split(separators[0])) if item]


def wrong(value: str, remedy: str) -> WrongValueError:
    """The error about a value that may be shown."""
    return WrongValueError(f"{shown(value)} is wrong", remedy)


def not_sendable(text: str) -> bool:
    """Whether ``text`` holds what no login should (RFC 4616 forbids NUL)."""
    return any(ord(char) < ord(" ") or ord(char) == 0x7F for char in text)
