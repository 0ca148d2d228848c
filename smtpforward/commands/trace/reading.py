"""Lines of a log in any of its formats (docs/logs.md) to events; a line that is none tells nothing.

The format is seen line by line: a file may have begun in another one. A line in Postfix's form has
no year: it is the last one that is not after the file's own time.
"""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from smtpforward.commands.trace.event import Told

Facts = dict[str, Any]
DAY = 86400.0
_LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[+-]\d{4}|Z)?) \[([^\]]*)\] (.*)")
# What the journal, or syslog, has put before a line of ours.
_WRAPPED = re.compile(r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \S+ [^\s:]+: (?=\d{4}-|\{)(.*)")
_SYSLOG = re.compile(
    r"([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d) \S+ \S*smtpforward/(\w+)\[\d+\]: (.*)"
)
_MAIL = re.compile(
    r"id=(?P<id>\S+) client=(?P<client>\S*) from=<(?P<from>.*?)> to=(?P<to>\S*)"
    r" nrcpt=(?P<nrcpt>\d+) size=(?P<size>\d+) relay=(?P<relay>\S+)"
    r" delay=(?P<delay>[\d.]+) dsn=(?P<dsn>\S+) status=(?P<status>\w+)"
    r" \((?P<reply>.*)\)(?: \[(?P<detail>.*)\])?"
)
_ATTEMPT = re.compile(
    r"id=(?P<id>\S+) from=<(?P<from>.*?)> to=<(?P<to>.*?)> relay=(?P<relay>\S+)"
    r" delay=(?P<delay>[\d.]+) attempts=(?P<attempts>\d+) dsn=(?P<dsn>\S+)"
    r" status=(?P<status>\w+) \((?P<reply>.*)\)(?: \[(?P<detail>.*)\])?"
)
_NOTICE = re.compile(r"id=(\S+): (\w+) notice is id=(\S+)")
_CLIENT = re.compile(r"(?P<id>[0-9A-F]+): client=(?P<client>\S+?)(?:, sasl_username=(?P<user>.*))?")
_SENDER = re.compile(
    r"(?P<id>[0-9A-F]+): from=<(?P<from>.*?)>, size=(?P<size>\d+), nrcpt=(?P<nrcpt>\d+) .*"
)
_SENT = re.compile(
    r"(?P<id>[0-9A-F]+): to=<(?P<to>.*?)>, relay=(?P<relay>\S+), delay=(?P<delay>[\d.]+),"
    r" dsn=(?P<dsn>\S+), status=(?P<status>\w+) \((?P<reply>.*)\)"
)
_REJECT = re.compile(
    r"(?P<id>\S+): reject: (?P<command>\S+) from (?P<client>\S+?): (?P<reply>.*);"
    r" from=<(?P<from>.*?)>(?: to=<(?P<to>.*?)>)? proto=\S* helo=<.*?>(?: id=(?P<own>[0-9A-F]+))?"
)
NUMBERS = {"nrcpt": int, "size": int, "attempts": int, "delay": float}


def events(line: str, source: str, newest: float) -> Iterator[Told]:
    """What ``line`` tells.

    :param source: the file's name. ``newest``: its time, seconds since the epoch.
    """
    line = line.rstrip("\r\n")
    wrapped = _WRAPPED.fullmatch(line)
    line = wrapped[1] if wrapped is not None else line
    if line.startswith("{"):
        yield from _of_json(line, source)
        return
    match = _LINE.fullmatch(line)
    if match is not None:
        at = datetime.fromisoformat(match[1]).timestamp()
        yield from _of_text(at, match[3], source)
        return
    match = _SYSLOG.fullmatch(line)
    if match is not None:
        yield from _of_postfix(_in_year(match[1], newest), match[2], match[3], source)


def _of_json(line: str, source: str) -> Iterator[Told]:
    try:
        facts = json.loads(line)
        at = datetime.fromisoformat(facts.pop("time")).timestamp()
    except (ValueError, KeyError, TypeError, AttributeError):
        return
    kind = str(facts.pop("event", "text"))
    facts = {key: value for key, value in facts.items() if key not in ("level", "system")}
    id = str(facts.pop("id", ""))
    if kind == "message":
        yield from message(at, id, facts, source)
    else:
        yield Told(at, kind, id, facts, (source,))


def message(at: float, id: str, facts: Facts, source: str) -> Iterator[Told]:
    """A message is two events: it was received, and then something became of it."""
    delay = float(facts.get("delay") or 0.0)
    yield Told(at - delay, "received", id, facts, (source,))
    relay = facts.get("relay")
    word = "queued" if relay == "queue" else "forwarded" if relay else "refused"
    yield Told(at, word, id, facts, (source,))


def _of_text(at: float, text: str, source: str) -> Iterator[Told]:
    """A line of ``log_format=line``; the head of a refusal is that of a message."""
    match = _MAIL.fullmatch(text)
    if match is not None:
        facts = _typed(match)
        facts["to"] = [one[1:-1] for one in str(facts["to"]).split(",") if one]
        facts["relay"] = None if facts["relay"] == "none" else facts["relay"]
        id = str(facts.pop("id"))
        facts["client"] = str(facts["client"])
        if facts["relay"] is None and not facts["size"] and int(facts["nrcpt"]) <= 1:
            yield Told(at, "refused", id, facts, (source,))
        else:
            yield from message(at, id, facts, source)
        return
    match = _ATTEMPT.fullmatch(text)
    if match is not None:
        facts = _typed(match)
        facts["to"] = [facts["to"]]
        yield Told(at, "attempt", str(facts.pop("id")), facts, (source,))
        return
    yield from _of_notice(at, text, source)


def _of_notice(at: float, text: str, source: str) -> Iterator[Told]:
    match = _NOTICE.search(text)
    if match is None:
        found = re.search(r"\bid=([0-9A-F]+)", text)
        yield Told(at, "text", found[1] if found else "", {"text": text}, (source,))
    else:
        facts = {"notice": match[3], "action": match[2]}
        yield Told(at, "bounce", match[1], facts, (source,))


def _of_postfix(at: float, program: str, text: str, source: str) -> Iterator[Told]:
    """A line of Postfix's form: of a message each tells a part."""
    if (match := _CLIENT.fullmatch(text)) or (match := _SENDER.fullmatch(text)):
        facts = {key: value for key, value in _typed(match).items() if value is not None}
        yield Told(at, "received", str(facts.pop("id")), facts, (source,))
    elif match := _SENT.fullmatch(text):
        facts = _typed(match)
        facts["to"] = [facts["to"]]
        yield Told(at, "attempt", str(facts.pop("id")), facts, (source,))
    elif match := _REJECT.fullmatch(text):
        facts = _typed(match)
        facts["to"] = [facts["to"]] if facts["to"] else []
        own, id = facts.pop("own", None), str(facts.pop("id"))
        yield Told(at, "refused", str(own or id), facts, (source,))
    elif not text.endswith(": removed"):
        yield from _of_notice(at, text, source)


def _typed(match: re.Match[str]) -> Facts:
    found = match.groupdict()
    return {
        k: NUMBERS[k](v) if k in NUMBERS and v else v for k, v in found.items() if v is not None
    }


def _in_year(text: str, newest: float) -> float:
    """A time without a year: the last one that is at most a day after ``newest``."""
    year = datetime.fromtimestamp(newest).year + 1
    for candidate in range(year, year - 9, -1):
        try:
            at = datetime.strptime(f"{candidate} {text}", "%Y %b %d %H:%M:%S").timestamp()
        except ValueError:  # the 29th of February
            continue
        if at <= newest + DAY:
            return at
    return newest
