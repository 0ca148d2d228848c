"""What makes two routes one: from files to ways."""

from collections.abc import Iterator
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from smtpforward import routing
from smtpforward.config.settings import Route
from smtpforward.envelope import Client
from smtpforward.job import TLS, Credentials, Delivery, NextHop, PoolBounds, Server, Timeouts
from smtpforward.routing import Way
from tests.support import address, settings
from tests.test_config_load import DirectoryCase

STRANGER = Client("192.0.2.1", 4321)
LOGIN = Credentials("PLAIN", "user", "secret")
SERVER = Server("a.example", 25, "me.example", credentials=LOGIN)
HOP = NextHop((SERVER,))
# For each field of each value that makes a next hop: another value.
OTHERS: dict[type, dict[str, Any]] = {
    Credentials: {"mechanism": "LOGIN", "user": "other", "password": "other"},
    Server: {
        "host": "b.example",
        "port": 26,
        "helo": "other.example",
        "bind": "192.0.2.9",
        "protocol": "lmtp",
        "tls": TLS.REQUIRED,
        "credentials": None,
        "address": "192.0.2.8",
    },
    Timeouts: {"connect": 1.0, "reply": 1.0, "forward": 1.0, "dot": 1.0},
    PoolBounds: {
        "max_connections": 1,
        "idle": 1.0,
        "max_age": 1.0,
        "max_messages": 1,
        "max_connecting": 3,
    },
    NextHop: {
        "servers": (SERVER, attrs.evolve(SERVER, host="b.example")),
        "timeouts": Timeouts(1.0),
        "bounds": PoolBounds(1),
        "retry_dead_after": 1.0,
        "strict_8bit": True,
    },
    Way: {
        "delivery": Delivery.OUTBOUND,
        "next_hop": None,
        "alone": True,
        "partial_rejection": "reject",
    },
}


def others() -> Iterator[tuple[str, NextHop]]:
    """Next hops that differ from ``HOP`` in one place, with its name."""
    for name, value in OTHERS[Credentials].items():
        server = attrs.evolve(SERVER, credentials=attrs.evolve(LOGIN, **{name: value}))
        yield f"Credentials.{name}", attrs.evolve(HOP, servers=(server,))
    for name, value in OTHERS[Server].items():
        server = attrs.evolve(SERVER, **{name: value})
        yield f"Server.{name}", attrs.evolve(HOP, servers=(server,))
    for name, value in OTHERS[Timeouts].items():
        yield f"Timeouts.{name}", attrs.evolve(HOP, timeouts=Timeouts(**{name: value}))
    for name, value in OTHERS[PoolBounds].items():
        yield f"PoolBounds.{name}", attrs.evolve(HOP, bounds=PoolBounds(**{name: value}))
    for name, value in OTHERS[NextHop].items():
        yield f"NextHop.{name}", attrs.evolve(HOP, **{name: value})


