"""The forwarding target: which server, which connection, and what is never tried again."""

from collections.abc import Callable, Sequence
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionLost, NoRouteError
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import implementer
from zope.interface.verify import verifyObject

from smtpforward.client.rests import PassingRests
from smtpforward.client.slots import OwnSlots
from smtpforward.client.target import MOST_OUT_OF_REACH, ForwardTarget
from smtpforward.interfaces import IDeliver
from smtpforward.job import (
    TLS,
    Credentials,
    Event,
    NextHop,
    Outcome,
    PoolBounds,
    Server,
    Stage,
    Timeouts,
)
from tests.clientsupport import (
    GREETING,
    MESSAGE,
    OTHER_SERVER,
    PIPELINING_EHLO,
    PLAIN_EHLO,
    SERVER,
    ReactorCase,
    Wire,
    make_job,
)

OK = b"250 ok\r\n"
GO = b"354 go\r\n"
NO = b"550 no\r\n"
CLOSING = b"421 closing\r\n"
BOTH = (SERVER, OTHER_SERVER)
ONE = PoolBounds(max_connections=1)


class TargetCase(ReactorCase):
    """One target."""

    def events(self, delivery: "Deferred[list[Outcome]]") -> list[Event]:
        """What became of each recipient."""
        return [outcome.event for outcome in self.successResultOf(delivery)]

    def counts(self) -> list[dict[str, int]]:
        """What each pool holds, zeros left out."""
        return [
            {name: count for name, count in pool.counts().items() if count}
            for pool in self.target.pools
        ]

    def answer(self, wire: Wire, begun: bytes = b"") -> bytes:
        """The backend takes one message; what the client sends after it."""
        self.assertTrue((begun or wire.sent()).startswith(b"MAIL"))
        self.assertEqual(wire.says(OK, OK, GO), MESSAGE + b".\r\n")
        return wire.says(OK)

    def idle(self) -> Wire:
        """A connection that has carried one message and is idle."""
        delivery = self.deliver()
        wire = self.greet()
        self.answer(wire)
        self.assertEqual(self.events(delivery), [Event.ACCEPTED])
        return wire


