"""``smtp_forward.ini`` to routes.

Rules: a section inherits what it does not set, except that one with its own host takes no other
host and no credentials from the top level. Two sections that mean one domain, and two that give
one server's pool different bounds, are problems.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import define, field

from smtpforward.config import names
from smtpforward.config.dialect import MAIN
from smtpforward.config.problems import Place, Report, shown
from smtpforward.config.reading import Reading
from smtpforward.config.settings import Route, Routes
from smtpforward.job import NextHop, PoolBounds, Server, Timeouts

HOSTS = frozenset({"host", "forwarding_host_pool"})
OF_A_HOST = HOSTS | {"auth_type", "auth_user", "auth_pass", "auth_pass_file"}
# The keys of a pool's bounds, by the names that they have there.
BOUNDS = {
    "max_connections": "max_connections",
    "timeout": "idle",
    "max_age": "max_age",
    "max_messages": "max_messages",
}
# What decides where and how a section's messages are handed over.
OF_A_HOP = (
    *("host", "port", "bind", "bind_helo"),
    *("connect_timeout", "reply_timeout", "forward_timeout", "dot_timeout"),
    *BOUNDS,
)
Values = Mapping[str, Any]


def inherit(top: Values, own: Values) -> Values:
    """What holds for a section."""
    if own.keys().isdisjoint(HOSTS):
        return {**top, **own}
    return {**{key: value for key, value in top.items() if key not in OF_A_HOST}, **own}


def build(reading: Reading, path: str, me: str, report: Report) -> Routes:
    """The routes of a file that was read from ``path``."""
    builder = _Builder(reading, path, me, report)
    top: Values = reading.values[MAIN]
    if top["host"] is None and (MAIN, "host") not in reading.places:
        report.add(Place(path), "host", "is not set", "host=NAME: where mail goes by default")
    default = builder.route("", MAIN, top)
    return Routes(
        default,
        dict(builder.sections(top)),
        top["check_recipient"],
        top["check_sender"],
        top["domain_selector"],
    )


def late_first(routes: Routes, inactivity_timeout: float) -> Iterator[str]:
    """The ordering rule: what is to end first has the shorter time. One text for each breach."""
    all_routes = [routes.default, *routes.sections.values()]
    idle = [r for r in all_routes if r.next_hop.bounds.idle >= r.next_hop.timeouts.forward]
    forward = [r for r in all_routes if r.next_hop.timeouts.forward >= inactivity_timeout]
    if idle:
        yield f"timeout is not below forward_timeout {_where(idle)}"
    if forward:
        yield f"forward_timeout is not below inactivity_timeout {_where(forward)}"


def backscatter(routes: Routes) -> Iterator[str]:
    """The routes on which mail of strangers is queued: its bounces go to forged senders."""
    queued = [r for r in (routes.default, *routes.sections.values()) if r.queue == "outbound"]
    if queued:
        yield (
            f"queue=outbound {_where(queued)} queues mail of clients that do not relay as well:"
            " what then cannot be delivered bounces to senders that may be forged"
        )


def _where(routes: list[Route]) -> str:
    first = f"in [{routes[0].section}]" if routes[0].section else "at the top level"
    return first if len(routes) == 1 else f"{first} and in {len(routes) - 1} more"


@define
class _Builder:
    reading: Reading
    path: str
    me: str
    report: Report
    # Many sections share few next hops: by their values, one object each.
    hops: dict[tuple[object, ...], NextHop] = field(factory=dict)
    bounds: dict[Server, tuple[PoolBounds, str]] = field(factory=dict)

    def sections(self, top: Values) -> Iterator[tuple[str, Route]]:
        """Each section's domain and route."""
        seen: dict[str, str] = {}
        for name, own in self.reading.values.items():
            domain = self._key(name) if name != MAIN else None
            if domain is None:
                continue
            if domain in seen:
                first = f"[{seen[domain]}], line {self._place(seen[domain]).line}"
                message = f"[{name}] means the same as {first}"
                self.report.add(self._place(name), None, message, "one section for both")
            else:
                seen[domain] = name
                yield domain, self.route(name, name, inherit(top, own))

    def route(self, label: str, section: str, values: Values) -> Route:
        """The route of a section, whose ``values`` are complete."""
        asked = tuple([values.get(key) for key in OF_A_HOP])
        hop = self.hops.get(asked)
        if hop is None:
            hop = self.hops[asked] = self._next_hop(values)
        self._check_bind(section, hop.servers[0])
        self._compare_bounds(section, hop)
        return Route(
            label,
            hop,
            values["partial_rejection"],
            values["queue"],
            values["enable_outbound"],
            values["one_message_per_rcpt"],
        )

    def _next_hop(self, values: Values) -> NextHop:
        # Where the host is missing or wrong there is a problem already.
        host = values.get("host") or "localhost"
        helo = values["bind_helo"] or self.me
        return NextHop(
            (Server(host, values["port"], helo, values["bind"]),),
            Timeouts(
                connect=values["connect_timeout"],
                reply=values["reply_timeout"],
                forward=values["forward_timeout"],
                dot=values["dot_timeout"],
            ),
            PoolBounds(**{name: values[key] for key, name in BOUNDS.items()}),
        )

    def _check_bind(self, section: str, server: Server) -> None:
        host, bind = server.host, server.bind
        if bind and names.version(bind) != names.version(host, names.version(bind)):
            message = f"{bind} cannot reach {host}: one is IPv4, the other IPv6"
            self.report.add(self._place(section, "bind"), "bind", message, "addresses of one kind")

    def _compare_bounds(self, section: str, hop: NextHop) -> None:
        server = hop.servers[0]
        bounds, first = self.bounds.setdefault(server, (hop.bounds, section))
        if bounds is hop.bounds:
            return
        for key, name in BOUNDS.items():
            ours, theirs = getattr(hop.bounds, name), getattr(bounds, name)
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
        place = self._place(section)
        try:
            domain = names.domain(host)
        except ValueError:
            message = f"section {shown(section)} is no domain and no address"
            self.report.add(place, None, message, "a section such as [example.com]")
            return None
        if at and self.reading.values[MAIN]["domain_selector"] != "mail_from":
            message = f"[{section}] is for a sender, and the sender selects no section"
            self.report.add(place, None, message, f"domain_selector=mail_from, or [{domain}]")
            return None
        return f"{local.lower()}@{domain}" if at else domain

    def _place(self, section: str, key: str = "") -> Place:
        """Where ``key`` is set, else the section's header, else the file."""
        places = self.reading.places
        return places.get((section, key)) or places.get((section, "")) or Place(self.path)
