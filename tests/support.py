"""What the unit tests of the edge share: settings, a scripted session and target, an edge.

No sockets and no wall time: the transport is a string and the clock is moved by hand.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import attrs
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from smtpforward.config.networks import Networks
from smtpforward.config.settings import Access, Limits, Route, Routes, Settings
from smtpforward.content import Content, Form
from smtpforward.dispatch import Dispatcher
from smtpforward.envelope import Address, Client, Recipient
from smtpforward.interfaces import IDeliver, ISession
from smtpforward.job import Event, Job, NextHop, Outcome, Server, Stage
from smtpforward.learned import LearnedRefusals
from smtpforward.record import Transaction
from smtpforward.reply import Reply
from smtpforward.server.factory import GatewayFactory

ME = "mx.example.net"
TAKEN = Reply(250, (b"2.0.0 Ok: queued as 4A",))
GREETING = b"220 mx.example.net ESMTP smtpforward\r\n"
SENDER = b"MAIL FROM:<a@example.net>\r\n"
RECIPIENT = b"RCPT TO:<b@example.com>\r\n"


def next_hop(host: str = "backend.example.com", port: int = 25, **changes: Any) -> NextHop:
    """A next hop with one server."""
    return attrs.evolve(NextHop((Server(host, port, ME),)), **changes)


def settings(
    *,
    hosts: Sequence[str] = ("example.com", "example.org"),
    relays: Networks | None = None,
    sections: dict[str, Route] | None = None,
    check_recipient: bool = False,
    partial_rejection: Any = "learn",
    limits: Limits | None = None,
    **changes: Any,
) -> Settings:
    """Settings that accept mail for ``hosts`` and forward it to one backend."""
    default = Route("", next_hop(), partial_rejection)
    return Settings(
        me=ME,
        routes=Routes(default, sections or {}, check_recipient),
        access=Access(frozenset(hosts), None, relays or Networks()),
        limits=limits or Limits(),
        **changes,
    )


def address(text: bytes) -> Address:
    """``local@domain`` as an address."""
    local, _, domain = text.rpartition(b"@")
    return Address(local, domain)


def recipient(text: bytes) -> Recipient:
    """``local@domain`` as a recipient."""
    return Recipient(address(text))


def transaction(*recipients: bytes, routes: Sequence[Route] = (), **changes: Any) -> Transaction:
    """A transaction from ``a@example.net``, begun at 0."""
    made = Transaction(
        id="1F", client=Client("192.0.2.1", 4321), sender=address(b"a@example.net"),
        parameters={}, started=0.0,
    )  # fmt: skip
    made.recipients = [recipient(text) for text in recipients]
    made.routes = list(routes) or [Route("", next_hop())] * len(recipients)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def content(data: bytes, form: Form = Form.WIRE) -> Content:
    """A content in memory that holds ``data`` in one piece."""
    made = Content("/nonexistent", len(data), form)
    made.append(data)
    return made


@implementer(ISession)
class ScriptedSession:
    """Answers each step with what the test put there, and notes what it was asked.

    :ivar answers: per step, what to answer in turn: a value, a Deferred, or an exception to raise.
        A step without any is answered ``None``, the end of data ``TAKEN``.
    :ivar asked: the names of the steps; ``arguments`` their arguments.
    :ivar messages: the message at each end of data, in wire form.
    """

    def __init__(self, **answers: Any) -> None:
        self.client = Client("192.0.2.1", 4321)
        self.answers: dict[str, list[Any]] = {step: [given] for step, given in answers.items()}
        self.asked: list[str] = []
        self.arguments: list[tuple[Any, ...]] = []
        self.messages: list[bytes] = []
        self.contents: list[Content] = []

    def _answer(self, step: str, *arguments: Any) -> Any:
        self.asked.append(step)
        self.arguments.append(arguments)
        waiting = self.answers.get(step)
        answer = waiting.pop(0) if waiting else (TAKEN if step == "end_of_data" else None)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def connected(self) -> Any:
        return self._answer("connected")

    def helo(self, name: bytes, extended: bool) -> Any:
        return self._answer("helo", name, extended)

    def authenticated(self, user: str) -> Any:
        return self._answer("authenticated", user)

    def mail(self, sender: Address, parameters: Any) -> Any:
        return self._answer("mail", sender, parameters)

    def rcpt(self, recipient: Recipient) -> Any:
        return self._answer("rcpt", recipient)

    def data(self) -> Any:
        return self._answer("data")

    def end_of_data(self, content: Content) -> Any:
        self.contents.append(content)
        self.messages.append(b"".join(content.wire()))
        return self._answer("end_of_data", content)

    def discarded(self, reply: Reply) -> Reply:
        self._answer("discarded", reply)
        return reply

    def reset(self) -> None:
        self._answer("reset")

    def closed(self) -> None:
        self._answer("closed")


@implementer(IDeliver)
class ScriptedTarget:
    """A target that keeps each job until the test says what became of it.

    :ivar event: when set, each job is answered with it at once.
    :ivar messages: the message of each job, in wire form.
    :ivar cancelled: how many jobs were.
    """

    def __init__(self, event: Event | None = None, reply: Reply | None = None) -> None:
        self.event = event
        self.reply = reply
        self.jobs: list[Job] = []
        self.messages: list[bytes] = []
        self.waiting: list[Deferred[list[Outcome]]] = []
        self._owed: dict[Deferred[list[Outcome]], Job] = {}
        self.cancelled = 0

    def deliver(self, job: Job) -> Deferred[list[Outcome]]:
        self.jobs.append(job)
        self.messages.append(b"".join(job.content.wire()))
        if self.event is not None:
            return succeed(outcomes(job, self.event, self.reply))
        waiting: Deferred[list[Outcome]] = Deferred(self._cancelled)
        self.waiting.append(waiting)
        self._owed[waiting] = job
        return waiting

    def _cancelled(self, _: Any) -> None:
        self.cancelled += 1

    def answer(self, event: Event, reply: Reply | None = None, at: int = 0) -> None:
        """All recipients of the job at ``at`` of those that wait share one fate."""
        waiting = self.waiting.pop(at)
        waiting.callback(outcomes(self._owed[waiting], event, reply))


def outcomes(job: Job, event: Event, reply: Reply | None = None) -> list[Outcome]:
    """The same outcome for each recipient of ``job``."""
    return [outcome(event, reply, of=r) for r in job.envelope.recipients]


def outcome(
    event: Event, reply: Reply | None = None, of: Recipient | None = None, **changes: Any
) -> Outcome:
    """What became of one recipient."""
    if reply is None and event in (Event.ACCEPTED, Event.REFUSED):
        reply = TAKEN if event is Event.ACCEPTED else Reply(550, (b"5.1.1 no such user",))
    made = Outcome(of or recipient(b"b@example.com"), event, Stage.DOT, reply, "192.0.2.9:25")
    return attrs.evolve(made, **changes)


class EdgeTransport(StringTransport):
    """A string that knows about Nagle."""

    no_delay = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.no_delay = enabled


class Edge:
    """One connection to the edge, without a network.

    :param session: what the connection asks; the gateway's own when there is a ``target``.
    :param queue: a target that stands for the outbound queue.
    """

    def __init__(
        self,
        session: Any = None,
        *,
        target: Any = None,
        settings_: Settings | None = None,
        clock: Clock | None = None,
        ip: str = "192.0.2.1",
        transport: Any = None,
        portal: Any = None,
        queue: Any = None,
    ) -> None:
        self.clock = clock or Clock()
        self.session = session or ScriptedSession()
        self.learned = LearnedRefusals(self.clock)
        sessions: Callable[[Client], Any] | None = None if target else lambda client: self.session
        self.factory = GatewayFactory(
            settings_ or settings(),
            Dispatcher(target, self.learned, self.clock, queue),
            self.clock,
            sessions,
            portal,
        )
        self.transport: Any
        self.protocol: Any
        self.connect(ip, transport)

    def connect(self, ip: str = "192.0.2.1", transport: Any = None) -> None:
        """Another connection; this one is spoken to from now on."""
        self.transport = transport or EdgeTransport()
        self.protocol = self.factory.buildProtocol(IPv4Address("TCP", ip, 4321))
        self.transport.protocol = self.protocol
        self.protocol.makeConnection(self.transport)

    def heard(self) -> bytes:
        """What the edge said since this was last asked."""
        said: bytes = self.transport.value()
        self.transport.clear()
        return said

    def send(self, *pieces: bytes) -> bytes:
        """Let the client say ``pieces``; what it hears by then."""
        for piece in pieces:
            self.protocol.dataReceived(piece)
        return self.heard()

    def codes(self, *pieces: bytes) -> list[int]:
        """Let the client say ``pieces``; the codes of the replies that it hears by then."""
        lines = self.send(*pieces).splitlines()
        return [int(line[:3]) for line in lines if line[3:4] == b" "]

    def to_sender(self) -> "Edge":
        """Go on to where a transaction has its sender."""
        self.send(b"EHLO client.example.net\r\n", SENDER)
        return self

    def to_recipient(self) -> "Edge":
        """Go on to where a transaction has one recipient."""
        self.to_sender().send(RECIPIENT)
        return self

    def to_data(self) -> "Edge":
        """Go on to where the message is awaited."""
        self.to_recipient().send(b"DATA\r\n")
        return self

    def lose(self) -> None:
        """The client has gone."""
        self.protocol.connectionLost(Failure(ConnectionDone()))

    @property
    def closing(self) -> bool:
        """Whether the edge has said good-bye."""
        return bool(self.transport.disconnecting)

    @property
    def aborted(self) -> bool:
        """Whether the edge has cut the connection off."""
        return bool(self.transport.disconnected)


def split(data: bytes, at: Sequence[int]) -> list[bytes]:
    """``data`` cut at the positions ``at`` (any numbers), without empty pieces."""
    cuts = sorted({0, len(data), *(position % (len(data) + 1) for position in at)})
    return [data[start:end] for start, end in pairwise(cuts)]
