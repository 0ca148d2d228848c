"""What the tests of the client share: jobs, a transport without a socket, fake connections.

Nothing here opens a socket or waits: time is a ``task.Clock``, a backend is bytes that a test says.
"""

import os
from collections.abc import Sequence
from typing import Any, cast

from attrs import evolve
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from smtpforward.client.connect import BackendFactory, Connector
from smtpforward.client.errors import ConnectFailed
from smtpforward.client.session import BackendSession
from smtpforward.client.target import ForwardTarget
from smtpforward.content import Content
from smtpforward.envelope import Address, Client, Envelope, Recipient
from smtpforward.job import Event, Job, NextHop, Outcome, PoolBounds, Server, Timeouts
from smtpforward.reply import Reply

SERVER = Server("192.0.2.1", 25, "gateway.example")
OTHER_SERVER = Server("192.0.2.2", 25, "gateway.example")
TIMEOUTS = Timeouts(connect=30.0, reply=180.0, forward=240.0, dot=570.0)
SENDER = Address(b"alice", b"example.org")
GREETING = b"220 backend.example ESMTP\r\n"
PLAIN_EHLO = b"250 backend.example\r\n"
PIPELINING_EHLO = b"250-backend.example\r\n250-SIZE 1000000\r\n250 PIPELINING\r\n"
MESSAGE = b"Subject: hello\r\n\r\nA line.\r\n"


def recipients(count: int) -> tuple[Recipient, ...]:
    """``r0@example.com``, ``r1@example.com``, and so on."""
    return tuple(Recipient(Address(b"r%d" % i, b"example.com")) for i in range(count))


def make_job(
    count: int = 1,
    servers: Sequence[Server] = (SERVER,),
    content: Content | None = None,
    **changes: Any,
) -> Job:
    """A job for ``count`` recipients; ``changes`` are fields of it, or of its parts."""
    parameters = changes.pop("parameters", {})
    bounds = changes.pop("bounds", PoolBounds(max_connections=10))
    timeouts = changes.pop("timeouts", TIMEOUTS)
    job = Job(
        id="1",
        client=Client("198.51.100.1", 4000),
        envelope=Envelope(SENDER, recipients(count), parameters),
        content=Content.from_plain(MESSAGE) if content is None else content,
        next_hop=NextHop(tuple(servers), timeouts, bounds),
        deadline=timeouts.forward,
    )
    return evolve(job, **changes)


def log_lines(case: SynchronousTestCase) -> list[str]:
    """What the client logs until the test ends; it grows."""
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        if event.get("log_namespace", "").startswith("smtpforward.client"):
            lines.append(formatEvent(event))

    observer = cast(ILogObserver, observe)
    globalLogPublisher.addObserver(observer)
    case.addCleanup(globalLogPublisher.removeObserver, observer)
    return lines


def reply(text: bytes) -> Reply:
    """A reply from what stands on the wire: ``b"250 ok"``."""
    return Reply(int(text[:3]), (text[4:],))


