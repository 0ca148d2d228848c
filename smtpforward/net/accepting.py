"""Ports whose connections write through, and such that other processes accept on as well.

Failure policy: what accepting raises, other than that nobody is there, is left to Twisted's own
attempt: it knows what to do about each. A fault in making a connection is logged, and the port
listens on.

The private names of Twisted that this leans on are pinned by ``tests/test_net_writethrough.py``.
"""

import socket
import sys
from typing import Any

from twisted.internet import tcp, unix
from twisted.logger import Logger
from twisted.python.failure import Failure

from smtpforward.net.writethrough import WriteThroughServer

SHARE = 16  # are accepted at once where others accept, too
MORE = 20  # are accepted at once when so many came as were expected
_log = Logger()


class Port(tcp.Port):
    """A TCP port."""

    transport = WriteThroughServer
    # Others may have the socket, and go on with it when this process closes its own.
    _shouldShutdown = False  # noqa: N815 -- Twisted's name
    no_delay = False

    def startListening(self) -> None:
        """See IListeningPort."""
        tcp.Port.startListening(self)
        # Where connections have it from the socket that listens nothing needs to be set for each.
        self.no_delay = sys.platform == "linux"
        if self.no_delay:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def doRead(self) -> None:
        """Accept who is there, about as many as came the last time."""
        accepted = 0
        try:
            while accepted < self.numberAccepts:
                try:
                    connection, client = self.socket.accept()
                except BlockingIOError:
                    break
                accepted += 1
                self._begin(connection, client)
        except OSError:
            tcp.Port.doRead(self)
            return
        if accepted == self.numberAccepts:
            self.numberAccepts += MORE
        else:
            self.numberAccepts = max(1, accepted)

    def _begin(self, connection: socket.socket, client: Any) -> None:
        """Make the transport of an accepted connection, and its protocol."""
        try:
            if len(client) == 4 and client[3]:
                client = _with_scope(client)
            factory: Any = self.factory
            protocol = factory.buildProtocol(self._buildAddr(client))
            if protocol is None:
                connection.close()
                return
            number = self.sessionno
            self.sessionno = number + 1
            transport = self.transport(connection, protocol, client, self, number, self.reactor)
            protocol.makeConnection(transport)
        except Exception:
            _log.failure("a fault with a new connection from {client}", client=client)


def _with_scope(client: Any) -> Any:
    """The address of an IPv6 client with its scope, as ``fe80::1%eth0``."""
    host = socket.getnameinfo(client, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]
    return (host, *client[1:])


class UnixPort(unix.Port):
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

    A few connections at a time: Twisted takes as many as have come, and the process that wakes
    first would serve them all while the others have nothing to do. One by one a round of the
    reactor for each would cost more than to answer a command.
    """

    @property
    def numberAccepts(self) -> int:
        """Twisted counts them and suits this to what comes."""
        return SHARE

    @numberAccepts.setter
    def numberAccepts(self, number: int) -> None:
        pass


class SharedPort(_Shared, Port):
    """A TCP port of several processes."""


class AdoptedUnixPort(_Shared, UnixPort):
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
