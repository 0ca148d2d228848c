"""The parent of the workers: starting, replacing, stopping them, and passing on what they say.

On a reactor without processes: a test says what a worker does.
"""

import pickle
import sys
from typing import Any

from attrs import evolve
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.config.settings import Limits, Outbound
from smtpforward.questions import Question
from smtpforward.workers.lines import STDERR, STDOUT
from smtpforward.workers.messages import (
    Apply,
    Cap,
    Give,
    Grant,
    Message,
    Put,
    Said,
    Scarce,
    Start,
    Stop,
    Told,
    Up,
    Want,
)
from smtpforward.workers.parent import (
    FIRST_PAUSE,
    FULL,
    GATHER,
    KILL_TIME,
    LONGEST_PAUSE,
    STEADY,
    Parent,
)
from smtpforward.workers.shares import TURN
from tests.support import settings

SPARE = 10.0
PATIENCE = 30.0 + SPARE  # beside what the settings give


class FakeProcess:
    """The transport of a process, and the worker's end of its channel.

    :ivar did: what was done to it.
    """

    def __init__(self, protocol: Any, command: list[str], env: dict[str, str], pid: int) -> None:
        self.protocol = protocol
        self.command = command
        self.env = env
        self.pid = pid
        self.did: list[str] = []
        self.gone = False

    def signalProcess(self, name: str) -> None:
        """See IProcessTransport."""
        if self.gone:
            raise ProcessExitedAlready
        self.did.append(name)

    def pauseProducing(self) -> None:
        """See Process."""
        self.did.append("pause")

    def resumeProducing(self) -> None:
        """See Process."""
        self.did.append("resume")

    # -- what the worker does

    def heard(self) -> list[Message]:
        """What the parent has said since the last time."""
        transport: StringTransport = self.protocol.channel.transport
        data, found = transport.value(), []
        transport.clear()
        while data:
            end = 4 + int.from_bytes(data[:4], "big")
            found.append(pickle.loads(data[4:end]))
            data = data[end:]
        return found

    def says(self, message: Message) -> None:
        """It says something to the parent."""
        packed = pickle.dumps(message)
        self.protocol.channel.dataReceived(len(packed).to_bytes(4, "big") + packed)

    def ends(self, code: int | None = 0, number: int | None = None) -> None:
        """Its process ends."""
        self.gone = True
        reason = ProcessDone(0) if code == 0 else ProcessTerminated(code, number)
        self.protocol.processEnded(Failure(reason))


class FakeReactor(Clock):
    """Starts no process."""

    def __init__(self) -> None:
        Clock.__init__(self)
        self.processes: list[FakeProcess] = []
        self.fails = False
        self._begin: list[Any] = []

    def callWhenRunning(self, callable: Any) -> None:
        """See IReactorCore."""
        self._begin.append(callable)

    def run(self) -> None:
        """The reactor begins to run."""
        for callable in self._begin:
            callable()

    def spawnProcess(
        self, protocol: Any, path: str, args: list[str], env: Any, childFDs: Any
    ) -> None:
        """See IReactorProcess."""
        if self.fails:
            raise OSError(11, "no more processes")
        process = FakeProcess(protocol, args, env, 1000 + len(self.processes))
        self.processes.append(process)
        protocol.makeConnection(process)

    def adoptStreamConnection(self, descriptor: int, family: int, factory: Any) -> None:
        """See IReactorSocket."""
        factory.buildProtocol(None).makeConnection(StringTransport())


class ParentCase(SynchronousTestCase):
    """A parent of two workers, without a port."""

    def setUp(self) -> None:
        """Both run."""
        self.events: list[LogEvent] = []
        globalLogPublisher.addObserver(self.events.append)  # type: ignore[arg-type]
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)
        self.reactor = FakeReactor()
        self.settings = evolve(settings(), nodes=2, warnings=("mind the gap",))
        self.parent = Parent(self.settings, self.reactor, (), self.reactor, "a.module", SPARE)
        self.parent.privilegedStartService()
        self.parent.startService()
        self.assertEqual(self.reactor.processes, [])
        self.reactor.run()
        self.first, self.second = self.reactor.processes

    def logged(self) -> list[str]:
        """The parent's lines."""
        return [formatEvent(event) for event in self.events]


