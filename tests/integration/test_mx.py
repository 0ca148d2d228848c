"""Where mail for a domain goes, asked of real name servers: one of the test's own, and dnsmasq."""

from random import Random
from typing import Any

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.names import dns

from smtpforward.config.settings import ClientTLS, HostSet, Outbound
from smtpforward.job import TLS, NextHop, Server
from smtpforward.outbound.lookups import Lookups, lookups_at
from smtpforward.outbound.mx import MailHosts
from smtpforward.outbound.unroutable import Unroutable
from tests.peers.case import PeerTestCase
from tests.peers.dns import NO_TTL, TTL, NameServer

TRIES = (5,)
IMPATIENT = (0.2, 0.2)
OWN_NAME = "gateway.example"
OWN_ADDRESS = "192.0.2.250"
LISTENS = (OWN_ADDRESS, 25)


def fill(server: NameServer) -> None:
    """A domain of every shape."""
    server.mx("prefers.example", (30, "c.hosts.example"), (10, "a.hosts.example"))
    server.mx("prefers.example", (20, "B.Hosts.Example."))
    server.mx("equal.example", *((10, f"{name}.hosts.example") for name in "abc"))
    server.address("a.hosts.example", "192.0.2.1")
    server.address("b.hosts.example", "192.0.2.2", "2001:db8::2")
    server.address("c.hosts.example", "2001:db8::3")
    server.address("only-a.example", "192.0.2.4")
    server.address("only-aaaa.example", "2001:db8::4")
    server.add("nothing.example", dns.Record_TXT(b"no mail here"))
    server.mx("null.example", (0, "."))
    server.mx("aliased.example", (10, "alias.hosts.example"))
    server.alias("alias.hosts.example", "a.hosts.example")
    server.alias("is-alias.example", "prefers.example")
    server.mx("unknown-host.example", (10, "no.hosts.example"))
    server.mx("half-known.example", (10, "no.hosts.example"), (20, "a.hosts.example"))
    server.mx("failing-host.example", (10, "failing.hosts.example"), (20, "no.hosts.example"))
    server.fail("failing.hosts.example")
    server.fail("failing.example")
    server.fail("refusing.example", dns.EREFUSED)
    server.silence("silent.example")
    server.mx("us-by-name.example", (10, OWN_NAME), (20, "a.hosts.example"))
    server.mx("us-second.example", (10, "a.hosts.example"), (20, OWN_NAME))
    server.mx("us-second.example", (20, "b.hosts.example"), (30, "c.hosts.example"))
    server.mx("us-by-address.example", (10, "other-name.example"))
    server.address("other-name.example", OWN_ADDRESS)
    server.address(OWN_NAME, OWN_ADDRESS)
    server.mx("private.example", (10, "private.hosts.example"))
    server.address("private.hosts.example", "10.1.2.3", "fd00::1", "127.0.0.1", "::ffff:10.1.2.3")
    server.mx("partly-private.example", (10, "partly.hosts.example"))
    server.address("partly.hosts.example", "192.168.1.1", "192.0.2.9")
    server.mx("many.example", *((10, f"{n}.long-names-of-hosts.example") for n in range(50)))
    for n in range(50):
        server.address(f"{n}.long-names-of-hosts.example", f"198.51.100.{n + 1}")


class MXCase(PeerTestCase):
    """Mail hosts that ask a name server."""

    def setUp(self) -> None:
        """A name server that knows the domains."""
        self.server = self.name_server()
        fill(self.server)

    async def resolver(self) -> tuple[str, int]:
        """Who is asked."""
        return self.server.place

    async def lookups(self, tries: tuple[float, ...] = TRIES, clock: Any = reactor) -> Lookups:
        """New ones."""
        lookups = lookups_at([await self.resolver()], reactor, clock, tries)
        self.addCleanup(lookups.stop)
        return lookups

    async def hosts(
        self,
        lookups: Lookups | None = None,
        client_tls: ClientTLS | None = None,
        direct: Server | None = None,
        **keys: Any,
    ) -> MailHosts:
        """New ones; ``keys`` are settings of the queue."""
        outbound = Outbound(**keys)
        if direct is not None:
            outbound = evolve(outbound, direct=evolve(outbound.direct, servers=(direct,)))
        return MailHosts(
            lookups or await self.lookups(),
            outbound,
            client_tls or ClientTLS(),
            OWN_NAME,
            lambda ip, port: (ip, port) == LISTENS,
            Random(7),
        )

    async def routes(self, domain: str, **keys: Any) -> list[str]:
        """The servers for ``domain``, as ``host[address]``."""
        hop = await (await self.hosts(**keys)).next_hop(domain)
        return _places(hop)

    async def refused(self, domain: str, **keys: Any) -> str:
        """Why there is none."""
        try:
            places = await self.routes(domain, **keys)
        except Unroutable as error:
            return error.reply.text
        raise AssertionError(f"{domain} has {places}")


