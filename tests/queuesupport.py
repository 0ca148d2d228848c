"""What the tests of the outbound queue share: a queue with a real store, and a scripted next hop.

The clock is moved by hand; the store's thread is real, so tests wait for conditions.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from smtpforward.config.settings import Outbound, Settings
from smtpforward.content import Content
from smtpforward.counts import Counts
from smtpforward.envelope import Address, Client, Envelope, Recipient
from smtpforward.interfaces import IDeliver
from smtpforward.job import Delivery, Event, Job, NextHop, Outcome, Stage
from smtpforward.outbound.entry import Filter, Listed, Shown
from smtpforward.outbound.handover import Targets
from smtpforward.outbound.queue import OutboundQueue
from smtpforward.outbound.store.sqlite import SQLiteStore
from smtpforward.outbound.unroutable import Unroutable
from smtpforward.reply import Reply
from tests.peers.wait import until
from tests.support import address, next_hop, settings

BEGAN = 1_700_000_000.0
BUSY = Reply(451, (b"4.2.1 come again",))
NO_USER = Reply(550, (b"5.1.1 no such user",))
DONE = Reply(250, (b"2.0.0 as 4A",))
MESSAGE = b"Subject: hello\r\nMessage-ID: <1@example.net>\r\n\r\n..dots\r\n"
Script = Callable[[Recipient], Reply | Event]


@implementer(IDeliver)
class ScriptedHosts:
    """A target and the look-up of MX hosts in one.

    :ivar script: what becomes of a recipient: a reply of the server, or an event without one.
    :ivar jobs: with the time of each. ``messages``: the data of each, in wire form.
    :ivar held: when set, jobs wait until :meth:`let_go`.
    """

    def __init__(self, clock: Clock) -> None:
        self.script: Script = lambda recipient: DONE
        self.unroutable: dict[str, Unroutable] = {}
        self.jobs: list[tuple[float, Job]] = []
        self.messages: list[bytes] = []
        self.held: list[tuple[Deferred[list[Outcome]], Job]] | None = None
        self.cancelled = 0
        self.dsn = False
        self._clock = clock

    @property
    def times(self) -> list[float]:
        return [at for at, _ in self.jobs]

    @property
    def recipients(self) -> list[list[str]]:
        """Those of each job."""
        return [[str(r.address) for r in job.envelope.recipients] for _, job in self.jobs]

    def mail_hosts(self, domain: str) -> Deferred[NextHop]:
        if domain in self.unroutable:
            return fail(self.unroutable[domain])
        return succeed(next_hop(f"mx.{domain}"))

    def deliver(self, job: Job) -> Deferred[list[Outcome]]:
        self.jobs.append((self._clock.seconds(), job))
        self.messages.append(b"".join(job.content.wire()))
        if self.held is None:
            return succeed(self._outcomes(job))
        waiting: Deferred[list[Outcome]] = Deferred(self._cancel)
        self.held.append((waiting, job))
        return waiting

    def _cancel(self, _: Any) -> None:
        self.cancelled += 1

    def let_go(self) -> None:
        """Answer all that wait, and hold no more."""
        held, self.held = self.held or [], None
        for waiting, job in held:
            waiting.callback(self._outcomes(job))

    def _outcomes(self, job: Job) -> list[Outcome]:
        return [self._outcome(job, recipient) for recipient in job.envelope.recipients]

    def _outcome(self, job: Job, recipient: Recipient) -> Outcome:
        said, peer = self.script(recipient), str(job.next_hop.servers[0])
        if isinstance(said, Event):
            return Outcome(recipient, said, Stage.CONNECT, None, peer, "scripted")
        event = Event.ACCEPTED if said.positive else Event.REFUSED
        return Outcome(recipient, event, Stage.DOT, said, peer, dsn=self.dsn)


def queueing(settings_: Settings | None = None, **changes: Any) -> Settings:
    """Settings with a queue; ``changes`` are those of ``Outbound``."""
    return attrs.evolve(settings_ or settings(hosts=("ours.test",)), outbound=Outbound(**changes))


class QueueCase(TestCase):
    """A test with a queue on a real store.

    :ivar hosts: the next hop of everything.
    """

    timeout = 30

    def setUp(self) -> None:
        self.clock = Clock()
        self.hosts = ScriptedHosts(self.clock)
        self.path = Path(self.mktemp())
        self.path.mkdir()
        self.number = 0
        self.queue: OutboundQueue

    async def start(self, settings_: Settings | None = None, **changes: Any) -> OutboundQueue:
        """A queue that is open; ``changes`` are those of ``Outbound``."""
        self.queue = self.make(queueing(settings_, **changes))
        self.queue.start()
        await until(lambda: self.queue._opened, "the store is open")
        return self.queue

    def make(
        self, settings_: Settings, delivers: bool = True, succeeds: bool = False
    ) -> OutboundQueue:
        """A queue on the store of this test."""
        store = SQLiteStore(str(self.path / "queue.sqlite3"), reactor, now=self.now)
        targets = Targets(self.hosts, self.hosts, self.hosts.mail_hosts)
        self.counts = Counts()
        queue = OutboundQueue(
            settings_, store, lambda: targets, self.clock, delivers, self.counts, succeeds
        )
        self.addCleanup(self.stop, queue)
        return queue

    def now(self) -> float:
        """The store's time."""
        return BEGAN + self.clock.seconds()

    async def stop(self, queue: OutboundQueue) -> None:
        """End it, whatever it does."""
        await queue.break_off()
        await queue.close()

    def job(
        self,
        *recipients: str,
        sender: bytes = b"a@example.net",
        deliveries: Sequence[Delivery] = (),
        parameters: dict[bytes, bytes] | None = None,
        notify: bytes = b"",
        data: bytes = MESSAGE,
    ) -> Job:
        """A message to be queued."""
        self.number += 1
        content = Content.of_wire(data)
        content.prefix = b"Received: from x\r\n"
        told = {b"NOTIFY": notify} if notify else {}
        to = tuple(Recipient(address(each.encode()), told) for each in recipients)
        origin = address(sender) if sender else Address(b"")
        return Job(
            f"M{self.number}",
            Client("192.0.2.1", 4321),
            Envelope(origin, to, parameters or {}),
            content,
            next_hop(),
            self.clock.seconds() + 240,
            atomic=False,
            deliveries=tuple(deliveries) or (Delivery.OUTBOUND,) * len(to),
        )

    async def put(self, *recipients: str, **changes: Any) -> Outcome:
        """Queue one; the outcome of its first recipient."""
        outcomes = await self.queue.deliver(self.job(*recipients, **changes))
        return outcomes[0]

    async def attempted(self, number: int = 1) -> list[Job]:
        """The jobs, once there are so many."""
        await until(lambda: len(self.hosts.jobs) >= number, f"{number} attempts")
        return [job for _, job in self.hosts.jobs]

    async def listed(self) -> list[Listed]:
        """All entries."""
        found: list[Listed] = await self.queue.store.listed(Filter(), 1000, None)
        return found

    async def shown(self, message: str) -> Shown:
        """One message."""
        found: Shown = await self.queue.store.shown(message)
        return found

    async def settled(self, messages: int = 0) -> None:
        """Nothing is being attempted or looked for, and so many entries are left."""
        left: list[Listed] = []
        deadline = reactor.seconds() + 20.0  # type: ignore[attr-defined]
        while reactor.seconds() < deadline:  # type: ignore[attr-defined]
            await until(lambda: self.queue.idle, "the queue waits")
            left = await self.listed()
            if self.queue.idle and len(left) == messages:
                return
        self.fail(f"{left}")

    async def advance_to(self, seconds: float) -> None:
        """Move the clock there, and let what is due come to its end."""
        await until(lambda: self.queue.idle, "the queue waits")
        self.clock.advance(seconds - self.clock.seconds())
        await until(lambda: self.queue.idle, "the queue has looked, and all has ended")
