"""Twisted's ESMTP factory for the edge: settings in, one protocol per client out."""

from collections.abc import Callable
from typing import Any

from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.mail import smtp

from smtpforward import answers
from smtpforward.config.settings import Settings
from smtpforward.content import Memory
from smtpforward.counts import Counts
from smtpforward.dispatch import Dispatcher
from smtpforward.envelope import Client
from smtpforward.interfaces import ISession
from smtpforward.limits import ConnectionCount
from smtpforward.net import peer
from smtpforward.net.clock import Clock
from smtpforward.net.tls import ServerContexts
from smtpforward.server.auth import FailedLogins, mechanisms_of, portal_of
from smtpforward.server.conversation import Conversation
from smtpforward.server.protocol import GatewaySMTP
from smtpforward.server.session import GatewaySession
from smtpforward.server.shown import shown
from smtpforward.server.turnedaway import TurnedAway


class GatewayFactory(smtp.SMTPFactory):
    """Makes the connections of the edge, and knows them.

    :param settings: what holds for connections and transactions that begin from now on.
    :param sessions: makes the :class:`smtpforward.interfaces.ISession` of a client, in place of
        the gateway's own.
    :param portal: who may log in, in place of the settings' users; its realm gives
        :class:`smtpforward.server.auth.IAvatar` objects.
    :param most: clients at once, where the settings do not say how many; ``None`` for any number.
    :ivar contexts: the TLS of connections where it begins from now on, if there is a certificate.
    :ivar mechanisms: of AUTH, in the order announced.
    :ivar failed_logins: from everywhere, of late.
    :ivar memory: the bytes of messages in memory.
    :ivar connections: how many clients there are. ``counts``: what is counted.
    :ivar draining: no new transaction begins; each connection ends when it is between two.
    """

    log = Logger()
    noisy = False
    protocol: Any = GatewaySMTP

    def __init__(
        self,
        settings: Settings,
        dispatcher: Dispatcher,
        clock: Clock,
        sessions: Callable[[Client], ISession] | None = None,
        portal: Portal | None = None,
        most: int | None = None,
        counts: Counts | None = None,
    ) -> None:
        smtp.SMTPFactory.__init__(self)
        self.contexts: ServerContexts | None = None
        self.mechanisms: tuple[str, ...] = ()
        self.failed_logins = FailedLogins(clock)
        self.memory = Memory()
        self.connections = ConnectionCount(clock, most)
        self.counts = counts or Counts()
        self._given_portal = portal
        self._settings: Settings | None = None
        self.settings = settings
        self.draining = False
        self._dispatcher = dispatcher
        self._clock = clock
        self._sessions = sessions
        self._open: dict[Conversation, str] = {}
        self._draining: list[Deferred[None]] = []

    @property
    def settings(self) -> Settings:
        """What holds from now on."""
        assert self._settings is not None, "they are given at the beginning"
        return self._settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        known, self._settings = self._settings, settings
        self.domain = settings.me.encode("ascii")
        if known is None or known.tls != settings.tls:
            self.contexts = ServerContexts(settings.tls) if settings.tls else None
        if known is None or known.logins != settings.logins:
            self.portal = self._given_portal or portal_of(settings.logins)
            offered = self._given_portal or settings.logins.methods
            self.mechanisms = mechanisms_of(self.portal, settings.logins.methods) if offered else ()

    def session(self, client: Client) -> ISession:
        """A new session for a client that has not said anything."""
        if self._sessions is not None:
            return self._sessions(client)
        return GatewaySession(client, self._now, self._dispatcher, self._clock)

    def _now(self) -> Any:
        """The settings, without a detour: it is asked with every mail."""
        return self._settings

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A protocol for a client at ``addr``: one that turns it away, if it is one too many."""
        ip, port = peer.textual(addr)
        refusal = self.connections.refuse(self.settings, ip)
        if refusal is not None:
            self.counts.turned_away[answers.rule_of(refusal)] += 1
            facts = {"event": "turned_away", "client_ip": ip, "reply": refusal.text}
            self.log.info("{ip} is turned away: {reply}", ip=ip, reply=refusal.text, facts=facts)
            return TurnedAway(refusal, self.settings)
        kind, debug = self.protocol, self.settings.debug_session
        if debug is not None and ip in debug.clients:
            kind = shown(kind)
        protocol = kind(self.settings, Client(ip, port), self._clock)
        protocol.factory = self
        return protocol

    def opened(self, protocol: Conversation, ip: str) -> None:
        """A connection from ``ip`` is there."""
        self._open[protocol] = ip
        self.connections.add(ip)
        self.counts.connections += 1

    def closed(self, protocol: Conversation) -> None:
        """A connection has gone."""
        ip = self._open.pop(protocol, None)
        if ip is not None:
            self.connections.remove(ip)
        while self._draining and not self._open:
            self._draining.pop().callback(None)

    def drain(self) -> Deferred[None]:
        """Let transactions in progress end, and nothing begin; fires when all clients have gone."""
        self.draining = True
        for protocol in list(self._open):
            protocol.shut_down()
        return self.emptied()

    def emptied(self) -> Deferred[None]:
        """Fires when all clients have gone."""
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
