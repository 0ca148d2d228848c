"""Faults of other gateways' connection pools: none of them comes back here.

Each test is named after the fault and cites its report; ``tests/guards/client.py`` names the line
that keeps it away.
"""

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.error import ConnectionRefusedError as Refused

from smtpforward.job import Event, Job, Outcome, PoolBounds
from tests.clientsupport import GREETING, MESSAGE, SERVER, ReactorCase, Wire, make_job

OK = b"250 ok\r\n"
GO = b"354 go\r\n"
NO = b"550 no\r\n"
CLOSING = b"421 too many connections\r\n"
ONE = PoolBounds(max_connections=1)


class PoolTraps(ReactorCase):
    """One target, backends that a test plays."""

    def jobs(self, count: int, job: Job | None = None) -> "list[Deferred[list[Outcome]]]":
        """So many of them, in one moment."""
        return [self.deliver(job) for _ in range(count)]

    def events(self, *deliveries: "Deferred[list[Outcome]]") -> list[Event]:
        """What became of each, in order."""
        return [self.successResultOf(each)[0].event for each in deliveries]

    def counts(self) -> dict[str, int]:
        """What the one pool holds, zeros left out; nothing where it is forgotten."""
        pools = self.target.pools
        return {k: v for pool in pools for k, v in pool.counts().items() if v}

    def take(self, wire: Wire) -> None:
        """The backend takes the message that was begun."""
        self.assertEqual(wire.says(OK, OK, GO), MESSAGE + b".\r\n")
        wire.protocol.dataReceived(OK)

    def used(self) -> Wire:
        """An idle connection that has carried one message."""
        delivery = self.deliver()
        wire = self.greet()
        wire.sent()
        self.take(wire)
        self.assertEqual(self.events(delivery), [Event.ACCEPTED])
        return wire


class HarakaPoolTraps(PoolTraps):
    """Haraka's pool, removed in 2022."""

    def test_redialled_non_stop(self) -> None:
        """haraka#3100: a host that does not answer is dialled once, and the caller hears."""
        delivery = self.deliver()
        self.reactor.advance(30)
        self.assertEqual(self.events(delivery), [Event.UNREACHABLE])
        self.reactor.advance(3600)
        self.assertEqual(len(self.attempts()), 1)

    def test_given_away_before_the_reply_to_rset(self) -> None:
        """haraka#1852: the next transaction begins after the reply to RSET, not before."""
        first = self.deliver(make_job(bounds=ONE))
        second = self.deliver(make_job(bounds=ONE))
        wire = self.greet()
        wire.sent()
        self.assertEqual(wire.says(OK, NO, NO), b"RSET\r\n")
        self.assertEqual(self.events(first), [Event.REFUSED])
        self.assertEqual(self.counts(), {"busy": 1, "waiting": 1})
        self.assertNoResult(second)
        self.assertTrue(wire.says(OK).startswith(b"MAIL"))
        self.take(wire)
        self.assertEqual(self.events(second), [Event.ACCEPTED])

    def test_fin_races_with_release(self) -> None:
        """haraka#3118, Mail-Toaster-6#524: a FIN right after the last reply harms nobody."""
        self.used().lose()
        self.assertEqual(self.counts(), {})
        delivery = self.deliver()
        self.assertEqual(len(self.attempts()), 2)
        wire = self.greet()
        wire.sent()
        self.take(wire)
        self.assertEqual(self.events(delivery), [Event.ACCEPTED])

    def test_fin_races_with_release_to_a_waiter(self) -> None:
        """haraka#3118: nor where the connection has just been given to a waiter."""
        first, second = self.jobs(2, make_job(bounds=ONE))
        wire = self.greet()
        wire.sent()
        self.take(wire)
        self.assertEqual(self.events(first), [Event.ACCEPTED])
        self.assertTrue(wire.sent().startswith(b"MAIL"))
        wire.lose(ConnectionLost())
        other = self.greet()
        other.sent()
        self.take(other)
        self.assertEqual(self.events(second), [Event.ACCEPTED])

    def test_acquire_blocks_for_ever(self) -> None:
        """haraka#2556: a job that gets no connection is told so within ``connect_timeout``."""
        holding, waiting = self.jobs(2, make_job(bounds=ONE))
        self.greet()
        self.reactor.advance(30)
        self.assertEqual(self.events(waiting), [Event.POOL_FULL])
        self.assertNoResult(holding)
        self.assertEqual(self.counts(), {"busy": 1})

    def test_key_too_coarse(self) -> None:
        """haraka#2788: two servers that differ in anything never share a connection."""
        self.used()
        for server in (evolve(SERVER, helo="b.example"), evolve(SERVER, bind="192.0.2.99")):
            dialled = len(self.attempts())
            self.deliver(make_job(servers=[server]))
            self.assertEqual(len(self.attempts()), dialled + 1)

    def test_session_older_than_the_peer_allows(self) -> None:
        """haraka#2321: a connection retires by age, however busy, before its peer ends it."""
        wire = self.used()
        for _ in range(11):
            self.reactor.advance(20)
            delivery = self.deliver()
            wire.sent()
            self.take(wire)
            self.assertEqual(self.events(delivery), [Event.ACCEPTED])
        self.reactor.advance(19)
        delivery = self.deliver()
        wire.sent()
        self.reactor.advance(1)
        self.take(wire)
        self.assertEqual(self.events(delivery), [Event.ACCEPTED])
        self.assertEqual(wire.sent(), b"QUIT\r\n")

    def test_session_ended_by_the_peer(self) -> None:
        """haraka#2321: where the peer was quicker, the next mail gets no 4xx for it."""
        wire = self.used()
        delivery = self.deliver()
        wire.says(b"421 session too long\r\n")
        self.assertNoResult(delivery)
        other = self.greet()
        other.sent()
        self.take(other)
        self.assertEqual(self.events(delivery), [Event.ACCEPTED])

    def test_idle_connections_fill_the_backend(self) -> None:
        """Mail-Toaster-6#527: a backend that allows two gets its connections back by timer."""
        deliveries = self.jobs(2)
        wires = [self.greet(0), self.greet(1)]
        for wire in wires:
            wire.sent()
            self.take(wire)
        self.assertEqual(self.events(*deliveries), [Event.ACCEPTED] * 2)
        self.reactor.advance(30)
        self.assertEqual([wire.sent() for wire in wires], [b"QUIT\r\n"] * 2)

    def test_backend_that_allows_few(self) -> None:
        """Mail-Toaster-6#527: the job for which there is no room at the backend waits its turn."""
        for refusal in ("421", "refused"):
            self.setUp()
            first, second = self.jobs(2)
            wire = self.greet(0)
            wire.sent()
            if refusal == "421":
                self.accept(1).says(CLOSING)
            else:
                self.refuse(Refused(), 1)
            self.assertEqual(self.counts(), {"busy": 1, "waiting": 1})
            self.take(wire)
            self.assertEqual(self.events(first), [Event.ACCEPTED])
            wire.sent()
            self.take(wire)
            self.assertEqual(self.events(second), [Event.ACCEPTED])
            self.assertEqual(len(self.attempts()), 2)


