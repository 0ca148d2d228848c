"""The validator's checks: the text of a value to what it means.

Rules: a check takes the literal value, or the list of a ``key[]``, and raises
:class:`WrongValueError` with what would be right. Numbers are plain decimal: no sign, no
exponent, no grouping.
"""

import difflib
import os
import re
from collections.abc import Callable, Iterable

from configobj.validate import ValidateError, Validator

from smtpforward.config import listen, names
from smtpforward.config.dialect import decode
from smtpforward.config.problems import shown

TRUE = frozenset({"true", "yes", "ok", "enabled", "on", "1"})
FALSE = frozenset({"false", "no", "disabled", "off", "0"})
WHOLE = re.compile(r"-?[0-9]{1,15}")
SECONDS = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,15})?")
# The reactor cannot wait longer than 24 days at once.
LONGEST = 604800.0


class WrongValueError(ValidateError):
    """A value is not what its key takes: what is wrong, and what would be right."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class LiteralValidator(Validator):
    """A validator whose checks get values as the file has them."""

    def __init__(self) -> None:
        super().__init__(CHECKS)

    def check(self, check: str, value: str | None, missing: bool = False) -> object:
        """See ``Validator.check``; a value that is there is decoded first."""
        literal = None if value is None else decode(value)
        return super().check(check, literal, missing=missing)


def near(word: str, known: Iterable[str]) -> str:
    """``; did you mean X?`` or nothing."""
    close = difflib.get_close_matches(word.lower(), known, 1)
    return f"; did you mean {close[0]}?" if close else ""


def _single(value: object) -> str:
    if not isinstance(value, str):
        raise WrongValueError("is a list", "one value, as key=value without []")
    return value


def _wrong(value: str, remedy: str) -> WrongValueError:
    return WrongValueError(f"{shown(value)} is wrong", remedy)


def boolean(value: object) -> bool:
    """Haraka's words, in any case."""
    text = _single(value)
    word = text.lower()
    if word not in TRUE | FALSE:
        raise _wrong(text, "true or false" + near(word, ("true", "false")))
    return word in TRUE


def option(value: object, *known: str) -> str:
    """One of the words."""
    text = _single(value)
    if text.lower() not in known:
        raise _wrong(text, " or ".join(known) + near(text, known))
    return text.lower()


def switch(value: object, *known: str) -> bool | str:
    """True, false, or one of the words."""
    text = _single(value)
    word = text.lower()
    if word in TRUE | FALSE:
        return word in TRUE
    return option(text, "true", "false", *known)


def whole(value: object, low: str, high: str = "", unit: str = "") -> int:
    """A whole number from ``low`` to ``high``, both included."""
    text = _single(value)
    number = int(text) if WHOLE.fullmatch(text) else None
    if number is None or number < int(low) or (high and number > int(high)):
        what = f"a whole number of {unit}" if unit else "a whole number"
        span = f"{what} from {low} to {high}" if high else f"{what}, at least {low}"
        raise _wrong(text, span)
    return number


def nodes(value: object) -> int | str:
    """A number of processes, or ``cpus``."""
    text = _single(value)
    if text.lower() == "cpus":
        return "cpus"
    if not WHOLE.fullmatch(text) or int(text) < 0:
        raise _wrong(text, "a whole number, at least 0, or cpus")
    return int(text)


def spool_after(value: object) -> int:
    """Bytes, or -1 for never."""
    text = _single(value)
    if not WHOLE.fullmatch(text) or int(text) < -1:
        raise _wrong(text, "a whole number of bytes; 0 for always, -1 for never")
    return int(text)


def seconds(value: object) -> float:
    """A positive time."""
    text = _single(value)
    if not SECONDS.fullmatch(text) or not 0 < float(text) <= LONGEST:
        raise _wrong(text, f"a positive number of seconds, at most {LONGEST:.0f} (a week)")
    return float(text)


def directory(value: object) -> str:
    """The absolute path of a directory in which files can be made."""
    path = _single(value)
    if not os.path.isdir(path):
        raise WrongValueError(f"{shown(path)} is no directory", "an existing directory")
    if not os.access(path, os.W_OK | os.X_OK):
        raise WrongValueError(
            f"{shown(path)} is not writable", "a directory that this user can write to"
        )
    # The daemon changes its working directory later.
    return os.path.abspath(path)


def _named(read: Callable[[str], str], remedy: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        text = _single(value)
        try:
            return read(text)
        except ValueError:
            raise _wrong(text, remedy) from None

    return check


def listeners(value: object) -> tuple[str, ...]:
    """The members of ``listen``, each of them valid."""
    items = value if isinstance(value, list) else str(value).split(",")
    texts = tuple(item.strip() for item in items)
    for text in texts:
        try:
            listen.listener(text)
        except ValueError as error:
            raise _wrong(text, str(error)) from None
    return texts


def anything(value: object) -> object:
    """For keys whose value is of no use yet."""
    return value


CHECKS: dict[str, Callable[..., object]] = {
    "anything": anything,
    "boolean": boolean,
    "directory": directory,
    "host": _named(names.server, "one host name or IP address; port has a key of its own"),
    "host_name": _named(names.host_name, "a host name such as mail.example.com"),
    "ip": _named(names.address, "an IP address of this host, without brackets"),
    "listeners": listeners,
    "nodes": nodes,
    "option": option,
    "seconds": seconds,
    "spool_after": spool_after,
    "switch": switch,
    "whole": whole,
}