class IdentityTests(SynchronousTestCase):
    """Whatever decides where and how a message is handed over is part of its way."""

    def test_no_field_is_forgotten(self) -> None:
        """A field that is new has to be looked at here."""
        for kind, changes in OTHERS.items():
            self.assertEqual({f.name for f in attrs.fields(kind)}, set(changes), kind)

    def test_each_field(self) -> None:
        """A recipient whose next hop differs in one field comes in the next transaction."""
        for name, hop in others():
            given = settings(sections={"example.org": Route("example.org", hop)})
            given = attrs.evolve(given, routes=attrs.evolve(given.routes, default=Route("", HOP)))
            ways = [self.way(given, to) for to in (b"a@example.com", b"b@example.org")]
            self.assertNotEqual(ways[0], ways[1], name)
            for to, taken in ((b"b@example.org", ways[0]), (b"a@example.com", ways[1])):
                decision = self.decide(given, to, taken)
                self.assertIsInstance(decision, routing.Refuse, name)
                self.assertEqual(decision.reply.lines[0][:5], b"4.5.3", name)

    def test_order_of_hosts(self) -> None:
        """The same hosts in another order are another way: others are asked first."""
        two = (SERVER, attrs.evolve(SERVER, host="b.example"))
        self.assertNotEqual(attrs.evolve(HOP, servers=two), attrs.evolve(HOP, servers=two[::-1]))

    def test_equal(self) -> None:
        """What is equal in all of them is one way, whatever its section is called."""
        again = attrs.evolve(HOP, servers=(attrs.evolve(SERVER, credentials=attrs.evolve(LOGIN)),))
        first, second = Route("a.example", HOP), Route("b.example", again)
        self.assertEqual(routing.way_of(first, False), routing.way_of(second, False))
        self.assertEqual(len({routing.way_of(first, False), routing.way_of(second, True)}), 1)

    def test_no_secret_in_a_way(self) -> None:
        """A way can be shown."""
        shown = repr(routing.way_of(Route("", HOP), False)) + str(Way(Delivery.SMTP_FORWARD, HOP))
        self.assertNotIn("secret", shown)

    def decide(self, given: Any, to: bytes, taken: Way | None = None) -> Any:
        return routing.decide(given, STRANGER, address(b"a@example.net"), address(to), taken)

    def way(self, given: Any, to: bytes) -> Way:
        """The way of a first recipient."""
        accepted: Way = self.decide(given, to).way
        return accepted


