"""What allows a hand-over may end before the dot (``Job.may_send``): then nothing is sent."""

import os

from smtpforward.client.session import Phase
from smtpforward.content import Content
from smtpforward.job import Event, Job, Stage
from smtpforward.reply import Reply
from tests.clientsupport import MESSAGE, ReactorCase, SessionCase, make_job

CHUNKING = b"250-x\r\n250-PIPELINING\r\n250 CHUNKING\r\n"
PIPELINING = b"250-x\r\n250 PIPELINING\r\n"
OK, NO, GO = b"250 ok\r\n", b"550 no\r\n", b"354 go\r\n"


class AllowedCase(SessionCase):
    """A job that may be sent as long as ``allowed`` holds a yes."""

    def setUp(self) -> None:
        """It may not."""
        SessionCase.setUp(self)
        self.allowed: list[bool] = []
        self.asked = 0

    def may_send(self) -> bool:
        """The next of ``allowed``; no when none is left."""
        self.asked += 1
        return self.allowed.pop(0) if self.allowed else False

    def job(self, count: int = 1, content: Content | None = None) -> Job:
        """Recipients that stand for themselves, as the queue's do."""
        return make_job(count, content=content, atomic=False, may_send=self.may_send)

    def spooled(self) -> Content:
        """A message of several pieces in a file."""
        os.mkdir(directory := self.mktemp())
        content = Content(directory, 10)
        self.addCleanup(content.close)
        for _ in range(6000):
            content.append(b"x" * 98 + b"\r\n")
        return content

    def assert_not_sent(self, *events: Event) -> None:
        """The connection is closed, and these are the outcomes."""
        self.assertTrue(self.wire.aborted)
        self.assertIs(self.session.phase, Phase.CLOSING)
        self.assertFalse(self.session.past_dot)
        self.assertEqual(self.events(), list(events))
        [*_, last] = self.outcomes[0]
        self.assertIsNone(last.sent)


class NotAllowedTests(AllowedCase):
    """No."""

    def test_data(self) -> None:
        """After 354 neither the message nor the dot is sent."""
        self.opened(PIPELINING)
        self.send(self.job())
        self.assertEqual(self.wire.says(OK, OK, GO), b"")
        self.assert_not_sent(Event.NOT_ALLOWED)
        self.assertIs(self.outcomes[0][0].stage, Stage.BODY)
        self.assertIsNone(self.outcomes[0][0].reply)

    def test_chunk(self) -> None:
        """No BDAT either."""
        self.opened(CHUNKING)
        self.send(self.job(2))
        self.assertEqual(self.wire.says(OK, OK, OK), b"")
        self.assert_not_sent(Event.NOT_ALLOWED, Event.NOT_ALLOWED)
        self.assertIs(self.outcomes[0][0].stage, Stage.BODY)

    def test_spooled(self) -> None:
        """Of a message in a file nothing is sent."""
        self.opened(PIPELINING)
        self.send(self.job(content=self.spooled()))
        self.wire.protocol.dataReceived(OK + OK + GO)
        self.assertEqual(self.wire.drain(), b"")
        self.assert_not_sent(Event.NOT_ALLOWED)

    def test_while_the_message_is_sent(self) -> None:
        """It ends while a file is on its way: no dot."""
        self.allowed = [True]
        self.opened(PIPELINING)
        content = self.spooled()
        self.send(self.job(content=content))
        self.wire.protocol.dataReceived(OK + OK + GO)
        self.assertEqual(self.wire.drain(), b"".join(content.wire()))
        self.assert_not_sent(Event.NOT_ALLOWED)

    def test_refused_recipients(self) -> None:
        """Who was refused stays refused."""
        self.opened(PIPELINING)
        self.send(self.job(2))
        self.wire.says(OK, OK, NO)
        self.assertEqual(self.wire.says(GO), b"")
        self.assert_not_sent(Event.NOT_ALLOWED, Event.REFUSED)
        self.assertEqual(self.outcomes[0][1].reply, Reply(550, (b"no",)))

    def test_one_reply(self) -> None:
        """What the backend says afterwards changes nothing."""
        self.opened(PIPELINING)
        self.send(self.job())
        self.wire.says(OK, OK, GO)
        self.wire.says(OK)
        self.wire.lose()
        self.assert_events_stay()

    def assert_events_stay(self) -> None:
        """One result, and the owner was told of the end."""
        self.assertEqual(self.events(), [Event.NOT_ALLOWED])
        self.assertEqual(self.owner.heard, ["closing", "gone"])


class StillAllowedTests(AllowedCase):
    """Yes."""

    def test_data(self) -> None:
        """Asked once, just before message and dot leave in one write."""
        self.allowed = [True]
        self.opened(PIPELINING)
        self.send(self.job())
        self.wire.says(OK, OK)
        self.assertEqual(self.asked, 0)
        self.assertEqual(self.wire.says(GO), MESSAGE + b".\r\n")
        self.wire.says(OK)
        self.assertEqual((self.events(), self.asked), ([Event.ACCEPTED], 1))

    def test_chunk(self) -> None:
        """The same for a chunk."""
        self.allowed = [True]
        self.opened(CHUNKING)
        self.send(self.job(2))
        self.assertIn(b"BDAT", self.wire.says(OK, OK, OK))
        self.wire.says(OK)
        self.assertEqual((self.events(), self.asked), ([Event.ACCEPTED] * 2, 1))

    def test_spooled(self) -> None:
        """Of a file before it begins, and before the dot."""
        self.allowed = [True, True]
        self.opened(PIPELINING)
        self.send(self.job(content=self.spooled()))
        self.wire.protocol.dataReceived(OK + OK + GO)
        self.assertEqual(self.asked, 1)
        self.assertTrue(self.wire.drain().endswith(b"\r\n.\r\n"))
        self.wire.says(OK)
        self.assertEqual((self.events(), self.asked), ([Event.ACCEPTED], 2))

    def test_no_message(self) -> None:
        """Where all are refused nobody is asked."""
        self.opened(PIPELINING)
        self.send(self.job())
        self.wire.says(OK, NO, NO)
        self.assertEqual((self.events(), self.asked), ([Event.REFUSED], 0))


class TargetTests(ReactorCase):
    """The target."""

    def test_not_tried_again(self) -> None:
        """On a reused connection it is not taken for a stale one."""
        self.deliver()
        wire = self.greet()
        wire.says(OK, OK, GO)
        wire.says(OK)
        delivery = self.deliver(make_job(may_send=lambda: False))
        wire.says(OK, OK, GO)
        [outcome] = self.successResultOf(delivery)
        self.assertIs(outcome.event, Event.NOT_ALLOWED)
        self.assertEqual(len(self.attempts()), 1)
        self.assertTrue(wire.aborted)
