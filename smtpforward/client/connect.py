"""Opens one connection to a backend: one ``ESMTPSenderFactory`` makes one connection.

The factory's ``result`` means that the connection is ready, or why it never will be. It is fired by
the protocol itself: behind an endpoint Twisted tells a client factory nothing of lost connections.

Failure policy: nothing is tried twice but this: where TLS was merely offered, asked for by nobody,
and its handshake fails, a fresh connection goes without; the backend is then left alone with TLS
for ten minutes. Of a name with several addresses each is tried, within the same time.
"""

from typing import Any, Protocol

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.mail import smtp
from twisted.python.failure import Failure

from smtpforward.client.addresses import RestingAddresses
from smtpforward.client.dial import Dial
from smtpforward.client.errors import ConnectFailed, is_our_own
from smtpforward.client.opening import Security
from smtpforward.client.session import BackendSession
from smtpforward.client.shown import ShownSession
from smtpforward.facts import Fact
from smtpforward.job import TLS, Event, NextHop, Server, Timeouts
from smtpforward.net.clock import Clock
from smtpforward.net.tls import ClientContexts

CLEAR_FOR = 600.0
MOST_CLEAR = 10_000


class Purpose(Protocol):
    """What a connection is opened for: a job, or a look at the server."""

    @property
    def next_hop(self) -> NextHop:
        """Whose timeouts hold."""

    @property
    def deadline(self) -> float:
        """When it must be ready, on the clock."""


class BackendFactory(smtp.ESMTPSenderFactory):
    """Makes the one protocol of one connection."""

    noisy = False
    protocol = BackendSession

    def __init__(
        self,
        server: Server,
        own_name: str | None,
        timeouts: Timeouts,
        deadline: float,
        clock: Clock,
        security: Security | None = None,
    ) -> None:
        ready: Deferred[BackendSession] = Deferred()
        smtp.ESMTPSenderFactory.__init__(
            *(self, None, None, b"", [], None, ready),
            retries=0,
            heloFallback=True,
            requireAuthentication=False,
            requireTransportSecurity=False,
        )
        self.domain = server.helo.encode("ascii")
        self.session: BackendSession | None = None
        self._server = server
        self._own_name = own_name
        self._timeouts = timeouts
        self._deadline = deadline
        self._clock = clock
        self._security = security or Security(server.tls, None, server.credentials)

    def buildProtocol(self, addr: IAddress | None) -> BackendSession:
        """The session, prepared."""
        session: BackendSession = smtp.ESMTPSenderFactory.buildProtocol(self, addr)
        session.prepare(
            self._server.host,
            self._own_name,
            self._timeouts,
            self._deadline,
            self._clock,
            self._security,
        )
        self.session = session
        return session


