"""A client that is one too many: it hears why, and the connection ends. Nothing of it is kept.

The reply is short enough for the buffer of any new socket, so that closing needs no deadline. Under
TLS it would take a handshake to say it, which is what is to be spared: such a connection is reset.
"""

from typing import Any

from twisted.internet.interfaces import INegotiated
from twisted.internet.protocol import Protocol

from smtpforward.config.settings import Settings
from smtpforward.net import peer
from smtpforward.reply import Reply
from smtpforward.server import ports


class TurnedAway(Protocol):
    """One such connection.

    :param refusal: what it hears in place of the greeting.
    """

    transport: Any

    def __init__(self, refusal: Reply, settings: Settings) -> None:
        self._refusal = refusal
        self._settings = settings

    def connectionMade(self) -> None:
        port = ports.rules_of(self._settings, peer.textual(self.transport.getHost())[1])
        if port.tls_at_once or INegotiated.providedBy(self.transport):
            peer.abort(self.transport)
            return
        self.transport.write(self._refusal.wire())
        peer.close(self.transport)
