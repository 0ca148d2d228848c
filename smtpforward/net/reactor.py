"""A reactor that makes transports which write through, and ports that accept such."""

from socket import AF_INET, AF_INET6
from typing import Any

from twisted.internet import tcp
from twisted.internet.interfaces import IConnector, IListeningPort
from twisted.python.failure import Failure
from zope.interface import directlyProvides, providedBy

from smtpforward.net.accepting import AdoptedUnixPort, Port, SharedPort, UnixPort
from smtpforward.net.writethrough import WriteThroughClient


class _Connector(tcp.Connector):
    def _makeTransport(self) -> tcp.Client:
        return WriteThroughClient(self.host, self.port, self.bindAddress, self, self.reactor)

    def connectionFailed(self, reason: Any) -> None:  # noqa: N802 -- Twisted's name
        """See BaseConnector."""
        tcp.Connector.connectionFailed(self, reason)
        self._let_go()

    def connectionLost(self, reason: Failure) -> None:
        """See BaseConnector."""
        tcp.Connector.connectionLost(self, reason)
        self._let_go()

    def _let_go(self) -> None:
        """What refers to itself stays until a rare search finds it."""
        if self.state == "disconnected":
            own: Any = self
            own.factory = own.transport = None


class WriteThroughReactor:
    """``reactor`` in all but this: its TCP transports write through.

    :param shared: whether other processes accept on the ports that are adopted.
    """

    def __init__(self, reactor: Any, shared: bool = False) -> None:
        self._reactor = reactor
        self._shared = shared
        directlyProvides(self, providedBy(reactor))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(
        self, port: int, factory: Any, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        """See IReactorTCP."""
        listening = Port(port, factory, backlog, interface, self._reactor)
        listening.startListening()
        return listening

    def listenUNIX(
        self, address: Any, factory: Any, backlog: int = 50, mode: int = 0o666, wantPID: int = 0
    ) -> IListeningPort:
        """See IReactorUNIX."""
        listening = UnixPort(address, factory, backlog, mode, self._reactor, wantPID)
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
        listening: Any
        if addressFamily in (AF_INET, AF_INET6):
            kind = SharedPort if self._shared else Port
            listening = kind._fromListeningDescriptor(
                self._reactor, fileDescriptor, addressFamily, factory
            )
        else:
            listening = AdoptedUnixPort._fromListeningDescriptor(
                self._reactor, fileDescriptor, factory
            )
        listening.startListening()
        return listening
