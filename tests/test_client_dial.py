"""Connecting to a name with several addresses, on a reactor without sockets."""

import errno
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectBindError, ConnectionLost, UserError
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IHostnameResolver, IResolutionReceiver
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from smtpforward.client.addresses import RestingAddresses
from smtpforward.client.dial import Dial, _Receiver
from smtpforward.client.errors import ConnectFailed
from smtpforward.client.session import BackendSession
from smtpforward.job import TLS, Credentials, Event, NextHop, PoolBounds, Server
from smtpforward.net.clock import Watch
from tests.clientsupport import (
    GREETING,
    OTHER_SERVER,
    PLAIN_EHLO,
    TIMEOUTS,
    ReactorCase,
    Resolver,
    Wire,
    log_lines,
    make_job,
)

NAME = Server("mail.example", 25, "gateway.example")
A, B, C = "192.0.2.11", "192.0.2.12", "192.0.2.13"
V = "2001:db8::1"
STEP = 0.3  # between two addresses of the endpoint


class DialCase(ReactorCase):
    """A name with three addresses."""

    def setUp(self) -> None:
        """Nobody rests; the log is kept."""
        super().setUp()
        self.resolver = Resolver(A, B, C)
        self.reactor.nameResolver = self.resolver
        self.lines = log_lines(self)

    def connect(self, server: Server = NAME, **changes: Any) -> "Deferred[BackendSession]":
        """Begin one connection."""
        now = self.reactor.seconds()
        job = make_job(servers=(server,), **{"deadline": now + TIMEOUTS.forward, **changes})
        return self.connector.connect(server, job)

    def dialled(self) -> list[str]:
        """The addresses since the last call."""
        attempts = self.attempts()[self.seen :]
        self.seen += len(attempts)
        return attempts

    seen = 0

    def resting(self) -> list[str]:
        """The addresses that rest."""
        return [
            place.partition("[")[2].partition("]")[0] for place in self.connector.addresses.resting
        ]

    def ready(self, wire: Wire) -> None:
        """The backend greets and takes EHLO."""
        wire.says(GREETING)
        wire.says(PLAIN_EHLO)

    def assert_no_timer(self) -> None:
        """There is none but those of connections, whose end is the reactor's to tell."""
        owners = [getattr(c.func, "__self__", c.func) for c in self.reactor.getDelayedCalls()]
        self.assertEqual([owner for owner in owners if not isinstance(owner, Watch)], [])

    def session(self, connecting: "Deferred[BackendSession]") -> str:
        """The address of the one connection that is ready; nothing is left in the clock."""
        session = self.successResultOf(connecting)
        self.assert_no_timer()
        return session.peer_name.partition("[")[2].partition("]")[0]

    def why(self, connecting: "Deferred[BackendSession]") -> ConnectFailed:
        """Why there is none; nothing is left in the clock."""
        failure: Failure = self.failureResultOf(connecting, ConnectFailed)
        self.assert_no_timer()
        return failure.value  # type: ignore[return-value]


