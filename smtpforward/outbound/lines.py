"""What the log gets of attempts: one entry for each recipient, and errors."""

from collections.abc import Sequence

from twisted.logger import Logger

from smtpforward import answers
from smtpforward.envelope import Recipient
from smtpforward.job import Outcome
from smtpforward.outbound.entry import Claimed, State
from smtpforward.outbound.results import Fate
from smtpforward.record import Facts, log_entry, printable, word

_log = Logger()
STATUS = {State.DELIVERED: "sent", State.QUEUED: "deferred", State.FAILED: "bounced"}


def report(claimed: Claimed, fates: Sequence[Fate], at: float) -> None:
    """Say what has become of each recipient in an attempt that ended at ``at``."""
    recipients = dict(claimed.recipients)
    for fate in fates:
        log_entry(Attempted(claimed, recipients[fate.index], fate, at))


class Attempted:
    """What an attempt that ended at ``at`` has meant for one recipient: a log entry."""

    __slots__ = ("_at", "_claimed", "_fate", "_recipient")

    def __init__(self, claimed: Claimed, recipient: Recipient, fate: Fate, at: float) -> None:
        self._claimed = claimed
        self._recipient = recipient
        self._fate = fate
        self._at = at

    def __str__(self) -> str:
        claimed, fate = self._claimed, self._fate
        return (
            f"id={claimed.message.id} from={word(claimed.message.envelope.sender)}"
            f" to={word(self._recipient.address)} relay={fate.peer or 'none'}"
            f" delay={self._delay:.3f} attempts={claimed.attempts + 1}"
            f" dsn={fate.reply.status.decode()} status={STATUS[fate.state]}"
            f" ({printable(fate.said)})"
        )

    @property
    def _delay(self) -> float:
        return self._at - self._claimed.message.received

    def facts(self) -> Facts:
        """See :class:`smtpforward.record.Entry`."""
        claimed, fate = self._claimed, self._fate
        found: Facts = {
            "event": "attempt",
            "id": claimed.message.id,
            "from": str(claimed.message.envelope.sender),
            "to": [str(self._recipient.address)],
            "relay": fate.peer or None,
            "delay": round(self._delay, 3),
            "attempts": claimed.attempts + 1,
            "dsn": fate.reply.status.decode(),
            "status": STATUS[fate.state],
            "reply": fate.reply.text,
        }
        if fate.said != fate.reply.text:
            found["detail"] = fate.said.removeprefix(fate.reply.text).strip(" ()")
        return found


def complain(claimed: Claimed, outcomes: Sequence[Outcome]) -> None:
    """Report, once an attempt, a fault between this gateway and a host that the settings name."""
    for outcome in outcomes:
        if answers.speaks_of_set_up(outcome):
            _log.error(
                "id={id} relay={peer}: {event} at {stage}: {reply}"
                " -- check the settings for this host; the mail waits",
                id=claimed.message.id,
                peer=outcome.peer,
                event=outcome.event.value,
                stage=outcome.stage.value,
                reply=outcome.reply.text if outcome.reply else outcome.detail,
            )
            return
