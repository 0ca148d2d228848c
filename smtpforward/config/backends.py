"""A route's values to its servers: hosts, ports, and the TLS policy of each.

Rules: a host in ``force_tls_hosts`` is ``required`` where the route says true or false, one in
``no_tls_hosts`` has no TLS. That contradicts a route that requires it, and would show a password
that only ``enable_tls=false`` may show: both are problems.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from smtpforward.config import credentials, names
from smtpforward.config.settings import ClientTLS
from smtpforward.job import TLS, Server, Timeouts

SMTP_PORT, SMTPS_PORT = 25, 465
POLICIES = {
    False: TLS.NEVER,
    True: TLS.OFFERED,
    "required": TLS.REQUIRED,
    "implicit": TLS.IMPLICIT,
}
# What decides which servers a route has.
KEYS = (
    "host",
    "forwarding_host_pool",
    "port",
    "bind",
    "bind_helo",
    "enable_tls",
    *credentials.KEYS,
)
Values = Mapping[str, Any]


def build(values: Values, me: str, client_tls: ClientTLS) -> tuple[Server, ...]:
    """The servers in the order in which they are tried."""
    asked = POLICIES[values["enable_tls"]]
    port = values["port"] or (SMTPS_PORT if asked is TLS.IMPLICIT else SMTP_PORT)
    # Where the host is missing or wrong there is a problem already.
    hosts = values.get("forwarding_host_pool") or ((values.get("host") or "localhost", None),)
    login = credentials.build(values)
    return tuple(
        Server(
            host,
            own_port or port,
            values["bind_helo"] or me,
            values["bind"],
            tls=policy(host, asked, client_tls),
            credentials=login,
        )
        for host, own_port in hosts
    )


def policy(host: str, asked: TLS, client_tls: ClientTLS) -> TLS:
    """What holds for ``host`` on a route that asks for ``asked``."""
    name = host.removesuffix(".")
    if name in client_tls.force_tls_hosts and asked in (TLS.OFFERED, TLS.NEVER):
        return TLS.REQUIRED
    return TLS.NEVER if name in client_tls.no_tls_hosts else asked


def timeouts(values: Values) -> Timeouts:
    """How long such a server may take."""
    return Timeouts(
        connect=values["connect_timeout"],
        reply=values["reply_timeout"],
        forward=values["forward_timeout"],
        dot=values["dot_timeout"],
    )


def contradictions(servers: tuple[Server, ...], values: Values) -> Iterator[tuple[str, str, str]]:
    """What cannot be had together: key, what is wrong, and what would be right."""
    asked = POLICIES[values["enable_tls"]]
    for server in servers:
        host, bind = server.host, server.bind
        if bind and names.version(bind) != names.version(host, names.version(bind)):
            message = f"{bind} cannot reach {host}: one is IPv4, the other IPv6"
            yield "bind", message, "addresses of one kind"
        if server.tls is not TLS.NEVER or asked is TLS.NEVER:
            continue
        if asked is not TLS.OFFERED:
            message = f"{asked.value}, and {host} is in no_tls_hosts of tls.ini"
            yield "enable_tls", message, f"enable_tls=false, or {host} in no such list"
        elif server.credentials:
            message = f"{host} is in no_tls_hosts of tls.ini: the password would go in the clear"
            yield (
                "auth_type",
                message,
                "enable_tls=false, which says so, or the host in no such list",
            )
