"""The delivery object of one transaction."""

from typing import Any, cast

import attrs
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.mail.interfaces import IMessageDelivery
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from smtpforward import answers
from smtpforward.config.settings import Limits, Outbound, Route
from smtpforward.dispatch import Dispatcher
from smtpforward.envelope import Recipient
from smtpforward.job import NextHop
from smtpforward.learned import LearnedRefusals
from smtpforward.reply import Reply
from smtpforward.server.delivery import Refusal, RoutingDelivery
from tests.support import ScriptedTarget, address, next_hop, recipient, settings, transaction

OTHER = next_hop("other.example.com")


class RoutingDeliveryTests(SynchronousTestCase):
    """Accepting and refusing."""

    def setUp(self) -> None:
        clock = Clock()
        self.learned = LearnedRefusals(clock)
        self.dispatcher = Dispatcher(ScriptedTarget(), self.learned, clock)
        self.settings = settings(
            limits=Limits(recipients=3), sections={"example.org": Route("example.org", OTHER)}
        )
        self.transaction = transaction()
        self.delivery = RoutingDelivery(self.settings, self.dispatcher, self.transaction)

    def route(self, section: str, **keys: Any) -> None:
        """A transaction of settings that have this section."""
        self.settings = settings(sections={section: Route(section, **keys)})
        self.delivery = RoutingDelivery(self.settings, self.dispatcher, self.transaction)

    def refusal(self, to: Recipient) -> Reply:
        """The reply that refuses ``to``."""
        return self.assertRaises(Refusal, self.delivery.validateTo, to).reply

    def test_interface(self) -> None:
        """It provides what Twisted asks of it."""
        self.assertTrue(verifyObject(IMessageDelivery, self.delivery))

    def test_sender(self) -> None:
        """A sender is accepted that nothing is said about."""
        sender = address(b"a@example.net")
        self.assertIs(self.delivery.validateFrom((b"", b""), sender), sender)

    def test_accepted(self) -> None:
        """An accepted recipient is in the transaction, with its route."""
        to = recipient(b"b@example.com")
        self.delivery.validateTo(to)
        self.assertEqual(self.transaction.recipients, [to])
        self.assertEqual(self.transaction.routes, [self.settings.routes.default])

    def test_one_message(self) -> None:
        """All recipients get one message."""
        first = self.delivery.validateTo(recipient(b"b@example.com"))()
        second = self.delivery.validateTo(recipient(b"c@example.com"))()
        self.assertIs(first, second)

    def test_not_accepted(self) -> None:
        """Another's domain is refused, with the transaction's id, and leaves no trace."""
        reply = self.refusal(recipient(b"b@elsewhere.example"))
        self.assertEqual(reply, answers.signed(answers.NO_RELAYING, "1F"))
        self.assertEqual(self.transaction.recipients, [])

    def test_other_route(self) -> None:
        """A second recipient on another route comes in the next transaction."""
        self.delivery.validateTo(recipient(b"b@example.com"))
        self.assertEqual(self.refusal(recipient(b"b@example.org")).code, 452)
        self.delivery.validateTo(recipient(b"c@example.com"))

    def test_first_recipient_decides(self) -> None:
        """It is the first accepted recipient that fixes the route."""
        self.refusal(recipient(b"b@elsewhere.example"))
        self.delivery.validateTo(recipient(b"b@example.org"))
        self.assertEqual(self.transaction.routes[0].next_hop, OTHER)

    def test_one_recipient(self) -> None:
        """With ``one_message_per_rcpt`` the second recipient comes in the next transaction."""
        self.route("example.org", next_hop=OTHER, one_message_per_rcpt=True)
        self.delivery.validateTo(recipient(b"b@example.org"))
        reply = self.refusal(recipient(b"c@example.org"))
        self.assertEqual(reply, answers.signed(answers.ONE_RECIPIENT, "1F"))
        self.assertEqual(len(self.transaction.recipients), 1)

    def test_spoofed_sender(self) -> None:
        """``check_sender`` refuses a stranger who sends from a section's domain."""
        self.settings = attrs.evolve(
            self.settings, routes=attrs.evolve(self.settings.routes, check_sender=True)
        )
        delivery = RoutingDelivery(self.settings, self.dispatcher, self.transaction)
        sender = address(b"a@example.org")
        refusal = self.assertRaises(Refusal, delivery.validateFrom, (b"", b""), sender)
        self.assertEqual(refusal.reply, answers.signed(answers.SPOOFED_SENDER, "1F"))

    def test_no_queue(self) -> None:
        """What belongs in the queue is deferred, and an error in the log says whose and why."""
        events: list[LogEvent] = []
        observer = cast(ILogObserver, events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.route("example.org", next_hop=OTHER, queue="outbound")
        reply = self.refusal(recipient(b"b@example.org"))
        self.assertEqual(reply, answers.signed(answers.NO_QUEUE, "1F"))
        [event] = events
        self.assertIs(event["log_level"], LogLevel.error)
        self.assertIn("id=1F: ", formatEvent(event))
        self.assertIn("queue=outbound: there is no outbound queue", formatEvent(event))

    def test_no_queue_takes_no_way(self) -> None:
        """A recipient that was not taken decides nothing for those after it."""
        self.route("example.org", next_hop=OTHER, queue="outbound")
        self.refusal(recipient(b"b@example.org"))
        self.delivery.validateTo(recipient(b"b@example.com"))
        reply = self.refusal(recipient(b"b@example.org"))
        self.assertEqual(reply, answers.signed(answers.OTHER_ROUTE, "1F"))

    def queueing(self, **changes: Any) -> None:
        """A transaction of a client that relays, of settings with a queue."""
        org = Route("example.org", OTHER)
        changes = {"sections": {"example.org": org}, "outbound": Outbound(), **changes}
        given = settings(**changes)
        split = attrs.evolve(given.routes, split_routes="queue")
        self.settings = attrs.evolve(given, routes=split)
        self.transaction.client = attrs.evolve(self.transaction.client, relaying_by="its login")
        self.delivery = RoutingDelivery(self.settings, self.dispatcher, self.transaction)

    def learn(self, hop: NextHop, to: Recipient) -> None:
        """The backend has refused ``to`` before."""
        refused = Reply(550, (b"5.1.1 no such user",))
        self.learned.learn(hop, self.transaction.sender, to.address, refused)

    def test_queued(self) -> None:
        """A recipient for the queue makes the transaction one for the queue."""
        self.queueing(sections={"example.org": Route("example.org", OTHER, queue="outbound")})
        self.delivery.validateTo(recipient(b"b@example.org"))
        self.assertTrue(self.transaction.queued)

    def test_forwarded(self) -> None:
        """One for a backend does not."""
        self.queueing()
        self.delivery.validateTo(recipient(b"b@example.org"))
        self.delivery.validateTo(recipient(b"c@example.org"))
        self.assertFalse(self.transaction.queued)

    def test_split(self) -> None:
        """Recipients with several ways are all in the transaction, which is queued."""
        self.queueing()
        for to in (b"b@example.com", b"c@example.org", b"d@example.com"):
            self.delivery.validateTo(recipient(to))
        self.assertTrue(self.transaction.queued)
        sections = [route.section for route in self.transaction.routes]
        self.assertEqual(sections, ["", "example.org", ""])

    def test_learned_is_not_for_the_queue(self) -> None:
        """What a backend has refused before is not asked of what is queued: a bounce tells it."""
        self.queueing()
        to = recipient(b"c@example.org")
        self.learn(OTHER, to)
        self.delivery.validateTo(recipient(b"b@example.com"))
        self.delivery.validateTo(to)
        self.assertEqual(self.transaction.recipients[1], to)
        self.queueing(sections={"example.org": Route("example.org", OTHER, queue="outbound")})
        self.delivery.validateTo(to)

    def test_learned_takes_no_way(self) -> None:
        """A first recipient that was refused before is refused, and leaves no way behind."""
        self.queueing()
        to = recipient(b"c@example.org")
        self.learn(OTHER, to)
        self.refusal(to)
        self.delivery.validateTo(recipient(b"b@example.com"))
        self.assertFalse(self.transaction.queued)

    def test_too_many(self) -> None:
        """Beyond the limit a recipient is deferred."""
        for name in (b"b", b"c", b"d"):
            self.delivery.validateTo(recipient(name + b"@example.com"))
        refusal = self.refusal(recipient(b"e@example.com"))
        self.assertEqual(refusal, answers.signed(answers.TOO_MANY_RECIPIENTS, "1F"))

    def test_learned(self) -> None:
        """What the backend has refused gets the backend's words, for that sender alone."""
        refused = Reply(550, (b"5.1.1 no such user",))
        hop, to = self.settings.routes.default.next_hop, recipient(b"b@example.com")
        self.learned.learn(hop, self.transaction.sender, to.address, refused)
        self.assertEqual(self.refusal(to), refused)
        self.assertEqual(self.transaction.recipients, [])
        other = transaction(sender=address(b"z@example.net"))
        RoutingDelivery(self.settings, self.dispatcher, other).validateTo(to)

    def test_received(self) -> None:
        """The line names a recipient that is alone, and none of several."""
        to = recipient(b"b@example.com")
        line = self.delivery.receivedHeader((b"", b""), self.transaction.sender, [to])
        self.assertIn(b"id 1F\r\n\tfor <b@example.com>;", line)
        line = self.delivery.receivedHeader((b"", b""), self.transaction.sender, [to, to])
        self.assertNotIn(b"for", line)

    def test_refusal_is_twisteds(self) -> None:
        """Twisted's own server would answer a refusal with its code and text."""
        refusal = Refusal(Reply(550, (b"5.7.1 no", b"really")), "a", "b")
        self.assertEqual((refusal.code, refusal.resp), (550, b"5.7.1 no\nreally"))
