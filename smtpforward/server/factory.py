"""Twisted's ESMTP factory for the edge: settings in, one protocol and session per client out."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress
from twisted.mail import smtp

from smtpforward.config.settings import Settings
from smtpforward.dispatch import Dispatcher
from smtpforward.envelope import Client
from smtpforward.interfaces import ISession
from smtpforward.net import peer
from smtpforward.net.clock import Clock
from smtpforward.server.conversation import Conversation
from smtpforward.server.protocol import GatewaySMTP
from smtpforward.server.session import GatewaySession


class GatewayFactory(smtp.SMTPFactory):
    """Makes the connections of the edge, and knows them.

    :param settings: what holds for connections and transactions that begin from now on.
    :param sessions: makes the :class:`smtpforward.interfaces.ISession` of a client, in place of
        the gateway's own.
    :ivar draining: no new transaction begins; each connection ends when it is between two.
    """

    noisy = False
    protocol: Any = GatewaySMTP

    def __init__(
        self,
        settings: Settings,
        dispatcher: Dispatcher,
        clock: Clock,
        sessions: Callable[[Client], ISession] | None = None,
    ) -> None:
        smtp.SMTPFactory.__init__(self)
        self.settings = settings
        self.domain = settings.me.encode("ascii")
        self.draining = False
        self._dispatcher = dispatcher
        self._clock = clock
        self._sessions = sessions or self._session
        self._open: set[Conversation] = set()
        self._draining: list[Deferred[None]] = []

    def _session(self, client: Client) -> ISession:
        return GatewaySession(client, lambda: self.settings, self._dispatcher, self._clock)

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A protocol for a client at ``addr``."""
        ip, port = peer.textual(addr)
        session = self._sessions(Client(ip, port))
        protocol = self.protocol(self.settings, session, self._clock)
        protocol.factory = self
        return protocol

    def opened(self, protocol: Conversation) -> None:
        """A connection is there."""
        self._open.add(protocol)

    def closed(self, protocol: Conversation) -> None:
        """A connection has gone."""
        self._open.discard(protocol)
        while self._draining and not self._open:
            self._draining.pop().callback(None)

    def drain(self) -> Deferred[None]:
        """Let transactions in progress end, and nothing begin; fires when all clients have gone."""
        self.draining = True
        for protocol in list(self._open):
            protocol.shut_down()
        if not self._open:
            return succeed(None)
        empty: Deferred[None] = Deferred()
        self._draining.append(empty)
        return empty

    def abort(self) -> None:
        """Cut off whoever is still there."""
        for protocol in list(self._open):
            peer.abort(protocol.transport)

    def __repr__(self) -> str:
        return f"<GatewayFactory clients={len(self._open)} draining={self.draining}>"
