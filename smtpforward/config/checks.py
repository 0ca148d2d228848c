"""The validator's checks: the text of a value to what it means.

Rules: a check takes the literal value, or the list of a ``key[]``, and raises
:class:`WrongValueError` with what would be right. Numbers are plain decimal: no sign, no
exponent, no grouping.
"""

import os
import re
from collections.abc import Callable

from configobj.validate import Validator

from smtpforward.config import checks_net, checks_outbound, checks_tls, names
from smtpforward.config.checks_net import named
from smtpforward.config.dialect import decode
from smtpforward.config.problems import shown
from smtpforward.config.values import WrongValueError, near, single, wrong

TRUE = frozenset({"true", "yes", "ok", "enabled", "on", "1"})
FALSE = frozenset({"false", "no", "disabled", "off", "0"})
WHOLE = re.compile(r"-?[0-9]{1,15}")
SECONDS = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,15})?")
# The reactor cannot wait longer than 24 days at once.
LONGEST = 604800.0
MOST_NODES = 255


class LiteralValidator(Validator):
    """A validator whose checks get values as the file has them."""

    def __init__(self) -> None:
        super().__init__(CHECKS)

    def check(self, check: str, value: str | None, missing: bool = False) -> object:
        """See ``Validator.check``; a value that is there is decoded first."""
        literal = None if value is None else decode(value)
        return super().check(check, literal, missing=missing)


def boolean(value: object) -> bool:
    """Haraka's words, in any case."""
    text = single(value)
    word = text.lower()
    if word not in TRUE | FALSE:
        raise wrong(text, "true or false" + near(word, ("true", "false")))
    return word in TRUE


def option(value: object, *known: str) -> str:
    """One of the words."""
    text = single(value)
    if text.lower() not in known:
        raise wrong(text, " or ".join(known) + near(text, known))
    return text.lower()


def switch(value: object, *known: str) -> bool | str:
    """True, false, or one of the words."""
    text = single(value)
    word = text.lower()
    if word in TRUE | FALSE:
        return word in TRUE
    return option(text, "true", "false", *known)


def whole(value: object, low: str, high: str = "", unit: str = "") -> int:
    """A whole number from ``low`` to ``high``, both included."""
    text = single(value)
    number = int(text) if WHOLE.fullmatch(text) else None
    if number is None or number < int(low) or (high and number > int(high)):
        what = f"a whole number of {unit}" if unit else "a whole number"
        span = f"{what} from {low} to {high}" if high else f"{what}, at least {low}"
        raise wrong(text, span)
    return number


def nodes(value: object) -> int:
    """A number of processes; ``cpus`` is that of the processors that this one may use."""
    text = single(value)
    if text.lower() == "cpus":
        return min(MOST_NODES, len(os.sched_getaffinity(0)))
    if not WHOLE.fullmatch(text) or not 0 <= int(text) <= MOST_NODES:
        raise wrong(text, f"a whole number from 0 to {MOST_NODES}, or cpus")
    return int(text)


def spool_after(value: object) -> int:
    """Bytes, or -1 for never."""
    text = single(value)
    if not WHOLE.fullmatch(text) or int(text) < -1:
        raise wrong(text, "a whole number of bytes; 0 for always, -1 for never")
    return int(text)


def seconds(value: object) -> float:
    """A positive time."""
    text = single(value)
    if not SECONDS.fullmatch(text) or not 0 < float(text) <= LONGEST:
        raise wrong(text, f"a positive number of seconds, at most {LONGEST:.0f} (a week)")
    return float(text)


def directory(value: object) -> str:
    """The absolute path of a directory in which files can be made."""
    path = single(value)
    if not os.path.isdir(path):
        raise WrongValueError(f"{shown(path)} is no directory", "an existing directory")
    if not os.access(path, os.W_OK | os.X_OK):
        raise WrongValueError(
            f"{shown(path)} is not writable", "a directory that this user can write to"
        )
    # The daemon changes its working directory later.
    return os.path.abspath(path)


def path(value: object) -> str:
    """The path of a file, as it is written."""
    text = single(value)
    if not text or "\0" in text:
        raise wrong(text, "the path of a file")
    return text


def paths(value: object) -> tuple[str, ...]:
    """One path, or the list of a ``key[]``."""
    return tuple(map(path, value)) if isinstance(value, list) else (path(value),)


def anything(value: object) -> object:
    """For keys whose value is of no use."""
    return value


CHECKS: dict[str, Callable[..., object]] = {
    "anything": anything,
    "boolean": boolean,
    "ciphers": checks_tls.ciphers,
    "directory": directory,
    "host": named(names.server, "one host name or IP address; port has a key of its own"),
    "host_name": named(names.host_name, "a host name such as mail.example.com"),
    "host_port": checks_outbound.host_port,
    "hosts": checks_net.hosts,
    "intervals": checks_outbound.intervals,
    "ip": named(names.address, "an IP address of this host, without brackets"),
    "listeners": checks_net.listeners,
    "login": checks_tls.login,
    "mechanisms": checks_tls.mechanisms,
    "nameservers": checks_outbound.nameservers,
    "networks": checks_net.networks,
    "nodes": nodes,
    "option": option,
    "path": path,
    "paths": paths,
    "pool": checks_net.pool,
    "ports": checks_net.ports,
    "received_header": checks_outbound.received_header,
    "seconds": seconds,
    "secret": checks_tls.secret,
    "sessions": checks_net.sessions,
    "spool_after": spool_after,
    "store": checks_outbound.store,
    "switch": switch,
    "time_span": checks_outbound.time_span,
    "tls_version": checks_tls.tls_version,
    "whole": whole,
}
