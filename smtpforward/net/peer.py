"""The one place that asks who is at the other end of a connection, and what transports can do."""

import ipaddress
from typing import Any

from twisted.internet.interfaces import IAddress


def textual(addr: IAddress | None) -> tuple[str, int]:
    """Text and port of an address; ``("local", 0)`` where there is no such thing.

    An IPv4 client of a socket that listens on ``::`` counts as the IPv4 address that it is.
    """
    ip = getattr(addr, "host", None)
    if ip is None:
        return ("local", 0)
    if ip.startswith("::ffff:"):
        mapped = ipaddress.IPv6Address(ip.partition("%")[0]).ipv4_mapped
        ip = str(mapped) if mapped else ip
    return (ip, getattr(addr, "port", 0))


def own_port(transport: Any) -> int:
    """The TCP port at our end; 0 where there is no such thing."""
    port: int | None = getattr(transport, "own_port", None)
    return textual(transport.getHost())[1] if port is None else port


def abort(transport: Any) -> None:
    """End the connection at once, whatever its peer does."""
    ending = getattr(transport, "abortConnection", None) or transport.loseConnection
    ending()


def close(transport: Any) -> None:
    """Close when all is written."""
    transport.loseConnection()


def closes_at_once(transport: Any) -> bool:
    """Whether ``close`` will not wait for the peer."""
    return getattr(transport, "closes_at_once", False) is True


def close_lingering(transport: Any) -> None:
    """Close for writing only: closed with input unread, TCP would reset what is on its way.

    The caller drops what still comes, and aborts when the peer does not close in time.
    """
    closing = getattr(transport, "loseWriteConnection", None) or transport.loseConnection
    closing()


def set_no_delay(transport: Any) -> None:
    """Send small writes at once: Nagle with delayed ACK costs 40 ms a mail."""
    setting = getattr(transport, "setTcpNoDelay", None)
    if setting is not None:
        setting(True)
