"""The lines of the log about attempts: one for each recipient, with Postfix's keys, and errors."""

from collections.abc import Sequence

from twisted.logger import Logger

from smtpforward import answers
from smtpforward.job import Outcome
from smtpforward.outbound.entry import Claimed, State
from smtpforward.outbound.results import Fate
from smtpforward.record import log_line, printable, word

_log = Logger()
_STATUS = {State.DELIVERED: "sent", State.QUEUED: "deferred", State.FAILED: "bounced"}


def report(claimed: Claimed, fates: Sequence[Fate], at: float) -> None:
    """Say what has become of each recipient in an attempt that ended at ``at``."""
    recipients = dict(claimed.recipients)
    for fate in fates:
        log_line(
            f"id={claimed.message.id} from={word(claimed.message.envelope.sender)}"
            f" to={word(recipients[fate.index].address)} relay={fate.peer or 'none'}"
            f" delay={at - claimed.message.received:.3f} attempts={claimed.attempts + 1}"
            f" dsn={fate.reply.status.decode()} status={_STATUS[fate.state]}"
            f" ({printable(fate.said)})"
        )


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