class ConnectTests(DialCase):
    """TCP."""

    def test_interfaces(self) -> None:
        """What stands in for Twisted's is like it."""
        resting = RestingAddresses(self.reactor)
        dial = Dial(self.reactor, resting, NAME, 60.0, 240.0, self.reactor)
        verifyObject(IHostnameResolver, dial)
        verifyObject(IResolutionReceiver, _Receiver(None, dial))

    def test_first(self) -> None:
        """The first one answers: nothing else is dialled, nothing kept."""
        connecting = self.connect()
        self.ready(self.accept())
        self.assertEqual(self.session(connecting), A)
        self.assertEqual(self.dialled(), [A])
        self.assertEqual(self.resting(), [])

    def test_families(self) -> None:
        """IPv4 and IPv6 in turn, a step apart."""
        self.resolver.has = [A, B, V]
        self.connect()
        for _ in range(2):
            self.reactor.advance(STEP)
        self.assertEqual(self.dialled(), [A, V, B])

    def test_bind(self) -> None:
        """Only those that the bound address can reach; each once."""
        self.resolver.has = [V, A, A, B]
        self.connect(evolve(NAME, bind="192.0.2.99"))
        for _ in range(4):
            self.reactor.advance(STEP)
        self.assertEqual(self.dialled(), [A, B])

    def test_refused(self) -> None:
        """It rests: the next connection begins with the others, and comes to it last."""
        connecting = self.connect()
        self.refuse(Refused())
        self.reactor.advance(STEP)
        self.ready(self.accept())
        self.assertEqual(self.session(connecting), B)
        self.assertEqual(self.resting(), [A])
        self.assertEqual(
            self.lines, ["mail.example[192.0.2.11]:25 rests: Connection was refused by other side."]
        )
        self.dialled()
        self.connect()
        for _ in range(2):
            self.reactor.advance(STEP)
        self.assertEqual(self.dialled(), [B, C, A])

    def test_back(self) -> None:
        """When the rest is over one connection begins with it, and it is back."""
        self.connect()
        self.refuse(Refused())
        self.reactor.advance(STEP)
        self.ready(self.accept())
        self.dialled()
        self.reactor.advance(60)
        connecting = self.connect()
        self.connect()
        self.assertEqual(self.dialled(), [A, B])
        self.ready(self.accept(-2))
        self.assertEqual(self.successResultOf(connecting).transport.getPeer().host, A)
        self.assertEqual(self.resting(), [])
        self.assertEqual(self.lines[1:], ["mail.example[192.0.2.11]:25 is back"])

    def test_timeout_of_one(self) -> None:
        """One that times out before the others answer."""
        self.connect()
        self.refuse(ConnectTimeout())
        self.assertEqual(self.resting(), [A])

    def test_overtaken(self) -> None:
        """One that was dialled before the one that answers; not one that was dialled after it."""
        connecting = self.connect()
        self.reactor.advance(STEP)
        self.reactor.advance(STEP)
        self.assertEqual(self.dialled(), [A, B, C])
        self.ready(self.accept(1))
        for index in (0, 2):
            self.assertTrue(self.reactor.connectors[index].stoppedConnecting)
            self.refuse(UserError(), index)  # As the real reactor says it then.
        self.assertEqual(self.session(connecting), B)
        self.assertEqual(self.resting(), [A])
        self.assertIn("no answer in 0.6 seconds, and 192.0.2.12 has answered", self.lines[0])

    def test_no_descriptor(self) -> None:
        """An address for which this host had no descriptor does not rest."""
        connecting = self.connect()
        for _ in range(3):
            self.refuse(ConnectBindError(errno.EMFILE, "Too many open files"))
            self.reactor.advance(STEP)
        self.assertIs(self.why(connecting).event, Event.FAULT)
        self.assertEqual(self.resting(), [])

    def test_all_refused(self) -> None:
        """The last one's failure is the answer; all rest, and all are tried again."""
        connecting = self.connect()
        for _ in range(3):
            self.refuse(Refused())
            self.reactor.advance(STEP)
        error = self.why(connecting)
        self.assertIs(error.event, Event.UNREACHABLE)
        self.assertTrue(error.full)
        self.assertEqual(self.dialled(), [A, B, C])
        self.assertEqual(self.resting(), [A, B, C])
        connecting = self.connect()
        self.ready(self.accept())
        self.assertEqual(self.session(connecting), A)
        self.assertEqual(self.resting(), [B, C])

    def test_no_answer(self) -> None:
        """After ``connect_timeout`` all that have not answered rest."""
        connecting = self.connect()
        self.reactor.pump([STEP] * 2 + [30])
        self.assertEqual(
            self.why(connecting).detail, "mail.example:25: no connection in 30 seconds"
        )
        for index in range(3):
            self.refuse(UserError(), index)
        self.assertEqual(self.resting(), [A, B, C])

    def test_deadline(self) -> None:
        """That a job's time is over says nothing about an address."""
        connecting = self.connect(deadline=5.0)
        self.reactor.pump([STEP] * 2 + [5])
        self.why(connecting)
        self.assertEqual(self.resting(), [])

    def test_cancelled(self) -> None:
        """Nor that the client has gone."""
        connecting = self.connect()
        self.reactor.advance(STEP)
        connecting.cancel()
        self.assert_cancelled(connecting)
        for index in range(2):
            self.assertTrue(self.reactor.connectors[index].stoppedConnecting)
            self.refuse(UserError(), index)
        self.assertEqual(self.resting(), [])
        self.assert_no_timer()

    def test_one_address(self) -> None:
        """Nothing is kept of a name that has one, nor of an address in its place."""
        self.resolver.has = [A]
        for server in (NAME, OTHER_SERVER):
            connecting = self.connect(server)
            self.refuse(Refused())
            self.reactor.advance(STEP)
            self.why(connecting)
            connecting = self.connect(server)
            self.accept().says(b"554 no\r\n")
            self.why(connecting)
        self.assertEqual(self.resting(), [])
        self.assertEqual(self.lines, [])
        self.assertEqual(len(self.attempts()), 4)

    def test_unknown_name(self) -> None:
        """A name without addresses."""
        self.resolver.has = []
        self.assertIs(self.why(self.connect()).event, Event.UNREACHABLE)


