"""From a complete transaction to its answer."""

from collections.abc import Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from smtpforward import answers
from smtpforward.config.settings import Route
from smtpforward.dispatch import Dispatcher, group_by_next_hop
from smtpforward.envelope import Client, Recipient
from smtpforward.job import Delivery, Event, Outcome
from smtpforward.learned import LearnedRefusals
from smtpforward.record import Transaction
from smtpforward.reply import Reply
from tests.support import TAKEN, ScriptedTarget, address, content, next_hop, outcome, transaction

ONE, TWO = Route("one", next_hop("one.example.com")), Route("two", next_hop("two.example.com"))
TO = (b"b@example.com", b"c@example.com", b"d@example.com")
NO_USER = Reply(550, (b"5.1.1 no such user",))


class DispatcherCase(SynchronousTestCase):
    """A dispatcher with a scripted target, and its log."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.target = ScriptedTarget()
        self.learned = LearnedRefusals(self.clock)
        self.dispatcher = Dispatcher(self.target, self.learned, self.clock)
        self.events: list[Any] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def submit(self, record: Transaction) -> Deferred[Reply]:
        """Hand over one small message."""
        return self.dispatcher.submit(record, content(b"Subject: x\r\n"))

    def lines(self) -> list[str]:
        """The log's lines about transactions."""
        mail = [event for event in self.events if event.get("log_system") == "mail"]
        return [formatEvent(event) for event in mail]

    def finish(self, record: Transaction, outcomes: Sequence[Outcome]) -> Reply:
        """Submit ``record``; the answer to these outcomes."""
        answer = self.submit(record)
        self.target.waiting.pop().callback(list(outcomes))
        return self.successResultOf(answer)

    def each(self, record: Transaction, *made: Any) -> list[Outcome]:
        """An outcome for each recipient, from pairs of event and reply."""
        return [
            outcome(event, reply, of=to)
            for (event, reply), to in zip(made, record.recipients, strict=True)
        ]


class JobTests(DispatcherCase):
    """What the target is asked."""

    def test_one_next_hop(self) -> None:
        """Recipients that share a next hop are one job, whatever their sections are called."""
        twin = Route("other name", ONE.next_hop)
        self.submit(transaction(*TO, routes=[ONE, twin, ONE], parameters={b"BODY": b"8BITMIME"}))
        [job] = self.target.jobs
        self.assertEqual([bytes(r.address) for r in job.envelope.recipients], list(TO))
        self.assertEqual((job.id, job.next_hop, job.atomic), ("1F", ONE.next_hop, True))
        self.assertEqual(job.envelope.parameters, {b"BODY": b"8BITMIME"})
        self.assertEqual(self.target.messages, [b"Subject: x\r\n"])

    def test_deadline(self) -> None:
        """The hand-over may take what the next hop's ``forward_timeout`` says, from now on."""
        self.clock.advance(1000)
        self.submit(transaction(*TO, routes=[ONE] * 3))
        self.assertEqual(self.target.jobs[0].deadline, 1000 + ONE.next_hop.timeouts.forward)

    def test_several_next_hops(self) -> None:
        """Recipients are grouped by next hop, in order, and the outcomes are put in order again."""
        record = transaction(*TO, routes=[ONE, TWO, ONE])
        self.assertEqual(group_by_next_hop(record), {ONE.next_hop: [0, 2], TWO.next_hop: [1]})
        answer = self.submit(record)
        self.assertEqual([len(job.envelope.recipients) for job in self.target.jobs], [2, 1])
        self.target.answer(Event.ACCEPTED, at=1)
        self.assertNoResult(answer)
        self.target.answer(Event.ACCEPTED)
        self.assertEqual(self.successResultOf(answer), TAKEN)
        self.assertEqual([o.recipient for o in record.outcomes], record.recipients)


