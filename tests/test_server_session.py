"""What one client's connection asks the gateway."""

import ipaddress
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.mail.interfaces import IMessageDeliveryFactory
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from smtpforward import answers
from smtpforward.config.networks import Networks
from smtpforward.config.settings import Outbound
from smtpforward.dispatch import Dispatcher
from smtpforward.envelope import Client, Recipient
from smtpforward.interfaces import ISession
from smtpforward.job import Delivery, Event
from smtpforward.learned import LearnedRefusals
from smtpforward.reply import Reply
from smtpforward.server.delivery import Refusal, RoutingDelivery
from smtpforward.server.session import GatewaySession
from tests.support import TAKEN, ScriptedTarget, address, content, recipient, settings

RELAYS = Networks([ipaddress.ip_network("192.0.2.0/28")])


class GatewaySessionTests(SynchronousTestCase):
    """Routing as a link between protocol and dispatcher."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.target, self.queue = ScriptedTarget(), ScriptedTarget()
        self.settings = settings()
        self.session = self.made("192.0.2.1")
        self.events: list[Any] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def made(self, ip: str) -> GatewaySession:
        """The session of a client at ``ip``."""
        learned = LearnedRefusals(self.clock)
        dispatcher = Dispatcher(self.target, learned, self.clock, self.queue)
        return GatewaySession(Client(ip, 4321), lambda: self.settings, dispatcher, self.clock)

    def to_data(self) -> GatewaySession:
        """The session where a message is awaited."""
        self.session.helo(b"client.example.net", True)
        self.session.mail(address(b"a@example.net"), {})
        self.assertIsNone(self.session.rcpt(recipient(b"b@example.com")))
        self.assertIsNone(self.session.data())
        return self.session

    def logged(self) -> list[str]:
        """The lines about transactions."""
        mail = [event for event in self.events if event.get("log_system") == "mail"]
        return [formatEvent(event) for event in mail]

    def test_interfaces(self) -> None:
        """It provides the protocol's contract and Twisted's."""
        self.assertTrue(verifyObject(ISession, self.session))
        self.assertTrue(verifyObject(IMessageDeliveryFactory, self.session))

    def test_relaying(self) -> None:
        """A client of ``relay_acl_allow`` may send to every domain, another may not."""
        self.settings = settings(relays=RELAYS)
        for ip, relaying in (("192.0.2.1", True), ("192.0.2.99", False), ("local", False)):
            session = self.made(ip)
            self.assertEqual(session.client.relaying, relaying)
            session.mail(address(b"a@example.net"), {})
            reply = session.rcpt(recipient(b"b@elsewhere.example"))
            self.assertEqual(reply is None, relaying)

    def test_new_relay_list(self) -> None:
        """Who may relay is asked anew for each transaction, but not of who has logged in."""
        self.session.mail(address(b"a@example.net"), {})
        self.settings = settings(relays=RELAYS)
        self.assertFalse(self.session.client.relaying)
        self.assertIsNotNone(self.session.rcpt(recipient(b"b@elsewhere.example")))
        self.session.reset()
        self.session.mail(address(b"a@example.net"), {})
        self.assertIsNone(self.session.rcpt(recipient(b"b@elsewhere.example")))
        self.session.reset()
        self.settings = settings()
        self.session.mail(address(b"a@example.net"), {})
        self.assertFalse(self.session.client.relaying)
        self.session.authenticated("alice")
        self.settings = settings()
        self.session.mail(address(b"a@example.net"), {})
        self.assertTrue(self.session.client.relaying)

    def test_helo_is_kept(self) -> None:
        """Name and protocol are facts of the client from then on."""
        self.assertIsNone(self.session.connected())
        for extended, protocol in ((False, "SMTP"), (True, "ESMTP")):
            self.assertIsNone(self.session.helo(b"client.example.net", extended))
            self.assertEqual(self.session.client.protocol, protocol)
            self.assertEqual(self.session.client.helo, b"client.example.net")

    def test_each_transaction_has_its_own_delivery(self) -> None:
        """A new MAIL makes a new delivery object, which holds the settings of that moment."""
        self.session.mail(address(b"a@example.net"), {})
        first = self.session._delivery
        self.session.reset()
        self.settings = settings(hosts=())
        self.session.mail(address(b"a@example.net"), {})
        self.assertIsNot(self.session._delivery, first)
        self.assertEqual(self.session.rcpt(recipient(b"b@example.com")).code, 550)

    def test_settings_do_not_change_within_a_transaction(self) -> None:
        """New settings touch only transactions that begin later."""
        self.session.mail(address(b"a@example.net"), {})
        self.settings = settings(hosts=())
        self.assertIsNone(self.session.rcpt(recipient(b"b@example.com")))

    def test_sender_refused(self) -> None:
        """A delivery object may refuse the sender."""
        refusal = Reply(550, (b"5.7.1 no",))

        def refuse(delivery: RoutingDelivery, helo: Any, origin: Any) -> None:
            raise Refusal(refusal, "test", "a test says so")

        self.patch(RoutingDelivery, "validateFrom", refuse)
        self.assertIs(self.session.mail(address(b"a@example.net"), {}), refusal)

    def test_handed_over(self) -> None:
        """At the end of data the message goes out with one line before it; the reply comes back."""
        answer = self.to_data().end_of_data(content(b"Subject: x\r\n"))
        self.assertIsInstance(answer, Deferred)
        [job], [message] = self.target.jobs, self.target.messages
        self.assertTrue(message.startswith(b"Received: from client.example.net (unknown [192.0.2."))
        self.assertTrue(message.endswith(b"+0000\r\nSubject: x\r\n"))
        self.assertIn(job.id.encode(), message)
        self.target.answer(Event.ACCEPTED)
        self.assertEqual(self.successResultOf(answer), TAKEN)
        self.assertEqual(len(self.logged()), 1)

    def test_login(self) -> None:
        """Who has logged in may send to every domain, also after another hello."""
        self.assertIsNone(self.session.authenticated("anna"))
        self.session.helo(b"client.example.net", True)
        client = self.session.client
        self.assertEqual((client.user, client.relaying_by), ("anna", "its login"))
        self.session.mail(address(b"a@example.net"), {})
        self.assertIsNone(self.session.rcpt(recipient(b"b@elsewhere.example")))

    def test_missing_fields(self) -> None:
        """A message of a client that relays gets what its header lacks, behind ``Received``."""
        for relays in (False, True):
            if relays:
                self.session.authenticated("anna")
            self.to_data().end_of_data(content(b"Subject: x\r\n\r\nbody\r\n"))
            message = self.target.messages[-1]
            self.assertTrue(message.startswith(b"Received: "))
            self.assertEqual(message.count(b"\r\nDate: "), relays)
            self.assertEqual(message.count(b"@mx.example.net>\r\nSubject: x\r\n"), relays)
            self.session.reset()

    def test_queued(self) -> None:
        """A message for the queue goes there as other mail does, with all parameters of DSN."""
        given = settings(outbound=Outbound())
        default = attrs.evolve(given.routes.default, enable_outbound=False)
        self.settings = attrs.evolve(given, routes=attrs.evolve(given.routes, default=default))
        self.session.authenticated("anna")
        self.session.helo(b"client.example.net", True)
        about, told = {b"RET": b"HDRS", b"ENVID": b"x"}, {b"NOTIFY": b"NEVER"}
        self.session.mail(address(b"a@example.net"), about)
        self.session.rcpt(Recipient(address(b"b@example.com"), told))
        answer = self.session.end_of_data(content(b"Subject: x\r\n\r\nbody\r\n"))
        [job], [message] = self.queue.jobs, self.queue.messages
        self.assertEqual(self.target.jobs, [])
        self.assertEqual(job.envelope.parameters, about)
        self.assertEqual(job.envelope.recipients[0].parameters, told)
        self.assertEqual(job.deliveries, (Delivery.OUTBOUND,))
        self.assertTrue(message.startswith(b"Received: "))
        self.assertIn(b"\r\nMessage-ID: ", message)
        self.queue.answer(Event.ACCEPTED)
        self.assertEqual(self.successResultOf(answer), TAKEN)
        self.assertIn(" relay=queue ", self.logged()[0])

    def test_refused_beside_queued(self) -> None:
        """A recipient that is refused in a transaction for the queue never came to it."""
        given = settings(outbound=Outbound())
        default = attrs.evolve(given.routes.default, queue="outbound")
        self.settings = attrs.evolve(given, routes=attrs.evolve(given.routes, default=default))
        self.to_data().rcpt(recipient(b"b@elsewhere.example"))
        self.assertIn(" relay=none ", self.logged()[0])
        self.assertIn(" status=bounced (550 ", self.logged()[0])

    def test_closed_gives_up(self) -> None:
        """When the client goes while the message is handed over, that is cancelled."""
        answer = self.to_data().end_of_data(content(b"Subject: x\r\n"))
        self.session.closed()
        self.assertEqual(self.target.cancelled, 1)
        self.assertEqual(self.successResultOf(answer).code, 451)

    def test_closed_after_the_answer(self) -> None:
        """When the answer is there already, nothing is cancelled."""
        self.to_data().end_of_data(content(b"Subject: x\r\n"))
        self.target.answer(Event.ACCEPTED)
        self.session.closed()
        self.assertEqual(self.target.cancelled, 0)

    def test_looping(self) -> None:
        """A message that loops is refused at once, and the log says so."""
        reply = self.to_data().end_of_data(content(b"Received: x\r\n" * 100))
        self.assertEqual((reply.code, self.target.jobs), (554, []))
        [line] = self.logged()
        self.assertIn("status=bounced (554 5.4.6", line)

    def test_discarded(self) -> None:
        """A message that was refused while it arrived has its line too."""
        self.to_data().discarded(answers.TOO_LARGE)
        [line] = self.logged()
        self.assertIn("to=<b@example.com> nrcpt=1 size=0 relay=none", line)
        self.assertIn("status=bounced (552 5.3.4", line)

    def test_discarded_without_transaction(self) -> None:
        """Without a transaction there is nothing to say."""
        self.session.discarded(answers.TOO_LARGE)
        self.assertEqual(self.logged(), [])

    def test_reset(self) -> None:
        """A transaction that is over is forgotten; the client is not."""
        self.to_data().reset()
        self.assertIsNone(self.session._delivery)
        self.assertEqual(self.session.client.helo, b"client.example.net")

    def test_a_ready_answer(self) -> None:
        """A hand-over that is over at once is not there to be cancelled."""
        self.target.event = Event.ACCEPTED
        answer = self.to_data().end_of_data(content(b"Subject: x\r\n"))
        self.assertEqual(self.successResultOf(answer), TAKEN)
        self.session.closed()

    def test_without_mail(self) -> None:
        """A delivery object asked for out of turn is for the null sender."""
        self.assertEqual(self.session.getMessageDelivery().transaction.sender, address(b""))