class Wire(StringTransport):
    """The backend's end of a connection: a test reads what was sent and says what comes back.

    :ivar writes: each write since the last ``sent``.
    """

    protocol: Any = None
    no_delay = False

    def __init__(self, host: str = "192.0.2.1", port: int = 25) -> None:
        self.writes: list[bytes] = []
        StringTransport.__init__(self, peerAddress=IPv4Address("TCP", host, port), lenient=True)

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.writes.append(data)

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Note it."""
        self.no_delay = enabled

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """As Twisted does it: a pull producer is asked at once."""
        StringTransport.registerProducer(self, producer, streaming)
        if not streaming:
            producer.resumeProducing()

    def sent(self) -> bytes:
        """All that was written since the last call."""
        data = b"".join(self.writes)
        self.writes.clear()
        return data

    def drain(self) -> bytes:
        """Take what was written and ask for more, as long as there is something to take.

        As Twisted does it: where nothing was written, no one is asked for more.
        """
        data = piece = self.sent()
        while piece and self.producer is not None:
            self.producer.resumeProducing()
            piece = self.sent()
            data += piece
        return data

    def says(self, *replies: bytes) -> bytes:
        """The backend sends ``replies`` in one segment; what the client sends then."""
        self.protocol.dataReceived(b"".join(replies))
        return self.sent()

    def lose(self, error: Exception | None = None) -> None:
        """The connection ends."""
        self.connected = False
        if self.producer is not None:
            self.producer.stopProducing()
        self.protocol.connectionLost(Failure(error or ConnectionDone()))

    @property
    def aborted(self) -> bool:
        """Whether the client closed without waiting for anything."""
        return bool(self.disconnected)


class Owner:
    """Notes what a session reports."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def idle(self, connection: object) -> None:
        """Note it."""
        self.heard.append("idle")

    def closing(self, connection: object) -> None:
        """Note it."""
        self.heard.append("closing")

    def gone(self, connection: object) -> None:
        """Note it."""
        self.heard.append("gone")


class SessionCase(SynchronousTestCase):
    """One session on a fake clock."""

    def setUp(self) -> None:
        """A clock at zero."""
        self.clock = Clock()

    def connected(
        self, own_name: str | None = None, timeouts: Timeouts = TIMEOUTS, deadline: float = 1e9
    ) -> None:
        """A connection whose backend has said nothing yet: ``session``, ``wire``, ``ready``."""
        factory = BackendFactory(SERVER, own_name, timeouts, deadline, self.clock)
        self.ready: list[Any] = []
        factory.result.addBoth(self.ready.append)
        self.session: BackendSession = factory.buildProtocol(None)
        self.wire = Wire()
        self.wire.protocol = self.session
        self.session.makeConnection(self.wire)

    def opened(self, ehlo: bytes = PIPELINING_EHLO) -> None:
        """A connection that is ready."""
        self.connected()
        self.wire.says(GREETING)
        self.wire.says(ehlo)
        self.assertEqual(self.ready, [self.session])
        self.owner = Owner()
        self.session.owner = self.owner

    def send(self, job: Job | None = None) -> bytes:
        """Begin a transaction; ``outcomes`` gets its result."""
        self.outcomes: list[list[Outcome]] = []
        self.session.send(job or make_job(), self.outcomes.append)
        return self.wire.sent()

    def events(self) -> list[Event]:
        """The event of each recipient, from the one result that there must be."""
        self.assertEqual(len(self.outcomes), 1)
        return [outcome.event for outcome in self.outcomes[0]]

    def opening_failed(self) -> ConnectFailed:
        """Why the connection did not become ready; it is closed, and was told once."""
        self.assertEqual(len(self.ready), 1)
        self.assertTrue(self.wire.aborted)
        self.assertIsInstance(self.ready[0], Failure)
        error = self.ready[0].value
        self.assertIsInstance(error, ConnectFailed)
        return error


@implementer(IHostnameResolver)
class Resolver:
    """Every name has the addresses ``has``."""

    def __init__(self, *has: str) -> None:
        self.has = list(has)

    def resolveHostName(  # type: ignore[override]
        self, receiver: Any, hostName: str, portNumber: int = 0, *args: Any, **kw: Any
    ) -> None:
        """Answer at once."""
        receiver.resolutionBegan(None)
        for ip in self.has:
            kind = IPv6Address if ":" in ip else IPv4Address
            receiver.addressResolved(kind("TCP", ip, portNumber))
        receiver.resolutionComplete()


