"""Where mail for a domain goes, with answers of the DNS that a test makes up.

``tests/integration/test_mx.py`` asks real name servers about each shape of a domain.
"""

from random import Random
from typing import Any

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.config.settings import ClientTLS, HostSet, Outbound
from smtpforward.job import TLS, NextHop, PoolBounds, Server, Timeouts
from smtpforward.outbound.lookups import LookupFailed
from smtpforward.outbound.mx import MailHosts
from smtpforward.outbound.records import Answer, Exchanger, Kind
from smtpforward.outbound.unroutable import Unroutable

DIRECT = NextHop(
    (Server("", 2525, "helo.example", tls=TLS.OFFERED),),
    Timeouts(connect=7),
    PoolBounds(max_connections=3),
    retry_dead_after=11,
)
GONE: Answer[Any] = Answer(exists=False)
NONE: Answer[Any] = Answer()


class Lookups:
    """Answers from two tables; what is in none of them is not there."""

    def __init__(self) -> None:
        self.mx: dict[str, Any] = {}
        self.ips: dict[tuple[str, Kind], Any] = {}
        self.asked: list[tuple[str, Kind]] = []

    def exchangers(self, domain: str) -> "Deferred[Answer[Exchanger]]":
        """As told."""
        return self._answer((domain, Kind.MX), self.mx.get(domain, GONE))

    def addresses(self, host: str, kind: Kind) -> "Deferred[Answer[str]]":
        """As told."""
        return self._answer((host, kind), self.ips.get((host, kind), NONE))

    def _answer(self, question: tuple[str, Kind], answer: Any) -> "Deferred[Any]":
        self.asked.append(question)
        if isinstance(answer, Deferred):
            return answer
        return fail(answer) if isinstance(answer, Exception) else succeed(answer)


