"""A scripted SMTP server in the test's own process, on a real loopback socket, for fault tests.

What it answers is in ``script.py``, what it keeps of each connection in ``conversation.py``.
"""

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.interfaces import IReactorTCP
from twisted.internet.protocol import ServerFactory

from tests.peers.conversation import Conversation, Message
from tests.peers.counting import ConnectionCount
from tests.peers.script import Script
from tests.peers.wait import until

BACKLOG = 1024
NARROW = 65536


class ScriptedBackend(ServerFactory[Conversation]):
    """The server, listening from the moment it is made.

    :param script: for every connection; or a callable that gets the connection's number, from 1.
    :param port: where to listen; a free one when 0. ``interface``: the address, of loopback.
    :ivar conversations: one for each connection, in order.
    :ivar connections: their counts.
    """

    noisy = False

    def __init__(
        self,
        script: Script | Callable[[int], Script] | None = None,
        port: int = 0,
        interface: str = "127.0.0.1",
    ) -> None:
        self.conversations: list[Conversation] = []
        self.connections = ConnectionCount()
        self._script = Script() if script is None else script
        tcp = IReactorTCP(reactor)
        self._listening = tcp.listenTCP(port, self, BACKLOG, interface)  # type: ignore[arg-type]
        self.port: int = self._listening.getHost().port  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return f"<ScriptedBackend: {len(self.messages)} messages, {self.connections!r}>"

    def buildProtocol(self, addr: object) -> Conversation:
        number = len(self.conversations) + 1
        script = self._script if isinstance(self._script, Script) else self._script(number)
        conversation = Conversation(number, script, self.connections)
        self.conversations.append(conversation)
        return conversation

    @property
    def messages(self) -> list[Message]:
        """Those of all connections."""
        return [message for talk in self.conversations for message in talk.messages]

    def narrow(self) -> None:
        """Let connections from now on take little more from the wire than is read of them."""
        listening: Any = self._listening
        listening.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, NARROW)

    async def until_taken(self, count: int, timeout: float = 20.0) -> None:
        """Wait until ``count`` messages are there."""
        await until(lambda: len(self.messages) >= count, lambda: f"{count} in {self!r}", timeout)

    async def refuse(self) -> None:
        """Stop listening: from now on a connect is refused."""
        await self._listening.stopListening()  # type: ignore[misc]

    async def stop(self) -> None:
        """Refuse, reset what is open, and wait until it is gone."""
        await self.refuse()
        self.connections.abort()
        await until(lambda: self.connections.unclosed == 0, lambda: repr(self))
