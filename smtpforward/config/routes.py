"""``smtp_forward.ini`` to routes.

Rules: a section inherits what it does not set, except that one with its own host takes no other
host and no credentials from the top level. Two sections that mean one domain, and two that give
one server's pool different bounds, are problems.
"""

import os
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from attrs import astuple, define, field

from smtpforward.config import backends, credentials, names
from smtpforward.config.dialect import MAIN
from smtpforward.config.problems import Place, Report, shown
from smtpforward.config.reading import Reading
from smtpforward.config.settings import ClientTLS, Route, Routes
from smtpforward.envelope import mailbox
from smtpforward.job import NextHop, PoolBounds, Server

HOSTS = frozenset({"host", "forwarding_host_pool"})
OF_A_HOST = HOSTS.union(credentials.KEYS)
# The keys of a pool's bounds, by the names that they have there.
BOUNDS = {
    "max_connections": "max_connections",
    "timeout": "idle",
    "max_age": "max_age",
    "max_messages": "max_messages",
    "max_connecting": "max_connecting",
}
# What decides where and how a section's messages are handed over.
OF_A_HOP = (
    *backends.KEYS,
    *("connect_timeout", "reply_timeout", "forward_timeout", "dot_timeout"),
    *("dead_forwarding_host_retry_secs", "strict_8bit"),
    *BOUNDS,
)
Values = Mapping[str, Any]


def inherit(top: Values, own: Values) -> Values:
    """What holds for a section."""
    if own.keys().isdisjoint(HOSTS):
        return {**top, **own}
    return {**{key: value for key, value in top.items() if key not in OF_A_HOST}, **own}


def build(reading: Reading, path: str, me: str, client_tls: ClientTLS, report: Report) -> Routes:
    """The routes of a file that was read from ``path``."""
    builder = _Builder(reading, path, me, client_tls, report)
    top = builder.own(MAIN)
    if not any((MAIN, key) in reading.places for key in HOSTS):
        report.add(Place(path), "host", "is not set", "host=NAME: where mail goes by default")
    default = builder.route("", MAIN, top)
    return Routes(
        default,
        dict(builder.sections(top)),
        top["check_recipient"],
        top["check_sender"],
        top["domain_selector"],
        top["split_routes"],
    )


@define
class _Builder:
    reading: Reading
    path: str
    me: str
    client_tls: ClientTLS
    report: Report
    # Many sections share few next hops: by their values, one object each.
    hops: dict[tuple[object, ...], NextHop] = field(factory=dict, repr=False)
    bounds: dict[Server, tuple[PoolBounds, str]] = field(factory=dict)
    # Of values that sections share, all of a route but its section: where nothing was wrong in one
    # of those sections, nothing is in the others.
    alike: dict[int, tuple[Any, ...]] = field(factory=dict, repr=False)

    def sections(self, top: Values) -> Iterator[tuple[str, Route]]:
        """Each section's domain and route."""
        seen: dict[str, str] = {}
        for name in self.reading.values:
            domain = self._key(name) if name != MAIN else None
            if domain is None:
                continue
            if domain in seen:
                first = f"[{seen[domain]}], line {self._place(seen[domain]).line}"
                message = f"[{name}] means the same as {first}"
                self.report.add(self._place(name), None, message, "one section for both")
            else:
                seen[domain] = name
                yield domain, self._of(name, top)

    def _of(self, section: str, top: Values) -> Route:
        """The route of a section other than the top level."""
        shared = self.reading.values[section]
        rest = self.alike.get(id(shared))
        if rest is not None:
            return Route(section, *rest)
        before = len(self.report.problems)
        route = self.route(section, section, inherit(top, self.own(section)))
        if len(self.report.problems) == before:
            self.alike[id(shared)] = astuple(route, recurse=False)[1:]
        return route

    def own(self, section: str) -> Values:
        """What the section itself says, a password file read."""
        at = partial(self._at, section)
        pool = at("forwarding_host_pool")
        if pool and at("host"):
            message = "host is set as well, and each of the two says where mail goes"
            self.report.add(pool, "forwarding_host_pool", message, "only one of the two")
        root = os.path.dirname(self.path)
        return credentials.with_password(self.reading.values[section], at, root, self.report)

    def route(self, label: str, section: str, values: Values) -> Route:
        """The route of a section, whose ``values`` are complete."""
        asked = tuple([values.get(key) for key in OF_A_HOP])
        hop = self.hops.get(asked)
        if hop is None:
            hop = self.hops[asked] = self._next_hop(values)
        self._check(section, hop, values)
        for server in hop.servers:
            self._compare_bounds(section, server, hop.bounds)
        return Route(
            label,
            hop,
            values["partial_rejection"],
            values["queue"],
            values["enable_outbound"],
            values["one_message_per_rcpt"],
            any((section, key) in self.reading.places for key in HOSTS),
            section != MAIN and (section, "enable_outbound") in self.reading.places,
        )

    def _next_hop(self, values: Values) -> NextHop:
        return NextHop(
            backends.build(values, self.me, self.client_tls),
            backends.timeouts(values),
            PoolBounds(**{name: values[key] for key, name in BOUNDS.items()}),
            values["dead_forwarding_host_retry_secs"],
            values["strict_8bit"],
        )

    def _check(self, section: str, hop: NextHop, values: Values) -> None:
        """What cannot be had together is reported where a part of it is said."""
        if section != MAIN and not any(
            (section, key) in self.reading.places for key in backends.KEYS
        ):
            return
        credentials.check(values, partial(self._at, section), self.report)
        for key, message, remedy in backends.contradictions(hop.servers, values):
            self.report.add(self._place(section, key), key, message, remedy)

    def _compare_bounds(self, section: str, server: Server, ours_all: PoolBounds) -> None:
        bounds, first = self.bounds.setdefault(server, (ours_all, section))
        if bounds is ours_all:
            return
        for key, name in BOUNDS.items():
            ours, theirs = getattr(ours_all, name), getattr(bounds, name)
            if ours != theirs:
                other = "the top level" if first == MAIN else f"[{first}]"
                message = (
                    f"{ours:g} in [{section}], but {theirs:g} in {other}"
                    f" ({self._place(first, key)}), and both share the pool of {server}"
                )
                self.report.add(self._place(section, key), key, message, "the same in both")

    def _key(self, section: str) -> str | None:
        """The domain, or the address, that a section is for."""
        local, at, host = section.rpartition("@")
        try:
            domain = names.domain(host)
        except ValueError:
            place = self._place(section)
            message = f"section {shown(section)} is no domain and no address"
            self.report.add(place, None, message, "a section such as [example.com]")
            return None
        if not at:
            return domain
        place = self._place(section)
        if not local:
            message = f"[{section}] is for an address without a local part"
            self.report.add(place, None, message, f"[{domain}], for every address in it")
            return None
        if self.reading.values[MAIN]["domain_selector"] != "mail_from":
            message = f"[{section}] is for a sender, and the sender selects no section"
            self.report.add(place, None, message, f"domain_selector=mail_from, or [{domain}]")
            return None
        return mailbox(local, domain)

    def _at(self, section: str, key: str) -> Place | None:
        """Where the section itself sets ``key``."""
        return self.reading.places.get((section, key))

    def _place(self, section: str, key: str = "") -> Place:
        """Where ``key`` is set, else the section's header, else the file."""
        places = self.reading.places
        return places.get((section, key)) or places.get((section, "")) or Place(self.path)
