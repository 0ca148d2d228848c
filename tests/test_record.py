"""The log's line about one transaction."""

import re

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smtpforward import record as records
from smtpforward.envelope import NULL_SENDER, Client, Recipient
from smtpforward.job import Event
from smtpforward.record import MAX_LOGGED_RECIPIENTS, begin_ids, new_id, printable
from smtpforward.reply import Reply
from tests.support import TAKEN, address, outcome, transaction


class LineTests(SynchronousTestCase):
    """What the line says."""

    def test_of_an_accepted_message(self) -> None:
        """The keys that Postfix has, in one line, with the backend's words."""
        record = transaction(b"b@example.com", b"c@example.com", size=1234)
        record.outcomes = [outcome(Event.ACCEPTED), outcome(Event.ACCEPTED)]
        self.assertEqual(
            record.line(TAKEN, 1.25),
            "id=1F client=unknown[192.0.2.1] from=<a@example.net>"
            " to=<b@example.com>,<c@example.com> nrcpt=2 size=1234 relay=192.0.2.9:25 delay=1.250"
            " dsn=2.0.0 status=sent (250 2.0.0 Ok: queued as 4A)",
        )

    def test_statuses(self) -> None:
        """The first digit of the reply is the status."""
        for code, status in ((250, "sent"), (451, "deferred"), (554, "bounced"), (354, "deferred")):
            self.assertIn(f"status={status} ", transaction().line(Reply(code, (b"x",)), 0.0))

    def test_queued(self) -> None:
        """What the queue took is queued, by the relay of that name; what it did not is deferred."""
        record = transaction(b"b@example.com", queued=True)
        record.outcomes = [outcome(Event.ACCEPTED, peer="")]
        self.assertIn(" relay=queue delay=0.000 dsn=2.0.0 status=queued (", record.line(TAKEN, 0.0))
        line = record.line(Reply(452, (b"4.3.1 no space",)), 0.0)
        self.assertIn(" relay=queue delay=0.000 dsn=4.3.1 status=deferred (", line)

    def test_queued_without_hand_over(self) -> None:
        """What was refused before it came to the queue has no relay."""
        line = transaction(queued=True).line(Reply(552, (b"5.3.4 too large",)), 0.0)
        self.assertIn(" relay=none delay=0.000 dsn=5.3.4 status=bounced (", line)

    def test_without_hand_over(self) -> None:
        """A message that was refused here has no relay, and the null sender is ``<>``."""
        line = transaction(sender=NULL_SENDER).line(Reply(554, (b"5.6.0 no",)), 0.0)
        self.assertIn("from=<> to= nrcpt=0 size=0 relay=none delay=0.000 dsn=5.6.0", line)

    def test_the_outcome_that_decided(self) -> None:
        """Relay and detail are those of the first recipient that failed."""
        record = transaction(b"b@example.com", b"c@example.com")
        record.outcomes = [
            outcome(Event.ACCEPTED, peer="192.0.2.8:25"),
            outcome(Event.DROPPED, peer="192.0.2.7:25", detail="reset by peer"),
        ]
        line = record.line(Reply(451, (b"4.4.1 later",)), 0.0)
        self.assertIn("relay=192.0.2.7:25", line)
        self.assertTrue(line.endswith("(451 4.4.1 later) [reset by peer]"))

    def test_many_recipients(self) -> None:
        """Only so many are named; all are counted."""
        record = transaction(*[b"r%d@example.com" % n for n in range(50)])
        line = record.line(TAKEN, 0.0)
        self.assertIn("nrcpt=50", line)
        self.assertEqual(line.count("@example.com"), MAX_LOGGED_RECIPIENTS)

    @given(st.text(max_size=30), st.binary(max_size=30))
    @examples(max_examples=150, deadline=None)
    def test_cannot_be_forged(self, detail: str, said: bytes) -> None:
        """Whatever a backend said, the line stays one printable line that ends as it should."""
        record = transaction(b"b@example.com")
        record.outcomes = [outcome(Event.DROPPED, detail=detail)]
        line = record.line(Reply(550, (said, b"\r\nid=FAKE")), 0.0)
        self.assertTrue(line.isprintable())
        self.assertNotIn("\n", line)

    def test_a_quoted_blank_forges_no_key(self) -> None:
        """A local part with blanks in quotes is one word of the line."""
        forged = address(b'"x> to=<y@example.com> status=sent"@example.net')
        record = transaction(sender=forged)
        record.recipients = [Recipient(forged)]
        line = record.line(Reply(550, (b"5.1.1 no",)), 0.0)
        self.assertEqual(line.count(" to="), 1)
        self.assertEqual(line.count(" status="), 1)

    def test_control_characters_are_visible(self) -> None:
        """A line end, an escape or a direction mark stands as an escape sequence."""
        self.assertEqual(printable("a\r\nb\x1b\u202e\x85é"), "a\\r\\nb\\x1b\\u202e\\x85é")
        self.assertEqual(printable("plain"), "plain")

    def test_envelope(self) -> None:
        """The envelope has sender, recipients in order, and parameters."""
        record = transaction(b"b@example.com", b"c@example.com", parameters={b"SIZE": b"1"})
        envelope = record.envelope
        self.assertEqual(envelope.sender, record.sender)
        self.assertEqual(envelope.recipients, tuple(record.recipients))
        self.assertEqual(envelope.parameters, {b"SIZE": b"1"})

    def test_client(self) -> None:
        """The client is its name and address."""
        record = transaction(client=Client("2001:db8::1", 1, "mail.example.net"))
        self.assertIn("client=mail.example.net[2001:db8::1]", record.line(TAKEN, 0.0))


class IdTests(SynchronousTestCase):
    """Ids of transactions."""

    def test_unique(self) -> None:
        """No two are equal, and they may stand in a header and a log as they are."""
        ids = {new_id() for _ in range(1000)}
        self.assertEqual(len(ids), 1000)
        self.assertTrue(all(re.fullmatch("[0-9A-F]+", one) for one in ids))

    def test_of_workers(self) -> None:
        """Worker processes that begin at the same time never give the same id."""
        self.patch(records, "_numbers", records._numbers)
        self.patch(records.time, "time_ns", lambda: 1_790_000_000 * 10**9)
        ids: list[str] = []
        for worker in (1, 2, 255):
            begin_ids(worker)
            ids += [new_id() for _ in range(1000)]
        self.assertEqual(len(set(ids)), 3000)