class StartTests(ParentCase):
    """How workers begin."""

    def test_start(self) -> None:
        """Each gets its number and all settings, secrets and sets included."""
        for number, process in enumerate(self.reactor.processes, 1):
            [start] = process.heard()
            assert isinstance(start, Start)
            self.assertEqual((start.number, start.nodes, start.listeners), (number, 2, ()))
            self.assertEqual(start.settings.routes, self.settings.routes)
        self.assertEqual(self.parent.workers, {1: 1000, 2: 1001})
        self.assertIn("mind the gap", self.logged())

    def test_command(self) -> None:
        """A worker is the same Python, and finds the same modules, wherever it is started."""
        self.assertEqual(self.first.command, [sys.executable, "-P", "-m", "a.module"])
        path = self.first.env["PYTHONPATH"].split(":")
        self.assertTrue(all(entry.startswith("/") for entry in path), path)

    def test_replaced(self) -> None:
        """One that ends is replaced, after a time that doubles; its successor has its number."""
        pauses = []
        for _ in range(11):
            current = self.reactor.processes[-1]
            current.ends(None, 9)
            began = self.reactor.seconds()
            while self.reactor.processes[-1] is current:
                self.reactor.advance(FIRST_PAUSE)
            pauses.append(self.reactor.seconds() - began)
        self.assertEqual(pauses[:9], [FIRST_PAUSE * 2**number for number in range(9)])
        self.assertEqual(pauses[9:], [LONGEST_PAUSE] * 2)
        start: Any = self.reactor.processes[-1].heard()[0]
        self.assertEqual(start.number, 2)
        self.assertIn(
            "worker 2 has ended (signal SIGKILL); the next one starts in 0.125 seconds",
            self.logged(),
        )
        self.assertFalse(self.first.gone)

    def test_steady(self) -> None:
        """One that has lived long is replaced soon, whatever was before."""
        self.first.ends(1)
        self.reactor.advance(FIRST_PAUSE)
        self.reactor.advance(STEADY)
        self.reactor.processes[-1].ends(1)
        self.reactor.advance(FIRST_PAUSE)
        self.assertEqual(len(self.reactor.processes), 4)
        self.assertIn("worker 1 has ended (exit code 1)", self.logged()[-2])

    def test_took_mail(self) -> None:
        """One that has taken mail is replaced soon, however short it lived."""
        for _ in range(3):
            current = self.reactor.processes[-1]
            current.says(Up())
            current.ends(None, 9)
            self.reactor.advance(FIRST_PAUSE)
            self.assertIsNot(self.reactor.processes[-1], current)

    def test_cannot_be_started(self) -> None:
        """A system that starts no process now is asked again."""
        self.reactor.fails = True
        self.first.ends(1)
        self.reactor.advance(FIRST_PAUSE)
        self.assertIn("could not be started ([Errno 11] no more processes)", self.logged()[-1])
        self.reactor.fails = False
        self.reactor.advance(2 * FIRST_PAUSE)
        self.assertEqual(len(self.reactor.processes), 3)
        self.assertEqual(self.parent.workers.keys(), {1, 2})