def _places(hop: NextHop) -> list[str]:
    return [f"{server.host}[{server.address}]" for server in hop.servers]


class HostsTests(MXCase):
    """What is found."""

    async def test_preference(self) -> None:
        """The lower preference first; of each host both kinds of address."""
        self.assertEqual(
            await self.routes("prefers.example"),
            [
                "a.hosts.example[192.0.2.1]",
                "b.hosts.example[192.0.2.2]",
                "b.hosts.example[2001:db8::2]",
                "c.hosts.example[2001:db8::3]",
            ],
        )

    async def test_v6_first(self) -> None:
        """``inet_prefer``: within a host, not across hosts."""
        places = await self.routes("prefers.example", inet_prefer="v6")
        self.assertEqual(places[0], "a.hosts.example[192.0.2.1]")
        self.assertEqual(places[1], "b.hosts.example[2001:db8::2]")

    async def test_equal(self) -> None:
        """Hosts that are preferred alike come in any order, and none is lost."""
        hosts = await self.hosts()
        orders = {tuple(_places(await hosts.next_hop("equal.example"))) for _ in range(30)}
        self.assertGreater(len(orders), 3)
        self.assertEqual({frozenset(order) for order in orders}, {frozenset(min(orders))})

    async def test_no_mx(self) -> None:
        """The domain itself, by either kind of address (RFC 5321 5.1)."""
        self.assertEqual(await self.routes("only-a.example"), ["only-a.example[192.0.2.4]"])
        self.assertEqual(await self.routes("only-aaaa.example"), ["only-aaaa.example[2001:db8::4]"])

    async def test_alias(self) -> None:
        """An MX host, or the domain, that is an alias."""
        self.assertEqual(await self.routes("aliased.example"), ["alias.hosts.example[192.0.2.1]"])
        self.assertEqual(len(await self.routes("is-alias.example")), 4)

    async def test_half_known(self) -> None:
        """A host without an address is passed over."""
        self.assertEqual(await self.routes("half-known.example"), ["a.hosts.example[192.0.2.1]"])

    async def test_literal(self) -> None:
        """An address literal is asked of nobody."""
        self.assertEqual(await self.routes("[192.0.2.1]"), ["192.0.2.1[None]"])
        self.assertEqual(await self.routes("[ipv6:2001:db8::1]"), ["2001:db8::1[None]"])
        self.assertEqual(self.server.asked, [])

    async def test_long_answer(self) -> None:
        """What does not fit into UDP comes by TCP; not more servers than anyone tries."""
        places = await self.routes("many.example")
        self.assertEqual(len(set(places)), 20)
        self.assertIn(("many.example", dns.MX, "udp"), self.server.asked)
        self.assertIn(("many.example", dns.MX, "tcp"), self.server.asked)

    async def test_template(self) -> None:
        """Port, name and policy are the settings'; the lists of tls.ini hold for each host."""
        direct = Server("", 2525, "helo.example", bind="192.0.2.77", tls=TLS.OFFERED)
        lists = ClientTLS(
            force_tls_hosts=HostSet(frozenset(["b.hosts.example"])),
            no_tls_hosts=HostSet(frozenset(["c.hosts.example"])),
        )
        hosts = await self.hosts(client_tls=lists, direct=direct)
        servers = (await hosts.next_hop("prefers.example")).servers
        self.assertEqual(
            [server.tls for server in servers],
            [TLS.OFFERED, TLS.REQUIRED, TLS.REQUIRED, TLS.NEVER],
        )
        self.assertEqual(
            [server.bind for server in servers], ["192.0.2.77", "192.0.2.77", None, None]
        )
        self.assertEqual({(s.port, s.helo) for s in servers}, {(2525, "helo.example")})