class HarakaTodayTraps(PoolTraps):
    """Haraka 3.1.5, of what is a matter of connections."""

    def test_two_backends_on_one_host(self) -> None:
        """Its key leaves the port out: two backends on one host count as one."""
        self.used()
        self.deliver(make_job(servers=[evolve(SERVER, port=2525)]))
        self.assertEqual([client[1] for client in self.reactor.tcpClients], [25, 2525])

    def test_drop_is_noticed_late(self) -> None:
        """A backend that drops is an answer at once, not after a timeout."""
        delivery = self.deliver()
        wire = self.greet()
        wire.says(OK)
        wire.lose(ConnectionLost())
        self.assertEqual(self.events(delivery), [Event.DROPPED])


class OtherPoolTraps(PoolTraps):
    """httpcore, slimta, maddy."""

    def test_cancelled_when_just_assigned(self) -> None:
        """httpcore#1093: a job cancelled right after it got its connection leaks no slot."""
        first, second, third = self.jobs(3, make_job(bounds=ONE))
        wire = self.greet()
        wire.sent()
        self.take(wire)
        self.assertEqual(self.events(first), [Event.ACCEPTED])
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.assertTrue(wire.aborted)
        wire.lose()
        other = self.greet()
        other.sent()
        self.take(other)
        self.assertEqual(self.events(third), [Event.ACCEPTED])

    def test_cancelled_while_connecting(self) -> None:
        """httpcore#1093: nor does one whose connection is just being made."""
        first, second = self.jobs(2, make_job(bounds=ONE))
        self.accept().says(GREETING)
        first.cancel()
        self.failureResultOf(first, CancelledError)
        wire = self.greet()
        wire.sent()
        self.take(wire)
        self.assertEqual(self.events(second), [Event.ACCEPTED])

    def test_one_after_the_other(self) -> None:
        """slimta: five jobs in one tick with one idle connection are five transactions at once."""
        self.used()
        self.jobs(5)
        self.assertEqual(self.counts(), {"busy": 1, "connecting": 4})

    def test_one_after_the_first_wave(self) -> None:
        """slimta: after a wave of five, the next five are five at once, on the same connections."""
        deliveries = self.jobs(5)
        for wire in [self.greet(index) for index in range(5)]:
            wire.sent()
            self.take(wire)
        self.assertEqual(self.events(*deliveries), [Event.ACCEPTED] * 5)
        self.assertEqual(self.counts(), {"idle": 5})
        self.jobs(5)
        self.assertEqual(self.counts(), {"busy": 5})

    def test_idle_beyond_the_limit(self) -> None:
        """maddy#693: what has been idle long enough goes then, without any traffic."""
        wire = self.used()
        self.reactor.advance(29)
        self.assertEqual(wire.sent(), b"")
        self.reactor.advance(1)
        self.assertEqual(wire.sent(), b"QUIT\r\n")
