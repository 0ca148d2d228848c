"""A TCP relay between a client and a server, to count the client's connections."""

from typing import Any

from twisted.internet import reactor
from twisted.internet.interfaces import IReactorTCP
from twisted.protocols.portforward import ProxyClient, ProxyClientFactory, ProxyFactory, ProxyServer
from twisted.python.failure import Failure

from tests.peers.counting import ConnectionCount
from tests.peers.wait import until

BACKLOG = 1024


class _ToServer(ProxyClient):
    peer: Any

    def connectionMade(self) -> None:
        self._outgoing: ConnectionCount = self.peer.factory.outgoing
        self._outgoing.made(self.transport)
        self.transport.setTcpNoDelay(True)  # type: ignore[union-attr]
        super().connectionMade()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self._outgoing.lost(self.transport)  # type: ignore[arg-type]
        super().connectionLost(reason)


class _ToServerFactory(ProxyClientFactory):
    noisy = False
    protocol = _ToServer


class _FromClient(ProxyServer):
    clientProtocolFactory = _ToServerFactory  # noqa: N815 -- Twisted's name
    factory: "_Counting"
    transport: Any

    def connectionMade(self) -> None:
        self.factory.incoming.made(self.transport)
        self.transport.setTcpNoDelay(True)
        super().connectionMade()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.factory.incoming.lost(self.transport)
        super().connectionLost(reason)


class _Counting(ProxyFactory):
    """Makes the connections of a relay."""

    noisy = False
    protocol = _FromClient

    def __init__(self, target: int) -> None:
        super().__init__("127.0.0.1", target)
        self.incoming = ConnectionCount()
        self.outgoing = ConnectionCount()


class CountingRelay:
    """Passes each connection to its port on to ``target``, a port of 127.0.0.1.

    :ivar port: where it listens, on 127.0.0.1.
    :ivar connections: the counts of what came in.
    """

    def __init__(self, target: int) -> None:
        factory = _Counting(target)
        self.connections = factory.incoming
        self._outgoing = factory.outgoing
        tcp = IReactorTCP(reactor)
        self._listening = tcp.listenTCP(0, factory, BACKLOG, "127.0.0.1")  # type: ignore[arg-type]
        self.port: int = self._listening.getHost().port  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return f"<CountingRelay: {self.connections!r}, on to {self._outgoing!r}>"

    async def stop(self) -> None:
        """Stop listening, reset what is open on either side, wait until all of it is gone."""
        await self._listening.stopListening()  # type: ignore[misc]
        for count in (self.connections, self._outgoing):
            count.abort()
        await until(lambda: not self._unclosed, lambda: repr(self))

    @property
    def _unclosed(self) -> int:
        return self.connections.unclosed + self._outgoing.unclosed
