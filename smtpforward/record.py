"""The facts and stages of one transaction, and what the log gets of its end.

The log gets a value; whoever writes the log makes of it what its format asks for: a line, with the
keys that Postfix uses, or the facts by name (``docs/logs.md``). In a line, whatever a client or a
backend said stands with control characters made visible.
"""

import itertools
import time
from collections.abc import Iterator, Sequence
from typing import Protocol

from attrs import define, field
from twisted.logger import Logger, LogLevel

from smtpforward.config.settings import Route
from smtpforward.envelope import Address, Client, Envelope, Recipient
from smtpforward.job import Event, Outcome
from smtpforward.reply import Reply

# Unique on this host, also across restarts: the counter starts at the time.
_numbers: Iterator[int] = itertools.count(time.time_ns() >> 10)
MAX_WORKERS = 256
_log = Logger(namespace="smtpforward.mail")
_STATUS = {2: "sent", 4: "deferred", 5: "bounced"}
MAX_LOGGED_RECIPIENTS = 20
Facts = dict[str, object]


def begin_ids(worker: int) -> None:
    """Let this process give ids that no other worker of the gateway gives."""
    global _numbers
    _numbers = itertools.count((time.time_ns() >> 10) * MAX_WORKERS + worker, MAX_WORKERS)


def new_id() -> str:
    """An id for a transaction, never used before on this host."""
    return f"{next(_numbers):X}"


@define(slots=True)
class Transaction:
    """One mail transaction at the edge, from MAIL to its end.

    :ivar routes: the route of each recipient, in the order of ``recipients``.
    :ivar started: clock time of MAIL. ``size``: bytes of the message, prefix left out.
    :ivar outcomes: one per recipient, when there has been a hand-over.
    :ivar complete: clock time of the end of its data, where that has come.
    :ivar queued: whether all of it goes to the outbound queue.
    """

    id: str
    client: Client
    sender: Address
    parameters: dict[bytes, bytes]
    started: float
    recipients: list[Recipient] = field(factory=list)
    routes: list[Route] = field(factory=list)
    size: int = 0
    outcomes: Sequence[Outcome] = ()
    queued: bool = False
    complete: float = 0.0

    @property
    def envelope(self) -> Envelope:
        """Sender and all recipients."""
        return Envelope(self.sender, tuple(self.recipients), self.parameters)

    def line(self, reply: Reply, now: float) -> str:
        """What the log says of this transaction when ``reply`` ended it."""
        client, recipients = self.client, self.recipients
        if len(recipients) == 1:
            to = word(recipients[0].address)
        else:
            to = ",".join([word(r.address) for r in recipients[:MAX_LOGGED_RECIPIENTS]])
        outcome = self._telling_outcome()
        relay = (outcome.peer if outcome else "") or "none"
        if self.queued and outcome:
            relay = "queue"
        detail = printable(f" [{outcome.detail}]") if outcome and outcome.detail else ""
        return (
            f"id={self.id} client={client.name}[{client.ip}] from={word(self.sender)}"
            f" to={to} nrcpt={len(recipients)} size={self.size} relay={relay}"
            f" delay={now - self.started:.3f} dsn={reply.status.decode()}"
            f" status={self.status(reply)}"
            f" ({printable(reply.text)}){detail}"
        )

    def facts(self, reply: Reply, now: float) -> Facts:
        """The same by name, and all recipients."""
        outcome = self._telling_outcome()
        relay = outcome.peer if outcome else ""
        found: Facts = {
            "id": self.id,
            **facts_of_client(self.client),
            "from": str(self.sender),
            "to": [str(recipient.address) for recipient in self.recipients],
            "nrcpt": len(self.recipients),
            "size": self.size,
            "relay": ("queue" if self.queued and outcome else relay) or None,
            "delay": round(now - self.started, 3),
            "dsn": reply.status.decode(),
            "status": self.status(reply),
            "reply": reply.text,
        }
        if outcome and outcome.detail:
            found["detail"] = outcome.detail
        return found

    def status(self, reply: Reply) -> str:
        """What ``reply`` makes of it, in a word."""
        if self.queued and reply.code < 300:
            return "queued"
        return _STATUS.get(reply.code // 100, "deferred")

    def _telling_outcome(self) -> Outcome | None:
        """The one that decided the answer: the first that failed, else the first."""
        for outcome in self.outcomes:
            if outcome.event is not Event.ACCEPTED:
                return outcome
        return self.outcomes[0] if self.outcomes else None


class Entry(Protocol):
    """What the log gets of a message: formatted while it is being logged, and not kept."""

    def __str__(self) -> str:
        """Its line."""

    def facts(self) -> Facts:
        """What is known of it, by name; values as JSON has them."""


class Ended:
    """A transaction that ``reply`` has ended, or a command of it that was refused.

    :param at: when, on the clock of ``transaction.started``.
    :param command: ``MAIL`` or ``RCPT``, where only that was refused.
    :param rule: the gateway's own rule that refused it, in a word. ``reason``: in several.
    :param gone: whether the client did not wait for the answer.
    """

    __slots__ = ("at", "command", "gone", "reason", "reply", "rule", "transaction")

    def __init__(
        self,
        transaction: Transaction,
        reply: Reply,
        at: float,
        command: str = "",
        rule: str = "",
        reason: str = "",
        gone: bool = False,
    ) -> None:
        self.transaction = transaction
        self.reply = reply
        self.at = at
        self.command = command
        self.rule = rule
        self.reason = reason
        self.gone = gone

    def __str__(self) -> str:
        line = self.transaction.line(self.reply, self.at)
        return f"{line} [the client went away]" if self.gone else line

    def facts(self) -> Facts:
        """See :class:`Entry`."""
        event = "refused" if self.command else "message"
        found = {"event": event, **self.transaction.facts(self.reply, self.at)}
        if self.command:
            found["command"] = self.command
        if self.rule:
            found["rule"] = self.rule
        if self.reason:
            found["reason"] = self.reason
        if self.gone:
            found["client_gone"] = True
        return found


def log_entry(entry: Entry) -> None:
    """Put ``entry`` into the log.

    The event is what ``info`` would make, without its detours: there is one a message. Observers
    that look for ``mail_line`` need not format it.
    """
    _log.observer(
        {
            "log_logger": _log,
            "log_level": LogLevel.info,
            "log_namespace": _log.namespace,
            "log_source": None,
            "log_format": "{mail_line}",
            "mail_line": entry,
            "log_time": time.time(),
            "log_system": "mail",
        }
    )


def facts_of_client(client: Client) -> Facts:
    """Who speaks to the edge."""
    return {
        "client_name": client.name,
        "client_ip": client.ip,
        "client_port": client.port,
        "helo": client.helo.decode("utf-8", "backslashreplace"),
        "protocol": client.protocol,
        "tls": client.tls,
        "tls_version": client.tls_version or None,
        "user": client.user or None,
    }


def word(address: Address) -> str:
    """The path as one word: a blank in a quoted local part would begin another key."""
    return address.path.decode().replace(" ", "\\x20")


def printable(text: str) -> str:
    """``text`` without anything that could break or forge a line of the log."""
    return text if text.isprintable() else "".join(_visible(c) for c in text)


def _visible(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]
