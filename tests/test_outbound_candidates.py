"""Which hosts take a domain's mail, and in what order."""

from random import Random

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.config.networks import Networks, network
from smtpforward.config.settings import ClientTLS, HostSet
from smtpforward.job import TLS, Server
from smtpforward.outbound.candidates import (
    MOST_HOSTS,
    MOST_SERVERS,
    Host,
    by_preference,
    is_private,
    servers,
    usable,
)
from smtpforward.outbound.records import Exchanger
from smtpforward.outbound.unroutable import Unroutable

DOMAIN = "example.com"
TEMPLATE = Server("", 25, "gateway.example", tls=TLS.OFFERED)
A = Host(10, "a.example", ("192.0.2.1",))
B = Host(20, "b.example", ("192.0.2.2",))
C = Host(20, "c.example", ("192.0.2.3",))
D = Host(30, "d.example", ("192.0.2.4",))
PRIVATE = Host(10, "private.example", ("10.0.0.1", "fd00::1"))
UNKNOWN = Host(10, "unknown.example")
FAILED = Host(20, "failed.example", failed="SERVFAIL")


class PreferenceTests(SynchronousTestCase):
    """The order of MX hosts."""

    def order(self, *exchangers: tuple[int, str], seed: int = 1) -> list[str]:
        """The names in order."""
        found = by_preference([Exchanger(*one) for one in exchangers], Random(seed))
        return [one.host for one in found]

    def test_lower_first(self) -> None:
        """Whatever the order of the records."""
        self.assertEqual(self.order((20, "b"), (5, "a"), (100, "c")), ["a", "b", "c"])

    def test_equal(self) -> None:
        """In an order that chance makes, among themselves alone."""
        names = [(10, name) for name in "bcdefg"]
        orders = [self.order((5, "a"), *names, (20, "h"), seed=seed) for seed in range(20)]
        self.assertGreater(len(set(map(tuple, orders))), 15)
        self.assertGreater(len({order[1] for order in orders}), 3)
        self.assertEqual({(order[0], order[-1]) for order in orders}, {("a", "h")})

    def test_named_twice(self) -> None:
        """Once, as early as it may be."""
        self.assertEqual(self.order((20, "a"), (10, "b"), (5, "a")), ["a", "b"])

    def test_null(self) -> None:
        """A null record is no host."""
        self.assertEqual(self.order((0, ""), (10, "a")), ["a"])
        self.assertEqual(self.order((0, "")), [])

    def test_bounded(self) -> None:
        """The most preferred ones."""
        many = [(n % 50, str(n % 50)) for n in range(100)]
        self.assertEqual(self.order(*many), [str(n) for n in range(MOST_HOSTS)])


class UsableTests(SynchronousTestCase):
    """What is left of them."""

    def names(self, *hosts: Host, us: Host | None = None, local_ok: bool = False) -> list[str]:
        """Those that mail may go to."""
        left = usable(DOMAIN, hosts, lambda host: host is us, local_ok)
        return [host.name for host in left]

    def why_none(self, *hosts: Host, us: Host | None = None) -> str:
        """Code and enhanced code."""
        error = self.assertRaises(Unroutable, usable, DOMAIN, hosts, lambda h: h is us, False)
        return error.reply.text[:9]

    def test_all(self) -> None:
        """Strangers with addresses."""
        self.assertEqual(self.names(A, B), ["a.example", "b.example"])

    def test_us(self) -> None:
        """We, and who is preferred no more than we, are left out (RFC 5321 5.1)."""
        self.assertEqual(self.names(A, B, C, D, us=B), ["a.example"])
        self.assertEqual(self.names(A, B, C, D, us=D), ["a.example", "b.example", "c.example"])

    def test_us_alone(self) -> None:
        """A loop, even where another one is preferred as much."""
        self.assertEqual(self.why_none(A, us=A), "550 5.4.6")
        self.assertEqual(self.why_none(B, C, D, us=C), "550 5.4.6")
        self.assertEqual(self.why_none(evolve(A, addresses=()), B, us=B), "451 4.4.4")

    def test_private(self) -> None:
        """Only the public addresses of a host, where not told otherwise."""
        mixed = evolve(A, addresses=("127.0.0.1", "192.0.2.1"))
        [left] = usable(DOMAIN, [mixed], lambda _: False, False)
        self.assertEqual(left.addresses, ("192.0.2.1",))
        self.assertEqual(self.names(PRIVATE, B), ["b.example"])
        self.assertEqual(self.names(PRIVATE, local_ok=True), ["private.example"])

    def test_private_alone(self) -> None:
        """Permanent; where one of the hosts has no address it may yet have one."""
        self.assertEqual(self.why_none(PRIVATE), "550 5.4.4")
        self.assertEqual(self.why_none(PRIVATE, UNKNOWN), "451 4.4.4")
        self.assertEqual(self.why_none(PRIVATE, FAILED), "451 4.4.3")

    def test_none_known(self) -> None:
        """Temporary, as the DNS says or as it does not."""
        self.assertEqual(self.why_none(UNKNOWN), "451 4.4.4")
        self.assertEqual(self.why_none(UNKNOWN, FAILED), "451 4.4.3")

    def test_half_known(self) -> None:
        """One kind of address is enough."""
        half = Host(10, "half.example", ("192.0.2.1",), failed="SERVFAIL")
        self.assertEqual(self.names(UNKNOWN, FAILED, half), ["half.example"])


