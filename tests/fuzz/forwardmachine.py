"""The real target, pool and sessions before any backends: any replies, ends, times and jobs.

``backendmodel.py`` says what a connection may be sent; here is what must hold of the whole: each
job has one list of outcomes, or was cancelled; ACCEPTED only for a message that its backend took;
the pool keeps its bound, and nothing is left at the end.
"""

from typing import Any

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost, ConnectionRefusedError, TimeoutError
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from smtpforward.client.connect import Connector
from smtpforward.client.rests import PassingRests
from smtpforward.client.target import ForwardTarget
from smtpforward.content import Content, Form
from smtpforward.envelope import Address, Envelope, Recipient
from smtpforward.job import Event, Job, Outcome, PoolBounds, Timeouts
from tests.clientsupport import OTHER_SERVER, SERVER, Wire, make_job
from tests.fuzz.backendmodel import NO_OTHER_FORM, NO_REPLIES, OFFERS, Backend, Sent

TIMES = Timeouts(connect=5.0, reply=10.0, forward=30.0, dot=20.0)
DECLINED = (Event.UTF8, Event.TOO_LARGE)
LONGEST = TIMES.forward + TIMES.dot + 20.0
AFTER_THE_DOT = {
    *(Event.ACCEPTED, Event.REFUSED, Event.IN_DOUBT, Event.NONSENSE, Event.CLOSING, Event.SPARED)
}
LIKELY_OFFERS = (*OFFERS[:1] * 2, OFFERS[1], *OFFERS[2:3] * 3, *OFFERS[3:])
KINDS = st.sampled_from(["good"] * 8 + ["later", "never", "command", "closing", "odd", *NO_REPLIES])


