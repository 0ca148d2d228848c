"""Every event to its SMTP answer."""

from twisted.trial.unittest import SynchronousTestCase

from smtpforward import answers
from smtpforward.address import Fault
from smtpforward.job import Event
from smtpforward.reply import Reply
from tests.support import TAKEN, outcome

OWN = {
    Event.UNREACHABLE: (451, b"4.4.1"),
    Event.DROPPED: (451, b"4.4.1"),
    Event.IN_DOUBT: (451, b"4.4.2"),
    Event.NONSENSE: (451, b"4.4.2"),
    Event.CLOSING: (451, b"4.3.2"),
    Event.LOOP: (451, b"4.3.5"),
    Event.TLS: (451, b"4.7.5"),
    Event.AUTH: (451, b"4.7.0"),
    Event.POOL_FULL: (451, b"4.3.2"),
    Event.QUEUE_FULL: (452, b"4.3.1"),
    Event.QUEUE_UNAVAILABLE: (451, b"4.3.2"),
    Event.NOT_ALLOWED: (451, b"4.3.0"),
    Event.TOO_LARGE: (552, b"5.3.4"),
    Event.EIGHT_BIT: (554, b"5.6.3"),
    Event.UTF8: (553, b"5.6.7"),
    Event.FAULT: (451, b"4.3.0"),
}
NO_USER = Reply(550, (b"5.1.1 no such user",))
BUSY = Reply(450, (b"4.2.1 mailbox busy",))
REFUSED = outcome(Event.REFUSED, NO_USER)
DEFERRED = outcome(Event.REFUSED, BUSY)
SPARED = outcome(Event.SPARED)
ACCEPTED = outcome(Event.ACCEPTED)


class ConstantsTests(SynchronousTestCase):
    """The edge's own replies."""

    def test_well_formed(self) -> None:
        """Each has a line, and an enhanced status code of its class where RFC 2034 wants one."""
        replies = [r for r in vars(answers).values() if isinstance(r, Reply)]
        replies += [*answers.SENDER_FAULTS.values(), *answers.RECIPIENT_FAULTS.values()]
        self.assertGreater(len(replies), 30)
        for reply in replies:
            if reply.code != 354:
                self.assertIs(reply.enhanced(), reply)
            self.assertLess(len(reply.wire()), 512)

    def test_each_fault(self) -> None:
        """There is a reply to each fault of an address."""
        self.assertEqual(set(answers.SENDER_FAULTS), set(Fault))
        self.assertEqual(set(answers.RECIPIENT_FAULTS), set(Fault))