class ReactorCase(SynchronousTestCase):
    """Connections of the real connector, on a reactor without sockets."""

    own_name: str | None = "gateway.example"

    def setUp(self) -> None:
        """A reactor, a connector and a target on it."""
        self.reactor = MemoryReactorClock()
        self.connector = Connector(self.reactor, self.own_name)
        self.target = ForwardTarget(self.connector, self.reactor)

    def attempts(self) -> list[str]:
        """The hosts that were dialled, in order."""
        return [client[0] for client in self.reactor.tcpClients]

    def accept(self, index: int = -1) -> Wire:
        """The backend takes the TCP connection."""
        host, port, factory, _, _ = self.reactor.tcpClients[index]
        wire = Wire(host, port)
        wire.protocol = factory.buildProtocol(IPv4Address("TCP", host, port))
        wire.protocol.makeConnection(wire)
        return wire

    def refuse(self, error: Exception, index: int = -1) -> None:
        """The attempt fails."""
        factory = self.reactor.tcpClients[index][2]
        factory.clientConnectionFailed(self.reactor.connectors[index], Failure(error))

    def greet(self, index: int = -1, ehlo: bytes = PIPELINING_EHLO) -> Wire:
        """The backend takes the connection and becomes ready; what was sent then is unread."""
        wire = self.accept(index)
        self.assertIn(b"EHLO", wire.says(GREETING))
        wire.protocol.dataReceived(ehlo)
        return wire

    def deliver(self, job: Job | None = None) -> "Deferred[list[Outcome]]":
        """Hand a job to the target; without one, a job of this moment."""
        now: float = self.reactor.seconds()
        return self.target.deliver(job or make_job(deadline=now + TIMEOUTS.forward))

    def assert_cancelled(self, deferred: "Deferred[Any]") -> None:
        """It failed with nothing but CancelledError."""
        self.failureResultOf(deferred, CancelledError)


class FakeConnection:
    """What a pool sees of a connection; it ends when a test says so."""

    def __init__(self, name: str, born: float) -> None:
        self.name = name
        self.owner: Any = None
        self.spare = False
        self.born = born
        self.worn = False
        self.did: list[str] = []

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def is_worn(self, bounds: PoolBounds, now: float) -> bool:
        """As the test says, or by age."""
        return self.worn or now - self.born >= bounds.max_age

    def worn_at(self, bounds: PoolBounds) -> float:
        """By age."""
        return self.born + bounds.max_age

    def quit(self) -> None:
        """Note it."""
        self.did.append("quit")

    def abort(self) -> None:
        """Note it, and say so as a session does."""
        self.did.append("abort")
        self.owner.closing(self)


class Opening:
    """A connection attempt of a pool."""

    def __init__(self, request: Any, name: str, clock: Clock) -> None:
        self.request = request
        self.cancelled = False
        self._name = name
        self._clock = clock
        self.result: Deferred[FakeConnection] = Deferred(self._cancel)

    def _cancel(self, result: "Deferred[FakeConnection]") -> None:
        self.cancelled = True

    def succeed(self) -> FakeConnection:
        """It is ready."""
        connection = FakeConnection(self._name, self._clock.seconds())
        self.result.callback(connection)
        return connection

    def fail(self, full: bool = False, event: Event = Event.UNREACHABLE) -> None:
        """It will never be ready."""
        self.result.errback(ConnectFailed(event, "no", full=full))


def run_machine(machine: Any, examples: int = 60, steps: int = 40) -> None:
    """Run a state machine of hypothesis within a test.

    ``SMTPFORWARD_FUZZ`` multiplies the examples; ``SMTPFORWARD_FUZZ_SEED`` makes them the same ones
    in each run.
    """
    from hypothesis import HealthCheck, seed, settings
    from hypothesis.stateful import run_state_machine_as_test

    given = os.environ.get("SMTPFORWARD_FUZZ_SEED")
    try:
        run_state_machine_as_test(
            seed(int(given))(machine) if given else machine,
            settings=settings(
                max_examples=examples * int(os.environ.get("SMTPFORWARD_FUZZ", "1")),
                stateful_step_count=steps,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    except Exception as error:
        # Trial does not show notes, and they are the steps that lead to the fault.
        raise AssertionError("\n".join([repr(error), *getattr(error, "__notes__", ())])) from error