class DeliveryTests(TargetCase):
    """One message, one server."""

    def test_interface(self) -> None:
        """It is a target."""
        verifyObject(IDeliver, self.target)

    def test_accepted(self) -> None:
        """Connect, send, told."""
        delivery = self.deliver()
        self.assertEqual(self.counts(), [{"connecting": 1}])
        wire = self.greet()
        self.assertEqual(self.counts(), [{"busy": 1}])
        self.answer(wire)
        self.assertEqual(self.events(delivery), [Event.ACCEPTED])
        self.assertEqual(self.counts(), [{"idle": 1}])

    def test_recipients(self) -> None:
        """One outcome per recipient, in order."""
        delivery = self.deliver(make_job(3, atomic=False))
        wire = self.greet()
        wire.says(OK, OK, NO, OK)
        wire.says(GO)
        wire.says(OK)
        outcomes = self.successResultOf(delivery)
        self.assertEqual(
            [(bytes(o.recipient.address), o.event) for o in outcomes],
            [
                (b"r0@example.com", Event.ACCEPTED),
                (b"r1@example.com", Event.REFUSED),
                (b"r2@example.com", Event.ACCEPTED),
            ],
        )

    def test_reused(self) -> None:
        """The next message takes the same connection, at once."""
        wire = self.idle()
        delivery = self.deliver()
        self.answer(wire)
        self.assertEqual(self.events(delivery), [Event.ACCEPTED])
        self.assertEqual(len(self.attempts()), 1)

    def test_times(self) -> None:
        """How long a message waits for a connection, and how long its backend takes."""
        counts = self.target.counts
        self.deliver()
        self.reactor.advance(2.0)
        wire = self.greet()
        self.reactor.advance(3.0)
        self.answer(wire)
        self.assertEqual((counts.wait.total, counts.backend.total), (2.0, 3.0))
        self.deliver()
        self.reactor.advance(1.0)
        self.answer(wire)
        self.assertEqual((counts.wait.total, counts.backend.total), (2.0, 4.0))
        self.assertEqual((sum(counts.wait.buckets), sum(counts.backend.buckets)), (2, 2))

    def test_down(self) -> None:
        """A server that could not be reached is known as such, unless a connection lives."""
        wire = self.idle()
        self.target.lost(SERVER)
        self.assertFalse(self.target.is_down(SERVER))
        wire.lose()
        self.assertTrue(self.target.is_down(SERVER))
        for number in range(2 * MOST_OUT_OF_REACH):
            self.target.lost(evolve(SERVER, port=number))
        self.assertEqual(len(self.target._out_of_reach), MOST_OUT_OF_REACH)
        self.assertFalse(self.target.is_down(SERVER))

    def test_forgotten(self) -> None:
        """An empty pool is forgotten, and nothing is left in the clock."""
        self.idle().lose()
        self.assertEqual(self.target.pools, ())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_two_servers_two_pools(self) -> None:
        """A server is its host, port, bind address and HELO name: two never share."""
        self.idle()
        for other in (
            Server("192.0.2.1", 26, "gateway.example"),
            Server("192.0.2.1", 25, "other.example"),
            Server("192.0.2.1", 25, "gateway.example", bind="192.0.2.99"),
        ):
            self.deliver(make_job(servers=[other]))
        self.assertEqual(len(self.attempts()), 4)
        self.assertEqual(len(self.target.pools), 4)

    def test_unreachable(self) -> None:
        """No connection: an outcome for each recipient that names the server."""
        delivery = self.deliver(make_job(2))
        self.refuse(Refused())
        first, second = self.successResultOf(delivery)
        self.assertEqual((first.event, first.stage), (Event.UNREACHABLE, Stage.CONNECT))
        self.assertEqual(first.peer, "192.0.2.1:25")
        self.assertIn("refused", first.detail)
        self.assertEqual(second.recipient.address.local, b"r1")

    def test_greeting(self) -> None:
        """What the backend said to that stands in the outcome."""
        delivery = self.deliver()
        self.accept().says(CLOSING)
        [outcome] = self.successResultOf(delivery)
        self.assertIs(outcome.event, Event.CLOSING)
        assert outcome.reply is not None
        self.assertEqual(outcome.reply.code, 421)

    def test_pool_full(self) -> None:
        """No connection became free: that is another stage."""
        self.deliver(make_job(bounds=ONE))
        delivery = self.deliver(make_job(bounds=ONE, timeouts=Timeouts(connect=5.0)))
        self.reactor.advance(5)
        [outcome] = self.successResultOf(delivery)
        self.assertEqual((outcome.event, outcome.stage), (Event.POOL_FULL, Stage.WAIT))

    def test_waiter(self) -> None:
        """A job that waited gets the connection of the one before it."""
        first = self.deliver(make_job(bounds=ONE))
        second = self.deliver(make_job(bounds=ONE))
        wire = self.greet()
        self.assertEqual(self.counts(), [{"busy": 1, "waiting": 1}])
        self.answer(wire, self.answer(wire))
        self.assertEqual(self.events(first) + self.events(second), [Event.ACCEPTED] * 2)

    def test_fault(self) -> None:
        """An exception of ours is the only failure of the Deferred."""

        class Broken:
            """Connects to nothing."""

            def connect(self, server: Server, job: Any) -> Any:
                """Fail."""
                raise ZeroDivisionError

        target = ForwardTarget(Broken(), self.reactor)  # type: ignore[arg-type]
        with self.assertRaises(ZeroDivisionError):
            target.deliver(make_job())

    def test_fault_of_the_connector(self) -> None:
        """What the connector fails of is logged, and is an outcome."""

        class Broken:
            """Connects to nothing."""

            def connect(self, server: Server, job: Any) -> Any:
                """Fail."""
                return fail(ZeroDivisionError())

        target = ForwardTarget(Broken(), self.reactor)  # type: ignore[arg-type]
        self.assertEqual(self.events(target.deliver(make_job())), [Event.FAULT])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_fault_while_sending(self) -> None:
        """An exception between connection and message is the job's failure."""
        wire = self.idle()
        session = self.target.pools[0].take()
        assert session is not None
        self.target.pools[0].idle(session)
        session.send = lambda job, done: 1 / 0  # type: ignore[method-assign,assignment,return-value]
        self.failureResultOf(self.deliver(), ZeroDivisionError)
        self.assertEqual(wire.sent(), b"")

    def test_fault_after_the_client_went(self) -> None:
        """When nobody waits any more it is logged."""
        self.idle()
        session = self.target.pools[0].take()
        assert session is not None
        self.target.pools[0].idle(session)
        told: list[Callable[[list[Outcome]], None]] = []
        session.send = lambda job, done: told.append(done)  # type: ignore[method-assign]
        delivery = self.deliver()
        delivery.cancel()
        self.assert_cancelled(delivery)
        told[0]([])
        self.assertEqual(len(self.flushLoggedErrors(IndexError)), 1)


