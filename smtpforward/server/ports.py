"""What holds on a port of the edge: mail between servers, or mail of users who log in.

Pure: settings and numbers in. The port is that of the connection's own end, so it is known however
the socket came about.
"""

import ipaddress
from functools import lru_cache

from attrs import frozen

from smtpforward.config.settings import Settings

SUBMISSION = 587  # RFC 6409


@frozen(slots=True)
class Port:
    """The rules of one port.

    :ivar tls_at_once: TLS begins with the first byte (RFC 8314 3.3).
    :ivar starttls: STARTTLS may be offered.
    :ivar login: only who has logged in may send, whatever its address (RFC 6409 4.3).
    """

    tls_at_once: bool
    starttls: bool
    login: bool


NO_RULES = Port(tls_at_once=False, starttls=True, login=False)


def rules_of(settings: Settings, port: int) -> Port:
    """The rules of ``port``; 0 where the socket has none."""
    tls_at_once = port == settings.smtps_port
    closed = settings.tls.no_starttls_ports if settings.tls else frozenset()
    return Port(tls_at_once, port not in closed, tls_at_once or port == SUBMISSION)


@lru_cache(maxsize=1024)
def is_loopback(ip: str) -> bool:
    """Whether a client at ``ip`` is on this host: nobody else hears what it says."""
    if ip == "local":
        return True
    return ipaddress.ip_address(ip.partition("%")[0]).is_loopback
