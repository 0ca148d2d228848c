"""Connections to backends whose dialogue is shown, without secrets and without mail.

They are of a class of their own: all other connections know nothing of this.
"""

from typing import Any

from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from smtpforward.client.session import BackendSession
from smtpforward.dialogue import Dialogue
from smtpforward.net.tapped import TappedTransport

NOTE = "-"
_log = Logger(namespace="smtpforward.dialogue")


class ShownSession(BackendSession):
    """One of them; its lines go to the log."""

    def say(self, who: str, text: str) -> None:
        """``C`` is the gateway, ``S`` the backend, ``-`` neither: what became of the connection."""
        backend = self.peer_name
        facts = {"event": "dialogue", "backend": backend, "who": who, "said": text}
        _log.info("backend {peer} {who}: {said}", peer=backend, who=who, said=text, facts=facts)

    def makeConnection(self, transport: Any) -> None:
        """See IProtocol."""
        self._dialogue = Dialogue(self.say)
        super().makeConnection(TappedTransport(transport, self._dialogue.client))

    def connectionMade(self) -> None:
        self.say(NOTE, "connected")
        super().connectionMade()

    def handshakeCompleted(self) -> None:
        """See IHandshakeListener."""
        self.say(NOTE, f"TLS: {self.transport.getHandle().get_protocol_version_name()}")
        super().handshakeCompleted()

    def dataReceived(self, data: bytes) -> None:
        self._dialogue.server(data)
        super().dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.say(NOTE, f"closed: {reason.getErrorMessage()}")
        super().connectionLost(reason)
