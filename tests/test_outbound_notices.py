"""Which messages an attempt makes, for whom, and where they go."""

import email
import email.policy
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.config.settings import Route, Settings
from smtpforward.content import Content
from smtpforward.envelope import NULL_SENDER, Address, Envelope, Recipient
from smtpforward.job import Delivery
from smtpforward.outbound import notices
from smtpforward.outbound.entry import Claimed, Message, State
from smtpforward.outbound.notices import Made
from smtpforward.outbound.results import Fate
from tests.queuesupport import BEGAN, BUSY, DONE, MESSAGE, NO_USER, queueing
from tests.support import address, next_hop, settings

STATES = {"sent": State.DELIVERED, "stays": State.QUEUED, "failed": State.FAILED}
REPLIES = {"sent": DONE, "stays": BUSY, "failed": NO_USER}


def claimed(*asked: bytes, sender: Address | None = None, **changes: Any) -> Claimed:
    """An entry with a recipient for each NOTIFY that was asked for; empty: for nothing."""
    recipients = tuple(
        Recipient(address(b"u%d@example.org" % n), {b"NOTIFY": notify} if notify else {})
        for n, notify in enumerate(asked)
    )
    origin = address(b"a@example.net") if sender is None else sender
    message = Message("M1", BEGAN, Envelope(origin, recipients), len(MESSAGE))
    made = Claimed(
        1, message, "example.org", Delivery.OUTBOUND, tuple(enumerate(recipients)), 0, False
    )
    return attrs.evolve(made, **changes)


def fates(*of: str, dsn: bool = False) -> list[Fate]:
    """``sent``, ``stays`` or ``failed``, in the next server's words."""
    return [Fate(n, STATES[w], REPLIES[w], REPLIES[w], "mx[192.0.2.1]:25", dsn=dsn)
            for n, w in enumerate(of)]  # fmt: skip


class MadeTests(SynchronousTestCase):
    """What is made."""

    settings: Settings = queueing(settings(hosts=("ours.test",)), delay_notice=3600.0)

    def made(self, entry: Claimed, of: list[Fate], at: float = 0.0, **changes: Any) -> Made:
        """What an attempt makes that ends ``at`` seconds after the message came."""
        content = changes.pop("content", Content.of_wire(MESSAGE))
        changed = attrs.evolve(self.settings, **changes)
        return notices.made_by(changed, entry, of, content, BEGAN + at, BEGAN + 9000.0)

    def data(self, made: Made, index: int = 0) -> str:
        return b"".join(made.messages[index].content.wire()).decode()

    def test_one_for_each_kind(self) -> None:
        """Failures, delays and successes have a notice each, with all of their recipients."""
        entry = claimed(b"", b"", b"DELAY", b"SUCCESS", b"NEVER")
        made = self.made(entry, fates("failed", "failed", "stays", "sent", "failed"), 4000.0)
        found = [
            (text.count("Final-Recipient:"), text.split("Action: ")[1].split("\r\n")[0])
            for text in (self.data(made, n) for n in range(3))
        ]
        self.assertEqual(found, [(2, "failed"), (1, "delayed"), (1, "relayed")])
        self.assertEqual(len({new.message.id for new in made.messages}), 3)
        self.assertTrue(made.told_of_delay)

    def test_nothing_to_tell(self) -> None:
        """What stays or was delivered is of no interest unasked."""
        self.assertEqual(self.made(claimed(b"", b""), fates("stays", "sent"), 4000.0), Made())

    def test_null_sender(self) -> None:
        """There are no bounces of bounces, whatever was asked for."""
        self.patch(notices, "wanted", lambda *_: True)
        entry = claimed(b"FAILURE,DELAY,SUCCESS", b"SUCCESS", sender=NULL_SENDER)
        self.assertEqual(self.made(entry, fates("failed", "sent"), 4000.0), Made())

    def test_delay_once(self) -> None:
        """Not before its time, and only once; with the time until which it is tried."""
        for at, noticed, told in ((3599.0, False, False), (3600.0, False, True),
                                  (9000.0, True, False)):  # fmt: skip
            made = self.made(claimed(b"DELAY", noticed=noticed), fates("stays"), at)
            self.assertEqual((made.told_of_delay, len(made.messages)), (told, int(told)))
        made = self.made(claimed(b"DELAY"), fates("stays"), 3600.0)
        self.assertIn("Will-Retry-Until: Wed, 15 Nov 2023 00:43:20 +0000", self.data(made))

    def test_failure_has_no_further_attempt(self) -> None:
        """A failure says nothing of a time until which it is tried."""
        self.assertNotIn("Will-Retry", self.data(self.made(claimed(b""), fates("failed"))))

    def test_told_by_the_next_server(self) -> None:
        """Of success the next server tells, where it was told to."""
        entry = claimed(b"SUCCESS")
        self.assertEqual(self.made(entry, fates("sent", dsn=True)), Made())

    def test_words(self) -> None:
        """The next server's own words and ours are told apart."""
        ours = [Fate(0, State.FAILED, NO_USER)]
        for of, remote in ((fates("failed"), True), (ours, False)):
            text = self.data(self.made(claimed(b""), of))
            self.assertEqual("Remote-MTA:" in text, remote)
            self.assertIn("550 5.1.1 no such user", text)

    def test_unreadable(self) -> None:
        """Of a message that cannot be read nothing is returned, and the notice is made."""
        closed = Content.of_file(-1, 5)
        closed._fd = 2**20  # no such descriptor
        for content in (None, closed):
            made = self.made(claimed(b""), fates("failed"), content=content)
            parts = email.message_from_string(self.data(made), policy=email.policy.SMTP)
            types = [part.get_content_type() for part in parts.iter_parts()]  # type: ignore[attr-defined]
            self.assertEqual(types, ["text/plain", "message/delivery-status"])

    def test_very_many(self) -> None:
        """A notice for thousands of recipients is one message that names all of them."""
        entry = claimed(*[b""] * 5000)
        made = self.made(entry, fates(*["failed"] * 5000))
        self.assertEqual(len(made.messages), 1)
        self.assertEqual(self.data(made).count("Final-Recipient:"), 5000)

    def test_queued_as_it_is(self) -> None:
        """It is a message of the gateway's own, received now, of the null sender."""
        [new] = self.made(claimed(b""), fates("failed"), 7.0).messages
        self.assertEqual(new.message.envelope.sender, NULL_SENDER)
        self.assertEqual((new.message.received, new.message.origin), (BEGAN + 7.0, notices.ORIGIN))
        self.assertEqual(new.message.size, len(b"".join(new.content.plain())))
        self.assertIsNone(new.lease)

    def test_where(self) -> None:
        """To the sender's MX hosts, or, where its domain is one of ours, to its backend."""
        own = Route("mine.test", next_hop("own.example"), own_host=True)
        changed = settings(hosts=("ours.test",), sections={"mine.test": own})
        for domain, destination, delivery in (
            (b"example.net", "example.net", Delivery.OUTBOUND),
            (b"ours.test", "backend.example.com:25", Delivery.SMTP_FORWARD),
            (b"mine.test", "own.example:25", Delivery.SMTP_FORWARD),
        ):
            entry = claimed(b"", sender=Address(b"a", domain))
            [new] = self.made(
                entry, fates("failed"), routes=changed.routes, access=changed.access
            ).messages
            [queued] = new.entries
            found = (queued.destination, queued.delivery, queued.indices)
            self.assertEqual(found, (destination, delivery, (0,)))
