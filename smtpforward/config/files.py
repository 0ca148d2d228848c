"""The text of one file of the directory, and its entries where it holds one a line.

Rules: UTF-8, a byte order mark is dropped, lines end in LF, CRLF or CR. A file that is not there
is ``None``; one that is there and cannot be read is a problem, as is a dangling symbolic link:
what it should hold is missing.
"""

import io
import os
import re
from collections.abc import Iterator

from smtpforward.config.problems import Place, Report, shown
from smtpforward.config.values import WrongValueError, not_sendable

NEWLINE = re.compile(r"\r\n|\r|\n")
BLANKS = " \t"
COMMENTS = (";", "#")


def read_text(path: str, report: Report) -> str | None:
    """The decoded content of ``path``, or ``None`` when there is nothing to read."""
    report.reads(path)
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        if os.path.lexists(path):
            report.add(Place(path), None, "points to a file that is not there", "an existing file")
        return None
    except OSError as error:
        report.add(
            Place(path), None, f"cannot be read: {error.strerror}", "a file that this user can read"
        )
        return None
    return _decoded(path, data, report)


def _decoded(path: str, data: bytes, report: Report) -> str | None:
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = len(NEWLINE.split(data[: error.start].decode("utf-8")))
        report.add(Place(path, line), None, "is not UTF-8", "the file saved as UTF-8")
        return None


def lines_of(text: str) -> Iterator[str]:
    """The lines, without their ends, found one by one: a split holds up every other thread."""
    return (line.removesuffix("\n") for line in io.StringIO(text, newline=None))


def entries(path: str, report: Report) -> Iterator[tuple[Place, str]]:
    """Each line of a list that is neither blank nor a comment, without blanks at its ends."""
    for number, line in enumerate(lines_of(read_text(path, report) or ""), 1):
        entry = line.strip(BLANKS)
        if entry and not entry.startswith(COMMENTS):
            yield Place(path, number), entry


def read_named(path: str) -> bytes:
    """The content of a file that a key names.

    :raise WrongValueError: when there is none.
    """
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        message = f"{shown(path)} cannot be read: {error.strerror}"
        raise WrongValueError(message, "a file that this user can read") from None


def read_secret(path: str, what: str) -> str:
    """The one line of a file that holds a secret.

    :param what: what should stand in it, in words.
    :raise WrongValueError: when it holds anything else.
    """
    try:
        text = read_named(path).decode("utf-8")
    except UnicodeDecodeError:
        raise WrongValueError(f"{shown(path)} is not UTF-8", what) from None
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret:
        raise WrongValueError(f"{shown(path)} is empty", f"{what}, in one line")
    if not_sendable(secret):
        message = f"{shown(path)} holds a second line or a control character"
        raise WrongValueError(message, f"{what}, in one line")
    return secret
