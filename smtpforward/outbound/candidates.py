"""Which hosts take a domain's mail, and in what order: pure functions on what the DNS has said.

The rules are those of RFC 5321 5.1: the lower preference first, equal ones in any order; a host
that is this gateway ends the list, with all that are preferred no more than it. Private addresses
are none on the internet: a domain could make the gateway speak to hosts behind it.
"""

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random

from attrs import evolve, frozen

from smtpforward.config.backends import policy
from smtpforward.config.networks import Networks, network
from smtpforward.config.settings import ClientTLS
from smtpforward.job import TLS, Server
from smtpforward.outbound import unroutable
from smtpforward.outbound.records import Exchanger

MOST_HOSTS = 20
MOST_SERVERS = 20
PRIVATE = Networks(
    map(
        network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
            *("172.16.0.0/12", "192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15"),
            *("224.0.0.0/4", "240.0.0.0/4"),
            # :: and ::1 are among the first, which held IPv4 addresses once.
            *("::/96", "64:ff9b:1::/48", "100::/64", "fc00::/7", "fe80::/10", "fec0::/10"),
            "ff00::/8",
        ),
    )
)
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


@frozen
class Host:
    """One host of a domain, looked up.

    :ivar addresses: as text. ``failed``: why they are not known, or empty.
    """

    preference: int
    name: str
    addresses: tuple[str, ...] = ()
    failed: str = ""


def by_preference(exchangers: Iterable[Exchanger], random: Random) -> list[Exchanger]:
    """In the order in which they are tried, each name once; not more than ``MOST_HOSTS``."""
    best: dict[str, Exchanger] = {}
    for one in exchangers:
        if one.host and (one.host not in best or one.preference < best[one.host].preference):
            best[one.host] = one
    order = list(best.values())
    random.shuffle(order)
    return sorted(order, key=lambda one: one.preference)[:MOST_HOSTS]


def usable(
    domain: str, hosts: Sequence[Host], is_us: Callable[[Host], bool], local_ok: bool
) -> list[Host]:
    """Those to send to, in order, with those of their addresses that may be used.

    :raise Unroutable: when there is none.
    """
    ours = min((host.preference for host in hosts if is_us(host)), default=None)
    others = [host for host in hosts if ours is None or host.preference < ours]
    if not others:
        raise unroutable.loops(domain)
    found = [
        evolve(host, addresses=allowed)
        for host in others
        if (allowed := _allowed(host.addresses, local_ok))
    ]
    if not found:
        raise _why_none(domain, others)
    return found


def _allowed(addresses: Iterable[str], local_ok: bool) -> tuple[str, ...]:
    return tuple(ip for ip in addresses if local_ok or not is_private(ip))


def _why_none(domain: str, hosts: Sequence[Host]) -> unroutable.Unroutable:
    for host in hosts:
        if host.failed:
            return unroutable.lookup_failed(domain, host.name, host.failed)
    if all(host.addresses for host in hosts):
        return unroutable.private(domain, [ip for host in hosts for ip in host.addresses])
    return unroutable.hosts_unknown(domain, [host.name for host in hosts])


def is_private(ip: str) -> bool:
    """Whether ``ip`` is no address of one host on the internet, also where it holds an IPv4 one."""
    if ip in PRIVATE:
        return True
    address = ipaddress.ip_address(ip)
    if address.version == 4:
        return False
    inner = address.sixtofour
    if address in NAT64:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return inner is not None and str(inner) in PRIVATE


def servers(
    domain: str,
    hosts: Iterable[Host],
    template: Server,
    client_tls: ClientTLS,
    first: str,
    random: Random,
) -> tuple[Server, ...]:
    """One server for each address, not more than ``MOST_SERVERS``.

    :param template: all but host, address and policy; its ``bind`` goes with addresses of its kind.
    :param first: ``v4`` or ``v6``: the kind that is tried first of each host.
    """
    made = (
        evolve(
            template,
            host=host.name,
            address=None if ip == host.name else ip,
            bind=template.bind if _same_kind(template.bind, ip) else None,
            tls=_policy((host.name, ip, domain), template.tls, client_tls),
        )
        for host in hosts
        for ip in _in_order(host.addresses, first, random)
    )
    return tuple(server for server, _ in zip(made, range(MOST_SERVERS), strict=False))


def _in_order(addresses: Sequence[str], first: str, random: Random) -> Iterator[str]:
    order = list(addresses)
    # As a DNS server would: what is kept for a while would make the first one serve all.
    random.shuffle(order)
    for v6 in (first == "v6", first != "v6"):
        yield from (ip for ip in order if (":" in ip) == v6)


def _same_kind(bind: str | None, ip: str) -> bool:
    return bind is not None and (":" in bind) == (":" in ip)


def _policy(names: Sequence[str], asked: TLS, client_tls: ClientTLS) -> TLS:
    """What holds for the first of ``names`` that is in one of the lists, or for a host in none."""
    for name in names:
        if name in client_tls.force_tls_hosts or name in client_tls.no_tls_hosts:
            return policy(name, asked, client_tls)
    return asked