class QueueTests(DispatcherCase):
    """What goes to the outbound queue."""

    ROUTES = (ONE, attrs.evolve(TWO, queue="outbound"), attrs.evolve(ONE, enable_outbound=False))

    def setUp(self) -> None:
        DispatcherCase.setUp(self)
        self.queue = ScriptedTarget()
        self.dispatcher.queue = self.queue

    def queued(self, relaying_by: str = "its login", **changes: Any) -> Transaction:
        """A transaction of who relays, that is for the queue."""
        client = Client("192.0.2.1", 4321, relaying_by=relaying_by)
        changes = {"routes": self.ROUTES, **changes}
        return transaction(*TO, client=client, queued=True, **changes)

    def answered(self, event: Event, reply: Reply | None = None) -> Reply:
        """The answer when the queue says this."""
        answer = self.submit(self.queued())
        self.queue.answer(event, reply)
        return self.successResultOf(answer)

    def test_one_job(self) -> None:
        """All recipients are one job of the queue, whatever their next hops are; no target's."""
        parameters = {b"RET": b"HDRS", b"ENVID": b"x"}
        record = self.queued(parameters=parameters)
        self.clock.advance(1000)
        self.submit(record)
        [job] = self.queue.jobs
        self.assertEqual(self.target.jobs, [])
        self.assertEqual((job.id, job.client, job.envelope), ("1F", record.client, record.envelope))
        self.assertEqual(job.envelope.parameters, parameters)
        self.assertEqual(self.queue.messages, [b"Subject: x\r\n"])
        self.assertEqual((job.atomic, job.next_hop, job.deadline), (False, ONE.next_hop, 1240.0))

    def test_deliveries(self) -> None:
        """The job says which way was chosen for each recipient, by who the client is."""
        forward, outbound = Delivery.SMTP_FORWARD, Delivery.OUTBOUND
        for relaying_by, expected in (
            ("its login", (forward, outbound, outbound)),
            ("", (forward, outbound, forward)),
        ):
            self.submit(self.queued(relaying_by))
            self.assertEqual(self.queue.jobs.pop().deliveries, expected)

    def test_parameters_of_recipients(self) -> None:
        """NOTIFY and ORCPT reach the job as they came."""
        record = self.queued()
        told = {b"NOTIFY": b"DELAY,FAILURE", b"ORCPT": b"rfc822;b@example.com"}
        record.recipients[0] = Recipient(address(TO[0]), told)
        self.submit(record)
        self.assertEqual(self.queue.jobs[0].envelope.recipients[0].parameters, told)

    def test_not_queued(self) -> None:
        """What is not for the queue never comes to it."""
        self.submit(transaction(*TO, routes=[ONE, TWO, ONE]))
        self.assertEqual((self.queue.jobs, len(self.target.jobs)), ([], 2))
        self.assertEqual([job.deliveries for job in self.target.jobs], [(), ()])

    def test_taken(self) -> None:
        """The queue's own words are the answer; the log says that it is queued, not sent."""
        said = Reply(250, (b"2.0.0 queued as 1F",))
        self.assertEqual(self.answered(Event.ACCEPTED, said), said)
        [line] = self.lines()
        self.assertIn("nrcpt=3 size=12 relay=queue delay=0.000 dsn=2.0.0 status=queued (250", line)

    def test_not_taken(self) -> None:
        """A queue that cannot take it now: 452 or 451, nothing learned, and the log says why."""
        for event, answer in {
            Event.QUEUE_FULL: (452, b"4.3.1"),
            Event.QUEUE_UNAVAILABLE: (451, b"4.3.2"),
        }.items():
            reply = self.answered(event)
            self.assertEqual((reply.code, reply.status), answer)
            self.assertTrue(reply.lines[0].endswith(b" [1F]"))
            self.assertIn(" relay=queue ", self.lines()[-1])
            self.assertIn(" status=deferred (", self.lines()[-1])
        self.assertEqual(len(self.learned), 0)

    def test_no_queue(self) -> None:
        """While there is no queue it is deferred, with an error in the log."""
        self.dispatcher.queue = None
        reply = self.successResultOf(self.submit(self.queued()))
        self.assertEqual(reply, answers.signed(answers.NO_QUEUE, "1F"))
        [error] = [event for event in self.events if event["log_level"] is LogLevel.error]
        self.assertEqual(formatEvent(error), "id=1F: there is no outbound queue")
        self.assertIn("status=deferred (451 4.3.5", self.lines()[0])
        self.assertEqual(self.target.jobs, [])

    def test_later(self) -> None:
        """A queue may come later: one that is there takes what comes from then on."""
        dispatcher = Dispatcher(self.target, self.learned, self.clock, self.queue)
        dispatcher.submit(self.queued(), content(b"Subject: x\r\n"))
        dispatcher.queue = later = ScriptedTarget()
        dispatcher.submit(self.queued(), content(b"Subject: x\r\n"))
        self.assertEqual((len(self.queue.jobs), len(later.jobs)), (1, 1))

    def test_failure(self) -> None:
        """A queue that fails, or raises, is a fault of ours."""
        answer = self.submit(self.queued())
        self.queue.waiting[0].errback(ZeroDivisionError())
        self.assertEqual(self.successResultOf(answer).status, b"4.3.0")
        self.queue.deliver = lambda job: 1 / 0  # type: ignore[method-assign]
        self.assertEqual(self.successResultOf(self.submit(self.queued())).status, b"4.3.0")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_cancelled(self) -> None:
        """When the client has gone the queue hears of it."""
        answer = self.submit(self.queued())
        answer.cancel()
        self.assertEqual(self.queue.cancelled, 1)
        self.assertTrue(self.lines()[0].endswith(") [the client went away]"))
        self.successResultOf(answer)