class NoHostsTests(MXCase):
    """What is permanent, and what is not."""

    async def test_no_domain(self) -> None:
        """NXDOMAIN."""
        self.assertEqual(
            await self.refused("gone.example"), "550 5.1.2 there is no domain gone.example"
        )

    async def test_null(self) -> None:
        """RFC 7505."""
        self.assertEqual(
            await self.refused("null.example"),
            "556 5.1.10 null.example takes no mail: it has a null MX",
        )

    async def test_no_address(self) -> None:
        """A domain that has neither MX nor address."""
        self.assertEqual(
            await self.refused("nothing.example"),
            "550 5.4.4 nothing.example has neither a mail server nor an address",
        )

    async def test_unknown_hosts(self) -> None:
        """MX hosts that are not there may yet come."""
        self.assertEqual(
            await self.refused("unknown-host.example"),
            "451 4.4.4 no mail server of unknown-host.example has an address: no.hosts.example",
        )

    async def test_failing(self) -> None:
        """SERVFAIL and REFUSED."""
        for domain, word in (("failing", "SERVFAIL"), ("refusing", "REFUSED")):
            self.assertEqual(
                await self.refused(f"{domain}.example"),
                f"451 4.4.3 looking up {domain}.example: the DNS has no answer: {word}",
            )

    async def test_failing_host(self) -> None:
        """SERVFAIL for the address of the MX host."""
        self.assertEqual(
            await self.refused("failing-host.example"),
            "451 4.4.3 looking up failing-host.example: the DNS has no answer of its mail server"
            " failing.hosts.example: SERVFAIL",
        )

    async def test_silent(self) -> None:
        """No answer in time."""
        lookups = await self.lookups(IMPATIENT)
        self.assertEqual(
            await self.refused("silent.example", lookups=lookups),
            "451 4.4.3 looking up silent.example: the DNS has no answer: no answer in time",
        )

    async def test_ourselves(self) -> None:
        """The best host is this gateway, by its name or by an address that it listens on."""
        for domain in ("us-by-name.example", "us-by-address.example", OWN_NAME):
            self.assertEqual(
                await self.refused(domain),
                f"550 5.4.6 mail for {domain} loops back to this server",
            )

    async def test_ourselves_second(self) -> None:
        """Then those that are preferred to it, and no others."""
        self.assertEqual(await self.routes("us-second.example"), ["a.hosts.example[192.0.2.1]"])

    async def test_private(self) -> None:
        """Private addresses are none, unless ``local_mx_ok``."""
        said = await self.refused("private.example")
        self.assertTrue(said.startswith("550 5.4.4 the mail servers of private.example"), said)
        self.assertIn("local_mx_ok=false", said)
        self.assertEqual(len(await self.routes("private.example", local_mx_ok=True)), 4)
        self.assertEqual(
            await self.routes("partly-private.example"), ["partly.hosts.example[192.0.2.9]"]
        )
        self.assertIn("local_mx_ok", await self.refused("[127.0.0.1]"))
        self.assertEqual(await self.routes("[127.0.0.1]", local_mx_ok=True), ["127.0.0.1[None]"])


class ThroughDnsmasqHostsTests(HostsTests):
    """The same through a resolver of the kind that hosts have."""

    async def resolver(self) -> tuple[str, int]:
        """dnsmasq, which passes questions on."""
        return (await self.dnsmasq(f"server=127.0.0.1#{self.server.port}")).place


class ThroughDnsmasqNoHostsTests(NoHostsTests):
    """The same through a resolver of the kind that hosts have."""

    async def resolver(self) -> tuple[str, int]:
        """dnsmasq, which passes questions on."""
        return (await self.dnsmasq(f"server=127.0.0.1#{self.server.port}")).place


class DnsmasqTests(MXCase):
    """Domains that dnsmasq itself knows."""

    async def resolver(self) -> tuple[str, int]:
        """dnsmasq, which asks nobody."""
        many = (f"mx-host=many.test,{n}.long-names-of-hosts.test,10" for n in range(50))
        hosts = (f"host-record={n}.long-names-of-hosts.test,198.51.100.{n + 1}" for n in range(50))
        dnsmasq = await self.dnsmasq(
            *("local=/test/", *many, *hosts),
            *("mx-host=two.test,b.two.test,20", "mx-host=two.test,a.two.test,10"),
            *("host-record=a.two.test,192.0.2.1,2001:db8::1", "cname=b.two.test,a.two.test"),
            *("host-record=itself.test,192.0.2.2", "mx-host=lost.test,nowhere.test,10"),
        )
        return dnsmasq.place

    async def test_found(self) -> None:
        """MX, aliases, addresses alone."""
        self.assertEqual(
            await self.routes("two.test"),
            [
                *("a.two.test[192.0.2.1]", "a.two.test[2001:db8::1]"),
                *("b.two.test[192.0.2.1]", "b.two.test[2001:db8::1]"),
            ],
        )
        self.assertEqual(await self.routes("itself.test"), ["itself.test[192.0.2.2]"])
        self.assertEqual(len(set(await self.routes("many.test"))), 20)

    async def test_not_found(self) -> None:
        """No such domain, no such host, no answer."""
        lookups = await self.lookups()
        for domain, code in (
            ("gone.test", "550 5.1.2"),
            ("lost.test", "451 4.4.4"),
            ("elsewhere.example", "451 4.4.3"),
        ):
            said = await self.refused(domain, lookups=lookups)
            self.assertEqual(said[:9], code, said)


