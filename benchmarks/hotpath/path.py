"""The gateway's way of a mail with nothing but memory at both ends, and a clock that stands.

The parts are those that the service wires: the factory of the edge, the dispatcher, the target with
its pool, sessions with a backend, and the log as twistd writes it. The scripts at the ends say what
``smtp-source`` and ``smtp-sink`` say.
"""

import ipaddress
import re
from collections.abc import Sequence
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from smtpforward.client.connect import BackendFactory
from smtpforward.client.opening import Security
from smtpforward.client.target import ForwardTarget
from smtpforward.config.networks import Networks
from smtpforward.config.settings import Access, Route, Routes, Settings
from smtpforward.dispatch import Dispatcher
from smtpforward.job import TLS, Job, NextHop, PoolBounds, Server
from smtpforward.learned import LearnedRefusals
from smtpforward.server.factory import GatewayFactory

BACKEND = Server("127.0.0.1", 2525, "gateway.example.com")
CLIENT = IPv4Address("TCP", "127.0.0.1", 50000)
READ = 65536  # bytes that Twisted reads at a time
DONE = Failure(connectionDone)
HEAD = (
    b"From: <sender@example.com>\r\nTo: <recipient@example.org>\r\n"
    b"Date: Sun, 1 Nov 2026 00:00:00 +0000\r\nMessage-Id: <1@example.com>\r\n"
    b"Subject: a mail\r\n\r\n"
)
LINE = b"X" * 78 + b"\r\n"


COMMAND = re.compile(rb"^(?:MAIL FROM|RCPT TO):", re.MULTILINE)


class Meter:
    """What the reactor would have to do: reads, writes, and timers that are set or changed."""

    def __init__(self) -> None:
        self.reads = self.writes = self.timers = 0

    @property
    def events(self) -> int:
        return self.reads + self.writes + self.timers


class CountingClock(Clock):
    """Stands still; what is asked of it is counted."""

    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self._meter = meter

    def callLater(self, *args: Any, **kwargs: Any) -> Any:
        """See :class:`twisted.internet.interfaces.IReactorTime`."""
        self._meter.timers += 1
        return super().callLater(*args, **kwargs)


class CountingTransport(StringTransport):
    """Keeps what is written until it is taken."""

    def __init__(self, meter: Meter, peer: IPv4Address) -> None:
        super().__init__(peerAddress=peer)
        self._meter = meter
        self._written: list[bytes] = []

    def write(self, data: bytes) -> None:
        """See :class:`twisted.internet.interfaces.ITransport`."""
        self._meter.writes += 1
        self._written.append(data)

    def writeSequence(self, data: Sequence[bytes]) -> None:
        """See :class:`twisted.internet.interfaces.ITransport`."""
        self.write(b"".join(data))

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: N802
        """See :class:`twisted.internet.interfaces.ITCPTransport`."""

    def taken(self) -> bytes:
        """What was written since the last time."""
        written = b"".join(self._written)
        self._written.clear()
        return written


class Backends:
    """Connects, in place of the client's connector: the backend is at hand and takes everything."""

    def __init__(self, clock: Clock, meter: Meter) -> None:
        self._clock = clock
        self._meter = meter
        self.octets = 0
        self.session: Any = None
        self.transport: Any = None

    def connect(self, server: Server, job: Job) -> "Deferred[Any]":
        """See :class:`smtpforward.client.connect.Connector`."""
        factory = BackendFactory(
            *(server, None, job.next_hop.timeouts, job.deadline, self._clock),
            Security(TLS.NEVER, None, None),
        )
        connected = factory.result
        self.session = factory.buildProtocol(None)
        peer = IPv4Address("TCP", server.host, server.port)
        self.transport = CountingTransport(self._meter, peer)
        self.session.makeConnection(self.transport)
        self.say(b"220 sink ESMTP\r\n")
        self.transport.taken()
        self.say(b"250-sink\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
        self.transport.taken()
        return connected

    def say(self, octets: bytes) -> None:
        """The backend answers."""
        self._meter.reads += 1
        self.session.dataReceived(octets)

    def answer(self) -> None:
        """The backend answers all that it was sent, until the session says nothing more."""
        while sent := self.transport.taken():
            self.octets += len(sent)
            commands = len(COMMAND.findall(sent))
            answers = b"250 2.1.5 Ok\r\n" * commands
            if sent.startswith(b"DATA\r\n") or b"\r\nDATA\r\n" in sent:
                answers += b"354 Go\r\n"
            if sent.endswith(b"\r\n.\r\n"):
                answers += b"250 2.0.0 Ok: queued\r\n"
            if answers:
                self.say(answers)


class Path:
    """A gateway with its backend.

    :ivar meter: what the reactor would have had to do.
    """

    def __init__(self) -> None:
        self.meter = Meter()
        clock = CountingClock(self.meter)
        self._backends = Backends(clock, self.meter)
        bounds = PoolBounds(max_messages=10**9, max_age=10**9)
        settings = Settings(
            me="gateway.example.com",
            routes=Routes(Route("", NextHop((BACKEND,), bounds=bounds))),
            access=Access(relays=Networks([ipaddress.ip_network("127.0.0.0/8")])),
        )
        target = ForwardTarget(self._backends, clock)  # type: ignore[arg-type]
        dispatcher = Dispatcher(target, LearnedRefusals(clock), clock)
        self._factory = GatewayFactory(settings, dispatcher, clock)

    @property
    def octets(self) -> int:
        """Bytes that the backend was sent for mails."""
        return self._backends.octets

    def connect(self) -> "Client":
        """A client that has said EHLO."""
        protocol: Any = self._factory.buildProtocol(CLIENT)
        client = Client(protocol, CountingTransport(self.meter, CLIENT), self._backends)
        client.say(b"EHLO client.example.com\r\n", b"250")
        return client


class Client:
    """One that speaks as ``smtp-source`` does: a command at a time, the whole message at once."""

    def __init__(self, protocol: Any, transport: CountingTransport, backends: Backends) -> None:
        self._protocol = protocol
        self._transport = transport
        self._backends = backends
        self._meter = transport._meter
        protocol.makeConnection(transport)

    def say(self, octets: bytes, code: bytes) -> None:
        """Say something that is answered with ``code``."""
        self._transport.taken()
        self._bring(octets)
        self._expect(code)

    def _bring(self, octets: bytes) -> None:
        self._meter.reads += 1
        self._protocol.dataReceived(octets)

    def _expect(self, code: bytes) -> None:
        answer = self._transport.taken()
        if not answer.startswith(code):
            raise RuntimeError(f"{code.decode()} was expected, and not {answer!r}")

    def mail(self, recipients: int, message: bytes) -> None:
        """One mail, with ``message`` as it is on the wire, its last dot included."""
        self.say(b"MAIL FROM:<sender@example.com>\r\n", b"250")
        for number in range(recipients):
            self.say(b"RCPT TO:<%d@example.org>\r\n" % number, b"250")
        self.say(b"DATA\r\n", b"354")
        for at in range(0, len(message), READ):
            self._bring(message[at : at + READ])
        self._backends.answer()
        self._expect(b"250 2.0.0 Ok: queued")

    def quit(self) -> None:
        """End the session."""
        self.say(b"QUIT\r\n", b"221")
        self._protocol.connectionLost(DONE)


def message(size: int) -> bytes:
    """One of about ``size`` bytes, as it is on the wire."""
    return HEAD + LINE * ((size - len(HEAD)) // len(LINE)) + b".\r\n"
