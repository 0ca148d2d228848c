"""The facts and stages of one transaction, and its line in the log.

The line has the keys that Postfix uses, so that the tools which read mail logs know them. Whatever
a client or a backend said stands in it with control characters made visible.
"""

import itertools
import time
from collections.abc import Iterator, Sequence

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

    @property
    def envelope(self) -> Envelope:
        """Sender and all recipients."""
        return Envelope(self.sender, tuple(self.recipients), self.parameters)

    def line(self, reply: Reply, now: float) -> str:
        """What the log says of this transaction when ``reply`` ended it."""
        client = self.client
        to = ",".join(_word(r.address) for r in self.recipients[:MAX_LOGGED_RECIPIENTS])
        outcome = self._telling_outcome()
        relay = (outcome.peer if outcome else "") or "none"
        if self.queued and outcome:
            relay = "queue"
        detail = f" [{outcome.detail}]" if outcome and outcome.detail else ""
        return (
            f"id={self.id} client={client.name}[{client.ip}] from={_word(self.sender)}"
            f" to={to} nrcpt={len(self.recipients)} size={self.size} relay={relay}"
            f" delay={now - self.started:.3f} dsn={reply.status.decode()}"
            f" status={self._status(reply)}"
            f" ({printable(reply.text)}){printable(detail)}"
        )

    def _status(self, reply: Reply) -> str:
        if self.queued and reply.code < 300:
            return "queued"
        return _STATUS.get(reply.code // 100, "deferred")

    def _telling_outcome(self) -> Outcome | None:
        """The one that decided the answer: the first that failed, else the first."""
        for outcome in self.outcomes:
            if outcome.event is not Event.ACCEPTED:
                return outcome
        return self.outcomes[0] if self.outcomes else None


def log_line(line: str) -> None:
    """Put ``line`` into the log as it stands.

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
            "mail_line": line,
            "log_time": time.time(),
            "log_system": "mail",
        }
    )


def _word(address: Address) -> str:
    """The path as one word: a blank in a quoted local part would begin another key."""
    return address.path.decode().replace(" ", "\\x20")


def printable(text: str) -> str:
    """``text`` without anything that could break or forge a line of the log."""
    return text if text.isprintable() else "".join(_visible(c) for c in text)


def _visible(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]