class AnswerTests(DispatcherCase):
    """What comes back."""

    def test_accepted(self) -> None:
        """The backend's words are the answer, and there is one line in the log."""
        record = transaction(*TO)
        reply = self.finish(record, self.each(record, *[(Event.ACCEPTED, None)] * 3))
        self.assertEqual(reply, TAKEN)
        [line] = self.lines()
        self.assertIn("nrcpt=3 size=12 relay=192.0.2.9:25 delay=0.000 dsn=2.0.0 status=sent", line)
        self.assertEqual(len(self.learned), 0)

    def test_delay(self) -> None:
        """The line says how long it took since MAIL."""
        answer = self.submit(transaction(*TO))
        self.clock.advance(2.5)
        self.target.answer(Event.ACCEPTED)
        self.successResultOf(answer)
        self.assertIn(" delay=2.500 ", self.lines()[0])

    def test_partly_refused(self) -> None:
        """Some refused: the sender comes again, and each refusal is remembered."""
        record = transaction(*TO)
        made = self.each(
            record, (Event.SPARED, None), (Event.REFUSED, NO_USER), (Event.SPARED, None)
        )
        reply = self.finish(record, made)
        self.assertEqual((reply.code, reply.status), (451, b"4.5.3"))
        known = [self.learned.recall(next_hop(), record.sender, address(to)) for to in TO]
        self.assertEqual(known, [None, NO_USER, None])
        [line] = self.lines()
        self.assertIn("status=deferred (451 4.5.3", line)

    def test_all_refused(self) -> None:
        """All refused: the backend's answer, and nothing to remember."""
        record = transaction(*TO)
        reply = self.finish(record, self.each(record, *[(Event.REFUSED, NO_USER)] * 3))
        self.assertEqual((reply, len(self.learned)), (NO_USER, 0))
        self.assertIn("status=bounced (550 5.1.1 no such user)", self.lines()[0])

    def test_reject(self) -> None:
        """With ``partial_rejection=reject`` the message gets the refusal."""
        record = transaction(*TO[:2], routes=[Route("", next_hop(), "reject")] * 2)
        made = self.each(record, (Event.SPARED, None), (Event.REFUSED, NO_USER))
        self.assertEqual(self.finish(record, made), NO_USER)

    def test_set_up_is_reported(self) -> None:
        """What speaks of our set-up is an error in the log, said once, and never remembered."""
        broken = Reply(530, (b"5.7.0 authentication required",))
        record = transaction(*TO)
        made = self.each(
            record, (Event.REFUSED, broken), (Event.SPARED, None), (Event.REFUSED, broken)
        )
        self.assertEqual(self.finish(record, made).code, 451)
        errors = [event for event in self.events if event["log_level"] is LogLevel.error]
        self.assertEqual(len(errors), 1)
        self.assertEqual(errors[0]["reply"], "530 5.7.0 authentication required")
        self.assertEqual(len(self.learned), 0)

    def test_loop_is_reported(self) -> None:
        """A backend that is this gateway itself is an error in the log too."""
        record = transaction(TO[0])
        made = outcome(Event.LOOP, of=record.recipients[0], detail="greets as mx.example.net")
        self.assertEqual(self.finish(record, [made]).status, b"4.3.5")
        [error] = [event for event in self.events if event["log_level"] is LogLevel.error]
        self.assertEqual(error["reply"], "greets as mx.example.net")


class FailureTests(DispatcherCase):
    """What is not foreseen, and who goes away."""

    def assert_fault(self, answer: Deferred[Reply]) -> None:
        """The answer is 451 4.3.0 with the id."""
        reply = self.successResultOf(answer)
        self.assertEqual((reply.code, reply.status), (451, b"4.3.0"))
        self.assertTrue(reply.lines[0].endswith(b" [1F]"))

    def test_failure(self) -> None:
        """A target that fails is a fault of ours: temporary, with the traceback in the log."""
        answer = self.submit(transaction(*TO))
        self.target.waiting[0].errback(ZeroDivisionError())
        self.assert_fault(answer)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_raises(self) -> None:
        """So is one that raises."""
        self.target.deliver = lambda job: 1 / 0  # type: ignore[method-assign]
        self.assert_fault(self.submit(transaction(*TO)))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_an_outcome_too_few(self) -> None:
        """So is one that does not say what became of each recipient."""
        record = transaction(*TO)
        answer = self.submit(record)
        self.target.waiting[0].callback([outcome(Event.ACCEPTED, of=record.recipients[0])])
        self.assert_fault(answer)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_one_of_several_fails(self) -> None:
        """When one of several next hops fails, the message is deferred."""
        answer = self.submit(transaction(*TO[:2], routes=[ONE, TWO]))
        self.target.answer(Event.ACCEPTED)
        self.target.waiting[0].errback(ZeroDivisionError())
        self.assert_fault(answer)
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_cancelled(self) -> None:
        """When the client has gone the job is cancelled, and the log says why it ended."""
        answer = self.submit(transaction(*TO))
        answer.cancel()
        self.assertEqual(self.target.cancelled, 1)
        self.assert_fault(answer)
        self.assertEqual(len(self.lines()), 1)
        [event] = [event for event in self.events if event.get("log_system") == "mail"]
        self.assertTrue(formatEvent(event).endswith(") [the client went away]"))
