"""Checks of what the outbound queue is told. Nothing here shows the address of its store."""

import re

from smtpforward.config import names
from smtpforward.config.checks_net import HOST_PORT, member, port_number
from smtpforward.config.values import WrongValueError, items, not_sendable, single, wrong

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
SPAN = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhd])")
REPEATED = re.compile(r"([^*]+)\*([0-9]{1,4})")
NONE = "none"
LONGEST = 604800.0
MOST_INTERVALS = 1000
DNS_PORT = 53
LONGEST_COMMENT = 200
COMMENT = re.compile(r"[ -\[\]-~]*")
DISABLED = "disabled"
STORE_REMEDY = "store=sqlite:PATH, or postgresql://USER@HOST/DATABASE"
SPAN_REMEDY = "a number with s, m, h or d behind it, such as 30m, above 0 and at most 7d"
INTERVALS_REMEDY = (
    "times with s, m, h or d behind them, and *COUNT where one repeats, such as 1m, 5m*2, 1h*3; at"
    f" most 7d each, {MOST_INTERVALS} in all; or none"
)
NAMESERVERS_REMEDY = "addresses such as 192.0.2.53, 192.0.2.53:5353 or [2001:db8::53]:5353"


def store(value: object) -> str:
    """The address of a store, as it is written: what it is for shows when it is used."""
    text = single(value)
    if not text or not_sendable(text):
        raise WrongValueError("is empty or holds a control character", STORE_REMEDY)
    return text


def time_span(value: object) -> float:
    """A time with its unit, in seconds."""
    text = single(value)
    seconds = _seconds(text)
    if seconds is None:
        raise wrong(text, SPAN_REMEDY)
    return seconds


def _seconds(text: str) -> float | None:
    match = SPAN.fullmatch(text.lower())
    if match is None:
        return None
    seconds = float(match[1]) * UNITS[match[2]]
    return seconds if 0 < seconds <= LONGEST else None


def intervals(value: object) -> tuple[float, ...]:
    """Haraka's ``temp_fail_intervals``: seconds from each failed attempt to the next."""
    text = single(value)
    if text.lower() == NONE:
        return ()
    found: list[float] = []
    for given in "".join(text.split()).split(","):
        repeated = REPEATED.fullmatch(given)
        seconds = _seconds(repeated[1] if repeated else given)
        count = int(repeated[2]) if repeated else 1
        if seconds is None or not 0 < count <= MOST_INTERVALS - len(found):
            raise wrong(text, INTERVALS_REMEDY)
        found += [seconds] * count
    return tuple(found)


def received_header(value: object) -> str | None:
    """A text for a comment (RFC 5322 3.2.2); ``None`` for none, in Haraka's word or none at all."""
    text = single(value)
    if text.lower() in ("", DISABLED):
        return None
    if not COMMENT.fullmatch(text) or set("()") & set(text) or len(text) > LONGEST_COMMENT:
        raise wrong(text, f"up to {LONGEST_COMMENT} ASCII characters without parentheses and \\")
    return text


def host_port(value: object) -> tuple[str, int | None]:
    """One host with its port, if it gives one."""
    return member(single(value), "one host, such as smtp.example.com or smtp.example.com:587")


def nameservers(value: object) -> tuple[tuple[str, int], ...]:
    """Addresses of name servers, each with its port."""
    return tuple(dict.fromkeys(map(_nameserver, items(value, ", \t;"))))


def _nameserver(text: str) -> tuple[str, int]:
    try:
        return names.address(text), DNS_PORT
    except ValueError:
        match = HOST_PORT.fullmatch(text)
    if match is None:
        raise wrong(text, NAMESERVERS_REMEDY)
    try:
        ip = names.address(match[1] or match[2])
    except ValueError:
        raise wrong(text, NAMESERVERS_REMEDY) from None
    return ip, DNS_PORT if match[3] is None else port_number(match[3])
