"""The gateway as a service: what new settings replace."""

from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.config.settings import ClientTLS, Limits, Outbound, Routes, Settings
from smtpforward.gateway import QUIT_TIME, Gateway
from smtpforward.job import TLS, NextHop
from tests.support import settings


class ApplyTests(SynchronousTestCase):
    """``Gateway.apply``."""

    def setUp(self) -> None:
        """A gateway that listens nowhere, and what it says."""
        self.old = settings(listen=())
        self.gateway = Gateway(self.old, MemoryReactorClock())
        self.adopted: list[tuple[list[NextHop], set[TLS]]] = []
        self.gateway.target.adopt = self.adopt  # type: ignore[method-assign]
        self.said: list[str] = []
        observer: Callable[[Any], None] = lambda event: self.said.append(formatEvent(event))  # noqa: E731
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def adopt(self, hops: Any, renewed: Any) -> None:
        """The target gets them."""
        self.adopted.append((list(hops), set(renewed)))

    def apply(self, new: Settings) -> str:
        """Apply them; the line that says so."""
        self.said.clear()
        self.gateway.apply(new)
        self.assertIs(self.gateway.factory.settings, new)
        self.assertIs(self.gateway.settings, new)
        return self.said[0]

    def test_nothing_new(self) -> None:
        """The same again changes nothing, and the log says so."""
        line = self.apply(settings(listen=()))
        self.assertRegex(line, "^the settings were read again, .* id=[0-9A-F]+ .*: nothing$")
        self.assertEqual(self.adopted, [([self.old.routes.default.next_hop], set())])

    def test_what_is_new(self) -> None:
        """The log names the parts, and warnings are given again."""
        line = self.apply(
            attrs.evolve(self.old, limits=Limits(bytes=5), me="x.example", warnings=("mind this",))
        )
        self.assertRegex(line, "changed: me, limits$|changed: limits, me$")
        self.assertEqual(self.said[1:], ["mind this"])

    def test_routes(self) -> None:
        """The target hears of all next hops, and the log of the default one."""
        hop, other = NextHop(()), self.old.routes.default.next_hop
        route = attrs.evolve(self.old.routes.default, next_hop=hop, section="example.com")
        routes = Routes(self.old.routes.default, {"example.com": route})
        self.assertIn("changed: routes", self.apply(attrs.evolve(self.old, routes=routes)))
        self.assertEqual(self.adopted[0][0], [other, hop])
        self.assertIn("mx.example.net forwards to backend.example.com", self.said[1])

    def test_client_tls(self) -> None:
        """With other TLS settings, connections that use TLS are made anew."""
        contexts = self.gateway._contexts
        self.apply(attrs.evolve(self.old, client_tls=ClientTLS(min_version="TLSv1.3")))
        self.assertEqual(self.adopted[0][1], {TLS.OFFERED, TLS.REQUIRED, TLS.IMPLICIT})
        self.assertIsNot(self.gateway._contexts, contexts)
        self.assertIs(self.gateway._connector._contexts, self.gateway._contexts)

    def test_same_tls(self) -> None:
        """With the same ones, sessions can be taken up as before."""
        contexts = self.gateway._contexts
        self.apply(attrs.evolve(self.old, limits=Limits(bytes=5)))
        self.assertIs(self.gateway._contexts, contexts)

    def test_queue(self) -> None:
        """The queue stays where it is kept, and goes on without settings; each time it is said."""
        here = Outbound(store=f"sqlite:{self.mktemp()}")
        self.gateway._add_queueing(attrs.evolve(self.old, outbound=here))
        self.gateway.settings = attrs.evolve(self.old, outbound=here)
        queueing = self.gateway.queueing
        assert queueing is not None
        bounds: list[object] = []
        self.patch(queueing.direct, "rebound", bounds.append)
        there = Outbound(store="sqlite:/elsewhere", disabled=True)
        for given, holds, what in (
            (there, attrs.evolve(here, disabled=True), "where the outbound queue is kept"),
            (there, attrs.evolve(here, disabled=True), "where the outbound queue is kept"),
            (None, attrs.evolve(here, disabled=True), "whether there is an outbound queue"),
            (here, here, ""),
        ):
            self.said.clear()
            self.gateway.apply(attrs.evolve(self.old, outbound=given))
            self.assertEqual(self.gateway.settings.outbound, holds)
            self.assertEqual(self.gateway.factory.settings.outbound, holds)
            self.assertEqual(queueing.queue.settings.outbound, holds)
            said = [line.partition(" has changed")[0] for line in self.said if "restart" in line]
            self.assertEqual(said, [what] if what else [])
        self.assertEqual(self.said[-1], f"outbound queue: {here.store}, to MX hosts")
        self.assertEqual(bounds, [here.direct.bounds] * 4)
        queueing._lookups.stop()

    def test_listen(self) -> None:
        """Where to listen is not changed; the log says what that takes."""
        self.apply(attrs.evolve(self.old, listen=("tcp:2525",)))
        self.assertIn("what is listened on has changed: that takes a restart", self.said)


class ListeningTests(SynchronousTestCase):
    """What the queue is told of where this gateway listens."""

    def test_while_it_ends(self) -> None:
        """The places are known until the end: what is attempted meanwhile must not loop."""
        reactor = MemoryReactorClock()
        outbound = Outbound(store=f"sqlite:{self.mktemp()}")
        endpoint = TCP4ServerEndpoint(reactor, 2525, interface="127.0.0.1")
        gateway = Gateway(settings(listen=(), outbound=outbound), reactor, [endpoint])
        gateway.privilegedStartService()
        queueing = gateway.queueing
        assert queueing is not None
        self.patch(queueing.queue, "start", lambda: None)
        gateway.startService()
        places = [(address.host, address.port) for address in [gateway.ports()[0].getHost()]]
        self.assertTrue(queueing._is_ours(*places[0]))
        gateway.stopService()
        self.assertEqual(gateway.ports(), [None])
        self.assertTrue(queueing._is_ours(*places[0]))


class EndTests(SynchronousTestCase):
    """The end of the service."""

    def test_what_does_not_end(self) -> None:
        """Attempts and a store that go on whatever they are told hold nobody up."""
        reactor = MemoryReactorClock()
        given = settings(listen=(), outbound=Outbound(store=f"sqlite:{self.mktemp()}"))
        gateway = Gateway(given, reactor)
        assert gateway.queueing is not None
        for name in ("end", "break_off", "close"):
            # A list that has fired does not pass a cancel on to what it waits for then.
            self.patch(
                gateway.queueing.queue,
                name,
                lambda: DeferredList([succeed(None)]).addCallback(lambda _: Deferred()),
            )
        ending = gateway.stopService()
        reactor.advance(given.force_shutdown_timeout - 1)
        self.assertNoResult(ending)
        reactor.advance(1)
        self.assertNoResult(ending)
        reactor.advance(QUIT_TIME)
        self.successResultOf(ending)