class OpeningTests(DialCase):
    """What answers, and is never ready."""

    def test_next_address(self) -> None:
        """However it fails as a server: the next address, in the same attempt; it rests."""
        for says in (b"554 no\r\n", b"421 full\r\n", b"rubbish\r\n", b"220 gateway.example hi\r\n"):
            self.setUp()
            connecting = self.connect()
            wire = self.accept()
            wire.says(says)
            self.assertTrue(wire.aborted)
            self.ready(self.accept())
            self.assertEqual(self.session(connecting), B)
            self.assertEqual(self.attempts(), [A, B])
            self.assertEqual(self.resting(), [A])

    def test_dropped(self) -> None:
        """A connection that ends."""
        connecting = self.connect()
        self.accept().lose(ConnectionLost())
        self.ready(self.accept())
        self.assertEqual(self.session(connecting), B)

    def test_silent(self) -> None:
        """No greeting in time."""
        connecting = self.connect()
        wire = self.accept()
        self.reactor.advance(180)
        wire.lose()
        self.ready(self.accept())
        self.assertEqual(self.session(connecting), B)
        self.assertEqual(self.lines, ["mail.example[192.0.2.11]:25 rests: no reply in time"])

    def test_not_after_the_deadline(self) -> None:
        """The job's time bounds all of it, and its end makes nobody rest."""
        connecting = self.connect(deadline=50.0)
        self.accept()
        self.reactor.advance(50)
        self.why(connecting)
        self.assertEqual(self.attempts(), [A])
        self.assertEqual(self.resting(), [])

    def test_each_once(self) -> None:
        """No address twice, nor one that was refused; the last one's failure is the answer."""
        connecting = self.connect()
        self.refuse(Refused())
        self.reactor.advance(STEP)
        self.accept().says(b"554 B\r\n")
        self.accept().says(b"554 C\r\n")
        self.assertIn("554 C", self.why(connecting).detail)
        self.assertEqual(self.attempts(), [A, B, C])
        self.assertEqual(self.resting(), [A, B, C])

    def test_login(self) -> None:
        """A login that is refused is not tried at each address."""
        login = Credentials("PLAIN", "a", "b")
        connecting = self.connect(evolve(NAME, credentials=login))
        wire = self.accept()
        wire.says(GREETING)
        wire.says(b"250-x\r\n250 AUTH PLAIN\r\n")
        wire.says(b"535 no\r\n")
        self.assertIs(self.why(connecting).event, Event.AUTH)
        self.assertEqual(self.attempts(), [A])
        self.assertEqual(self.resting(), [])

    def test_tls(self) -> None:
        """Where TLS is required, one that has none is of no use."""
        connecting = self.connect(evolve(NAME, tls=TLS.REQUIRED))
        for _ in range(3):
            wire = self.accept()
            wire.says(GREETING)
            wire.says(PLAIN_EHLO)
        self.assertIs(self.why(connecting).event, Event.TLS)
        self.assertEqual(self.attempts(), [A, B, C])

    def test_full(self) -> None:
        """One that is full stays so, though the others cannot be reached at all."""
        connecting = self.connect()
        self.accept().says(b"421 full\r\n")
        for _ in range(2):
            self.refuse(ConnectTimeout())
            self.reactor.advance(STEP)
        self.assertTrue(self.why(connecting).full)

    def test_cancelled(self) -> None:
        """At the second address it closes that one."""
        connecting = self.connect()
        self.accept().says(b"554 no\r\n")
        wire = self.accept()
        connecting.cancel()
        self.assert_cancelled(connecting)
        self.assertTrue(wire.aborted)
        wire.lose()
        self.assertEqual(self.resting(), [A])
        self.assert_no_timer()


class PoolTests(DialCase):
    """A message to such a name."""

    def test_one_pool(self) -> None:
        """``max_connections`` bounds all addresses together."""
        job = make_job(servers=(NAME,), bounds=PoolBounds(max_connections=1))
        self.target.deliver(job)
        self.accept().says(b"554 no\r\n")
        [pool] = self.target.pools
        self.assertEqual(pool.counts()["connecting"], 1)
        self.target.deliver(job)
        self.assertEqual(self.attempts(), [A, B])
        self.assertEqual(pool.counts()["waiting"], 1)

    def test_then_the_next_server(self) -> None:
        """Where no address will do, the next server of the route; the name rests as a whole."""
        self.target.deliver(make_job(servers=(NAME, OTHER_SERVER)))
        for _ in range(3):
            self.accept().says(b"554 no\r\n")
        self.assertEqual(self.attempts(), [A, B, C, OTHER_SERVER.host])
        self.assertEqual(self.target.hosts.resting, [NAME])

    def test_how_long(self) -> None:
        """As long as the route says."""
        job = make_job(servers=(NAME,))
        job = evolve(job, next_hop=NextHop((NAME,), TIMEOUTS, retry_dead_after=5.0))
        self.connector.connect(NAME, job)
        self.refuse(Refused())
        self.reactor.advance(4.9)
        self.dialled()
        for seconds, first in ((0, B), (0.1, A)):
            self.reactor.advance(seconds)
            self.connector.connect(NAME, job)
            self.assertEqual(self.dialled()[-1], first)
