"""What one attempt means for each recipient: pure, from outcomes to what is recorded and reported.

Rules: what is delivered is delivered; a permanent refusal of the recipient or the message fails it;
all else is temporary, until the schedule has no further time. What speaks of our own set-up is
temporary by the answers' table. That no connection was free, or a lease had ended, is no attempt.
"""

from collections.abc import Sequence

from attrs import evolve, frozen

from smtpforward import answers
from smtpforward.counts import NONE
from smtpforward.job import Event, Outcome, Stage
from smtpforward.outbound.entry import RecipientResult, State
from smtpforward.reply import Reply

NO_ATTEMPT = frozenset({Event.POOL_FULL, Event.NOT_ALLOWED, Event.SPARED})
# What says that the destination itself could not be reached, when it comes before the envelope.
OUT_OF_REACH = frozenset(
    {Event.UNREACHABLE, Event.DROPPED, Event.NONSENSE, Event.CLOSING, Event.LOOP}
    | {Event.TLS, Event.AUTH}
)
_OUR_WORDS = Reply(451, (b"4.3.0 not attempted, try again later",))


@frozen
class Fate:
    """What has become of one recipient in one attempt.

    :ivar reply: what it means, with an enhanced status code. ``words``: what the next server itself
        has said, if it has. ``peer``: ``host[ip]:port``. ``detail``: for the log and the history.
    :ivar backend: under which name it is counted.
    :ivar dsn: whether the next server was told what the sender wants to be notified of.
    """

    index: int
    state: State
    reply: Reply
    words: Reply | None = None
    peer: str = ""
    detail: str = ""
    dsn: bool = False
    backend: str = NONE

    @property
    def said(self) -> str:
        """The reply and what is known beside it, in one line."""
        beside = [self.detail] if self.detail else []
        if self.words is not None and self.words.code != self.reply.code:
            beside.append(self.words.text)
        return f"{self.reply.text} ({'; '.join(beside)})" if beside else self.reply.text

    def recorded(self) -> RecipientResult:
        """For the store."""
        return RecipientResult(self.index, self.state, self.said)


def fate(index: int, outcome: Outcome, backend: str = NONE) -> Fate:
    """Of a recipient that was handed over, or was to be."""
    reply = _OUR_WORDS
    if outcome.event is not Event.SPARED:
        reply = answers.to_outcome(outcome, "")
    state = State.QUEUED
    if outcome.event is Event.ACCEPTED:
        state = State.DELIVERED
    elif reply.permanent:
        state = State.FAILED
    said = (outcome.reply, outcome.peer, outcome.detail, outcome.dsn)
    return Fate(index, state, reply, *said, backend)


def not_attempted(index: int, reply: Reply, backend: str = NONE) -> Fate:
    """Of a recipient for whom there is no server to speak to."""
    state = State.FAILED if reply.permanent else State.QUEUED
    return Fate(index, state, reply, backend=backend)


def counts(outcomes: Sequence[Outcome]) -> bool:
    """Whether it was one of the attempts that the schedule counts."""
    return any(outcome.event not in NO_ATTEMPT for outcome in outcomes)


def out_of_reach(outcomes: Sequence[Outcome]) -> Outcome | None:
    """What says that the destination could not be reached, if all say so."""
    for outcome in outcomes:
        if outcome.stage is not Stage.CONNECT or outcome.event not in OUT_OF_REACH:
            return None
    return outcomes[0] if outcomes else None


def given_up(fates: Sequence[Fate]) -> list[Fate]:
    """The same where it was the last attempt: what stays has failed."""
    return [
        evolve(fate, state=State.FAILED) if fate.state is State.QUEUED else fate for fate in fates
    ]


def kept(fates: Sequence[Fate]) -> list[Fate]:
    """The same where a failure cannot be told: what would have failed stays."""
    return [
        evolve(fate, state=State.QUEUED) if fate.state is State.FAILED else fate for fate in fates
    ]