class SettingsTests(ParentCase):
    """New settings, and each worker's part of them."""

    def test_applied(self) -> None:
        """Every worker gets them, and so does one that starts later."""
        for process in self.reactor.processes:
            process.heard()
        new = evolve(self.settings, me="new.example.net", warnings=("mind that",))
        self.parent.apply(new)
        for process in self.reactor.processes:
            [said] = process.heard()
            assert isinstance(said, Apply)
            self.assertEqual((said.settings.me, said.settings.warnings), ("new.example.net", ()))
        self.assertIn("mind that", self.logged())
        self.first.ends(1)
        self.reactor.advance(FIRST_PAUSE)
        start: Any = self.reactor.processes[-1].heard()[0]
        self.assertEqual(start.settings.me, "new.example.net")

    def test_what_takes_a_restart(self) -> None:
        """The number of workers, and what is listened on, stay; the log says so."""
        self.parent.apply(evolve(self.settings, nodes=5, listen=("tcp:2525",)))
        self.assertEqual((self.parent.settings.nodes, self.parent.settings.listen),
                         (2, self.settings.listen))  # fmt: skip
        said = [line for line in self.logged() if "takes a restart" in line]
        self.assertEqual(len(said), 2)

    def test_queue(self) -> None:
        """All workers have the same queue, those that start later too, until a restart."""
        self.parent.apply(evolve(self.settings, outbound=Outbound(store="sqlite:/a")))
        for outbound in (Outbound(store="sqlite:/b", disabled=True), None):
            self.parent.apply(evolve(self.settings, outbound=outbound))
            said: Any = self.reactor.processes[-1].heard()[-1]
            self.assertEqual(said.settings.outbound, Outbound(store="sqlite:/a", disabled=True))
            self.assertIn("outbound queue", self.logged()[-2])

    def test_parts(self) -> None:
        """What bounds the whole gateway is divided among the workers."""
        self.parent.apply(evolve(self.settings, limits=Limits(connections=5, memory=1001)))
        for process in self.reactor.processes:
            limits = process.heard()[-1].settings.limits  # type: ignore[union-attr]
            self.assertEqual((limits.connections, limits.memory), (3, 500))

    def test_time_to_end(self) -> None:
        """A new force_shutdown_timeout holds at the end."""
        self.parent.apply(evolve(self.settings, force_shutdown_timeout=100.0))
        self.parent.stopService()
        self.reactor.advance(PATIENCE)
        self.assertEqual(self.first.did, [])
        self.reactor.advance(100.0 + SPARE - PATIENCE)
        self.assertEqual(self.first.did, ["KILL"])


class TalkTests(ParentCase):
    """What workers say."""

    def setUp(self) -> None:
        """They have been started."""
        ParentCase.setUp(self)
        for process in self.reactor.processes:
            process.heard()

    def test_facts(self) -> None:
        """What one tells the other hears, and not itself."""
        told = Told("kind", ("a", 1))
        self.first.says(told)
        self.assertEqual(self.second.heard(), [told])
        self.assertEqual(self.first.heard(), [])

    def test_questions(self) -> None:
        """All are asked, or one where that answers for all; who dies owes nothing."""
        asking = self.parent.ask(Question("status"))
        self.assertEqual(self.second.heard(), [Put(1, Question("status"))])
        self.second.says(Said(1, "b"))
        self.assertNoResult(asking)
        self.first.ends(None, 9)
        self.assertEqual(self.successResultOf(asking), ["b"])
        of_one = Question("queue list", of_one=True)
        asking = self.parent.ask(of_one)
        self.assertEqual(self.second.heard(), [Put(2, of_one)])
        self.second.says(Said(2, "c"))
        self.assertEqual(self.successResultOf(asking), ["c"])

    def test_question_of_one(self) -> None:
        """The first one has the queue."""
        self.parent.ask(Question("queue list", of_one=True))
        self.assertEqual((len(self.first.heard()), self.second.heard()), (1, []))

    def test_slots(self) -> None:
        """Who wants slots is granted some; what one gives back the other gets."""
        self.first.says(Want("k", 1, 1))
        self.assertEqual(self.first.heard(), [Grant("k", 1)])
        self.second.says(Want("k", 1, 1))
        self.assertEqual(self.first.heard(), [Scarce("k", True)])
        self.reactor.advance(TURN)
        self.assertEqual(self.first.heard(), [Cap("k", 0)])
        self.first.says(Give("k", 1))
        self.assertEqual(self.second.heard(), [Grant("k", 1)])

    def test_slots_of_the_dead(self) -> None:
        """They are free when its process has gone, and its connections with it; not before."""
        self.first.says(Want("k", 1, 1))
        self.second.says(Want("k", 1, 1))
        self.first.protocol.channel.connectionLost(Failure(ProcessDone(0)))
        self.assertEqual(self.second.heard(), [])
        self.first.ends(None, 9)
        self.assertEqual(self.second.heard(), [Grant("k", 1)])

    def test_late_words(self) -> None:
        """What a dead worker had said counts no more: its slots have been freed."""
        self.first.ends(None, 9)
        self.first.says(Want("k", 1, 1))
        self.assertEqual(self.parent.shares.held("k"), {})

    def test_log(self) -> None:
        """What it logs is in the parent's log; what comes soon after is left to gather."""
        self.first.protocol.childDataReceived(STDOUT, b"info 1.0 n mail one\0info 1.0 n mail two\0")
        self.first.protocol.childDataReceived(STDERR, b"oops\n")
        self.assertEqual(self.logged()[-3:], ["one", "two", "worker 1: oops"])
        self.reactor.advance(1)
        self.assertEqual(self.first.did, ["pause", "pause", "resume", "resume"])

    def test_long_log(self) -> None:
        """Behind as much as is read at once there is more: nothing is left in the pipe for long."""
        line = b"info 1.0 n mail " + b"x" * (FULL - 17) + b"\0"
        self.first.protocol.childDataReceived(STDOUT, line)
        self.assertEqual(self.first.did, [])
        self.first.protocol.childDataReceived(STDOUT, line[1:])
        self.assertEqual(self.first.did, ["pause"])
        self.reactor.advance(GATHER)


