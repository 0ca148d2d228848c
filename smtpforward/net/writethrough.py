"""TCP transports that send at once what the socket takes.

Twisted's ``write`` only notes the data and asks the reactor to call back when the socket is
writable, which it nearly always is: for short dialogues that round costs more than the work. Here
``write`` sends when nothing is waiting before it, at the end of the reactor's round at the latest
(``outbox.py``), and leaves the remainder, or the error, to Twisted's own path; ``loseConnection``
closes when nothing waits. With a pull producer everything is left to that path; a push producer is
paused there when too much waits, and then nothing is written until all of it has left. Under TLS
its records go the same way.

The private names of Twisted that this leans on are pinned by ``tests/test_net_writethrough.py``.
"""

import os
from collections.abc import Callable
from typing import Any

from twisted.internet import _newtls, tcp
from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv6Address
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import TLSMemoryBIOProtocol

from smtpforward.net.outbox import OUTBOX

SEND_MOST = 1048576  # of a file at once: others wait meanwhile
SHORT_READ = 65536
LONG_READ = 524288  # all of it is allocated before it is known what comes


class WriteThrough:
    """Mixed in before a transport class of ``twisted.internet.tcp``."""

    # What was written in this round of the reactor, and is to be sent at its end.
    _held = b""
    _aborting = False  # Twisted's name

    def write(self: Any, data: bytes) -> None:
        """Send ``data`` as far as the socket takes it: now, or at the end of the reactor's round.

        A second write in a round sends both: what waits is never more than one. Once TLS has begun
        this is the way of its records, and ``write`` of the instance that of what they hold.
        """
        if self._held:
            self._held += data
            self.flush()
        elif (
            data
            and not self._tempDataBuffer
            and not self.dataBuffer
            and (self.producer is None or self.streamingProducer)
            and self.connected
            and not self.disconnecting
            and not self._writeDisconnected
            and not self._aborting
        ):
            self._held = data
            if OUTBOX.open:
                OUTBOX.add(self)
            else:
                self.flush()
        else:
            FileDescriptor.write(self, data)

    def writeSequence(self, iovec: Any) -> None:
        """See ITransport."""
        self.write(b"".join(iovec))

    def flush(self: Any) -> None:
        """Send what is held back."""
        data = self._held
        if not data:
            return
        self._held = b""
        if OUTBOX.writes:
            OUTBOX.write()
        # A pull producer is asked for more when Twisted's path has sent all.
        if self.connected and (self.producer is None or self.streamingProducer):
            try:
                sent = self.socket.send(data)
            except OSError:
                sent = 0  # Full, or broken: Twisted's own attempt finds out which.
            if sent == len(data):
                return
            data = data[sent:]
        FileDescriptor.write(self, data)

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
        """Close; where nothing waits to be sent, when the reactor's round is over."""
        if self.closes_at_once:
            self.stopReading()
            self.disconnecting = 1
            # Twisted's way there would be to find that the socket is writable and to send nothing.
            if OUTBOX.open:
                OUTBOX.close(self)
            else:
                self.reactor.callLater(0, self.connectionLost, connectionDone)
        else:
            super().loseConnection()  # type: ignore[misc]

    def abortConnection(self) -> None:
        """See ITCPTransport: what was written before is on its way as if it had not been held back.

        What is written afterwards stays here. TLS does that: who finds a wrong certificate aborts
        within the handshake, whose last part must not follow.
        """
        self.flush()
        super().abortConnection()  # type: ignore[misc]

    def loseWriteConnection(self) -> None:
        """See IHalfCloseableDescriptor."""
        self.flush()
        super().loseWriteConnection()  # type: ignore[misc]

    def startTLS(self: Any, ctx: Any, normal: bool = True) -> None:
        """See ITLSTransport."""
        self.flush()
        self.write = self._write_within_tls
        _newtls.startTLS(self, ctx, normal, _BeneathTLS)
        layer = self.protocol
        # Twisted collects what is written until a timer has gone off; the outbox does that here.
        layer._aggregator = _AtOnce(TLSMemoryBIOProtocol.write.__get__(layer))
        layer.write = layer._aggregator.write

    def _write_within_tls(self: Any, data: bytes) -> None:
        if self.connected:
            self.protocol.write(data)


class _BeneathTLS(FileDescriptor):
    """What TLS does with the transport that its records go over: never an object of this class."""

    def write(self: Any, data: bytes) -> None:
        WriteThrough.write(self, data)

    def writeSequence(self: Any, iovec: Any) -> None:
        _BeneathTLS.write(self, b"".join(iovec))

    def loseConnection(self: Any, *args: Any, **kwargs: Any) -> None:
        self.flush()
        FileDescriptor.loseConnection(self, *args, **kwargs)


class _AtOnce:
    """In place of what collects the writes of a TLS layer: each is a record at once."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.write = write

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """As little."""


class WriteThroughServer(WriteThrough, tcp.Server):
    """An accepted connection.

    One that has more than was read at once is read in larger pieces, while its protocol has a true
    ``takes_much``: what comes then need not wait in memory. Twisted's own bound of a read stays as
    it is: a producer is paused when more than that waits to be sent.
    """

    _read_most = SHORT_READ

    def __init__(
        self,
        sock: Any,
        protocol: Any,
        client: Any,
        server: Any,
        sessionno: int,
        reactor: Any,
    ) -> None:
        # Twisted's, without two texts for logs that nearly no connection ever has.
        tcp.Connection.__init__(self, sock, protocol, reactor)
        if len(client) != 2:
            self._addressType = IPv6Address
        self.server = server
        self.client = client
        self.sessionno = sessionno
        self.hostname = client[0]
        self.startReading()
        self.connected = 1

    @property
    def own_port(self) -> int:
        """The number of the TCP port that it came to."""
        return self.server._realPortNumber or 0

    def logPrefix(self) -> str:
        """See ILoggingContext."""
        return f"{type(self).__name__},{self.sessionno},{self.hostname}"

    def __repr__(self) -> str:
        return f"<{self.logPrefix()} on {self.own_port}>"

    def setTcpNoDelay(self, enabled: Any) -> None:  # noqa: N802 -- Twisted's name
        """See ITCPTransport."""
        # Where the port sets it for the socket that listens, connections have it from there.
        if not enabled or not getattr(self.server, "no_delay", False):
            super().setTcpNoDelay(enabled)

    def doRead(self) -> Any:
        """See IReadDescriptor."""
        try:
            data = self.socket.recv(self._read_most)
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        if not data:
            return CONNECTION_DONE
        # Who has lost its connection afterwards has no protocol any more.
        protocol = self.protocol
        protocol.dataReceived(data)
        long = len(data) >= SHORT_READ and _takes_much(protocol)
        self._read_most = LONG_READ if long else SHORT_READ
        return None


def _takes_much(protocol: Any) -> bool:
    """As it says itself, or the protocol within TLS does."""
    protocol = getattr(protocol, "wrappedProtocol", protocol)
    return bool(getattr(protocol, "takes_much", False))


class WriteThroughClient(WriteThrough, tcp.Client):
    """An outgoing connection."""

    def doRead(self) -> Any:
        """See IReadDescriptor."""
        try:
            data = self.socket.recv(SHORT_READ)
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        if not data:
            return CONNECTION_DONE
        self.protocol.dataReceived(data)
        return None
