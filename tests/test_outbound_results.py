"""From outcomes to what is recorded."""

from twisted.trial.unittest import SynchronousTestCase

from smtpforward.job import Event, Outcome, Stage
from smtpforward.outbound import results
from smtpforward.outbound.entry import State
from smtpforward.reply import Reply
from tests.support import recipient

TO = recipient(b"b@example.com")
PEER = "mx.example.com[192.0.2.1]:25"


def outcome(event: Event, reply: Reply | None = None, stage: Stage = Stage.RCPT) -> Outcome:
    return Outcome(TO, event, stage, reply, PEER, "why")


class FateTests(SynchronousTestCase):
    """One recipient."""

    def test_delivered(self) -> None:
        """What the next server has is delivered, in its words."""
        fate = results.fate(3, outcome(Event.ACCEPTED, Reply(250, (b"2.0.0 as 4A",)), Stage.DOT))
        self.assertIs(fate.state, State.DELIVERED)
        self.assertEqual((fate.index, fate.said), (3, "250 2.0.0 as 4A (why)"))

    def test_refused(self) -> None:
        """5yz fails, 4yz stays."""
        for code, state in ((550, State.FAILED), (451, State.QUEUED)):
            fate = results.fate(0, outcome(Event.REFUSED, Reply(code, (b"no",))))
            self.assertIs(fate.state, state)

    def test_set_up(self) -> None:
        """A refusal that speaks of our set-up fails nobody, and its words are kept."""
        fate = results.fate(0, outcome(Event.REFUSED, Reply(530, (b"5.7.0 STARTTLS first",))))
        self.assertIs(fate.state, State.QUEUED)
        self.assertIn("530 5.7.0 STARTTLS first", fate.said)

    def test_every_event(self) -> None:
        """No event of the gateway's own loses a message but where asking again is no use."""
        failing = {Event.TOO_LARGE, Event.EIGHT_BIT, Event.UTF8}
        for event in set(Event) - {Event.ACCEPTED, Event.REFUSED}:
            expected = State.FAILED if event in failing else State.QUEUED
            self.assertIs(results.fate(0, outcome(event)).state, expected, event)

    def test_last(self) -> None:
        """When there is no further attempt what stays has failed, the rest is as it was."""
        fates = [
            results.fate(0, outcome(Event.ACCEPTED, Reply(250, (b"ok",)))),
            results.fate(1, outcome(Event.DROPPED)),
        ]
        states = [fate.state for fate in results.given_up(fates)]
        self.assertEqual(states, [State.DELIVERED, State.FAILED])


class WholeTests(SynchronousTestCase):
    """The attempt as such."""

    def test_counts(self) -> None:
        """That no connection was free, or the lease had ended, is no attempt."""
        for event in Event:
            expected = event not in (Event.POOL_FULL, Event.NOT_ALLOWED, Event.SPARED)
            self.assertEqual(results.counts([outcome(event)]), expected, event)
        self.assertTrue(results.counts([outcome(Event.POOL_FULL), outcome(Event.REFUSED)]))

    def test_out_of_reach(self) -> None:
        """Only what happened before the envelope, to all, speaks of the destination."""
        lost = outcome(Event.UNREACHABLE, stage=Stage.CONNECT)
        self.assertIs(results.out_of_reach([lost, lost]), lost)
        for other in (
            outcome(Event.DROPPED, stage=Stage.MAIL),
            outcome(Event.REFUSED, Reply(550, (b"no",))),
            outcome(Event.POOL_FULL, stage=Stage.WAIT),
            outcome(Event.FAULT, stage=Stage.CONNECT),
        ):
            self.assertIsNone(results.out_of_reach([lost, other]))
        self.assertIsNone(results.out_of_reach([]))
