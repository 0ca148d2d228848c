"""From a job to what the store takes."""

import os
import tempfile

import attrs
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.config.settings import Settings
from smtpforward.content import Content
from smtpforward.envelope import Client, Envelope
from smtpforward.job import Delivery, Event, Job
from smtpforward.outbound import accept
from smtpforward.outbound.accept import MOST_RECIPIENTS
from tests.queuesupport import BEGAN, MESSAGE, queueing
from tests.support import address, next_hop, recipient, settings


def job(*to: str, content: Content | None = None) -> Job:
    """A message for the outbound queue."""
    recipients = tuple(recipient(each.encode()) for each in to)
    return Job(
        "4A", Client("192.0.2.1", 4321, "client.example.net"),
        Envelope(address(b"a@example.net"), recipients), content or Content.of_wire(MESSAGE),
        next_hop(), 240.0, atomic=False, deliveries=(Delivery.OUTBOUND,) * len(to),
    )  # fmt: skip


class EntriesTests(SynchronousTestCase):
    """Which recipients share a transaction."""

    settings: Settings = queueing(settings(hosts=("ours.test",)))

    def indices(self, *to: str) -> list[tuple[int, ...]]:
        return [entry.indices for entry in accept.entries(self.settings, job(*to))]

    def test_together(self) -> None:
        """Those of one domain, however it is written."""
        found = self.indices("a@b.test", "a@c.test", "b@B.Test")
        self.assertEqual(found, [(0, 2), (1,)])

    def test_as_many_as_any_server_takes(self) -> None:
        """No more than a server must take (RFC 5321 4.5.3.1.8): the others would be put off."""
        number = 2 * MOST_RECIPIENTS + 1
        found = self.indices(*(f"u{each}@b.test" for each in range(number)), "a@c.test")
        self.assertEqual([len(each) for each in found], [100, 100, 1, 1])
        self.assertEqual([index for each in found for index in each], list(range(number + 1)))

    def test_of_all_recipients(self) -> None:
        """Each recipient is in one entry, whatever the settings."""
        to = [f"u{number}@{number % 7}.test" for number in range(500)]
        for split in (False, True):
            outbound = attrs.evolve(self.settings.outbound, always_split=split)  # type: ignore[arg-type]
            changed = attrs.evolve(self.settings, outbound=outbound)
            found = accept.entries(changed, job(*to))
            all_ = sorted(index for entry in found for index in entry.indices)
            self.assertEqual(all_, list(range(500)))
            self.assertEqual(len(found), 500 if split else 7)


class MessageTests(SynchronousTestCase):
    """The message."""

    def test_whole(self) -> None:
        """Who brought it, when, and how large it is with what was put before it."""
        given = job("b@b.test")
        given.content.prefix = b"Received: from x\r\n"
        new = accept.new_message(queueing(), given, BEGAN)
        message = new.message
        self.assertEqual((message.id, message.received), ("4A", BEGAN))
        self.assertEqual(message.origin, "client.example.net[192.0.2.1]")
        self.assertEqual(message.size, len(b"".join(new.content.wire())))
        self.assertIsNone(new.lease)

    def test_copy(self) -> None:
        """The edge may close its own when it has answered."""
        given = job("b@b.test")
        new = accept.new_message(queueing(), given, BEGAN)
        given.content.close()
        self.assertEqual(b"".join(new.content.wire()), MESSAGE)

    def test_own_line_is_in_the_copy_alone(self) -> None:
        """``received_header`` changes nothing of what others hand over."""
        given = job("b@b.test")
        new = accept.new_message(queueing(received_header="queued"), given, BEGAN)
        self.assertTrue(b"".join(new.content.wire()).startswith(b"Received: by mx.example.net ("))
        self.assertEqual(b"".join(given.content.wire()), MESSAGE)

    def test_nothing_left_open(self) -> None:
        """A job that cannot be grouped leaves no descriptor behind."""
        with tempfile.TemporaryFile() as file:
            content = Content.of_file(os.dup(file.fileno()), 0)
        before = len(os.listdir("/proc/self/fd"))
        wrong = attrs.evolve(job("b@b.test", content=content), deliveries=())
        self.assertRaises(IndexError, accept.new_message, queueing(), wrong, BEGAN)
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)
        content.close()


class OutcomesTests(SynchronousTestCase):
    """What the sender hears."""

    def test_taken(self) -> None:
        """An outcome for each recipient, in order, with the id."""
        given = job("b@b.test", "c@c.test")
        outcomes = accept.taken(given)
        self.assertEqual([o.recipient for o in outcomes], list(given.envelope.recipients))
        self.assertEqual({o.event for o in outcomes}, {Event.ACCEPTED})
        self.assertEqual({o.reply and o.reply.text for o in outcomes}, {"250 2.0.0 queued as 4A"})

    def test_not_taken(self) -> None:
        """The same event for all, with why."""
        outcomes = accept.not_taken(job("b@b.test", "c@c.test"), Event.QUEUE_FULL, "no space")
        found = [(o.event, o.reply, o.detail) for o in outcomes]
        self.assertEqual(found, [(Event.QUEUE_FULL, None, "no space")] * 2)
