"""What a process knows of the backends of its settings: connections, counts, and who is down.

Backends are told apart as the counters do it, by host and port: pools that differ in anything else
are together. Of very many, the first ``MOST`` are told.
"""

from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import Any

from smtpforward.client.target import ForwardTarget, Health
from smtpforward.counts import MX, Counts, backend_of
from smtpforward.job import NextHop, Server

MOST = 200
MOST_HOPS = 5000  # of the settings are looked at
STATES = ("connecting", "idle", "busy", "closing", "waiting")
STATUSES = ("sent", "deferred", "bounced")
# Of what several pools or processes say, the first of these.
WORST_FIRST = (Health.RESTING, Health.UNREACHABLE, Health.UP, Health.UNKNOWN)
RANK = {health.value: rank for rank, health in enumerate(WORST_FIRST)}
Told = dict[str, Any]


def backends(
    target: ForwardTarget,
    hops: Iterable[NextHop],
    direct: ForwardTarget | None,
    counts: Counts,
    ago: float,
    smart: NextHop | None = None,
) -> dict[str, Told]:
    """By name.

    :param direct: the target of mail hosts, where there is a queue: all of them are one.
    :param smart: the smart host, to which ``direct`` delivers in place of them.
    :param ago: what is to be added to the time of the target's clock to have seconds since the
        epoch.
    """
    found: dict[str, Told] = {}
    numbers = _numbers(target, counts)
    # Many sections may share few servers.
    seen: set[Server] = set()
    servers = ((server, hop) for hop in islice(hops, MOST_HOPS) for server in hop.servers)
    for server, hop in servers:
        if server in seen:
            continue
        seen.add(server)
        name = backend_of(str(server))
        if name not in found and len(found) >= MOST:
            break
        told = _told(target, server, hop, ago) | numbers(name)
        known = found.get(name)
        found[name] = _up_if_used(told) if known is None else worse(known, _up_if_used(told))
    if direct is not None:
        _add_direct(found, direct, smart, counts, ago)
    return found


def _told(target: ForwardTarget, server: Server, hop: NextHop, ago: float) -> Told:
    """How it stands."""
    standing = target.standing(server)
    since = None if standing.since is None else standing.since + ago
    told: Told = {"health": standing.health.value, "why": standing.why or None, "since": since}
    return told | {"limit": hop.bounds.max_connections}


def _up_if_used(told: Told) -> Told:
    """It was there when it was last wanted."""
    unknown = told["health"] == Health.UNKNOWN.value and told["since"] is None
    if unknown and told["sent"] + told["bounced"]:
        told["health"] = Health.UP.value
    return told


def _add_direct(
    found: dict[str, Told], direct: ForwardTarget, smart: NextHop | None, counts: Counts, ago: float
) -> None:
    """The smart host by its name; the mail hosts together, where there may be any."""
    numbers, named = _numbers(direct, counts), set[str]()
    for server, hop in [(server, smart) for server in smart.servers] if smart else []:
        name = backend_of(str(server))
        named.add(name)
        told = _up_if_used(_told(direct, server, hop, ago) | numbers(name))
        known = found.get(name)
        if known is not None:  # It is the backend of a route, too: with pools of its own.
            told = worse(known, told) | {state: known[state] + told[state] for state in STATES}
        found[name] = told
    pools = Counter[str]()
    for pool in direct.pools:
        if backend_of(pool.name) not in named:
            pools.update(pool.counts())
    counted = _counted(MX, counts)
    if smart is None or any(pools.values()) or any(counted.values()):
        health = Health.UP if pools["idle"] or pools["busy"] else Health.UNKNOWN
        found[MX] = {"health": health.value, "why": None, "since": None, "limit": None}
        found[MX] |= {state: pools[state] for state in STATES} | counted


def _numbers(target: ForwardTarget, counts: Counts) -> Any:
    """From a backend's name to its numbers."""
    pools: dict[str, Counter[str]] = {}
    for pool in target.pools:
        pools.setdefault(backend_of(pool.name), Counter()).update(pool.counts())

    def of(name: str) -> dict[str, int]:
        states = pools.get(name, Counter())
        return {state: states[state] for state in STATES} | _counted(name, counts)

    return of


def _counted(name: str, counts: Counts) -> dict[str, int]:
    """Messages of senders who waited, and recipients of the queue's attempts."""
    both = (counts.transactions, counts.deliveries)
    return {status: sum(each[name, status] for each in both) for status in STATUSES}


def worse(one: Told, other: Told) -> Told:
    """``one``, with what is worse of the health of both."""
    if RANK[other["health"]] < RANK[one["health"]] or (
        other["health"] == one["health"] and other["why"] and not one["why"]
    ):
        return one | {name: other[name] for name in ("health", "why", "since")}
    return one


def of_all(processes: Iterable[dict[str, Told]]) -> list[Told]:
    """Those of all processes, as of one gateway, in the order of the settings."""
    found: dict[str, Told] = {}
    for process in processes:
        for name, told in process.items():
            known = found.get(name)
            if known is None:
                found[name] = {"backend": name, **told}
                continue
            sums = {each: known[each] + told[each] for each in (*STATES, *STATUSES)}
            found[name] = worse(known, told) | sums
    return list(islice(found.values(), MOST + 1))