class KeptTests(MXCase):
    """What is kept, on a clock that a test moves."""

    async def asked_for(self, domain: str, seconds: float, clock: Clock) -> list[int]:
        """How many questions there were after a look-up, just before ``seconds``, and then."""
        hosts = await self.hosts(await self.lookups(clock=clock))
        counts = []
        for passed in (0, seconds - 1, 1):
            clock.advance(passed)
            answer: Deferred[Any] = hosts.next_hop(domain)
            await answer.addErrback(lambda failure: failure.trap(Unroutable))
            counts.append(len(self.server.asked))
        return counts

    async def test_found(self) -> None:
        """As long as the records say."""
        # That there is no MX and no AAAA holds for a shorter time: those are asked for before.
        self.assertEqual(await self.asked_for("only-a.example", TTL, Clock()), [3, 5, 6])

    async def test_no_domain(self) -> None:
        """As long as the zone says that nothing is there."""
        self.assertEqual(await self.asked_for("gone.example", NO_TTL, Clock()), [1, 1, 2])

    async def test_shared(self) -> None:
        """Asked by many at once it is one question."""
        hosts = await self.hosts()
        for hop in [hosts.next_hop("only-a.example") for _ in range(10)]:
            self.assertEqual(_places(await hop), ["only-a.example[192.0.2.4]"])
        self.assertEqual(len(self.server.asked), 3)


class ServersTests(MXCase):
    """Several name servers."""

    async def test_another_one(self) -> None:
        """One that fails, or says nothing, is passed over."""
        bad = self.name_server()
        bad.fail("only-a.example")
        bad.fail("only-aaaa.example", dns.EREFUSED)
        bad.silence("null.example")
        lookups = lookups_at([bad.place, self.server.place], reactor, reactor, IMPATIENT)
        self.addCleanup(lookups.stop)
        for domain in ("only-a.example", "only-aaaa.example"):
            self.assertEqual(len(await self.routes(domain, lookups=lookups)), 1)
        self.assertIn("556", await self.refused("null.example", lookups=lookups))
        self.assertEqual(
            {name for name, _, _ in bad.asked}, {name for name, _, _ in self.server.asked}
        )

    async def test_no_way(self) -> None:
        """One that nothing can be sent to is passed over; alone it is the reason."""
        nowhere = ("255.255.255.255", 53)  # The kernel refuses to send there.
        for places in ([nowhere, self.server.place], [nowhere]):
            lookups = lookups_at(places, reactor, reactor, IMPATIENT)
            self.addCleanup(lookups.stop)
            if len(places) > 1:
                self.assertEqual(len(await self.routes("only-a.example", lookups=lookups)), 1)
        self.assertIn("Permission denied", await self.refused("only-a.example", lookups=lookups))

    async def test_ipv6(self) -> None:
        """A name server with an IPv6 address, by UDP and TCP."""
        six = self.name_server("::1")
        fill(six)
        lookups = lookups_at([six.place], reactor, reactor, TRIES)
        self.addCleanup(lookups.stop)
        self.assertEqual(len(await self.routes("many.example", lookups=lookups)), 20)
        self.assertIn(("many.example", dns.MX, "tcp"), six.asked)

    async def test_all_fail(self) -> None:
        """Then the failure is the answer, once each has been asked."""
        bad = self.name_server()
        bad.silence("failing.example")
        lookups = lookups_at([self.server.place, bad.place], reactor, reactor, IMPATIENT)
        self.addCleanup(lookups.stop)
        self.assertIn("SERVFAIL", await self.refused("failing.example", lookups=lookups))
        self.assertEqual(len(bad.asked), 1)


class SystemTests(MXCase):
    """Without name servers in the settings: those of the system's files."""

    async def test_files(self) -> None:
        """The hosts file comes before the DNS; that a name server is silent is noticed."""
        folder = self.folder()
        resolv, names = folder / "resolv.conf", folder / "hosts"
        resolv.write_text("nameserver 127.0.0.1\n")
        names.write_text("192.0.2.44 named.example\n")
        lookups = lookups_at((), reactor, reactor, IMPATIENT, (str(resolv), str(names)))
        self.addCleanup(lookups.stop)
        self.patch(lookups._resolver.resolvers[1], "dynServers", [self.server.place])
        self.server.mx("by-hosts.example", (10, "named.example"))
        self.server.add("named.example")
        self.assertEqual(
            await self.routes("by-hosts.example", lookups=lookups), ["named.example[192.0.2.44]"]
        )