class ClearPlaces(Fact):
    """The backends whose TLS has failed of late, where it was merely offered, by host and port.

    Worker processes tell each other. Bounded: the one that failed the longest ago is forgotten.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: dict[tuple[str, int], float] = {}

    def add(self, place: tuple[str, int]) -> None:
        """``place`` is left alone with TLS for a while."""
        self.hear(place)
        self.tell(place)

    def hear(self, place: tuple[str, int]) -> None:  # type: ignore[override]
        """One of the worker processes has failed there."""
        self._until.pop(place, None)
        self._until[place] = self._clock.seconds() + CLEAR_FOR
        if len(self._until) > MOST_CLEAR:
            del self._until[next(iter(self._until))]

    def forget(self) -> None:
        """Try TLS again everywhere."""
        self._until.clear()

    def __contains__(self, place: tuple[str, int]) -> bool:
        """Whether ``place`` is still left alone."""
        until = self._until.get(place)
        if until is not None and until <= self._clock.seconds():
            del self._until[place]
            until = None
        return until is not None


class Connector:
    """Opens connections.

    :param own_name: this host's name as configured: a backend that greets with it is this gateway.
    :param contexts: TLS; without them a policy that demands it cannot be met.
    :ivar addresses: those that rest, of names that have several.
    :ivar shown: the servers whose dialogues are shown in the log.
    :ivar clear: where mail goes without TLS that was merely offered.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        own_name: str | None,
        contexts: ClientContexts | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._reactor = reactor
        self._clock: Clock = clock or reactor
        self._own_name = own_name
        self._contexts = contexts
        self.shown: frozenset[Server] = frozenset()
        self.clear = ClearPlaces(self._clock)
        self.addresses = RestingAddresses(self._clock)

    def adopt(self, own_name: str | None, contexts: ClientContexts | None) -> None:
        """Use these for connections from now on; what TLS was given up for is tried again."""
        self._own_name = own_name
        if contexts is not self._contexts:
            self._contexts = contexts
            self.clear.forget()

    def connect(self, server: Server, purpose: Purpose) -> "Deferred[BackendSession]":
        """A connection to ``server`` that is ready for mail.

        :return: Deferred; it fails with :class:`ConnectFailed`. Cancelling closes the connection.
        """
        security = self._security(server)
        opening = self._open(server, purpose, security)
        if security.may_go_clear:
            opening.addErrback(self._without_tls, server, purpose)
        return opening

    def _security(self, server: Server) -> Security:
        contexts, policy = self._contexts, server.tls
        if policy is TLS.NEVER or contexts is None:
            return Security(policy, None, server.credentials)
        place = (server.host, server.port)
        verify = policy is not TLS.OFFERED or contexts.verifies_always
        creator = contexts.creator(server.host, place, verify)
        security = Security(policy, creator, server.credentials)
        if place in self.clear and not (verify or security.needs_tls):
            return Security(policy, None, server.credentials)
        return security

    def _without_tls(
        self, failure: Failure, server: Server, purpose: Purpose
    ) -> "Failure | Deferred[BackendSession]":
        """The handshake of TLS that was merely offered has failed: once more, in the clear."""
        now = self._clock.seconds()
        error = failure.value
        if not isinstance(error, ConnectFailed) or error.event is not Event.TLS:
            return failure
        self.clear.add((server.host, server.port))
        self.log.warn(
            "{server} offers TLS and fails at it, so mail goes in the clear for {minutes:.0f}"
            " minutes: {why}",
            server=str(server),
            minutes=CLEAR_FOR / 60,
            why=error.detail,
        )
        if now >= purpose.deadline:
            return failure
        return self._open(server, purpose, Security(server.tls, None, server.credentials))

    def _factory(self, server: Server, purpose: Purpose, security: Security) -> BackendFactory:
        timeouts, own_name = purpose.next_hop.timeouts, self._own_name
        deadline, clock = purpose.deadline, self._clock
        factory = BackendFactory(server, own_name, timeouts, deadline, clock, security)
        if self.shown and server in self.shown:
            factory.protocol = ShownSession
        return factory

    def _open(
        self, server: Server, purpose: Purpose, security: Security
    ) -> "Deferred[BackendSession]":
        host = server.host
        if server.address is not None or isIPAddress(host) or isIPv6Address(host):
            return self._attempt(server, purpose, security)
        rest, deadline = purpose.next_hop.retry_dead_after, purpose.deadline
        dial = Dial(self._reactor, self.addresses, server, rest, deadline, self._clock)
        return self._dial(dial, server, purpose, security)

    def _dial(
        self, dial: Dial, server: Server, purpose: Purpose, security: Security
    ) -> "Deferred[BackendSession]":
        """A connection to one of the addresses that are left."""
        attempt = self._attempt(server, purpose, security, dial)
        return attempt.addCallbacks(
            dial.ready, self._next_address, errbackArgs=(dial, server, purpose, security)
        )

    def _next_address(
        self, failure: Failure, dial: Dial, server: Server, purpose: Purpose, security: Security
    ) -> "Failure | Deferred[BackendSession]":
        """An address was reached, and is of no use: one that is left."""
        error = failure.value
        if not isinstance(error, ConnectFailed):
            return failure
        if error.event is Event.TLS and security.may_go_clear:
            return failure
        if not dial.opening_failed(error):
            return failure
        # What makes TLS makes it for one connection.
        again = self._security(server) if security.creator is not None else security
        return self._dial(dial, server, purpose, again)

    def _attempt(
        self, server: Server, purpose: Purpose, security: Security, dial: Dial | None = None
    ) -> "Deferred[BackendSession]":
        reactor, timeouts = self._reactor, purpose.next_hop.timeouts
        left = purpose.deadline - self._clock.seconds()
        factory = self._factory(server, purpose, security)
        ready: Deferred[BackendSession] = factory.result
        outcome: Deferred[BackendSession] = Deferred(
            lambda given_up: _give_up(given_up, connecting, factory)
        )
        ready.addCallbacks(outcome.callback, outcome.errback)
        seconds = max(0.0, min(timeouts.connect, left))
        endpoint = self._endpoint(server, seconds, dial)
        connecting: Deferred[Any] = endpoint.connect(factory)
        connecting.addTimeout(seconds, reactor, _too_late)
        if dial is not None:
            connecting.addErrback(dial.not_connected)
        connecting.addErrback(_not_connected, server, outcome)
        return outcome

    def _endpoint(self, server: Server, seconds: float, dial: Dial | None) -> Any:
        bind = (server.bind, 0) if server.bind else None
        host, port = server.address or server.host, server.port
        if dial is not None:
            return HostnameEndpoint(dial, host, port, timeout=seconds, bindAddress=bind)
        kind = TCP4ClientEndpoint if isIPAddress(host) else TCP6ClientEndpoint
        return kind(self._reactor, host, port, timeout=seconds, bindAddress=bind)


def _give_up(
    outcome: "Deferred[BackendSession]", connecting: "Deferred[Any]", factory: BackendFactory
) -> None:
    if factory.session is not None:
        factory.session.abort()
        return
    # First: an endpoint answers its cancel with an error of its own kind.
    outcome.errback(CancelledError())
    connecting.cancel()


def _too_late(result: Any, seconds: float) -> Failure:
    """Twisted's own would let what an endpoint says to a cancel pass for the reason."""
    return Failure(DeferredTimeout(f"no connection in {seconds:g} seconds"))


def _not_connected(failure: Failure, server: Server, outcome: "Deferred[BackendSession]") -> None:
    if outcome.called:
        return
    detail = f"{server}: {failure.getErrorMessage()}"
    event = Event.FAULT if is_our_own(failure) else Event.UNREACHABLE
    refused = failure.check(Refused) is not None
    outcome.errback(ConnectFailed(event, detail, full=refused))
