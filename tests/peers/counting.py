"""Connections that a listener has had: open now, at most at once, in all.

One whose other side has closed it counts as closed from that moment, not from when this process
gets to read it: at each arrival the kernel is asked for the state of those before it. So a client
that closes a connection and then opens one is not seen to have had two.
"""

from socket import IPPROTO_TCP, TCP_INFO
from typing import Any
from typing import Protocol as Structure

TCP_ESTABLISHED = 1


class TCPTransport(Structure):
    """What is needed of Twisted's; its ``getHandle`` is another thing under TLS."""

    socket: Any

    def abortConnection(self) -> None: ...


class ConnectionCount:
    """The counts of one listener.

    :ivar most: open at the same time, at most. ``total``: in all.
    """

    def __init__(self) -> None:
        self._transports: set[TCPTransport] = set()
        self.most = 0
        self.total = 0

    def __repr__(self) -> str:
        return f"<connections: {self.open} open, at most {self.most}, {self.total} in all>"

    @property
    def open(self) -> int:
        """Those that neither side has closed."""
        return sum(_is_established(transport) for transport in self._transports)

    @property
    def unclosed(self) -> int:
        """Those that this side has not closed yet."""
        return len(self._transports)

    def made(self, transport: TCPTransport) -> None:
        self._transports.add(transport)
        self.total += 1
        self.most = max(self.most, self.open)

    def lost(self, transport: TCPTransport) -> None:
        self._transports.discard(transport)

    def abort(self) -> None:
        """Reset all that are left."""
        for transport in list(self._transports):
            transport.abortConnection()


def _is_established(transport: TCPTransport) -> bool:
    try:
        info = transport.socket.getsockopt(IPPROTO_TCP, TCP_INFO, 1)
    except (OSError, AttributeError):  # closed, or gone with its transport
        return False
    return info[0] == TCP_ESTABLISHED