class PrivateTests(SynchronousTestCase):
    """Which addresses are none on the internet."""

    def test_private(self) -> None:
        """Of this host, of this network, of nobody, of many; also inside an IPv6 one."""
        for ip in (
            *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1"),
            *("127.255.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.168.0.1"),
            *("224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255", "198.18.0.1"),
            *("::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::10.0.0.1", "fe80::1"),
            *("febf::1", "fec0::1", "fc00::1", "fdff::1", "ff02::1", "64:ff9b::10.0.0.1"),
            *("64:ff9b:1::1", "2002:7f00:1::1", "2002:a00:1::", "::ffff:169.254.169.254"),
        ):
            self.assertTrue(is_private(ip), ip)

    def test_public(self) -> None:
        """All others, up to the edge of those."""
        for ip in (
            *("1.0.0.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0"),
            *("126.255.255.255", "128.0.0.0", "169.253.0.1", "172.15.255.255", "172.32.0.0"),
            *("192.0.2.1", "192.167.255.255", "192.169.0.0", "223.255.255.255"),
            *("2001:db8::1", "2a00::1", "::ffff:192.0.2.1", "64:ff9b::192.0.2.1"),
            *("2002:c000:201::1", "fbff::1", "fe00::1"),
        ):
            self.assertFalse(is_private(ip), ip)


class ServersTests(SynchronousTestCase):
    """A server for each address."""

    def made(
        self, *hosts: Host, template: Server = TEMPLATE, first: str = "v4", **lists: HostSet
    ) -> tuple[Server, ...]:
        """All of them."""
        return servers(DOMAIN, hosts, template, ClientTLS(**lists), first, Random(1))

    def test_fields(self) -> None:
        """The name for TLS, the address to connect to, the rest from the settings."""
        [server] = self.made(A)
        self.assertEqual(server, evolve(TEMPLATE, host="a.example", address="192.0.2.1"))

    def test_literal(self) -> None:
        """A host that is an address has no other."""
        [server] = self.made(Host(0, "192.0.2.1", ("192.0.2.1",)))
        self.assertEqual((server.host, server.address), ("192.0.2.1", None))

    def test_kinds(self) -> None:
        """The preferred kind first, within each host; among one kind chance decides."""
        fours, sixes = ["192.0.2.1", "192.0.2.2"], ["2001:db8::1", "2001:db8::2"]
        both = Host(10, "x.example", (*sixes, *fours))
        for first, order in (("v4", fours + sixes), ("v6", sixes + fours)):
            made = [server.address or "" for server in self.made(both, A, first=first)]
            self.assertEqual(sorted(made[:2]), order[:2])
            self.assertEqual(sorted(made[2:4]), order[2:])
            self.assertEqual(made[4], "192.0.2.1")
        firsts = {
            servers(DOMAIN, [both], TEMPLATE, ClientTLS(), "v4", Random(seed))[0].address
            for seed in range(20)
        }
        self.assertEqual(firsts, set(fours))

    def test_bind(self) -> None:
        """Only for addresses of its kind."""
        both = Host(10, "x.example", ("192.0.2.1", "2001:db8::1"))
        for bind, binds in (
            ("192.0.2.9", ["192.0.2.9", None]),
            ("2001:db8::9", [None, "2001:db8::9"]),
        ):
            made = self.made(both, template=evolve(TEMPLATE, bind=bind))
            self.assertEqual([server.bind for server in made], binds)

    def test_policies(self) -> None:
        """By the host's name, its address, or the domain, in this order."""
        host, ip = (
            HostSet(frozenset(["a.example"])),
            HostSet(frozenset(), Networks([network("192.0.2.0/24")])),
        )
        domain = HostSet(frozenset([DOMAIN]))
        for listed in (host, ip, domain):
            self.assertIs(self.made(A, force_tls_hosts=listed)[0].tls, TLS.REQUIRED)
            self.assertIs(self.made(A, no_tls_hosts=listed)[0].tls, TLS.NEVER)
        for near, far in ((host, ip), (ip, domain), (host, domain)):
            [server] = self.made(A, force_tls_hosts=far, no_tls_hosts=near)
            self.assertIs(server.tls, TLS.NEVER)
            [server] = self.made(A, force_tls_hosts=near, no_tls_hosts=far)
            self.assertIs(server.tls, TLS.REQUIRED)

    def test_bounded(self) -> None:
        """Not more than anyone tries."""
        many = tuple(f"192.0.2.{n}" for n in range(100))
        self.assertEqual(len(self.made(Host(10, "x.example", many))), MOST_SERVERS)
