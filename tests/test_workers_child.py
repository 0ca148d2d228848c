"""One worker: what it makes of the parent's messages. On a reactor without sockets."""

import os
import pickle
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.config.settings import Settings
from smtpforward.facts import Fact
from smtpforward.figures import Figures, Observation
from smtpforward.questions import Question
from smtpforward.workers.channel import Channel
from smtpforward.workers.child import Worker
from smtpforward.workers.leases import Leases
from smtpforward.workers.messages import (
    Apply,
    Ask,
    Grant,
    Message,
    Put,
    Said,
    Seen,
    Start,
    Stop,
    Told,
    Up,
    Want,
)
from tests.support import settings


class FakeReactor(Clock):
    """Adopts what it is given, and can be stopped once."""

    def __init__(self) -> None:
        Clock.__init__(self)
        self.stopped = 0
        self.triggers: list[Any] = []
        self.channel: Any = None

    def adoptStreamConnection(self, descriptor: int, family: int, factory: Any) -> None:
        """See IReactorSocket."""
        self.channel = factory.buildProtocol(None)
        self.channel.makeConnection(StringTransport())

    def addSystemEventTrigger(self, phase: str, event: str, callable: Any) -> None:
        """See IReactorCore."""
        self.triggers.append((phase, event, callable))

    def stop(self) -> None:
        """See IReactorCore."""
        self.stopped += 1