class NewRoutesTests(TargetCase):
    """What becomes of the pools when there are other routes."""

    def adopt(self, *hops: NextHop, renewed: Sequence[TLS] = ()) -> None:
        """These are the routes now."""
        self.target.adopt(hops, renewed)

    def test_unchanged(self) -> None:
        """A backend that is still there keeps its connections."""
        wire = self.idle()
        self.adopt(NextHop((OTHER_SERVER,)), NextHop((SERVER,)))
        self.assertEqual(self.counts(), [{"idle": 1}])
        self.answer(wire, self.deliver_now(wire))

    def deliver_now(self, wire: Wire) -> bytes:
        """Deliver over ``wire``; what the backend sees."""
        self.deliver()
        return wire.sent()

    def test_gone(self) -> None:
        """One that is not says good-bye to those that are idle; a job that has it is served."""
        wire = self.idle()
        self.adopt(NextHop((OTHER_SERVER,)))
        self.assertEqual(wire.sent(), b"QUIT\r\n")
        wire.lose()
        delivery = self.deliver()
        wire = self.greet()
        self.assertEqual(self.answer(wire), b"QUIT\r\n")
        self.assertEqual(self.events(delivery), [Event.ACCEPTED])

    def test_gone_while_busy(self) -> None:
        """A transaction in progress comes to its end."""
        delivery = self.deliver()
        wire = self.greet()
        self.adopt(NextHop((OTHER_SERVER,)))
        self.assertEqual(self.answer(wire), b"QUIT\r\n")
        self.assertEqual(self.events(delivery), [Event.ACCEPTED])

    def test_back(self) -> None:
        """One that comes back keeps its connections again."""
        self.deliver()
        wire = self.greet()
        self.adopt(NextHop((OTHER_SERVER,)))
        self.adopt(NextHop((SERVER,)))
        self.answer(wire)
        self.assertEqual(self.counts(), [{"idle": 1}])

    def test_new_bounds(self) -> None:
        """They hold for jobs of earlier routes as well."""
        self.adopt(NextHop((SERVER,), bounds=ONE))
        for _ in range(2):
            self.deliver(make_job(bounds=PoolBounds(max_connections=10)))
        self.assertEqual(self.counts(), [{"connecting": 1, "waiting": 1}])
        self.adopt(NextHop((SERVER,), bounds=PoolBounds(max_connections=2)))
        self.assertEqual(self.counts(), [{"connecting": 2}])

    def test_renewed(self) -> None:
        """With other certificates, connections of the policies that use them are made anew."""
        wire = self.idle()
        self.adopt(NextHop((SERVER,)), renewed=[TLS.REQUIRED])
        self.assertEqual(self.counts(), [{"idle": 1}])
        self.adopt(NextHop((SERVER,)), renewed=[SERVER.tls])
        self.assertEqual(wire.sent(), b"QUIT\r\n")

    def test_renewed_alone(self) -> None:
        """Without routes it is the connections alone: the pool stays, and keeps new ones."""
        wire = self.idle()
        self.target.renew([TLS.REQUIRED])
        self.assertEqual(self.counts(), [{"idle": 1}])
        self.target.renew([SERVER.tls])
        self.assertEqual(wire.sent(), b"QUIT\r\n")
        wire.lose()
        self.idle()
        self.assertEqual(self.counts(), [{"idle": 1}])

    def test_rebound(self) -> None:
        """Without routes new bounds hold for the pools that there are."""
        for _ in range(2):
            self.deliver(make_job(bounds=ONE))
        self.assertEqual(self.counts(), [{"connecting": 1, "waiting": 1}])
        self.target.rebound(PoolBounds(max_connections=2))
        self.assertEqual(self.counts(), [{"connecting": 2}])
        self.target.wind_down()
        self.target.rebound(PoolBounds(max_connections=3))
        # What is free at the end is not kept, whatever the bounds are.
        wire = self.greet()
        self.assertEqual(self.answer(wire, self.answer(wire)), b"QUIT\r\n")

    def test_resting(self) -> None:
        """A server of no route does not rest."""
        self.deliver(make_job(servers=BOTH))
        self.refuse(Refused())
        self.assertEqual(list(self.target.hosts.resting), [SERVER])
        self.adopt(NextHop((OTHER_SERVER,)))
        self.assertEqual(list(self.target.hosts.resting), [])

    def test_while_ending(self) -> None:
        """New routes do not keep a pool from its end."""
        wire = self.idle()
        self.target.wind_down()
        self.adopt(NextHop((SERVER,)))
        self.assertEqual(wire.sent(), b"QUIT\r\n")
        self.assertEqual(self.counts(), [{"closing": 1}])


