"""Clients' connections whose dialogue is shown in the log, without secrets and without mail.

They are of a class of their own, made of the one that the factory has: all other connections know
nothing of this.
"""

from functools import lru_cache
from typing import Any

from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from smtpforward.dialogue import Dialogue
from smtpforward.net.tapped import TappedTransport
from smtpforward.server.conversation import Conversation

_log = Logger(namespace="smtpforward.dialogue")


class _Shown(Conversation):
    """Put before a protocol."""

    def _say(self, who: str, text: str) -> None:
        """``C`` is the client, ``S`` the gateway, ``-`` neither: what became of the connection."""
        ip, port = self._client.ip, self._client.port
        facts = {
            "event": "dialogue",
            "client_ip": ip,
            "client_port": port,
            "who": who,
            "said": text,
        }
        peer = f"{ip}:{port}"
        _log.info("client {peer} {who}: {said}", peer=peer, who=who, said=text, facts=facts)

    def makeConnection(self, transport: Any) -> None:
        """See IProtocol."""
        self._dialogue = Dialogue(self._say)
        super().makeConnection(TappedTransport(transport, self._dialogue.server))

    def connectionMade(self) -> None:
        self._say("-", "connected")
        super().connectionMade()

    def handshakeCompleted(self) -> None:
        """See IHandshakeListener."""
        self._say("-", f"TLS: {self.transport.getHandle().get_protocol_version_name()}")
        super().handshakeCompleted()

    def dataReceived(self, data: bytes) -> None:
        self._dialogue.client(data)
        super().dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._say("-", f"closed: {reason.getErrorMessage()}")
        super().connectionLost(reason)


@lru_cache(maxsize=16)
def shown(protocol: Any) -> Any:
    """``protocol``, a class of conversations, with its dialogue in the log."""
    return type(f"Shown{protocol.__name__}", (_Shown, protocol), {})