class Remembered(Fact):
    """Facts of one kind."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def hear(self, *told: object) -> None:
        """Note it."""
        self.heard.append(told)


class FakeGateway(Service):
    """A service with facts.

    :ivar endpoints: on what it is to listen.
    """

    def __init__(self, endpoints: Sequence[Any], leases: Leases) -> None:
        self.endpoints = endpoints
        self.leases = leases
        self.steps: list[str] = []
        self.kept = Remembered()
        self.facts: Mapping[str, Fact] = {"kind": self.kept}
        self.observed: Deferred[Observation] = Deferred()
        self.answered: Deferred[Any] = Deferred()
        self.questions: list[Question] = []
        self.left: Deferred[None] = Deferred()

    def prepare(self, settings: Settings) -> Callable[[], None]:
        """What notes it."""
        return lambda: self.steps.append(f"apply {settings.me}")

    def observe(self) -> "Deferred[Observation]":
        """The test answers."""
        return self.observed

    def answer(self, question: Question) -> "Deferred[Any]":
        """The test answers."""
        self.questions.append(question)
        return self.answered

    def leave(self) -> "Deferred[None]":
        """The test says when all have gone."""
        self.steps.append("leave")
        return self.left

    def privilegedStartService(self) -> None:
        """Note it."""
        self.steps.append("privileged")

    def startService(self) -> None:
        """Note it."""
        self.steps.append("start")

    def stopService(self) -> None:
        """Note it."""
        self.steps.append("stop")


class WorkerCase(SynchronousTestCase):
    """A worker that listens to its parent."""

    def setUp(self) -> None:
        """Nothing has been said."""
        self.reactor = FakeReactor()
        self.made: list[FakeGateway] = []
        self.numbers: list[int] = []
        self.working: list[Deferred[None]] | None = None
        self.worker = Worker(self.reactor, self.make, self.work)
        own, control = socket.socketpair()
        self.addCleanup(own.close)
        self.worker.begin(control.detach())

    def work(self, call: Callable[[], Any]) -> "Deferred[Any]":
        """In place of a thread: at once, or when the test says so."""
        if self.working is None:
            return maybeDeferred(call)
        work: Deferred[None] = Deferred()
        self.working.append(work)
        return work.addCallback(lambda _: call())

    def make(self, start: Start, endpoints: Sequence[Any], leases: Leases) -> FakeGateway:
        """What it runs."""
        self.numbers.append(start.number)
        self.made.append(FakeGateway(endpoints, leases))
        return self.made[0]

    def hears(self, message: Message) -> None:
        """The parent says something."""
        parent = Channel(lambda _: None, lambda: None)
        parent.makeConnection(StringTransport())
        parent.say(message)
        self.reactor.channel.dataReceived(parent.transport.value())
        self.reactor.advance(0)

    def said(self) -> list[Message]:
        """What the worker has said since the last time."""
        found: list[Message] = []
        parent = Channel(found.append, lambda: None)
        parent.makeConnection(StringTransport())
        parent.dataReceived(self.reactor.channel.transport.value())
        self.reactor.channel.transport.clear()
        return found

    def start(self, *listeners: int) -> FakeGateway:
        """The parent has it begin, and hears so."""
        self.hears(Start(3, 4, settings(), listeners))
        self.assertEqual(self.said(), [Up()])
        return self.made[0]


class ApplyTests(WorkerCase):
    """New settings."""

    def test_applied(self) -> None:
        """The gateway gets them, behind its start even where they come in one segment."""
        new = evolve(settings(), me="new.example.net")
        parent = Channel(lambda _: None, lambda: None)
        parent.makeConnection(StringTransport())
        parent.say(Start(3, 4, settings(), ()))
        parent.say(Apply.of(new))
        self.reactor.channel.dataReceived(parent.transport.value())
        self.reactor.advance(0)
        self.assertEqual(self.made[0].steps, ["privileged", "start", "apply new.example.net"])

    def test_in_pieces(self) -> None:
        """What is long comes in several messages, others between them; each time anew."""
        gateway = self.start()
        for name in ("a", "b"):
            routes = settings().routes
            many = {f"{n}.example": routes.default for n in range(30_000)}
            new = evolve(settings(), me=f"{name}.example", routes=evolve(routes, sections=many))
            pieces = Apply.of(new).pieces()
            self.assertGreater(len(pieces), 2)
            for piece in pieces:
                self.hears(piece)
                self.hears(Ask(1))
            self.assertEqual(gateway.steps[-1], f"apply {name}.example")

    def test_in_order(self) -> None:
        """What comes while others are made ready holds after them."""
        gateway = self.start()
        self.working = []
        for name in ("a.example", "b.example"):
            self.hears(Apply.of(evolve(settings(), me=name)))
        self.assertEqual(len(self.working), 1)
        self.working[0].callback(None)
        self.assertEqual(gateway.steps[-1], "apply a.example")
        self.working[1].callback(None)
        self.assertEqual(gateway.steps[-1], "apply b.example")

    def test_stopped_meanwhile(self) -> None:
        """What has been made ready for one that ends by now changes nothing."""
        gateway = self.start()
        self.working = []
        self.hears(Apply.of(settings()))
        self.hears(Stop())
        self.working[0].callback(None)
        self.assertNotIn("apply mx.example.net", gateway.steps)

    def test_fault(self) -> None:
        """What cannot be taken is in the log, and what comes after it holds."""
        gateway = self.start()
        self.hears(Apply(b"no pickle"))
        self.assertEqual(len(self.flushLoggedErrors(pickle.UnpicklingError)), 1)
        self.hears(Apply.of(settings()))
        self.assertEqual(gateway.steps[-1], "apply mx.example.net")

    def test_too_late(self) -> None:
        """One that ends changes nothing any more."""
        gateway = self.start()
        self.hears(Stop())
        self.hears(Apply.of(settings()))
        self.assertNotIn("apply mx.example.net", gateway.steps)


class ObserveTests(WorkerCase):
    """What is to be seen of it."""

    def test_asked(self) -> None:
        """It answers under the number of the question, as soon as it knows."""
        gateway = self.start()
        self.said()
        self.hears(Ask(7))
        self.assertEqual(self.said(), [])
        seen = Observation(Figures({("a", ("b",)): 1.0}, {"edge": ((1, 2), 0.5)}), ("why",))
        gateway.observed.callback(seen)
        self.assertEqual(self.said(), [Seen(7, seen)])

    def test_asked_too_early(self) -> None:
        """Before there is a gateway nothing is to be seen."""
        self.hears(Ask(7))
        self.assertEqual(self.said(), [])

    def test_fault(self) -> None:
        """A fault is logged, and the worker goes on."""
        gateway = self.start()
        self.hears(Ask(7))
        gateway.observed.errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.reactor.stopped, 0)


class AnswerTests(WorkerCase):
    """Questions."""

    def test_answered(self) -> None:
        """Under the number of the round, as soon as it is known."""
        gateway, question = self.start(), Question("status", {"a": 1})
        self.said()
        self.hears(Put(7, question))
        self.assertEqual((self.said(), gateway.questions), ([], [question]))
        gateway.answered.callback({"b": [2]})
        self.assertEqual(self.said(), [Said(7, {"b": [2]})])

    def test_asked_too_early(self) -> None:
        """Before there is a gateway nobody knows."""
        self.hears(Put(7, Question("status")))
        self.assertEqual(self.said(), [])

    def test_fault(self) -> None:
        """It is logged, and told: nobody waits for an answer that does not come."""
        gateway = self.start()
        self.said()
        self.hears(Put(7, Question("status")))
        gateway.answered.errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        [said] = self.said()
        assert isinstance(said, Said)
        self.assertEqual((said.number, said.answer.code), (7, 500))


class BeginTests(WorkerCase):
    """The beginning."""

    def test_start(self) -> None:
        """It takes mail when it is told to; at the end the gateway stops as ever."""
        self.assertEqual(self.made, [])
        gateway = self.start()
        self.assertEqual(gateway.steps, ["privileged", "start"])
        self.assertEqual(self.numbers, [3])
        [(phase, event, callable)] = self.reactor.triggers
        self.assertEqual((phase, event), ("before", "shutdown"))
        callable()
        self.assertEqual(gateway.steps[-1], "stop")

    def test_listeners(self) -> None:
        """Each descriptor becomes an endpoint of its own family."""
        inherited = [socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)]
        descriptors = [each.detach() for each in inherited]
        for descriptor in descriptors:
            self.addCleanup(os.close, descriptor)
        gateway = self.start(*descriptors)
        endpoints = [(each.fileno, each.addressFamily) for each in gateway.endpoints]
        families = (socket.AF_INET, socket.AF_UNIX)
        self.assertEqual(endpoints, list(zip(descriptors, families, strict=True)))

    def test_cannot_start(self) -> None:
        """A gateway that does not start ends the process, with a traceback in the log."""
        self.worker._make = self.fail_to_make
        self.hears(Start(3, 4, settings(), ()))
        self.assertEqual((self.reactor.stopped, self.worker.exit_code), (1, 1))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.reactor.triggers, [])

    def fail_to_make(self, *arguments: object) -> Any:
        raise ZeroDivisionError


class TalkTests(WorkerCase):
    """What is shared."""

    def test_slots(self) -> None:
        """A share asks through the channel, and what is granted reaches it."""
        share = self.start().leases.share("k", 10)
        share.tell(0, 2, 10)
        self.assertEqual(self.said(), [Want("k", 10, 2)])
        self.hears(Grant("k", 2))
        self.assertEqual(share.limit, 2)

    def test_facts(self) -> None:
        """What is found out here is told; what is heard is kept, and not told on."""
        gateway = self.start()
        gateway.kept.tell("a", 1)
        self.assertEqual(self.said(), [Told("kind", ("a", 1))])
        self.hears(Told("kind", ("b", 2)))
        self.assertEqual(gateway.kept.heard, [("b", 2)])
        self.assertEqual(self.said(), [])

    def test_before_the_start(self) -> None:
        """What others tell before it has begun is nothing to it."""
        self.hears(Told("kind", ("b", 2)))
        self.assertEqual(self.start().kept.heard, [])


class EndTests(WorkerCase):
    """The end."""

    def lines(self) -> list[str]:
        """What is logged from now on."""
        lines: list[str] = []

        def note(event: Any) -> None:
            lines.append(formatEvent(event))

        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)
        return lines

    def test_told(self) -> None:
        """The parent says so; that it goes then is no news."""
        lines = self.lines()
        self.start()
        self.hears(Stop())
        self.reactor.channel.connectionLost(Failure(ConnectionError()))
        self.assertEqual((self.reactor.stopped, self.worker.exit_code, lines), (1, 0, []))

    def test_leaving(self) -> None:
        """Where another gateway takes mail it goes when its clients have gone."""
        gateway = self.start()
        self.hears(Stop(leaving=True))
        self.assertEqual((gateway.steps[-1], self.reactor.stopped), ("leave", 0))
        gateway.left.callback(None)
        self.assertEqual(self.reactor.stopped, 1)

    def test_leaving_before_the_start(self) -> None:
        """Where there is nothing to leave it goes at once."""
        self.hears(Stop(leaving=True))
        self.assertEqual(self.reactor.stopped, 1)

    def test_stopped_while_leaving(self) -> None:
        """It does not wait for clients then."""
        self.start()
        self.hears(Stop(leaving=True))
        self.hears(Stop())
        self.assertEqual(self.reactor.stopped, 1)

    def test_parent_gone(self) -> None:
        """The parent has been killed: the worker goes, too."""
        lines = self.lines()
        self.start()
        self.reactor.channel.connectionLost(Failure(ConnectionError()))
        self.assertEqual((self.reactor.stopped, lines), (1, ["the parent has gone"]))

    def test_signal_and_message(self) -> None:
        """Whoever says it a second time says nothing new."""
        self.start()
        self.worker.stop()
        self.hears(Stop())
        self.assertEqual(self.reactor.stopped, 1)

    def test_before_the_start(self) -> None:
        """Stopped before it has begun, it does not begin."""
        self.worker.stop()
        self.hears(Start(3, 4, settings(), ()))
        self.assertEqual(self.made, [])