class OutcomeTests(SynchronousTestCase):
    """One recipient."""

    def test_each_event(self) -> None:
        """Every event of the gateway's own has its code, and the id at its end."""
        self.assertEqual(
            {*OWN, Event.ACCEPTED, Event.REFUSED, Event.SPARED}, set(Event), "all events"
        )
        for event, (code, status) in OWN.items():
            reply = answers.to_outcome(outcome(event), "1F")
            self.assertEqual((reply.code, reply.status), (code, status), event)
            self.assertTrue(reply.lines[-1].endswith(b" [1F]"))

    def test_the_backends_words(self) -> None:
        """A backend's answer travels with code, enhanced code and text, and without an id."""
        for reply in (NO_USER, BUSY, Reply(554, (b"5.7.1 spam", b"5.7.1 really"))):
            made = outcome(Event.REFUSED, reply)
            self.assertEqual(answers.to_outcome(made, "1F"), reply)

    def test_without_enhanced_code(self) -> None:
        """A backend that gives no enhanced code gets its class's."""
        made = outcome(Event.REFUSED, Reply(550, (b"no", b"never")))
        self.assertEqual(answers.to_outcome(made, "1F").lines, (b"5.0.0 no", b"5.0.0 never"))

    def test_accepted(self) -> None:
        """Accepted is 250 with the backend's text, whatever 25z it was."""
        self.assertEqual(answers.to_outcome(ACCEPTED, "1F"), TAKEN)
        made = outcome(Event.ACCEPTED, Reply(251, (b"2.0.0 forwarded",)))
        self.assertEqual(answers.to_outcome(made, "1F"), Reply(250, (b"2.0.0 forwarded",)))

    def test_set_up(self) -> None:
        """What speaks of the gateway's set-up never bounces the mail."""
        for code in (500, 502, 503, 504, 530, 534, 535, 538):
            made = outcome(Event.REFUSED, Reply(code, (b"5.7.0 no",)))
            reply = answers.to_outcome(made, "1F")
            self.assertEqual((reply.code, reply.status), (451, b"4.3.5"), code)
            self.assertTrue(answers.speaks_of_set_up(made))

    def test_not_set_up(self) -> None:
        """Other refusals speak of the mail; the same codes in what is no refusal do not count."""
        for code in (421, 450, 501, 521, 550, 552, 553, 554, 555):
            self.assertFalse(answers.speaks_of_set_up(outcome(Event.REFUSED, Reply(code))), code)
        self.assertFalse(answers.speaks_of_set_up(outcome(Event.DROPPED, Reply(500))))
        for event in (Event.LOOP, Event.TLS, Event.AUTH):
            self.assertTrue(answers.speaks_of_set_up(outcome(event)))

    def test_spared_alone(self) -> None:
        """Spared means nothing without the others."""
        self.assertRaises(KeyError, answers.to_outcome, SPARED, "1F")

    def test_signed(self) -> None:
        """The id stands at the end of the last line; without an id nothing changes."""
        reply = Reply(451, (b"4.3.0 a", b"4.3.0 b"))
        self.assertEqual(answers.signed(reply, "1F").lines, (b"4.3.0 a", b"4.3.0 b [1F]"))
        self.assertIs(answers.signed(reply, ""), reply)


class MessageTests(SynchronousTestCase):
    """All recipients, one answer."""

    def code(self, *made: object, partial: str = "learn") -> tuple[int, bytes]:
        """Code and status of the answer to these outcomes."""
        reply = answers.to_message(made, "1F", partial)  # type: ignore[arg-type]
        return reply.code, reply.status

    def test_all_accepted(self) -> None:
        """The first one's words are the answer."""
        self.assertEqual(answers.to_message([ACCEPTED, ACCEPTED], "1F"), TAKEN)

    def test_all_refused(self) -> None:
        """The backend's refusal is the answer."""
        self.assertEqual(answers.to_message([REFUSED, REFUSED], "1F"), NO_USER)

    def test_some_refused(self) -> None:
        """The sender is asked to come again: then the refused ones get their refusal at RCPT."""
        for others in ([SPARED, REFUSED], [DEFERRED, SPARED], [ACCEPTED, REFUSED]):
            self.assertEqual(self.code(*others), (451, b"4.5.3"))

    def test_some_refused_reject(self) -> None:
        """With ``partial_rejection=reject`` the whole message gets the refusal."""
        self.assertEqual(self.code(SPARED, REFUSED, partial="reject"), (550, b"5.1.1"))

    def test_gentlest(self) -> None:
        """Where all are refused in different ways, the one that loses nothing is the answer."""
        for made in ([REFUSED, DEFERRED], [DEFERRED, REFUSED]):
            self.assertEqual(self.code(*made), (450, b"4.2.1"))
        self.assertEqual(self.code(REFUSED, outcome(Event.DROPPED)), (451, b"4.4.1"))

    def test_one_recipient(self) -> None:
        """One recipient's outcome is the message's."""
        for event, expected in OWN.items():
            self.assertEqual(self.code(outcome(event)), expected)

    def test_some_fail_otherwise(self) -> None:
        """A failure that is no refusal is itself the answer, also beside spared recipients."""
        self.assertEqual(self.code(SPARED, outcome(Event.DROPPED)), (451, b"4.4.1"))

    def test_some_refused_for_our_set_up(self) -> None:
        """A refusal that speaks of our set-up cannot be learned: it is the answer."""
        broken = outcome(Event.REFUSED, Reply(503, (b"5.5.1 RCPT first",)))
        self.assertEqual(self.code(SPARED, broken), (451, b"4.3.5"))