class ForwardMachine(RuleBasedStateMachine):
    """Any jobs and any backends."""

    @initialize(
        bound=st.integers(1, 3),
        hosts=st.integers(1, 2),
        offers=st.sampled_from(LIKELY_OFFERS),
        probes=st.booleans(),
    )
    def begin(self, bound: int, hosts: int, offers: bytes, probes: bool) -> None:
        """A target without connections."""
        self.reactor = MemoryReactorClock()
        connector = Connector(self.reactor, "gateway.example")
        rests = None if probes else PassingRests(self.reactor)
        self.target = ForwardTarget(connector, self.reactor, hosts=rests)
        self.bounds = PoolBounds(bound, idle=15.0, max_age=60.0, max_messages=3)
        self.servers = (SERVER, OTHER_SERVER)[:hosts]
        self.offers = offers
        self.jobs: list[Sent] = []
        self.told: list[tuple[Sent, Any]] = []
        self.waiting: dict[int, Deferred[list[Outcome]]] = {}
        self.backends: list[Backend] = []
        self.ended: set[int] = set()
        self.faults: list[Failure] = []
        self.declined = 0.0  # when a message was last handed back unsent

    @property
    def now(self) -> float:
        """The clock."""
        return float(self.reactor.seconds())

    # -- jobs

    @rule(
        count=st.sampled_from([1, 3]),
        atomic=st.sampled_from([True, True, True, False]),
        spooled=st.sampled_from([False, False, False, True]),
        dots=st.booleans(),
        utf8=st.sampled_from([""] * 8 + ["ASCII", "domain", *sorted(NO_OTHER_FORM)]),
    )
    def deliver(self, count: int, atomic: bool, spooled: bool, dots: bool, utf8: str) -> None:
        """A job comes."""
        sent = self._make(count, atomic, spooled, dots, utf8)
        self.jobs.append(sent)
        result = self.target.deliver(sent.job)
        self.waiting[sent.number] = result
        result.addBoth(self._done, sent)
        result.addErrback(self.faults.append)
        self._hear()

    def _make(self, count: int, atomic: bool, spooled: bool, dots: bool, utf8: str) -> Sent:
        number = len(self.jobs)
        dot, name = b"." * dots, b"\xc3\xa4" * (utf8 == "header")
        plain = b"%bSubject: %d%b\r\n\r\n%b\r\nbody of %d\r\n" % (dot, number, name, dot, number)
        message = plain.replace(b".", b"..")
        if spooled or number % 2:
            content = Content("/tmp", 0 if spooled else 1000, Form.WIRE)
            content.append(message)
        else:
            content = Content.from_plain(plain)
        in_wire_form = spooled or (dots and number % 2)
        domain = b"b\xc3\xbccher.example" if utf8 == "domain" else b"example.org"
        local = b"j%d%b" % (number, b"\xc3\xa4" * (utf8 == "local part"))
        envelope = Envelope(
            Address(local, domain),
            tuple(
                Recipient(Address(b"j%dr%d" % (number, i), b"example.com")) for i in range(count)
            ),
            {b"SMTPUTF8": b""} if utf8 else {},
        )
        job: Job = make_job(
            servers=self.servers,
            content=content,
            bounds=self.bounds,
            timeouts=TIMES,
            id=str(number),
            envelope=envelope,
            atomic=atomic,
            deadline=self.now + TIMES.forward,
        )
        sent = Sent(number, job, message, None if in_wire_form else plain, utf8)
        if number % 2 == 0:
            sent.job = attrs.evolve(job, may_send=lambda: not sent.revoked)
        return sent

    def _done(self, result: Any, sent: Sent) -> None:
        sent.results.append(result)
        self.waiting.pop(sent.number, None)
        sent.job.content.close()
        if isinstance(result, list) and any(o.event in DECLINED for o in result):
            self.declined = self.now
        # A Deferred would keep what is wrong with it to itself.
        self.told.append((sent, result))

    def _check_result(self, sent: Sent, result: Any) -> None:
        if isinstance(result, Failure):
            assert result.check(CancelledError), result
            assert sent.cancelled
            return
        assert [o.recipient for o in result] == list(sent.job.envelope.recipients)
        for outcome in result:
            self._check(sent, outcome)
        assert not sent.accepted or any(o.event is Event.ACCEPTED for o in result)

    def _check(self, sent: Sent, outcome: Outcome) -> None:
        """What one outcome claims is so."""
        if outcome.event is Event.ACCEPTED:
            assert sent.accepted
        if outcome.event in (Event.ACCEPTED, Event.REFUSED):
            assert outcome.reply is not None
            assert outcome.reply.code in sent.codes
            assert (outcome.reply.code >= 400) == (outcome.event is Event.REFUSED)
        if outcome.event in (Event.SPARED, Event.UTF8, Event.TOO_LARGE):
            assert not sent.dots
        assert outcome.event is not Event.UTF8 or sent.utf8 in NO_OTHER_FORM
        if outcome.event is Event.IN_DOUBT:
            assert sent.dots
        if outcome.event is Event.NOT_ALLOWED:
            assert sent.revoked
            assert not sent.dots
        assert not sent.dots or outcome.event in AFTER_THE_DOT

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """The client of a job has gone."""
        number = data.draw(st.sampled_from(sorted(self.waiting)))
        self.jobs[number].cancelled = True
        self.waiting[number].cancel()
        assert self.jobs[number].results
        self._hear()

    @precondition(lambda self: self.with_leave)
    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        """What allows a job to be sent ends before its dot."""
        self.jobs[data.draw(st.sampled_from(self.with_leave))].revoked = True

    @property
    def with_leave(self) -> list[int]:
        """The jobs that may lose their leave."""
        waiting = [(number, self.jobs[number]) for number in sorted(self.waiting)]
        return [n for n, s in waiting if s.job.may_send and not (s.dots or s.revoked)]

    # -- connections

    @property
    def dialled(self) -> list[int]:
        """Attempts that wait for the backend."""
        stopped = {i for i, c in enumerate(self.reactor.connectors) if c.stoppedConnecting}
        attempts = set(range(len(self.reactor.tcpClients)))
        return sorted(attempts - self.ended - stopped)

    @property
    def alive(self) -> list[Backend]:
        """Connections whose backend can still be heard."""
        return [backend for backend in self.backends if not backend.wire.disconnecting]

    @precondition(lambda self: self.dialled)
    @rule(data=st.data(), how=st.sampled_from(["yes", "yes", "yes", "refused", "timeout"]))
    def connect(self, data: st.DataObject, how: str) -> None:
        """A backend takes a connection, or does not."""
        self._connect(data.draw(st.sampled_from(self.dialled)), how)

    def _connect(self, index: int, how: str) -> None:
        self.ended.add(index)
        host, port, factory, _, _ = self.reactor.tcpClients[index]
        if how != "yes":
            error = ConnectionRefusedError() if how == "refused" else TimeoutError()
            factory.clientConnectionFailed(self.reactor.connectors[index], Failure(error))
            self._hear()
            return
        wire = Wire(host, port)
        backend = Backend(wire, self.jobs, self.reactor.seconds)
        backend.offer = self.offers
        self.backends.append(backend)
        wire.protocol = factory.buildProtocol(IPv4Address("TCP", host, port))
        backend.session = wire.protocol._wrappedProtocol  # An endpoint keeps it to itself.
        wire.protocol.makeConnection(wire)
        self._hear()

    def _hear(self) -> None:
        """What was sent, and told, since the last time."""
        while self.told:
            self._check_result(*self.told.pop())
        for backend in self.backends:
            said = backend.wire.sent()
            if said:
                backend.hear(said)

    @precondition(lambda self: self.alive)
    @rule(
        data=st.data(),
        kinds=st.lists(KINDS, min_size=1, max_size=4),
        cut=st.sampled_from([0, 0, 0, 0, 1, 2, 8]),
    )
    def reply(self, data: st.DataObject, kinds: list[str], cut: int) -> None:
        """A backend says something, in one segment, the last of it perhaps later."""
        self._reply(data.draw(st.sampled_from(self.alive)), kinds, cut)

    @precondition(lambda self: any(backend.owed for backend in self.alive))
    @rule(data=st.data(), kind=KINDS, together=st.booleans())
    def proper_reply(self, data: st.DataObject, kind: str, together: bool) -> None:
        """A backend answers what it was asked: one command, or all that wait."""
        backend = data.draw(st.sampled_from([b for b in self.alive if b.owed]))
        more = ["good"] * (len(backend.owed) - 1) if together else []
        self._reply(backend, [kind, *more], 0)

    @rule()
    def open(self) -> None:
        """All that is dialled becomes ready."""
        for index in self.dialled:
            self._connect(index, "yes")
        for backend in self.alive:
            while backend.owed and backend.owed[0] in (b"GREETING", b"EHLO"):
                self._reply(backend, ["good"], 0)

    @precondition(lambda self: self.in_envelope)
    @rule(data=st.data(), at=st.integers(0, 2), kind=st.sampled_from(["later", "never"]))
    def refuse_one(self, data: st.DataObject, at: int, kind: str) -> None:
        """A backend refuses one recipient of several, and says no more."""
        backend = data.draw(st.sampled_from(self.in_envelope))
        while len(backend.owed) > 1 or b"RCPT" in b"".join(backend.owed):
            before = len(backend.owed)
            self._reply(backend, [kind if before == at + 1 else "good"], 0)
            if b"RSET" in backend.owed or b"DATA" in backend.owed:
                return

    @property
    def in_envelope(self) -> list[Backend]:
        """Those that have been asked for several recipients."""
        return [b for b in self.alive if sum(owed[:4] == b"RCPT" for owed in b.owed) > 1]

    @rule()
    def good_replies(self) -> None:
        """All is well for a while."""
        for _ in range(8):
            for index in self.dialled:
                self._connect(index, "yes")
            for backend in [b for b in self.alive if b.owed]:
                self._reply(backend, ["good"] * len(backend.owed), 0)
                self._pull(backend)

    def _reply(self, backend: Backend, kinds: list[str], cut: int) -> None:
        if backend.wire.disconnecting:
            return
        awaited = backend.awaits_dot_reply
        segment, backend.held = backend.held, b""
        whole = not (cut and segment)
        for number, kind in enumerate(kinds):
            words = backend.answers(kind)
            last = number == len(kinds) - 1
            if last and cut and whole and kind == "good" and len(kinds) == 1:
                segment, backend.held = segment + words[:-cut], words[-cut:]
            else:
                segment += words
        backend.wire.protocol.dataReceived(segment)
        self._hear()
        if awaited is not None and kinds[0] == "good" and not backend.held:
            if not awaited.cancelled:
                assert awaited.results, "the sender must hear it at once"
            assert awaited.accepted

    @precondition(lambda self: any(backend.held for backend in self.alive))
    @rule(data=st.data())
    def rest(self, data: st.DataObject) -> None:
        """The rest of a reply comes."""
        backend = data.draw(st.sampled_from([b for b in self.alive if b.held]))
        held, backend.held = backend.held, b""
        backend.wire.protocol.dataReceived(held)
        self._hear()

    @precondition(lambda self: any(backend.wire.producer for backend in self.alive))
    @rule(data=st.data(), kind=KINDS)
    def interrupt(self, data: st.DataObject, kind: str) -> None:
        """A backend speaks while a message is on its way to it."""
        backend = data.draw(st.sampled_from([b for b in self.alive if b.wire.producer]))
        self._reply(backend, [kind], 0)

    @precondition(lambda self: any(backend.wire.producer for backend in self.alive))
    @rule(data=st.data())
    def pull(self, data: st.DataObject) -> None:
        """A transport has room for more of a message."""
        self._pull(data.draw(st.sampled_from([b for b in self.alive if b.wire.producer])))

    def _pull(self, backend: Backend) -> None:
        if backend.wire.producer is not None:
            backend.wire.producer.resumeProducing()
            self._hear()

    @precondition(lambda self: self.dialled or self.alive)
    @rule(data=st.data(), at=st.integers(0, 7), kind=KINDS, pulls=st.booleans())
    def go_on(self, data: st.DataObject, at: int, kind: str, pulls: bool) -> None:
        """A backend answers one command after the other, one of them not well."""
        for index in self.dialled:
            self._connect(index, "yes")
        if not self.alive:
            return
        backend = data.draw(st.sampled_from(self.alive))
        for number in range(8):
            if backend.owed:
                self._reply(backend, [kind if number == at else "good"], 0)
                if pulls:
                    self._pull(backend)

    @precondition(lambda self: self.backends)
    @rule(data=st.data(), reset=st.booleans())
    def end(self, data: st.DataObject, reset: bool) -> None:
        """A connection ends, whoever wanted it."""
        self._end(data.draw(st.sampled_from(self.backends)), reset)

    @rule()
    def reap(self) -> None:
        """What the gateway has closed is closed."""
        for backend in [b for b in self.backends if b.wire.disconnecting]:
            self._end(backend, reset=False)

    def _end(self, backend: Backend, reset: bool) -> None:
        self.backends.remove(backend)
        backend.wire.lose(ConnectionLost() if reset else None)
        self._hear()

    # -- time

    @rule(seconds=st.sampled_from([0.5, 0.5, 1.0, 1.0, 2.0, 4.0, 10.0, 16.0, 31.0]))
    def wait(self, seconds: float) -> None:
        """Time passes, from one timer to the next."""
        end = self.now + seconds
        while self.now < end:
            calls = [call.getTime() for call in self.reactor.getDelayedCalls()]
            self.reactor.advance(min([end, *(at for at in calls if at > self.now)]) - self.now)
            self._hear()

    # -- what must hold

    @invariant()
    def bounded(self) -> None:
        """No pool holds more than it may, and what it holds is there."""
        held = 0
        for pool in self.target.pools if hasattr(self, "target") else ():
            counts = pool.counts()
            waiting = counts.pop("waiting")
            assert sum(counts.values()) <= self.bounds.max_connections
            assert not (waiting and not sum(counts.values()))
            assert not counts["idle"] or all(waiter.fresh for waiter in pool._waiting)
            held += sum(counts.values())
        if hasattr(self, "target"):
            # What is given up before it was ready is aborted, and its slot free at once.
            there = [b for b in self.backends if b.session.owner or not b.wire.aborted]
            assert len(there) <= held <= len(self.backends) + len(self.dialled)

    @invariant()
    def true_results(self) -> None:
        """What was checked where a result came in is so."""
        for fault in getattr(self, "faults", ()):
            fault.raiseException()

    @invariant()
    def one_result(self) -> None:
        """Each job has one result, or waits."""
        for sent in getattr(self, "jobs", ()):
            assert len(sent.results) == (sent.number not in self.waiting)

    @invariant()
    def in_time(self) -> None:
        """A job ends by its deadline, or if its dot is out within the time for the reply."""
        for number in getattr(self, "waiting", ()):
            sent = self.jobs[number]
            assert self.now <= sent.job.deadline + (TIMES.dot if sent.dots else 0.0)

    @invariant()
    def idle_is_clean(self) -> None:
        """What lies idle owes nothing and is owed nothing."""
        if not hasattr(self, "target"):
            return
        idle = {session for pool in self.target.pools for session in pool._idle}
        for backend in self.backends:
            if backend.session in idle:
                assert backend.ready
                assert not backend.owed
                assert not backend.lied
                assert not backend.wire.disconnecting
                assert backend.messages < self.bounds.max_messages
                # It has had a message that it heard nothing of, and is idle since then.
                since = max(backend.since, self.declined)
                assert self.now - since <= self.bounds.idle
                assert self.now - backend.born <= self.bounds.max_age

    def teardown(self) -> None:
        """Before silent backends all jobs end by themselves; then nothing is left."""
        if not hasattr(self, "target"):
            return
        end = self.now + LONGEST
        while self.waiting and self.now < end:
            self.reap()
            self.wait(1.0)
        assert not self.waiting, "a job never ends"
        assert not self.told
        ended = self.target.end()
        while self.backends:
            self._end(self.backends[0], reset=True)
        assert not self.dialled or not any(pool.counts()["busy"] for pool in self.target.pools)
        self.target.abort()
        assert self.target.pools == ()
        assert ended.called
        assert self.reactor.getDelayedCalls() == []
        self.one_result()
        assert not self.told
        self.true_results()
