"""Checks of what names other hosts, ports and listeners."""

import re
from collections.abc import Callable

from smtpforward.config import listen, names
from smtpforward.config.networks import IPNetwork, Networks, network
from smtpforward.config.problems import shown
from smtpforward.config.settings import HostSet
from smtpforward.config.values import WrongValueError, items, single, wrong

HOST_PORT = re.compile(r"(?:\[([^\[\]]+)\]|([^:\[\]]+))(?::([0-9]{1,5}))?")
POOL_REMEDY = "HOST:PORT such as mx1.example.com:25, or [2001:db8::1]:25, with commas between"
HOSTS_REMEDY = "host names, addresses or networks, such as mx.example.com or 192.0.2.0/24"
NETWORKS_REMEDY = "addresses and networks such as 192.0.2.7 or 2001:db8::/32, commas between"
SESSIONS_REMEDY = (
    "addresses and networks of clients, sections of smtp_forward.ini, or default, commas between"
)
HIGHEST_PORT = 65535


def named(read: Callable[[str], str], remedy: str) -> Callable[[object], str]:
    """A check of one name or address, which ``read`` takes or refuses with ``ValueError``."""

    def check(value: object) -> str:
        text = single(value)
        try:
            return read(text)
        except ValueError:
            raise wrong(text, remedy) from None

    return check


def listeners(value: object) -> tuple[str, ...]:
    """The members of ``listen``, each of them valid."""
    given = value if isinstance(value, list) else str(value).split(",")
    texts = tuple(item.strip() for item in given)
    for text in texts:
        try:
            listen.listener(text)
        except ValueError as error:
            raise wrong(text, str(error)) from None
    return texts


def ports(value: object) -> frozenset[int]:
    """A set of ports."""
    return frozenset(map(port_number, items(value)))


def port_number(text: str) -> int:
    """One of them."""
    if not re.fullmatch("[0-9]{1,5}", text) or not 0 < int(text) <= HIGHEST_PORT:
        raise wrong(text, f"ports from 1 to {HIGHEST_PORT}, with commas between")
    return int(text)


def pool(value: object) -> tuple[tuple[str, int | None], ...]:
    """Haraka's ``forwarding_host_pool``: hosts in order, each with its port if it gives one."""
    members = tuple(member(text, POOL_REMEDY) for text in items(value, ", \t;"))
    if not members:
        raise WrongValueError("is empty", POOL_REMEDY)
    for place, one in enumerate(members):
        if one in members[:place]:
            raise WrongValueError(f"{shown(one[0])} is given twice", "each host and port once")
    return members


def member(text: str, remedy: str) -> tuple[str, int | None]:
    """A host with its port, if it gives one."""
    match = HOST_PORT.fullmatch(text)
    if match is None:
        raise wrong(text, remedy)
    try:
        host = names.address(match[1]) if match[1] else names.server(match[2])
    except ValueError:
        raise wrong(text, remedy) from None
    return host, None if match[3] is None else port_number(match[3])


def networks(value: object) -> Networks:
    """A set of addresses and networks."""
    return Networks(map(_network, items(value, ", \t;")))


def _network(text: str) -> IPNetwork:
    try:
        return network(text)
    except ValueError:
        raise wrong(text, NETWORKS_REMEDY) from None


def sessions(value: object) -> tuple[Networks, tuple[str, ...]]:
    """Clients, and the names of routes; that there are such routes is checked later."""
    clients: list[IPNetwork] = []
    routes: list[str] = []
    for text in items(value, ", \t;"):
        try:
            clients.append(network(text))
        except ValueError:
            routes.append(_route(text))
    return Networks(clients), tuple(routes)


def _route(text: str) -> str:
    """The name of a section as it is compared; empty for the default route."""
    if text.lower() == "default":
        return ""
    local, at, host = text.rpartition("@")
    try:
        return f"{local}{at}{names.domain(host)}".lower()
    except ValueError:
        raise wrong(text, SESSIONS_REMEDY) from None


def hosts(value: object) -> HostSet:
    """A set of names, addresses and networks."""
    named_hosts: set[str] = set()
    numbered: list[IPNetwork] = []
    for text in items(value):
        try:
            numbered.append(network(text.removeprefix("[").removesuffix("]")))
        except ValueError:
            named_hosts.add(_host(text))
    return HostSet(frozenset(named_hosts), Networks(numbered))


def _host(text: str) -> str:
    try:
        return names.domain(text)
    except ValueError:
        raise wrong(text, HOSTS_REMEDY) from None
