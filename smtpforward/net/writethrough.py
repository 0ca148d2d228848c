"""TCP transports that send at once what the socket takes, and a reactor that makes them.

Twisted's ``write`` only notes the data and asks the reactor to call back when the socket is
writable, which it nearly always is: for short dialogues that round costs more than the work. Here
``write`` sends when nothing is waiting before it, and leaves the remainder, or the error, to
Twisted's own path. With a pull producer, or under TLS, everything is left to that path; a push
producer is paused there when too much waits, and then nothing is written until all of it has left.

The private names of Twisted that this leans on are pinned by ``tests/test_net_writethrough.py``.
"""

from socket import AF_INET, AF_INET6
from typing import Any

from twisted.internet import tcp
from twisted.internet.interfaces import IConnector, IListeningPort
from zope.interface import directlyProvides, providedBy


class WriteThrough:
    """Mixed in before a transport class of ``twisted.internet.tcp``."""

    def write(self: Any, data: bytes) -> None:
        """Send ``data``, now as far as the socket takes it."""
        if (
            data
            and not self._tempDataBuffer
            and not self.dataBuffer
            and (self.producer is None or self.streamingProducer)
            and self.connected
            and not self.disconnecting
            and not self._writeDisconnected
            and not self.TLS
        ):
            try:
                sent = self.socket.send(data)
            except OSError:
                sent = 0  # Full, or broken: Twisted's own attempt finds out which.
            if sent == len(data):
                return
            data = data[sent:]
        super().write(data)  # type: ignore[misc]


class WriteThroughServer(WriteThrough, tcp.Server):
    """An accepted connection."""


class WriteThroughClient(WriteThrough, tcp.Client):
    """An outgoing connection."""


class _Port(tcp.Port):
    transport = WriteThroughServer


class _Connector(tcp.Connector):
    def _makeTransport(self) -> tcp.Client:
        return WriteThroughClient(self.host, self.port, self.bindAddress, self, self.reactor)


class WriteThroughReactor:
    """``reactor`` in all but this: its TCP transports write through."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        directlyProvides(self, providedBy(reactor))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(
        self, port: int, factory: Any, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        """See IReactorTCP."""
        listening = _Port(port, factory, backlog, interface, self._reactor)
        listening.startListening()
        return listening

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None
    ) -> IConnector:
        """See IReactorTCP."""
        connector = _Connector(host, port, factory, timeout, bindAddress, self._reactor)
        connector.connect()
        return connector

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: Any) -> Any:
        """See IReactorSocket."""
        if addressFamily not in (AF_INET, AF_INET6):
            return self._reactor.adoptStreamPort(fileDescriptor, addressFamily, factory)
        listening = _Port._fromListeningDescriptor(
            self._reactor, fileDescriptor, addressFamily, factory
        )
        listening.startListening()
        return listening
