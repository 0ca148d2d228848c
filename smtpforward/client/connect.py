"""Opens one connection to a backend: one ``ESMTPSenderFactory`` makes one connection.

The factory's ``result`` means that the connection is ready, or why it never will be. It is fired by
the protocol itself: behind an endpoint Twisted tells a client factory nothing of lost connections.
"""

from typing import Any

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.interfaces import IAddress
from twisted.mail import smtp
from twisted.python.failure import Failure

from smtpforward.client.errors import ConnectFailed
from smtpforward.client.session import BackendSession
from smtpforward.job import Event, Job, Server, Timeouts
from smtpforward.net.clock import Clock


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

    def buildProtocol(self, addr: IAddress | None) -> BackendSession:
        """The session, prepared."""
        session: BackendSession = smtp.ESMTPSenderFactory.buildProtocol(self, addr)
        name, own_name = self._server.host, self._own_name
        session.prepare(name, own_name, self._timeouts, self._deadline, self._clock)
        self.session = session
        return session


class Connector:
    """Opens connections.

    :param own_name: this host's name as configured: a backend that greets with it is this gateway.
    """

    def __init__(self, reactor: Any, own_name: str | None, clock: Clock | None = None) -> None:
        self._reactor = reactor
        self._clock: Clock = clock or reactor
        self._own_name = own_name

    def connect(self, server: Server, job: Job) -> "Deferred[BackendSession]":
        """A connection to ``server`` that is ready for the mail of ``job``.

        :return: Deferred; it fails with :class:`ConnectFailed`. Cancelling closes the connection.
        """
        reactor, timeouts = self._reactor, job.next_hop.timeouts
        factory = BackendFactory(server, self._own_name, timeouts, job.deadline, self._clock)
        ready: Deferred[BackendSession] = factory.result
        outcome: Deferred[BackendSession] = Deferred(
            lambda given_up: _give_up(given_up, connecting, factory)
        )
        ready.addCallbacks(outcome.callback, outcome.errback)
        seconds = max(0.0, min(timeouts.connect, job.deadline - reactor.seconds()))
        connecting: Deferred[Any] = self._endpoint(server, seconds).connect(factory)
        connecting.addTimeout(seconds, reactor, _too_late)
        connecting.addErrback(_not_connected, server, outcome)
        return outcome

    def _endpoint(self, server: Server, seconds: float) -> Any:
        bind = (server.bind, 0) if server.bind else None
        if isIPAddress(server.host):
            kind: Any = TCP4ClientEndpoint
        elif isIPv6Address(server.host):
            kind = TCP6ClientEndpoint
        else:
            kind = HostnameEndpoint
        return kind(self._reactor, server.host, server.port, timeout=seconds, bindAddress=bind)


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
    refused = failure.check(Refused) is not None
    outcome.errback(ConnectFailed(Event.UNREACHABLE, detail, full=refused))
