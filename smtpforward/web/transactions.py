"""What is told of a transaction over HTTP: one object in a list, or all that is known of an id.

Pure: from the facts of log entries (``docs/logs.md``) to what ``docs/api.md`` promises. Every text
is printable: what is not is escaped.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from smtpforward.record import Facts, printable

MOST_TO = 20
CLIENT = ("client_name", "client_ip", "client_port", "helo", "protocol", "tls", "tls_version")
BROUGHT = ("user", "from", "to", "nrcpt", "size")
ENDED = ("relay", "delay", "dsn", "status", "reply", "detail", "rule", "client_gone")
Told = dict[str, Any]


def matches(facts: Facts, needle: str) -> bool:
    """Whether ``needle`` is the id, or stands in an address or a name, whatever the case.

    :param needle: in lower case.
    """
    if needle == str(facts["id"]).lower():
        return True
    texts = (facts["from"], facts.get("client_ip", ""), facts.get("client_name", ""))
    if any(needle in str(text).lower() for text in texts):
        return True
    to: Any = facts["to"]
    return any(needle in recipient.lower() for recipient in to)


def told(at: float, facts: Facts) -> Told:
    """One transaction, or a refusal, that ended at ``at``."""
    at_command = facts["event"] == "refused"
    to: Any = facts["to"]
    return {
        "id": facts["id"],
        "at": at,
        "client": shown(f"{facts['client_name']}[{facts['client_ip']}]"),
        "helo": shown(facts["helo"]),
        "user": shown(facts["user"]),
        "from": shown(facts["from"]),
        "to": shown(to[:MOST_TO]),
        "recipients": facts["nrcpt"],
        "size": None if at_command else facts["size"],
        "status": "refused" if at_command or "rule" in facts else facts["status"],
        "reply": shown(facts["reply"]),
        "relay": shown(facts["relay"]),
        "tls": facts["tls_version"] or ("TLS" if facts["tls"] else None),
        "rule": facts.get("rule"),
        "delay": facts["delay"],
    }


def newest(of_all: Iterable[Sequence[Told]], limit: int) -> list[Told]:
    """The newest of several lists; what was refused of a transaction that went on is left out."""
    every = [one for some in of_all for one in some]
    ended = {one["id"] for one in every if one["status"] != "refused"}
    kept = [one for one in every if one["status"] != "refused" or one["id"] not in ended]
    return sorted(kept, key=lambda one: one["at"], reverse=True)[:limit]


def timeline(at: float, facts: Facts) -> Iterator[Told]:
    """The events that one log entry tells of."""
    if facts["event"] != "message":
        yield shown({"at": at, **facts})
        return
    begun = at - float(str(facts["delay"]))
    yield _event("received", begun, facts, (*CLIENT, *BROUGHT))
    if "rule" in facts or facts["relay"] is None:
        word = "refused"
    else:
        word = "queued" if facts["relay"] == "queue" else "forwarded"
    yield _event(word, at, facts, ENDED)


def _event(word: str, at: float, facts: Facts, names: Iterable[str]) -> Told:
    chosen = {name: facts[name] for name in names if name in facts}
    return shown({"at": at, "event": word, **chosen})


def shown(value: Any) -> Any:
    """``value`` with each text in it printable."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [shown(one) for one in value]
    if isinstance(value, dict):
        return {name: shown(one) for name, one in value.items()}
    return value
