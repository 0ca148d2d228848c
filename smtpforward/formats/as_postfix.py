"""The log in Postfix's lines, for what reads those: pflogsumm, fail2ban and their like.

A message makes the lines of the programs that it would pass in Postfix: ``smtpd`` has the client,
``qmgr`` the sender and ``smtp`` one line a recipient; what is refused is a ``reject`` of ``smtpd``.
The rest is said by ``gateway``. docs/logs.md says how to tell those tools the name.

Nothing in a value makes another line: control characters are visible.
"""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from twisted.logger import LogEvent

from smtpforward.formats import facts_of, level_of, text_of
from smtpforward.logs import is_noise
from smtpforward.record import printable

NAME = "smtpforward"
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# Postfix's words for what tools look for; any other refusal is told in the gateway's own words.
RELAY_DENIED = "mail for this domain is not accepted here"
ABOUT = {"MAIL": "Sender", "RCPT": "Recipient"}
MARKS = {"warn": "warning: ", "error": "error: ", "critical": "error: "}
Lines = Iterator[tuple[str, str]]


class PostfixLog:
    """Formats events as lines of syslog.

    :param host: this host's name, for each line.
    """

    __slots__ = ("_host",)

    def __init__(self, host: str) -> None:
        self._host = host

    def __call__(self, event: LogEvent) -> str | None:
        """Its lines, or ``None`` for an event that says nothing."""
        if is_noise(event):
            return None
        head = f"{_stamp(event.get('log_time'))} {self._host} {NAME}/"
        # The daemon has another process id than what made this object.
        mark = f"[{os.getpid()}]: "
        lines = [f"{head}{program}{mark}{printable(said)}\n" for program, said in _lines(event)]
        return "".join(lines) or None


def _stamp(when: float | None) -> str:
    """Month, day and time as syslog has them (RFC 3164 4.1.2), whatever the locale."""
    t = time.localtime(when)
    return f"{MONTHS[t.tm_mon - 1]} {t.tm_mday:2} {t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02}"


def _lines(event: LogEvent) -> Lines:
    """Program and text of each."""
    facts: dict[str, Any] = facts_of(event) or {}
    known = KNOWN.get(facts.get("event", ""))
    if known is not None:
        yield from known(facts)
        return
    mark = MARKS.get(level_of(event), "")
    for line in text_of(event).splitlines():
        if line.strip():
            yield "gateway", mark + line


def _message(facts: dict[str, Any]) -> Lines:
    """A message up to the answer to its end, or up to the queue."""
    if facts["relay"] is None:
        yield from _refused({**facts, "command": "END-OF-MESSAGE"})
        return
    user = facts["user"]
    login = f", sasl_username={user}" if user else ""
    yield "smtpd", f"{facts['id']}: client={_client(facts)}{login}"
    about = f"size={facts['size']}, nrcpt={facts['nrcpt']} (queue active)"
    yield "qmgr", f"{facts['id']}: from=<{facts['from']}>, {about}"
    if facts["status"] != "queued":
        yield from _delivery(facts)
        yield "qmgr", f"{facts['id']}: removed"


def _delivery(facts: dict[str, Any]) -> Lines:
    """What became of each recipient."""
    said = facts["reply"]
    if "detail" in facts:
        said = f"{said} [{facts['detail']}]"
    for recipient in facts["to"]:
        yield (
            "smtp",
            f"{facts['id']}: to=<{recipient}>, relay={facts['relay'] or 'none'},"
            f" delay={facts['delay']:.2f}, dsn={facts['dsn']}, status={facts['status']} ({said})",
        )


def _refused(facts: dict[str, Any]) -> Lines:
    """A command, or a message, that a rule has refused."""
    command, reply = facts["command"], facts["reply"]
    identity = "NOQUEUE" if command in ABOUT else facts["id"]
    to = "".join(f" to=<{recipient}>" for recipient in facts["to"][:1])
    # Behind what other tools read: the sender has been told it.
    named = f" id={facts['id']}" if command in ABOUT else ""
    yield (
        "smtpd",
        f"{identity}: reject: {command} from {_client(facts)}: {_why(command, facts, reply)};"
        f" from=<{facts['from']}>{to} proto={facts['protocol']} helo=<{facts['helo']}>{named}",
    )


def _why(command: str, facts: dict[str, Any], reply: str) -> str:
    """The reply as Postfix tells it: code, what it is about, and why."""
    if command not in ABOUT:
        return reply
    code, _, text = reply.partition(" ")
    status, _, words = text.partition(" ")
    if not status.startswith(f"{code[:1]}."):
        status, words = facts["dsn"], text
    about = facts["to"][0] if command == "RCPT" else facts["from"]
    if words.startswith(RELAY_DENIED):
        return f"{code} {status} <{about}>: Relay access denied"
    return f"{code} {status} <{about}>: {ABOUT[command]} address rejected: {words}"


def _login(facts: dict[str, Any]) -> Lines:
    """A login that failed; one that succeeded stands with its mail."""
    if facts["success"]:
        return
    yield (
        "smtpd",
        f"warning: {_client(facts)}: SASL {facts['mechanism']} authentication failed:"
        f" wrong user name or password, sasl_username={facts['user']}",
    )


def _turned_away(facts: dict[str, Any]) -> Lines:
    """A client that was one too many."""
    yield "smtpd", f"NOQUEUE: reject: CONNECT from {_client(facts)}: {facts['reply']}; proto=SMTP"


def _client(facts: dict[str, Any]) -> str:
    return f"{facts.get('client_name', 'unknown')}[{facts['client_ip']}]"


KNOWN: dict[object, Callable[[dict[str, Any]], Lines]] = {
    "message": _message,
    "refused": _refused,
    "attempt": _delivery,
    "login": _login,
    "turned_away": _turned_away,
}
