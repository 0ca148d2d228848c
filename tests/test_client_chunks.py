"""BDAT to a backend: when the message goes as a chunk, and what its answer means."""

import os

from twisted.internet.error import ConnectionLost

from smtpforward.client.session import MAX_CHUNK, Phase
from smtpforward.content import Content, Form
from smtpforward.job import Event, Stage
from tests.clientsupport import MESSAGE, TIMEOUTS, SessionCase, make_job
from tests.support import content

CHUNKING = b"250-x\r\n250-PIPELINING\r\n250 CHUNKING\r\n"
NO_PIPELINING = b"250-x\r\n250 CHUNKING\r\n"
OK = b"250 ok\r\n"
NO = b"550 no\r\n"
CHUNK = b"BDAT %d LAST\r\n%b" % (len(MESSAGE), MESSAGE)


class ChunkTests(SessionCase):
    """A backend that offers CHUNKING."""

    def assert_sent(self, stored: Content, last: bytes) -> None:
        """To two recipients ``stored`` goes in ``last``, DATA before it or not."""
        self.opened(CHUNKING)
        self.send(make_job(2, content=stored))
        self.assertEqual(self.wire.says(OK, OK, OK), last)

    def test_after_the_recipients(self) -> None:
        """The message with its command is one write, as soon as all recipients are accepted."""
        self.opened(CHUNKING)
        self.send(make_job(2))
        self.assertEqual(self.wire.says(OK, OK), b"")
        self.wire.protocol.dataReceived(OK)
        self.assertEqual(self.wire.writes, [CHUNK])
        self.wire.says(OK)
        self.assertEqual(self.events(), [Event.ACCEPTED] * 2)
        self.assertEqual({outcome.stage for outcome in self.outcomes[0]}, {Stage.DOT})
        self.assertIs(self.session.phase, Phase.IDLE)
        self.wire.sent()
        self.assertIn(b"MAIL FROM", self.send(make_job(2)))

    def test_without_pipelining(self) -> None:
        """One command at a time, and the message in place of DATA, for one recipient too."""
        self.opened(NO_PIPELINING)
        self.send()
        self.wire.says(OK)
        self.assertEqual(self.wire.says(OK), CHUNK)

    def test_one_recipient(self) -> None:
        """With PIPELINING DATA goes with the envelope: a chunk would save nothing."""
        self.opened(CHUNKING)
        self.assertTrue(self.send().endswith(b"DATA\r\n"))

    def test_never_with_the_envelope(self) -> None:
        """What follows a refusal is no chunk: some servers would run its octets as commands."""
        for extensions, count, replies in (
            (CHUNKING, 2, [NO, NO, NO]),
            (CHUNKING, 2, [OK, NO, OK]),
            (CHUNKING, 2, [OK, NO, NO]),
            (NO_PIPELINING, 1, [NO]),
            (NO_PIPELINING, 1, [OK, NO]),
            (NO_PIPELINING, 2, [OK, OK, NO]),
        ):
            self.opened(extensions)
            sent = self.send(make_job(count))
            for reply in replies:
                sent += self.wire.says(reply)
            self.assertNotIn(b"BDAT", sent)
            self.assertNotIn(MESSAGE, sent)
            self.assertIn(Event.REFUSED, self.events())

    def test_some_refused_not_atomic(self) -> None:
        """Where recipients stand for themselves, the accepted ones get the message."""
        self.opened(CHUNKING)
        self.send(make_job(2, atomic=False))
        self.assertEqual(self.wire.says(OK, NO, OK), CHUNK)
        self.wire.says(OK)
        self.assertEqual(self.events(), [Event.REFUSED, Event.ACCEPTED])

    def test_forms(self) -> None:
        """Plain, or equal in both forms; what has stuffed dots goes by DATA as it is."""
        dots = b"a\r\n.\r\n..b\r\n"
        self.assert_sent(content(dots, Form.PLAIN), b"BDAT %d LAST\r\n%b" % (len(dots), dots))
        self.assert_sent(content(MESSAGE), CHUNK)
        self.assert_sent(content(b""), b"BDAT 0 LAST\r\n")
        for stuffed in (b"..\r\n", b"a\r\n..b\r\n"):
            self.assert_sent(content(stuffed), b"DATA\r\n")
            self.assertEqual(self.wire.says(b"354 go\r\n"), stuffed + b".\r\n")

    def test_prefix(self) -> None:
        """The header lines that were added are counted."""
        stored = content(b"b\r\n")
        stored.prefix = b"X: y\r\n"
        self.assert_sent(stored, b"BDAT 9 LAST\r\nX: y\r\nb\r\n")

    def test_large(self) -> None:
        """A message above the bound, or in a file, goes by DATA."""
        self.assert_sent(content(b"a" * MAX_CHUNK), b"BDAT 65536 LAST\r\n" + b"a" * MAX_CHUNK)
        self.assert_sent(content(b"a" * (MAX_CHUNK + 1)), b"DATA\r\n")
        directory = self.mktemp()
        os.mkdir(directory)
        spooled = Content(directory, 0)
        self.addCleanup(spooled.close)
        spooled.append(b"a\r\n")
        self.assert_sent(spooled, b"DATA\r\n")

    def test_refused(self) -> None:
        """A refused chunk is a refusal of the message, and its connection is not used again."""
        self.opened(CHUNKING)
        self.send(make_job(2))
        self.wire.says(OK, OK, OK)
        self.wire.says(b"552 5.3.4 too large\r\n")
        self.assertEqual(self.events(), [Event.REFUSED] * 2)
        self.assertEqual({outcome.stage for outcome in self.outcomes[0]}, {Stage.DOT})
        self.assertTrue(self.wire.aborted)

    def test_in_doubt(self) -> None:
        """Lost or silent behind the chunk, it may have been delivered."""
        for lost in (True, False):
            self.opened(CHUNKING)
            self.send(make_job(2))
            self.assertFalse(self.session.past_dot)
            self.wire.says(OK, OK, OK)
            self.assertTrue(self.session.past_dot)
            if lost:
                self.wire.lose(ConnectionLost())
            else:
                self.clock.advance(TIMEOUTS.dot - 1)
                self.assertEqual(self.outcomes, [])
                self.clock.advance(1)
            self.assertEqual(self.events(), [Event.IN_DOUBT] * 2)

    def test_not_in_doubt_before_it(self) -> None:
        """Lost before the chunk left, it was not."""
        self.opened(CHUNKING)
        self.send(make_job(2))
        self.wire.says(OK, OK)
        self.wire.lose(ConnectionLost())
        self.assertEqual(self.events(), [Event.DROPPED] * 2)

    def test_closing(self) -> None:
        """421 to the chunk is the server's end, at the stage of the dot."""
        self.opened(CHUNKING)
        self.send(make_job(2))
        self.wire.says(OK, OK, OK)
        self.wire.says(b"421 closing\r\n")
        self.assertEqual(self.events(), [Event.CLOSING] * 2)
        self.assertIs(self.outcomes[0][0].stage, Stage.DOT)

    def test_out_of_step(self) -> None:
        """A reply too many keeps the message back; 354 is no answer to a chunk."""
        self.opened(CHUNKING)
        self.send(make_job(2))
        self.assertEqual(self.wire.says(OK, OK, OK, OK), b"")
        self.assertEqual(self.events(), [Event.NONSENSE] * 2)
        self.opened(CHUNKING)
        self.send(make_job(2))
        self.wire.says(OK, OK, OK)
        self.wire.says(b"354 go\r\n")
        self.assertEqual(self.events(), [Event.NONSENSE] * 2)
