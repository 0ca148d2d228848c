"""What is unusual about routes, or a queue, that are valid: a text for each kind, for a warning."""

from collections.abc import Iterator

from smtpforward.config.settings import Outbound, Route, Routes
from smtpforward.job import TLS

# Servers that speak TLS at once listen elsewhere.
CLEAR_PORTS = (25, 587)


def advice(routes: Routes, inactivity_timeout: float, nodes: int) -> Iterator[str]:
    """All of it."""
    found = list(routes.all())
    yield from late_first(found, inactivity_timeout)
    yield from backscatter(found)
    yield from in_the_clear(found)
    yield from implicit(found)
    yield from fewer_than_workers(found, nodes)


def late_first(routes: list[Route], inactivity_timeout: float) -> Iterator[str]:
    """The ordering rule: what is to end first has the shorter time. One text for each breach."""
    idle = [r for r in routes if r.next_hop.bounds.idle >= r.next_hop.timeouts.forward]
    forward = [r for r in routes if r.next_hop.timeouts.forward >= inactivity_timeout]
    if idle:
        yield f"timeout is not below forward_timeout {_where(idle)}"
    if forward:
        yield f"forward_timeout is not below inactivity_timeout {_where(forward)}"


def backscatter(routes: list[Route]) -> Iterator[str]:
    """The routes on which mail of strangers is queued: its bounces go to forged senders."""
    queued = [r for r in routes if r.queue == "outbound"]
    if queued:
        yield (
            f"queue=outbound {_where(queued)} queues mail of clients that do not relay as well:"
            " what then cannot be delivered bounces to senders that may be forged"
        )


def in_the_clear(routes: list[Route]) -> Iterator[str]:
    """The routes on which a password is sent without TLS."""
    shown = [
        r for r in routes if any(s.credentials and s.tls is TLS.NEVER for s in r.next_hop.servers)
    ]
    if shown:
        yield f"enable_tls=false {_where(shown)}: the password goes to the backend in the clear"


def implicit(routes: list[Route]) -> Iterator[str]:
    """The routes that expect TLS at once on a port where servers begin in the clear."""
    odd = [
        r
        for r in routes
        if any(s.tls is TLS.IMPLICIT and s.port in CLEAR_PORTS for s in r.next_hop.servers)
    ]
    if odd:
        yield f"enable_tls=implicit {_where(odd)}, on a port where servers begin without TLS"


def fewer_than_workers(routes: list[Route], nodes: int) -> Iterator[str]:
    """The routes on which worker processes have to take turns."""
    few = [r for r in routes if r.next_hop.bounds.max_connections < nodes]
    if few:
        yield (
            f"max_connections is below nodes {_where(few)}: the workers take turns at the backend,"
            " and open a new connection each time"
        )


def advice_of_queue(outbound: Outbound) -> Iterator[str]:
    """All of it that is said of the outbound queue."""
    if outbound.direct.bounds.idle >= outbound.direct.timeouts.forward:
        yield "timeout is not below forward_timeout in outbound.ini"
    server = (outbound.smart_host or outbound.direct).servers[0]
    if server.tls is TLS.NEVER and server.credentials:
        yield "enable_tls=false in outbound.ini: the password goes to the smart host in the clear"
    if server.tls is TLS.IMPLICIT and server.port in CLEAR_PORTS:
        yield "enable_tls=implicit in outbound.ini, on a port where servers begin without TLS"


def _where(routes: list[Route]) -> str:
    first = f"in [{routes[0].section}]" if routes[0].section else "at the top level"
    return first if len(routes) == 1 else f"{first} and in {len(routes) - 1} more"