class ReadyTests(ParentCase):
    """When mail is taken."""

    def test_all(self) -> None:
        """It is when each worker has begun, one that was replaced included."""
        ready = self.parent.ready()
        self.first.says(Up())
        self.first.ends(1)
        self.reactor.advance(FIRST_PAUSE)
        self.assertNoResult(ready)
        self.second.says(Up())
        self.successResultOf(ready)
        self.reactor.processes[2].says(Up())

    def test_successor(self) -> None:
        """Its workers know that another gateway may still deliver mail."""
        parent = Parent(self.settings, self.reactor, (), self.reactor, "x", SPARE, succeeds=True)
        parent.startService()
        self.reactor._begin[-1]()
        (start,) = self.reactor.processes[-1].heard()
        self.assertTrue(isinstance(start, Start) and start.succeeds)


class LeaveTests(ParentCase):
    """Another gateway takes mail on the same sockets."""

    def test_left(self) -> None:
        """All workers are asked to leave; nobody is replaced, and the end is as ever."""
        left = self.parent.leave()
        for process in self.reactor.processes:
            self.assertEqual(process.heard()[-1], Stop(leaving=True))
        self.first.ends()
        self.assertNoResult(left)
        self.second.ends()
        self.successResultOf(left)
        self.successResultOf(self.parent.stopService())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_patience(self) -> None:
        """Clients have their time, and transactions theirs; then the rest is killed as ever."""
        left = self.parent.leave()
        self.first.ends()
        self.reactor.advance(PATIENCE)
        self.assertNoResult(left)
        self.reactor.advance(PATIENCE - SPARE)
        self.successResultOf(left)
        self.parent.stopService()
        self.assertEqual(self.second.heard()[-1], Stop())


class EndTests(ParentCase):
    """How it all ends."""

    def test_drained(self) -> None:
        """All are asked to stop; it is over when the last has gone, and nobody is replaced."""
        stopped = self.parent.stopService()
        for process in self.reactor.processes:
            self.assertEqual(process.heard()[-1], Stop())
        self.first.ends()
        self.assertNoResult(stopped)
        self.second.ends()
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual([process.did for process in self.reactor.processes], [[], []])

    def test_patience(self) -> None:
        """Who has not ended in time is killed."""
        stopped = self.parent.stopService()
        self.first.ends()
        self.reactor.advance(PATIENCE)
        self.assertEqual([self.first.did, self.second.did], [[], ["KILL"]])
        self.second.ends(None, 9)
        self.successResultOf(stopped)

    def test_unkillable(self) -> None:
        """Nobody is waited for without end."""
        stopped = self.parent.stopService()
        self.reactor.advance(PATIENCE)
        self.reactor.advance(KILL_TIME)
        self.successResultOf(stopped)

    def test_while_pausing(self) -> None:
        """A worker that was about to be replaced is not."""
        self.first.ends(1)
        self.second.ends(1)
        self.successResultOf(self.parent.stopService())
        self.assertEqual(self.reactor.getDelayedCalls(), [])