class ServersTests(TargetCase):
    """Several servers, in order, as long as none was reached."""

    def test_rests_of_another_kind(self) -> None:
        """What keeps the rests may be given; with those that pass there is no probe."""
        target = ForwardTarget(self.connector, self.reactor, hosts=PassingRests(self.reactor))
        self.target = target
        delivery = self.deliver(make_job(servers=BOTH))
        self.refuse(Refused())
        self.answer(self.greet())
        self.assertEqual(self.events(delivery), [Event.ACCEPTED])
        self.assertEqual(list(target.hosts.resting), [SERVER])
        self.reactor.advance(60)
        self.assertEqual(self.attempts(), [SERVER.host, OTHER_SERVER.host])
        self.assertEqual(list(target.hosts.resting), [])

    def test_next_one(self) -> None:
        """A failed connect moves on."""
        delivery = self.deliver(make_job(servers=BOTH))
        self.refuse(Refused())
        self.assertEqual(self.attempts(), ["192.0.2.1", "192.0.2.2"])
        self.answer(self.greet())
        [outcome] = self.successResultOf(delivery)
        self.assertEqual(outcome.peer, "192.0.2.2[192.0.2.2]:25")

    def test_shared(self) -> None:
        """The next job goes to the one that has the fewest; what lies idle counts for nothing."""
        first, second = (self.deliver(make_job(servers=BOTH)) for _ in BOTH)
        wire = self.greet(0)
        self.answer(self.greet(1))
        self.assertEqual(self.attempts(), ["192.0.2.1", "192.0.2.2"])
        self.assertEqual(self.events(second), [Event.ACCEPTED])
        self.deliver(make_job(servers=BOTH))
        self.answer(wire)
        self.assertEqual(self.events(first), [Event.ACCEPTED])
        self.deliver(make_job(servers=BOTH))
        self.assertEqual(self.attempts(), ["192.0.2.1", "192.0.2.2"])
        busy = [pool.counts()["busy"] for pool in self.target.pools]
        self.assertEqual(busy, [1, 1])

    def test_not_ready(self) -> None:
        """So does a server that greets with a refusal, or not at all."""
        for says in (b"554 no\r\n", CLOSING, b"rubbish\r\n", b"220 gateway.example hi\r\n"):
            self.setUp()
            self.deliver(make_job(servers=BOTH))
            self.accept().says(says)
            self.assertEqual(self.attempts(), ["192.0.2.1", "192.0.2.2"])

    def test_all_fail(self) -> None:
        """The last one's failure is the answer."""
        delivery = self.deliver(make_job(servers=BOTH))
        self.refuse(Refused())
        self.refuse(Refused())
        [outcome] = self.successResultOf(delivery)
        self.assertEqual((outcome.event, outcome.peer), (Event.UNREACHABLE, "192.0.2.2:25"))
        self.assertEqual(self.target.pools, ())

    def test_deadline(self) -> None:
        """After the deadline no further one is tried."""
        delivery = self.deliver(make_job(servers=BOTH, deadline=10.0))
        self.reactor.advance(10)
        self.assertEqual(self.events(delivery), [Event.UNREACHABLE])
        self.assertEqual(self.attempts(), ["192.0.2.1"])

    def test_reached(self) -> None:
        """A server that was reached has the last word, whatever it is."""
        for says in (NO, CLOSING, b"rubbish\r\n"):
            self.setUp()
            delivery = self.deliver(make_job(servers=BOTH))
            wire = self.greet(ehlo=PLAIN_EHLO)
            wire.says(says)
            self.assertEqual(len(self.successResultOf(delivery)), 1)
            self.assertEqual(self.attempts(), ["192.0.2.1"])

    def test_resting_one_last(self) -> None:
        """A message that follows begins with the one that was reached."""
        self.deliver(make_job(servers=BOTH))
        self.refuse(Refused())
        self.greet()
        self.deliver(make_job(servers=BOTH))
        self.assertEqual(self.attempts(), ["192.0.2.1", "192.0.2.2", "192.0.2.2"])

    def test_resting_one_tried_anyway(self) -> None:
        """Where the other one fails too, the resting one is tried within the transaction."""
        self.deliver(make_job(servers=BOTH))
        self.refuse(Refused())
        self.greet()
        delivery = self.deliver(make_job(servers=BOTH))
        self.refuse(NoRouteError())
        self.assertEqual(self.attempts()[2:], ["192.0.2.2", "192.0.2.1"])
        self.answer(self.greet())
        self.assertEqual(self.events(delivery), [Event.ACCEPTED])
        self.assertEqual(self.target.hosts.resting, [OTHER_SERVER])

    def test_all_down(self) -> None:
        """Where all rest, all are tried: the one that has rested longest first."""
        for expected in (["192.0.2.1", "192.0.2.2"], ["192.0.2.1", "192.0.2.2"]):
            before = len(self.attempts())
            self.deliver(make_job(servers=BOTH, deadline=1e9))
            for _ in BOTH:
                self.refuse(Refused())
                self.reactor.advance(1)
            self.assertEqual(self.attempts()[before:], expected)

    def test_one_server_never_rests(self) -> None:
        """Where there is no other one, nothing rests and nothing is probed."""
        self.deliver()
        self.refuse(Refused())
        self.assertEqual(self.target.hosts.resting, [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_what_says_nothing_about_the_server(self) -> None:
        """A full pool, and a deadline that has passed, make nobody rest."""
        for _ in BOTH:
            self.deliver(make_job(servers=BOTH, bounds=ONE))
            self.greet()
        self.deliver(make_job(servers=BOTH, bounds=ONE))
        self.reactor.advance(30)
        self.assertEqual(self.target.hosts.resting, [])
        self.setUp()
        self.deliver(make_job(servers=BOTH, deadline=10.0))
        self.reactor.advance(10)
        self.assertEqual(self.target.hosts.resting, [])

    def test_set_up_faults_rest(self) -> None:
        """A server whose login fails is no use either: the next one is, and it rests."""
        for_login = [evolve(s, credentials=Credentials("PLAIN", "a", "b")) for s in BOTH]
        self.deliver(make_job(servers=for_login))
        wire = self.accept()
        wire.says(GREETING)
        wire.says(PLAIN_EHLO)
        self.assertEqual(self.attempts(), ["192.0.2.1", "192.0.2.2"])
        self.assertEqual(self.target.hosts.resting, for_login[:1])


class Share(OwnSlots):
    """Slots that come and go as a test says."""

    def tell(self, used: int, lacking: int, bound: int) -> None:
        """It stays as it is."""


class ProbeTests(TargetCase):
    """A server that rests is looked at, by a connection that no message waits for."""

    def rest(self) -> None:
        """The first one rests."""
        self.deliver(make_job(servers=BOTH))
        self.refuse(Refused())
        self.answer(self.greet())
        self.assertEqual(self.target.hosts.resting, [SERVER])
        self.reactor.advance(59)
        self.assertEqual(len(self.attempts()), 2)

    def test_back(self) -> None:
        """Reached after ``retry_dead_after``: QUIT, and the next message begins with it."""
        self.rest()
        self.reactor.advance(1)
        self.assertEqual(self.attempts()[2:], ["192.0.2.1"])
        wire = self.greet()
        self.assertEqual(wire.sent(), b"QUIT\r\n")
        self.assertEqual(self.target.hosts.resting, [])
        wire.says(b"221 bye\r\n")
        wire.lose()
        self.deliver(make_job(servers=BOTH))
        self.assertEqual(self.attempts()[3:], ["192.0.2.1"])

    def test_still_down(self) -> None:
        """It goes on resting, and is probed again after as long."""
        self.rest()
        for count in (3, 4):
            self.reactor.advance(60 if count > 3 else 1)
            self.assertEqual(len(self.attempts()), count)
            self.refuse(Refused())
            self.assertEqual(self.target.hosts.resting, [SERVER])

    def test_reached_by_a_message(self) -> None:
        """A message that reaches it before the probe does makes the probe needless."""
        self.rest()
        self.deliver(make_job(servers=[SERVER], deadline=1e9))
        self.greet()
        self.assertEqual(self.target.hosts.resting, [])
        self.reactor.advance(100)
        self.assertEqual(len(self.attempts()), 3)

    def test_within_the_bound(self) -> None:
        """A probe counts as a connection of its pool, and waits for no slot."""
        self.rest()
        self.deliver(make_job(servers=[SERVER], bounds=ONE, deadline=1e9))
        self.reactor.advance(1)
        self.assertEqual(len(self.attempts()), 3)
        self.assertEqual(self.target.hosts.resting, [SERVER])

    def test_without_a_slot(self) -> None:
        """Where slots come from a parent the probe waits for one."""
        shares: list[Share] = []

        def later(server: Server, bound: int) -> Share:
            shares.append(Share(bound))
            shares[-1].limit = 0 if self.reactor.seconds() else bound
            return shares[-1]

        self.target = ForwardTarget(self.connector, self.reactor, later)
        self.rest()
        self.reactor.advance(1)
        self.assertEqual(len(self.attempts()), 2)
        shares[-1].limit = 1
        shares[-1].changed()
        self.greet()
        self.assertEqual(self.target.hosts.resting, [])

    def test_end(self) -> None:
        """The end stops timers and probes, and none begins again."""
        self.rest()
        self.target.end()
        self.reactor.advance(1000)
        self.assertEqual(len(self.attempts()), 2)
        self.setUp()
        self.rest()
        self.reactor.advance(1)
        self.target.end()
        self.assertTrue(self.reactor.connectors[-1].stoppedConnecting)
        self.reactor.advance(1000)
        self.assertEqual(len(self.attempts()), 3)

    def test_abort(self) -> None:
        """So does an abort, and it leaves nothing behind."""
        self.rest()
        self.reactor.advance(1)
        wire = self.accept()
        self.target.abort()
        self.assertTrue(wire.aborted)
        wire.lose()
        self.reactor.advance(1000)
        self.assertEqual(len(self.attempts()), 3)


class StaleTests(TargetCase):
    """A reused connection that ends before the message was sent."""

    def test_replaced(self) -> None:
        """It is replaced by a fresh one, silently."""
        wire = self.idle()
        delivery = self.deliver()
        wire.lose(ConnectionLost())
        self.assertNoResult(delivery)
        self.assertEqual(len(self.attempts()), 2)
        self.answer(self.greet())
        self.assertEqual(self.events(delivery), [Event.ACCEPTED])

    def test_at_each_stage(self) -> None:
        """Whether it drops, closes with 421 or falls silent, before our dot."""
        for before in ((), (OK,), (OK, OK)):
            for end in ("lost", "421", "silent"):
                self.setUp()
                wire = self.idle()
                delivery = self.deliver(make_job(timeouts=Timeouts(reply=5.0)))
                for says in before:
                    wire.says(says)
                if end == "lost":
                    wire.lose(ConnectionLost())
                elif end == "421":
                    wire.says(CLOSING)
                else:
                    self.reactor.advance(5)
                self.assertEqual(len(self.attempts()), 2, (before, end))
                self.answer(self.greet())
                self.assertEqual(self.events(delivery), [Event.ACCEPTED])

    def test_idle_ones_are_not_tried(self) -> None:
        """The replacement is a new connection, not another old one."""
        deliveries = [self.deliver(), self.deliver()]
        wires = [self.greet(0), self.greet(1)]
        for wire in wires:
            self.answer(wire)
        for each in deliveries:
            self.successResultOf(each)
        self.deliver()
        wires[1].lose(ConnectionLost())
        self.assertEqual(self.counts(), [{"connecting": 1, "idle": 1}])

    def test_room_for_the_replacement(self) -> None:
        """In a full pool it waits for the slot of the one that it replaces."""
        self.target = ForwardTarget(self.connector, self.reactor)
        job = make_job(bounds=ONE)
        self.deliver(job)
        wire = self.greet()
        self.answer(wire)
        delivery = self.deliver(job)
        wire.says(CLOSING)
        self.assertEqual(self.counts(), [{"closing": 1, "waiting": 1}])
        wire.lose()
        self.answer(self.greet())
        self.assertEqual(self.events(delivery), [Event.ACCEPTED])

    def test_once(self) -> None:
        """The fresh one's end is the answer."""
        wire = self.idle()
        delivery = self.deliver()
        wire.lose(ConnectionLost())
        self.greet().lose(ConnectionLost())
        self.assertEqual(self.events(delivery), [Event.DROPPED])
        self.assertEqual(len(self.attempts()), 2)

    def test_fresh_connect_fails(self) -> None:
        """So is the failure to have one."""
        wire = self.idle()
        delivery = self.deliver()
        wire.lose(ConnectionLost())
        self.refuse(Refused())
        self.assertEqual(self.events(delivery), [Event.UNREACHABLE])

    def test_spare(self) -> None:
        """So is one that nobody has used: its job took another, and it has lain idle since."""
        self.deliver()
        wire = self.greet()
        second = self.deliver()
        self.answer(wire, self.answer(wire))
        self.assertEqual(self.events(second), [Event.ACCEPTED])
        spare = self.greet(1)
        self.assertEqual(self.counts(), [{"idle": 2}])
        third = self.deliver()
        spare.lose(ConnectionLost())
        self.answer(self.greet())
        self.assertEqual(self.events(third), [Event.ACCEPTED])

    def test_first_use(self) -> None:
        """A connection that was never used before is not stale."""
        delivery = self.deliver()
        self.greet().lose(ConnectionLost())
        self.assertEqual(self.events(delivery), [Event.DROPPED])
        self.assertEqual(len(self.attempts()), 1)

    def test_deadline(self) -> None:
        """After the deadline nothing is tried again."""
        wire = self.idle()
        delivery = self.deliver(make_job(deadline=10.0))
        self.reactor.advance(10)
        self.assertTrue(wire.aborted)
        self.assertEqual(self.events(delivery), [Event.DROPPED])
        self.assertEqual(len(self.attempts()), 1)

    def test_refused_is_not_stale(self) -> None:
        """A backend that refused the one recipient and hung up has answered."""
        wire = self.idle()
        delivery = self.deliver()
        wire.says(OK, NO)
        wire.lose()
        self.assertEqual(self.events(delivery), [Event.REFUSED])
        self.assertEqual(len(self.attempts()), 1)

    def test_partly_refused(self) -> None:
        """A refusal of the first recipient does not hide that the others have no answer."""
        wire = self.idle()
        delivery = self.deliver(make_job(2))
        wire.says(OK, NO)
        wire.lose()
        self.assertNoResult(delivery)
        self.assertEqual(len(self.attempts()), 2)

    def test_after_the_dot(self) -> None:
        """After our dot nothing is tried again: lost, silent, 421 or rubbish."""
        for end, event in (
            ("lost", Event.IN_DOUBT),
            ("silent", Event.IN_DOUBT),
            ("421", Event.CLOSING),
            ("rubbish", Event.NONSENSE),
        ):
            self.setUp()
            wire = self.idle()
            delivery = self.deliver()
            self.assertTrue(wire.says(OK, OK, GO).endswith(b".\r\n"))
            if end == "lost":
                wire.lose(ConnectionLost())
            elif end == "silent":
                self.reactor.advance(570)
            else:
                wire.says(CLOSING if end == "421" else b"rubbish\r\n")
            self.assertEqual(self.events(delivery), [event])
            self.assertEqual(len(self.attempts()), 1, end)


class CancelTests(TargetCase):
    """The client goes away, at each stage."""

    def test_waiting(self) -> None:
        """While it waits for a connection: its place is free."""
        first = self.deliver(make_job(bounds=ONE))
        delivery = self.deliver(make_job(bounds=ONE, servers=BOTH))
        delivery.cancel()
        self.assert_cancelled(delivery)
        self.assertEqual(self.counts(), [{"connecting": 1}])
        self.assertNoResult(first)

    def test_connecting(self) -> None:
        """While TCP is not through: the attempt ends, and no other server is tried."""
        delivery = self.deliver(make_job(servers=BOTH))
        delivery.cancel()
        self.assert_cancelled(delivery)
        self.assertTrue(self.reactor.connectors[0].stoppedConnecting)
        self.assertEqual(self.attempts(), ["192.0.2.1"])
        self.assertEqual(self.target.pools, ())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_opening(self) -> None:
        """While greeting or EHLO are awaited: closed, and no other server is tried."""
        for says in ((), (GREETING,)):
            self.setUp()
            delivery = self.deliver(make_job(servers=BOTH))
            wire = self.accept()
            for data in says:
                wire.says(data)
            delivery.cancel()
            self.assert_cancelled(delivery)
            self.assertTrue(wire.aborted)
            self.assertEqual(wire.says(PIPELINING_EHLO), b"")
            self.assertEqual(self.attempts(), ["192.0.2.1"])
            self.assertEqual(self.target.pools, ())

    def test_sending(self) -> None:
        """Before our dot: the connection is closed, and nothing is tried again."""
        for before in ((), (OK,), (OK, OK)):
            self.setUp()
            wire = self.idle()
            delivery = self.deliver()
            for says in before:
                wire.says(says)
            delivery.cancel()
            self.assert_cancelled(delivery)
            self.assertTrue(wire.aborted)
            self.assertEqual(self.counts(), [{"closing": 1}])
            wire.lose()
            self.assertEqual(len(self.attempts()), 1)
            self.assertEqual(self.target.pools, ())

    def test_replacing(self) -> None:
        """While a stale connection is being replaced."""
        wire = self.idle()
        delivery = self.deliver()
        wire.lose(ConnectionLost())
        delivery.cancel()
        self.assert_cancelled(delivery)
        self.assertTrue(self.reactor.connectors[1].stoppedConnecting)
        self.assertEqual(self.target.pools, ())

    def test_waiting_for_the_answer(self) -> None:
        """After our dot the transaction runs to its reply, which is logged."""
        for says, words in ((OK, "the backend has the message (250 ok)"), (NO, "(550 no)")):
            self.setUp()
            logged = self.logged()
            delivery = self.deliver()
            wire = self.greet()
            wire.says(OK, OK, GO)
            delivery.cancel()
            self.assert_cancelled(delivery)
            self.assertFalse(wire.aborted)
            wire.says(says)
            self.assertEqual(self.counts(), [{"idle": 1}])
            [line] = logged
            self.assertIn("id=1 relay=192.0.2.1[192.0.2.1]:25: after the client went away", line)
            self.assertIn(words, line)

    def test_lost_after_the_dot(self) -> None:
        """A connection that ends then is logged, too, and not replaced."""
        wire = self.idle()
        logged = self.logged()
        delivery = self.deliver()
        wire.says(OK, OK, GO)
        delivery.cancel()
        self.assert_cancelled(delivery)
        wire.lose(ConnectionLost())
        self.assertEqual(len(self.attempts()), 1)
        self.assertIn("after our dot was sent", logged[0])

    def logged(self) -> list[str]:
        """The lines that a hand-over logs from now on."""
        lines: list[str] = []

        @implementer(ILogObserver)
        def note(event: LogEvent) -> None:
            text = formatEvent(event)
            if "after the client went away" in text:
                lines.append(text)

        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)
        return lines


class EndTests(TargetCase):
    """Shutdown."""

    def test_empty(self) -> None:
        """Nothing to end."""
        self.successResultOf(self.target.end())

    def test_idle(self) -> None:
        """Idle ones say good-bye; the end has come when all are closed."""
        wire = self.idle()
        ending = self.target.end()
        self.assertEqual(wire.sent(), b"QUIT\r\n")
        self.assertNoResult(ending)
        wire.says(b"221 bye\r\n")
        wire.lose()
        self.successResultOf(ending)

    def test_quit_unanswered(self) -> None:
        """A backend that does not let go is not waited for."""
        wire = self.idle()
        self.target.end()
        self.reactor.advance(5)
        self.assertTrue(wire.aborted)

    def test_busy(self) -> None:
        """Busy ones finish."""
        delivery = self.deliver()
        wire = self.greet()
        ending = self.target.end()
        self.assertEqual(self.answer(wire), b"QUIT\r\n")
        self.assertEqual(self.events(delivery), [Event.ACCEPTED])
        wire.lose()
        self.successResultOf(ending)

    def test_nothing_new(self) -> None:
        """What comes then, for a known backend or a new one, is told so and dials nobody."""
        self.deliver()
        wire = self.greet()
        ending = self.target.end()
        for servers in ([SERVER], [OTHER_SERVER], BOTH):
            [outcome] = self.successResultOf(self.deliver(make_job(servers=servers)))
            self.assertIs(outcome.event, Event.POOL_FULL)
            self.assertIn("shutting down", outcome.detail)
        self.assertEqual(self.attempts(), ["192.0.2.1"])
        self.assertNoResult(ending)
        wire.lose()
        self.successResultOf(ending)
        self.assertEqual(self.target.pools, ())

    def test_stale_at_the_end(self) -> None:
        """A stale connection is not replaced any more."""
        wire = self.idle()
        delivery = self.deliver()
        ending = self.target.end()
        wire.lose(ConnectionLost())
        self.assertEqual(self.events(delivery), [Event.POOL_FULL])
        self.assertEqual(len(self.attempts()), 1)
        self.successResultOf(ending)

    def test_wind_down(self) -> None:
        """While the edge ends, jobs are served, by known pools and new ones; nothing is kept."""
        idle = self.idle()
        self.target.wind_down()
        self.assertEqual(idle.sent(), b"QUIT\r\n")
        idle.lose()
        delivery = self.deliver()
        wire = self.greet()
        self.assertEqual(self.answer(wire), b"QUIT\r\n")
        self.assertEqual(self.events(delivery), [Event.ACCEPTED])

    def test_abort(self) -> None:
        """Everything closes at once, and every job hears of it."""
        busy = self.deliver(make_job(servers=BOTH))
        wire = self.greet()
        connecting = self.deliver(make_job(servers=BOTH))
        ending = self.target.end()
        self.target.abort()
        self.assertTrue(wire.aborted)
        wire.lose()
        self.assertEqual(self.events(connecting), [Event.POOL_FULL])
        self.assertEqual(self.events(busy), [Event.DROPPED])
        self.successResultOf(ending)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(self.attempts(), ["192.0.2.1", "192.0.2.2"])