class InheritanceTests(DirectoryCase):
    """What a section takes from the top level, as it shows in the way."""

    TOP = (
        "check_recipient=true\nhost=192.0.2.1\nport=2525\nenable_tls=required\nauth_type=plain\n"
        "auth_user=user\nauth_pass=hunter2\nbind_helo=out.example\nconnect_timeout=7\n"
        "max_age=77\nqueue=smtp_forward\nenable_outbound=false\none_message_per_rcpt=true\n"
        "partial_rejection=reject\n"
    )

    def section(self, text: str, top: str = "") -> tuple[Route, Route]:
        """The default route and that of a section with ``text``."""
        routes = self.load(smtp_forward_ini=f"{self.TOP}{top}[a.example]\n{text}").routes
        return routes.default, routes.sections["a.example"]

    def test_everything(self) -> None:
        """An empty section is the default route by another name, without a host of its own."""
        default, section = self.section("")
        self.assertFalse(section.own_host)
        self.assertEqual(attrs.evolve(section, section="", own_host=True), default)
        self.assertIs(section.next_hop, default.next_hop)

    def test_own_host(self) -> None:
        """One with a host of its own takes no login from the top level, and all other keys."""
        for key in ("host=192.0.2.2", "forwarding_host_pool=192.0.2.2"):
            default, section = self.section(f"{key}\n")
            [server] = default.next_hop.servers
            expected = attrs.evolve(server, host="192.0.2.2", credentials=None)
            hop = attrs.evolve(default.next_hop, servers=(expected,))
            self.assertEqual(section, attrs.evolve(default, section="a.example", next_hop=hop))
            self.assertTrue(section.own_host)

    def test_own_outbound(self) -> None:
        """Whether it says ``enable_outbound`` itself, as the top level never does."""
        for text, own in (
            ("", False),
            ("host=192.0.2.2\n", False),
            ("queue=outbound\n", False),
            ("enable_outbound=true\n", True),
        ):
            default, section = self.section(text)
            self.assertEqual((default.own_outbound, section.own_outbound), (False, own), text)

    def test_own_host_that_is_the_same(self) -> None:
        """That it is the top level's host does not matter: without its login it is another way."""
        default, section = self.section("host=192.0.2.1\n")
        self.assertIsNone(section.next_hop.servers[0].credentials)
        self.assertNotEqual(routing.way_of(default, False), routing.way_of(section, False))

    def test_own_port(self) -> None:
        """A port alone is no other host: the login goes with it."""
        default, section = self.section("port=26\n")
        [server] = default.next_hop.servers
        self.assertEqual(section.next_hop.servers, (attrs.evolve(server, port=26),))
        self.assertFalse(section.own_host)

    def test_own_login(self) -> None:
        """A section's login is its own, beside a host of its own or not."""
        login = "auth_type=login\nauth_user=a\nauth_pass=x\n"
        for host in ("", "host=192.0.2.2\n"):
            _, section = self.section(host + login)
            [server] = section.next_hop.servers
            self.assertEqual(server.credentials, Credentials("LOGIN", "a", "x"))

    def test_own_values(self) -> None:
        """What a section sets is its own, and what makes a way differ makes two."""
        for text, differs in {
            "queue=outbound": True,
            "one_message_per_rcpt=false": True,
            "bind_helo=other.example": True,
            "bind=192.0.2.9": True,
            "connect_timeout=8": True,
            "enable_tls=implicit": True,
            "dead_forwarding_host_retry_secs=8": True,
            "enable_outbound=true": False,
            "partial_rejection=learn": True,
        }.items():
            default, section = self.section(f"{text}\n")
            self.assertNotEqual(attrs.evolve(section, section=""), default, text)
            ways = {routing.way_of(route, False) for route in (default, section)}
            self.assertEqual(len(ways) == 2, differs, text)

    def test_pool(self) -> None:
        """A section with one host does not inherit the pool of several."""
        top = "check_recipient=1\nforwarding_host_pool=192.0.2.1,192.0.2.2\n"
        text = f"{top}[a.example]\nhost=192.0.2.3\n[b.example]\n"
        routes = self.load(smtp_forward_ini=text).routes
        hosts = {
            name: [server.host for server in route.next_hop.servers]
            for name, route in routes.sections.items()
        }
        self.assertEqual(
            hosts, {"a.example": ["192.0.2.3"], "b.example": ["192.0.2.1", "192.0.2.2"]}
        )

    def test_enable_outbound_of_the_top_level(self) -> None:
        """The choice for who relays is the section's where it says it, else the top level's."""
        for top, own, enabled in (
            ("false", "", False),
            ("false", "enable_outbound=true\n", True),
            ("true", "enable_outbound=false\n", False),
            ("true", "", True),
        ):
            text = f"check_recipient=1\nhost=192.0.2.1\nenable_outbound={top}\n[a.example]\n{own}"
            route = self.load(smtp_forward_ini=text).routes.sections["a.example"]
            delivery = Delivery.SMTP_FORWARD if enabled else Delivery.OUTBOUND
            self.assertIs(routing.way_of(route, relaying=True).delivery, delivery)
            self.assertIs(routing.way_of(route, relaying=False).delivery, Delivery.SMTP_FORWARD)

    def test_idna_sections(self) -> None:
        """A section's name, in whatever form and case, is the domain that travels."""
        for name in ("bücher.example", "BÜCHER.example", "xn--bcher-kva.EXAMPLE"):
            text = f"check_recipient=1\nhost=192.0.2.1\n[{name}]\nport=26\n"
            given = self.load(smtp_forward_ini=text)
            to = address(b"a@XN--bcher-kva.example")
            decision = routing.decide(given, STRANGER, address(b"b@example.net"), to)
            assert isinstance(decision, routing.Accept)
            self.assertEqual(decision.route.section, name)

    def test_sections_of_senders(self) -> None:
        """With domain_selector=mail_from a section may be one address."""
        text = (
            "check_recipient=1\ndomain_selector=mail_from\nhost=192.0.2.1\n"
            "[Example.ORG]\nport=26\n[Ann@example.org]\nport=27\n"
            '["bob"@example.org]\nport=28\n[Jürgen@bücher.example]\nport=29\n'
        )
        routes = self.load(smtp_forward_ini=text).routes
        for sender, port in {
            b"aNN@example.org": 27,
            b"bob@example.org": 28,
            b"eve@example.org": 26,
            "jürgen@BÜCHER.example".encode(): 29,
            "jürgen@xn--bcher-kva.example".encode(): 29,
            b"a@b.example": 25,
        }.items():
            route, _ = routing.select(routes, address(sender), address(b"x@example.com"))
            self.assertEqual(route.next_hop.servers[0].port, port, sender)
