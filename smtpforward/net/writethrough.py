"""TCP transports that send at once what the socket takes, and a reactor that makes them.

Twisted's ``write`` only notes the data and asks the reactor to call back when the socket is
writable, which it nearly always is: for short dialogues that round costs more than the work. Here
``write`` sends when nothing is waiting before it, at the end of the reactor's round at the latest
(``outbox.py``), and leaves the remainder, or the error, to Twisted's own path; ``loseConnection``
closes when nothing waits. With a pull producer, or under TLS, everything is left to that path; a
push producer is paused there when too much waits, and then nothing is written until all of it has
left.

The private names of Twisted that this leans on are pinned by ``tests/test_net_writethrough.py``.
"""

import os
from socket import AF_INET, AF_INET6
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.interfaces import IConnector, IListeningPort
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import directlyProvides, providedBy

from smtpforward.net.outbox import OUTBOX

SEND_MOST = 1048576  # of a file at once: others wait meanwhile
SHORT_READ = 65536
# All of it is allocated before it is known what comes: above 128 KiB by the kernel, each time.
LONG_READ = 122880


class WriteThrough:
    """Mixed in before a transport class of ``twisted.internet.tcp``."""

    # What was written in this round of the reactor, and is to be sent at its end.
    _held = b""

    def write(self: Any, data: bytes) -> None:
        """Send ``data`` as far as the socket takes it: now, or at the end of the reactor's round.

        A second write in a round sends both: what waits is never more than one.
        """
        held = self._held
        if held:
            self._held = b""
            data = held + data
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
            if OUTBOX.open and not held:
                self._held = data
                OUTBOX.add(self)
                return
            try:
                sent = self.socket.send(data)
            except OSError:
                sent = 0  # Full, or broken: Twisted's own attempt finds out which.
            if sent == len(data):
                return
            data = data[sent:]
        super().write(data)  # type: ignore[misc]

    def flush(self) -> None:
        """Send what is held back."""
        if self._held:
            self.write(b"")

    def send_file(self: Any, descriptor: int, offset: int, count: int) -> int:
        """Send from an open file what the socket takes now; the kernel copies.

        :return: how many bytes it took: 0 at the end of the file alone.
        :raise BlockingIOError: when it takes nothing now, or something waits to be sent before.
        :raise OSError: when the kernel does not send this file so, or the connection has gone.
        """
        self.flush()
        if self._tempDataBuffer or self.dataBuffer:
            raise BlockingIOError
        return os.sendfile(self.fileno(), descriptor, offset, min(count, SEND_MOST))

    @property
    def closes_at_once(self: Any) -> bool:
        """Whether ``loseConnection`` need not wait: all that was written has been sent, by now."""
        self.flush()
        return bool(
            self.connected
            and not self.disconnecting
            and not self._writeDisconnected
            and not self._tempDataBuffer
            and not self.dataBuffer
            and self.producer is None
            and not self.TLS
        )

    def loseConnection(self: Any) -> None:
        """Close; where nothing waits to be sent, in the reactor's next round."""
        if self.closes_at_once:
            self.stopReading()
            self.disconnecting = 1
            # Twisted's way there would be to find that the socket is writable and to send nothing.
            self.reactor.callLater(0, self.connectionLost, connectionDone)
        else:
            super().loseConnection()  # type: ignore[misc]

    def loseWriteConnection(self) -> None:
        """See IHalfCloseableDescriptor."""
        self.flush()
        super().loseWriteConnection()  # type: ignore[misc]

    def startTLS(self, *args: Any, **kwargs: Any) -> None:
        """See ITLSTransport."""
        self.flush()
        super().startTLS(*args, **kwargs)  # type: ignore[misc]


class WriteThroughServer(WriteThrough, tcp.Server):
    """An accepted connection. One that has more than was read at once is read in larger pieces."""

    bufferSize = SHORT_READ  # noqa: N815 -- Twisted's name

    def doRead(self) -> Any:
        """See IReadDescriptor."""
        try:
            data = self.socket.recv(self.bufferSize)
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        self.bufferSize = LONG_READ if len(data) >= SHORT_READ else SHORT_READ
        return self._dataReceived(data)


class WriteThroughClient(WriteThrough, tcp.Client):
    """An outgoing connection."""


class _Port(tcp.Port):
    transport = WriteThroughServer
    # Others may have the socket, and go on with it when this process closes its own.
    _shouldShutdown = False  # noqa: N815 -- Twisted's name


class _UnixPort(unix.Port):
    """One whose path may outlive it.

    :ivar keeps_path: another process goes on with the socket. The lock beside it is left, too: who
        binds the path anew when both have gone finds that its owner has, and removes both.
    """

    _shouldShutdown = False  # noqa: N815 -- as above
    keeps_path = False

    def connectionLost(self, reason: Failure) -> None:
        """See FileDescriptor."""
        (tcp.Port if self.keeps_path else unix.Port).connectionLost(self, reason)


class _Shared:
    """Mixed in before a port class: other processes accept on the same socket.

    One connection at a time: Twisted takes as many as have come, and the process that wakes first
    would serve them all while the others have nothing to do.
    """

    @property
    def numberAccepts(self) -> int:
        """Twisted counts them and suits this to what comes."""
        return 1

    @numberAccepts.setter
    def numberAccepts(self, number: int) -> None:
        pass


class _SharedPort(_Shared, _Port):
    """A TCP port of several processes."""


class _AdoptedUnixPort(_Shared, _UnixPort):
    """A UNIX port that was bound elsewhere.

    Its socket is made, and its path removed, by the process that has bound it. Twisted's adopted
    ones would change the mode of the path, remove it, and shut the socket down for all.
    """

    keeps_path = True

    def startListening(self: Any) -> None:
        """See IListeningPort."""
        tcp._reservedFD.reserve()
        self.factory.doStart()
        self.connected = True
        self.socket = self._preexistingSocket
        self.fileno = self.socket.fileno
        self.startReading()


class _Connector(tcp.Connector):
    def _makeTransport(self) -> tcp.Client:
        return WriteThroughClient(self.host, self.port, self.bindAddress, self, self.reactor)


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
        listening = _Port(port, factory, backlog, interface, self._reactor)
        listening.startListening()
        return listening

    def listenUNIX(
        self, address: Any, factory: Any, backlog: int = 50, mode: int = 0o666, wantPID: int = 0
    ) -> IListeningPort:
        """See IReactorUNIX."""
        listening = _UnixPort(address, factory, backlog, mode, self._reactor, wantPID)
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
            kind = _SharedPort if self._shared else _Port
            listening = kind._fromListeningDescriptor(
                self._reactor, fileDescriptor, addressFamily, factory
            )
        else:
            listening = _AdoptedUnixPort._fromListeningDescriptor(
                self._reactor, fileDescriptor, factory
            )
        listening.startListening()
        return listening
