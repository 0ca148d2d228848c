"""The message that all recipients share, and loops."""

from twisted.internet.task import Clock
from twisted.mail.interfaces import IMessageSMTP
from twisted.mail.smtp import SMTPServerError
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from smtpforward import answers
from smtpforward.content import HEADER_LIMIT, Content
from smtpforward.dispatch import Dispatcher
from smtpforward.job import Event
from smtpforward.learned import LearnedRefusals
from smtpforward.server.message import Message, loops
from tests.support import ME, TAKEN, ScriptedTarget, content, transaction

OWN = b"Received: from a (b [192.0.2.1])\r\n\tby MX.example.net with ESMTP id 1;\r\n\tdate\r\n"
OTHER = b"received: from a by b.example.com with ESMTP; date\r\n"


def looping(header: bytes, limit: int = 100) -> bool:
    """Whether a message with ``header`` loops."""
    return loops(content(header + b"\r\nbody\r\n"), ME, limit)


class LoopTests(SynchronousTestCase):
    """Mail that goes round."""

    def test_too_many_hops(self) -> None:
        """A message that made so many hops is refused, whoever they were."""
        self.assertFalse(looping(OTHER * 9, 10))
        self.assertTrue(looping(OTHER * 10, 10))

    def test_own_hops(self) -> None:
        """One that was here five times is too, however many hops there may be."""
        self.assertFalse(looping(OWN * 4 + OTHER * 20))
        self.assertTrue(looping(OWN * 5))
        self.assertTrue(looping((OWN + OTHER) * 5))

    def test_own_name_is_a_whole_word(self) -> None:
        """A host whose name begins or ends like this one's is another."""
        for name in (b"mx.example.net.example.com", b"not.mx.example.net", b"mx.example.netx"):
            self.assertFalse(looping(OWN.replace(b"MX.example.net", name) * 10))

    def test_only_the_header_counts(self) -> None:
        """Received lines that are quoted in the body, or in a header of another name, do not."""
        quoted = b"Subject: x\r\n\r\n" + OWN * 10 + OTHER * 200
        self.assertFalse(loops(content(quoted), ME, 100))
        self.assertFalse(loops(content(b"\r\n" + quoted), ME, 100))
        self.assertFalse(looping(b"X-" + OTHER + b"X-Old: received: by x\r\n" * 200))

    def test_a_bounded_look(self) -> None:
        """Only so much of a huge header is looked at."""
        filler = b"X: " + b"x" * HEADER_LIMIT + b"\r\n"
        self.assertFalse(looping(filler + OTHER * 200))

    def test_seams(self) -> None:
        """The pieces in which the header came make no difference."""
        made = Content("/nonexistent", 100_000)
        for at in range(0, len(OWN * 5), 3):
            made.append((OWN * 5)[at : at + 3])
        self.assertTrue(loops(made, ME, 100))


class MessageTests(SynchronousTestCase):
    """Twisted's ``IMessage``."""

    def setUp(self) -> None:
        self.target = ScriptedTarget(Event.ACCEPTED)
        clock = Clock()
        dispatcher = Dispatcher(self.target, LearnedRefusals(clock), clock)
        self.message = Message(transaction(b"b@example.com"), dispatcher, ME, 3)

    def test_interface(self) -> None:
        """It provides what Twisted asks of it."""
        self.assertTrue(verifyObject(IMessageSMTP, self.message))

    def test_handed_over(self) -> None:
        """At its end the message goes to the target, and the reply comes back."""
        self.message.content = content(b"Subject: x\r\n\r\n")
        self.assertEqual(self.successResultOf(self.message.eomReceived()), TAKEN)
        self.assertEqual(self.target.messages, [b"Subject: x\r\n\r\n"])

    def test_looping(self) -> None:
        """A message that loops is refused, with the transaction's id, and goes nowhere."""
        self.message.content = content(OTHER * 3)
        reply = self.message.eomReceived()
        self.assertEqual(reply, answers.signed(answers.LOOPING, "1F"))
        self.assertEqual(self.target.jobs, [])

    def test_line_by_line(self) -> None:
        """Lines without their ends make the same message: the dots are stuffed once."""
        for line in (b".first", b"", b"..", b"last"):
            self.message.lineReceived(line)
        self.successResultOf(self.message.eomReceived())
        self.assertEqual(self.target.messages, [b"..first\r\n\r\n...\r\nlast\r\n"])

    def test_line_with_a_bare_newline(self) -> None:
        """A line that holds another line end is refused as the edge refuses it."""
        for line in (b"a\nb", b"a\rb", b"a\r"):
            error = self.assertRaises(SMTPServerError, self.message.lineReceived, line)
            self.assertEqual(error.code, 554)

    def test_connection_lost(self) -> None:
        """Without its end the message is given up, whether or not any of it has come."""
        self.message.connectionLost()
        self.message.lineReceived(b"a")
        self.message.connectionLost()
        self.assertEqual(b"".join(self.message.content.wire()), b"")