class MailHostsTests(SynchronousTestCase):
    """One domain."""

    def setUp(self) -> None:
        """This gateway listens on 192.0.2.250."""
        self.lookups = Lookups()
        self.asked_for: list[tuple[str, int]] = []
        self.hosts = MailHosts(
            self.lookups,  # type: ignore[arg-type]
            Outbound(direct=DIRECT),
            ClientTLS(),
            "Gateway.Example.",
            self.is_ours,
            Random(1),
        )

    def is_ours(self, ip: str, port: int) -> bool:
        """Note what is asked."""
        self.asked_for.append((ip, port))
        return ip == "192.0.2.250"

    def know(self, host: str, *ips: str) -> None:
        """A host's addresses."""
        for kind, mark in ((Kind.A, "."), (Kind.AAAA, ":")):
            self.lookups.ips[host, kind] = Answer(tuple(ip for ip in ips if mark in ip))

    def exchange(self, *hosts: str) -> None:
        """The MX hosts of example.com, in order."""
        self.lookups.mx["example.com"] = Answer(
            tuple(Exchanger(10 * n, host) for n, host in enumerate(hosts))
        )

    def places(self, domain: str = "example.com") -> list[str]:
        """The servers of the next hop."""
        return [str(server) for server in self.successResultOf(self.hosts.next_hop(domain)).servers]

    def why_none(self, domain: str = "example.com") -> str:
        """Code and enhanced code."""
        failure = self.failureResultOf(self.hosts.next_hop(domain), Unroutable)
        error: Any = failure.value
        self.assertEqual(str(error), error.reply.text)
        self.assertEqual(error.reply.status, error.reply.text.split()[1].encode())
        return " ".join(error.reply.text.split()[:2])

    def test_next_hop(self) -> None:
        """All but the servers is that of the settings."""
        self.exchange("a.example")
        self.know("a.example", "192.0.2.1")
        hop = self.successResultOf(self.hosts.next_hop("example.com"))
        server = evolve(DIRECT.servers[0], host="a.example", address="192.0.2.1")
        self.assertEqual(hop, evolve(DIRECT, servers=(server,)))
        self.assertEqual(str(server), "a.example[192.0.2.1]:2525")
        self.assertEqual(self.asked_for, [("192.0.2.1", 2525)])

    def test_domain_with_a_dot(self) -> None:
        """The dot at its end is not part of the name."""
        self.exchange("a.example")
        self.know("a.example", "192.0.2.1")
        self.assertEqual(self.places("example.com."), ["a.example[192.0.2.1]:2525"])

    def test_no_mx(self) -> None:
        """Only where there is none the domain's own addresses count."""
        self.know("example.com", "192.0.2.1", "2001:db8::1")
        self.lookups.mx["example.com"] = NONE
        self.assertEqual(len(self.places()), 2)
        self.exchange("a.example")
        self.assertEqual(self.why_none(), "451 4.4.4")

    def test_no_name_of_a_host(self) -> None:
        """An MX record with a name that no host can have is one all the same."""
        self.know("example.com", "192.0.2.1")
        self.exchange("a\\013\\010.example")
        self.assertEqual(self.why_none(), "451 4.4.4")

    def test_null(self) -> None:
        """Alone it says no; beside others it says nothing."""
        self.know("example.com", "192.0.2.1")
        self.exchange("")
        self.assertEqual(self.why_none(), "556 5.1.10")
        self.assertEqual(self.lookups.asked, [("example.com", Kind.MX)])
        self.exchange("", "a.example")
        self.know("a.example", "192.0.2.2")
        self.assertEqual(self.places(), ["a.example[192.0.2.2]:2525"])

    def test_no_domain(self) -> None:
        """No address is asked for."""
        self.assertEqual(self.why_none(), "550 5.1.2")
        self.assertEqual(self.lookups.asked, [("example.com", Kind.MX)])

    def test_nothing(self) -> None:
        """Neither MX nor address; where one of the two cannot be told it is temporary."""
        self.lookups.mx["example.com"] = NONE
        self.assertEqual(self.why_none(), "550 5.4.4")
        self.lookups.ips["example.com", Kind.AAAA] = LookupFailed("SERVFAIL")
        self.assertEqual(self.why_none(), "451 4.4.3")
        self.lookups.mx["example.com"] = LookupFailed("SERVFAIL")
        self.assertEqual(self.why_none(), "451 4.4.3")

    def test_one_kind_fails(self) -> None:
        """Then the other is used."""
        self.exchange("a.example")
        self.know("a.example", "192.0.2.1")
        self.lookups.ips["a.example", Kind.AAAA] = LookupFailed("SERVFAIL")
        self.assertEqual(self.places(), ["a.example[192.0.2.1]:2525"])

    def test_ourselves(self) -> None:
        """By name, whatever its case, or by one of its addresses."""
        self.exchange("gateway.example")
        self.assertEqual(self.why_none(), "550 5.4.6")
        self.exchange("a.example")
        self.know("a.example", "192.0.2.1", "192.0.2.250")
        self.assertEqual(self.why_none(), "550 5.4.6")
        self.assertEqual(self.why_none("[192.0.2.250]"), "550 5.4.6")

    def test_own_name_not_known(self) -> None:
        """Without one nobody is taken for us by name."""
        self.hosts.adopt(Outbound(direct=DIRECT), ClientTLS(), None)
        self.exchange("gateway.example")
        self.know("gateway.example", "192.0.2.1")
        self.assertEqual(len(self.places()), 1)

    def test_private(self) -> None:
        """It says which setting it is."""
        self.exchange("a.example")
        self.know("a.example", *(f"10.0.0.{n}" for n in range(1, 6)))
        failure = self.failureResultOf(self.hosts.next_hop("example.com"), Unroutable)
        self.assertEqual(
            str(failure.value),
            "550 5.4.4 the mail servers of example.com have private addresses only, and"
            " local_mx_ok=false: 10.0.0.1, 10.0.0.2, 10.0.0.3, ...",
        )

    def test_literals(self) -> None:
        """Looked up nowhere; private ones are refused as well."""
        self.assertEqual(self.places("[192.0.2.1]"), ["192.0.2.1:2525"])
        self.assertEqual(self.places("[ipv6:2001:db8::1]"), ["[2001:db8::1]:2525"])
        self.assertEqual(self.why_none("[ipv6:::1]"), "550 5.4.4")
        self.assertEqual(self.why_none("[localhost]"), "550 5.1.2")
        self.assertEqual(self.lookups.asked, [])

    def test_adopted(self) -> None:
        """New settings hold for what is asked from now on."""
        self.exchange("a.example")
        self.know("a.example", "10.0.0.1")
        self.assertEqual(self.why_none(), "550 5.4.4")
        lists = ClientTLS(force_tls_hosts=HostSet(frozenset(["a.example"])))
        other = Lookups()
        other.mx, other.ips = self.lookups.mx, self.lookups.ips
        self.hosts.adopt(
            Outbound(direct=DIRECT, local_mx_ok=True),
            lists,
            "gateway.example",
            other,  # type: ignore[arg-type]
        )
        hop = self.successResultOf(self.hosts.next_hop("example.com"))
        self.assertIs(hop.servers[0].tls, TLS.REQUIRED)
        self.assertEqual(len(other.asked), 3)

    def test_cancelled(self) -> None:
        """At each stage: nobody waits for an answer any more."""
        for stage in ("MX", "address"):
            given_up: list[Any] = []
            waiting: Deferred[Any] = Deferred(given_up.append)
            if stage == "MX":
                self.lookups.mx["example.com"] = waiting
            else:
                self.exchange("a.example")
                self.lookups.ips["a.example", Kind.A] = waiting
            asking = self.hosts.next_hop("example.com")
            self.assertNoResult(asking)
            asking.cancel()
            self.failureResultOf(asking, CancelledError)
            self.assertEqual(given_up, [waiting])

    def test_fault(self) -> None:
        """What nobody foresaw is no answer about the domain."""
        self.exchange("a.example")
        self.lookups.ips["a.example", Kind.A] = ValueError("x")
        self.failureResultOf(self.hosts.next_hop("example.com"), ValueError)
