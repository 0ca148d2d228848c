"""Who may send to whom, which section is picked, and which way a message goes."""

import ipaddress
import re
from collections.abc import Iterable
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from smtpforward import answers, routing
from smtpforward.config.networks import Networks, network
from smtpforward.config.settings import Access, Outbound, Route, Settings
from smtpforward.envelope import NULL_SENDER, Address, Client
from smtpforward.job import Delivery
from smtpforward.reply import Reply
from smtpforward.routing import SPLIT, Accept, Refuse, Way
from tests.support import Edge, ScriptedTarget, address, next_hop, settings

STRANGER = Client("192.0.2.1", 4321)
RELAYING = attrs.evolve(STRANGER, relaying_by="relay_acl_allow")
SENDER = address(b"a@example.net")
ORG = Route("example.org", next_hop("other.example.com"))
FORWARD, OUTBOUND = Delivery.SMTP_FORWARD, Delivery.OUTBOUND


def decide(
    to: bytes,
    client: Client = STRANGER,
    given: Settings | None = None,
    taken: Way | None = None,
    sender: Address = SENDER,
) -> Any:
    """The decision about ``to``."""
    where = address(to) if b"@" in to else Address(to)
    given = given or settings(sections={"example.org": ORG})
    return routing.decide(given, client, sender, where, taken)


def routes(given: Settings, **changes: Any) -> Settings:
    """``given`` with other top-level keys."""
    return attrs.evolve(given, routes=attrs.evolve(given.routes, **changes))


def way(host: str = "backend.example.com", **changes: Any) -> Way:
    """The way that forwards to ``host``."""
    return Way(FORWARD, next_hop(host, **changes))


class DecisionCase(SynchronousTestCase):
    """Looks at decisions."""

    def assert_accepted(self, decision: Any) -> None:
        """The recipient is accepted, and there is a reason."""
        self.assertIsInstance(decision, Accept)
        self.assertTrue(decision.why)

    def assert_refused(self, decision: Any, reply: Reply, fault: bool = False) -> None:
        """The recipient gets ``reply``, and there is a reason."""
        self.assertIsInstance(decision, Refuse)
        self.assertIs(decision.reply, reply)
        self.assertTrue(decision.why)
        self.assertEqual(decision.fault, fault)


class AcceptTests(DecisionCase):
    """Who may send to whom."""

    def test_host_list(self) -> None:
        """A domain of ``host_list`` is accepted from everyone, in any case."""
        for to in (b"b@example.com", b"B@Example.COM", b"b@example.org"):
            self.assert_accepted(decide(to))

    def test_others(self) -> None:
        """Another domain is refused, a subdomain too."""
        for to in (
            b"b@elsewhere.example",
            b"b@sub.example.com",
            b"b@xexample.com",
            b"b@[IPv6:::1]",
        ):
            self.assert_refused(decide(to), answers.NO_RELAYING)

    def test_host_list_regex(self) -> None:
        """An expression of ``host_list_regex`` has to match the whole domain."""
        given = attrs.evolve(
            settings(), access=Access(host_pattern=re.compile(r".*\.example\.net"))
        )
        self.assert_accepted(decide(b"b@a.example.net", given=given))
        for to in (b"b@a.example.net.example", b"b@example.net", b"b@example.com"):
            self.assert_refused(decide(to, given=given), answers.NO_RELAYING)

    def test_relaying(self) -> None:
        """A client that relays may send to every domain."""
        self.assert_accepted(decide(b"b@elsewhere.example", RELAYING))

    def test_check_recipient(self) -> None:
        """A section makes its domain acceptable only when the settings say so."""
        for checked in (True, False):
            given = settings(hosts=(), sections={"example.org": ORG}, check_recipient=checked)
            decision = decide(b"b@Example.ORG", given=given)
            if checked:
                self.assert_accepted(decision)
            else:
                self.assert_refused(decision, answers.NO_RELAYING)
            for to in (b"b@example.com", b"b@sub.example.org"):
                self.assert_refused(decide(to, given=given), answers.NO_RELAYING)

    def test_check_recipient_by_address(self) -> None:
        """The section of one sender makes neither its address nor its domain acceptable."""
        sections = {"b@example.org": attrs.evolve(ORG, section="b@example.org")}
        given = settings(hosts=(), sections=sections, check_recipient=True)
        given = routes(given, domain_selector="mail_from")
        self.assert_refused(decide(b"b@example.org", given=given), answers.NO_RELAYING)

    def test_postmaster(self) -> None:
        """``<postmaster>`` is accepted from everyone, on the default route."""
        given = settings(hosts=())
        for to in (b"postmaster", b"PostMaster"):
            decision = decide(to, given=given)
            self.assert_accepted(decision)
            self.assertIs(decision.route, given.routes.default)

    def test_postmaster_of_the_gateway(self) -> None:
        """Who writes to ``<postmaster>`` does not pick another route for it."""
        given = routes(settings(sections={"example.net": ORG}), domain_selector="mail_from")
        for client in (STRANGER, RELAYING):
            decision = decide(b"postmaster", client, given)
            self.assertIs(decision.route, given.routes.default)
            self.assertIs(decide(b"postmaster@example.com", client, given).route, ORG)

    def test_postmaster_of_a_domain(self) -> None:
        """With a domain it is a mailbox as others are."""
        self.assert_refused(decide(b"postmaster@elsewhere.example"), answers.NO_RELAYING)

    def test_routing_characters(self) -> None:
        """A local part that the backend might relay on is refused, quoted or not."""
        locals_ = [b"a%cb" % c for c in b"%!|"] + [b'"a%cb"' % c for c in b"@%!|"]
        locals_ += [b"b%elsewhere.example", b"elsewhere!b", b"|b", b'"b@elsewhere.example"']
        for local in locals_:
            to = local + b"@example.com"
            self.assert_refused(decide(to), answers.NO_SOURCE_ROUTES)
            self.assert_accepted(decide(to, RELAYING))

    def test_routing_characters_first(self) -> None:
        """They are looked at before the domain, and whatever made it acceptable."""
        given = settings(hosts=(), sections={"example.org": ORG}, check_recipient=True)
        for to in (b"a%b@example.org", b"a%b@elsewhere.example"):
            self.assert_refused(decide(to, given=given), answers.NO_SOURCE_ROUTES)

    def test_routing_characters_of_a_sender(self) -> None:
        """A sender may have them: nobody routes by it."""
        self.assert_accepted(decide(b"b@example.com", sender=address(b"a%b!c@example.net")))

    def test_reasons_differ(self) -> None:
        """Each way to be accepted says which rule it was."""
        checked = settings(hosts=(), sections={"example.org": ORG}, check_recipient=True)
        pattern = Access(host_pattern=re.compile(r"example\.com"))
        whys = {
            decide(b"b@example.com").why,
            decide(b"b@example.com", given=attrs.evolve(settings(), access=pattern)).why,
            decide(b"b@example.com", RELAYING).why,
            decide(b"b@example.com", attrs.evolve(STRANGER, relaying_by="its login")).why,
            decide(b"postmaster").why,
            decide(b"b@example.org", given=checked).why,
        }
        self.assertEqual(len(whys), 6)


class SenderTests(DecisionCase):
    """``check_sender``."""

    def refused(self, sender: bytes, client: Client = STRANGER, checked: bool = True) -> Any:
        """Why ``sender`` is refused, if it is."""
        given = routes(settings(sections={"example.org": ORG}), check_sender=checked)
        where = address(sender) if sender else NULL_SENDER
        return routing.decide_sender(given, client, where)

    def test_spoofed(self) -> None:
        """A stranger does not send from a domain that has a section, in any case of letters."""
        for sender in (b"a@example.org", b"A@Example.ORG"):
            refused = self.refused(sender)
            self.assert_refused(refused, answers.SPOOFED_SENDER)
            self.assertIn("example.org", refused.why)

    def test_relaying(self) -> None:
        """Who relays may."""
        self.assertIsNone(self.refused(b"a@example.org", RELAYING))

    def test_others(self) -> None:
        """Other senders are nobody's concern, a domain of host_list and the null sender too."""
        for sender in (b"a@example.com", b"a@sub.example.org", b"a@elsewhere.example", b""):
            self.assertIsNone(self.refused(sender))

    def test_not_asked_for(self) -> None:
        """Without ``check_sender`` everyone sends from everywhere."""
        self.assertIsNone(self.refused(b"a@example.org", checked=False))

    def test_section_of_an_address(self) -> None:
        """It is the domain's section that counts, not that of one of its addresses."""
        sections = {"a@example.org": ORG}
        given = routes(settings(sections=sections), check_sender=True, domain_selector="mail_from")
        self.assertIsNone(routing.decide_sender(given, STRANGER, address(b"a@example.org")))


class SelectorTests(SynchronousTestCase):
    """``domain_selector``."""

    DOMAIN = Route("Example.org", next_hop("domain.example.com"))
    ADDRESS = Route("Ann@example.org", next_hop("address.example.com"))
    IDNA = Route("bücher.example", next_hop("idna.example.com"))

    def selected(self, selector: str, sender: bytes, to: bytes) -> str:
        """The section, as its file has it."""
        sections = {
            "example.org": self.DOMAIN,
            "ann@example.org": self.ADDRESS,
            "xn--bcher-kva.example": self.IDNA,
        }
        given = routes(settings(sections=sections), domain_selector=selector).routes
        where = address(sender) if sender else NULL_SENDER
        route, words = routing.select(given, where, address(to))
        self.assertIn(f"[{route.section}]" if route.section else "default", words)
        return route.section

    def test_rcpt_to(self) -> None:
        """The recipient's domain picks, whoever sends, never its address; else the default."""
        for sender in (b"", b"ann@example.org", b"x@elsewhere.example"):
            for to, section in {
                b"x@example.org": "Example.org",
                b"X@EXAMPLE.Org": "Example.org",
                b"ann@example.org": "Example.org",
                b"x@sub.example.org": "",
                b"x@org": "",
                b"x@example.com": "",
                b"x@[192.0.2.1]": "",
            }.items():
                self.assertEqual(self.selected("rcpt_to", sender, to), section, (sender, to))

    def test_mail_from(self) -> None:
        """The sender's address picks, then its domain; else the default. Recipients do not."""
        for to in (b"x@example.com", b"ann@example.org", b"x@bar.example"):
            for sender, section in {
                b"ann@example.org": "Ann@example.org",
                b"ANN@Example.ORG": "Ann@example.org",
                b'"Ann"@example.org': "Ann@example.org",
                b'"\\ann"@example.org': "Ann@example.org",
                b'"ann "@example.org': "Example.org",
                b"bob@example.org": "Example.org",
                b"xann@example.org": "Example.org",
                b"ann@sub.example.org": "",
                b"ann@example.com": "",
                b"": "",
            }.items():
                self.assertEqual(self.selected("mail_from", sender, to), section, (sender, to))

    def test_a_labels(self) -> None:
        """A domain is compared as A-labels, in any case of letters."""
        for name in (b"xn--bcher-kva.example", b"XN--Bcher-KVA.Example"):
            for selector in ("rcpt_to", "mail_from"):
                section = self.selected(selector, b"x@" + name, b"x@" + name)
                self.assertEqual(section, "bücher.example")


class ChoiceTests(DecisionCase):
    """Which way a message goes: the table of queue and enable_outbound."""

    def decided(self, client: Client, **keys: Any) -> Any:
        """The decision for a route with ``keys``."""
        sections = {"example.org": attrs.evolve(ORG, **keys)}
        return decide(b"b@example.org", client, settings(sections=sections, outbound=Outbound()))

    def assert_way(self, rows: Iterable[tuple[Client, str | None, bool]], to: Delivery) -> None:
        """All of the table's ``rows`` go that way, and the reason names the key that says it."""
        for client, queue, enabled in rows:
            self.assertIs(routing.choose_delivery(client.relaying, queue, enabled), to)
            decision = self.decided(client, queue=queue, enable_outbound=enabled)
            if to is FORWARD:
                self.assert_accepted(decision)
                self.assertEqual(decision.way, Way(FORWARD, ORG.next_hop))
            else:
                self.assert_accepted(decision)
                self.assertEqual(decision.way, Way(OUTBOUND, None))
            self.assertIs(decision.taken, decision.way)
            if queue:
                self.assertIn(f"queue={queue}", decision.why)
            elif client.relaying:
                self.assertIn(f"enable_outbound={str(enabled).lower()}", decision.why)

    def test_queue_says_it(self) -> None:
        """``queue`` decides, whoever sends and whatever enable_outbound says."""
        for name, delivery in (("smtp_forward", FORWARD), ("outbound", OUTBOUND)):
            self.assert_way(
                [(c, name, e) for c in (STRANGER, RELAYING) for e in (True, False)], delivery
            )

    def test_not_relaying(self) -> None:
        """Mail of strangers is forwarded."""
        self.assert_way([(STRANGER, None, True), (STRANGER, None, False)], FORWARD)

    def test_relaying(self) -> None:
        """Mail that relays is forwarded with enable_outbound=true."""
        self.assert_way([(RELAYING, None, True)], FORWARD)

    def test_relaying_outbound(self) -> None:
        """Mail that relays is queued with enable_outbound=false."""
        self.assert_way([(RELAYING, None, False)], OUTBOUND)

    def test_no_queue(self) -> None:
        """Where there is no queue, what should go there is deferred, as a fault of ours."""
        given = settings(sections={"example.org": attrs.evolve(ORG, queue="outbound")})
        decision = decide(b"b@example.org", given=given)
        self.assert_refused(decision, answers.NO_QUEUE, fault=True)
        self.assertIn("queue=outbound: there is no outbound queue", decision.why)

    def test_outbound_has_no_next_hop(self) -> None:
        """The queue finds its hosts itself: what differs but for that shares a transaction."""
        other = attrs.evolve(ORG, queue="outbound", next_hop=next_hop("third.example.com"))
        ways = {
            routing.way_of(attrs.evolve(ORG, queue="outbound"), relaying=True),
            routing.way_of(attrs.evolve(ORG, enable_outbound=False), relaying=True),
            routing.way_of(other, relaying=False),
        }
        self.assertEqual(ways, {Way(OUTBOUND, None)})

    def test_accepted_before_chosen(self) -> None:
        """Who may not be written to is refused, not queued."""
        given = settings(hosts=(), sections={"example.org": attrs.evolve(ORG, queue="outbound")})
        self.assert_refused(decide(b"b@example.org", given=given), answers.NO_RELAYING)

    def test_partial_rejection(self) -> None:
        """What is answered for some of the recipients cannot differ within a transaction."""
        ways = {
            routing.way_of(attrs.evolve(ORG, partial_rejection=x), False)
            for x in ("learn", "reject")
        }
        self.assertEqual(len(ways), 2)

    def test_words(self) -> None:
        """A way says where it leads."""
        self.assertEqual(str(Way(OUTBOUND, None)), "to the outbound queue")
        self.assertEqual(str(way()), "to backend.example.com:25")


class TransactionTests(DecisionCase):
    """One transaction has one way."""

    def test_section_or_default(self) -> None:
        """The section of the domain, in any case, else the default."""
        given = settings(sections={"example.org": ORG})
        self.assertIs(decide(b"b@EXAMPLE.org", given=given).route, ORG)
        self.assertIs(decide(b"b@example.com", given=given).route, given.routes.default)

    def test_another_next_hop(self) -> None:
        """A transaction has one next hop: who needs another is deferred to the next one."""
        decision = decide(b"b@example.org", taken=way())
        self.assert_refused(decision, answers.OTHER_ROUTE)
        self.assertIn("example.org", decision.why)
        decision = decide(b"b@example.com", taken=way("other.example.com"))
        self.assert_refused(decision, answers.OTHER_ROUTE)
        self.assertIn("default", decision.why)

    def test_the_same_next_hop(self) -> None:
        """Two sections with one next hop may share a transaction."""
        self.assert_accepted(decide(b"b@example.com", taken=way()))
        self.assert_accepted(decide(b"b@example.org", taken=way("other.example.com")))

    def test_another_delivery(self) -> None:
        """The queue is another way than any backend."""
        self.assert_refused(
            decide(b"b@example.com", taken=Way(OUTBOUND, None)), answers.OTHER_ROUTE
        )
        given = settings(sections={"example.org": attrs.evolve(ORG, queue="outbound")})
        decision = decide(b"b@example.org", given=given, taken=way("other.example.com"))
        self.assert_refused(decision, answers.OTHER_ROUTE)

    def test_refused_before_deferred(self) -> None:
        """Who may not be written to is refused for good, whatever the route."""
        decision = decide(b"b@elsewhere.example", taken=way("other.example.com"))
        self.assert_refused(decision, answers.NO_RELAYING)

    def test_one_recipient(self) -> None:
        """With ``one_message_per_rcpt`` a further recipient is deferred, the first is not."""
        given = settings(sections={"example.org": attrs.evolve(ORG, one_message_per_rcpt=True)})
        first = decide(b"b@example.org", given=given)
        self.assert_accepted(first)
        for to in (b"c@example.org", b"b@example.org"):
            self.assert_refused(decide(to, given=given, taken=first.way), answers.ONE_RECIPIENT)
        self.assert_refused(
            decide(b"x@example.com", given=given, taken=first.way), answers.OTHER_ROUTE
        )

    def test_one_recipient_beside_another_section(self) -> None:
        """A section that shares its host takes no company from one that does not mind."""
        alone = Route("example.org", next_hop(), one_message_per_rcpt=True)
        given = settings(sections={"example.org": alone})
        for first, second in (
            (b"a@example.org", b"b@example.com"),
            (b"a@example.com", b"b@example.org"),
        ):
            taken = decide(first, given=given).way
            self.assert_refused(decide(second, given=given, taken=taken), answers.OTHER_ROUTE)


class SplitTests(DecisionCase):
    """``split_routes=queue``: who relays may bring several ways at once."""

    def taken(
        self, *recipients: bytes, client: Client = RELAYING, org: Route = ORG, **changes: Any
    ) -> list[Any]:
        """The decisions about one transaction's recipients."""
        changes = {"outbound": Outbound(), **changes}
        given = settings(sections={"example.org": org}, **changes)
        given = routes(given, split_routes="queue")
        decisions: list[Any] = []
        taken = None
        for to in recipients:
            decisions.append(decide(to, client, given, taken))
            if isinstance(decisions[-1], Accept):
                taken = decisions[-1].taken
        return decisions

    def test_several_ways(self) -> None:
        """From the second way on all of the transaction is queued; each keeps its own way."""
        decisions = self.taken(b"a@example.com", b"b@example.org", b"c@example.com")
        for decision in decisions:
            self.assert_accepted(decision)
        first, second, third = decisions
        self.assertEqual([d.way for d in decisions], [way(), Way(FORWARD, ORG.next_hop), way()])
        self.assertEqual(first.taken, first.way)
        self.assertIs(second.taken, SPLIT)
        self.assertIs(third.taken, SPLIT)
        self.assertNotIn("split_routes", first.why)
        self.assertIn("split_routes=queue", second.why)

    def test_one_way(self) -> None:
        """Recipients with one way go that way."""
        for decision in self.taken(b"a@example.com", b"b@example.com"):
            self.assertEqual(decision.taken, way())

    def test_queue_and_backend(self) -> None:
        """A recipient for the queue and one for a backend, in either order, are queued."""
        org = attrs.evolve(ORG, queue="outbound")
        for to in ((b"a@example.com", b"b@example.org"), (b"b@example.org", b"a@example.com")):
            first, second = self.taken(*to, org=org)
            self.assertIs(second.taken, SPLIT)
            self.assertEqual({first.way.delivery, second.way.delivery}, {FORWARD, OUTBOUND})

    def test_queue_alone(self) -> None:
        """Recipients that are all for the queue are one way, and not split."""
        org = attrs.evolve(ORG, queue="outbound")
        for decision in self.taken(b"a@example.org", b"b@example.org", org=org):
            self.assertIsNot(decision.taken, SPLIT)
            self.assertIsNone(decision.taken.next_hop)

    def test_strangers(self) -> None:
        """Who does not relay brings the others in the next transaction, as ever."""
        first, second = self.taken(b"a@example.com", b"b@example.org", client=STRANGER)
        self.assert_accepted(first)
        self.assert_refused(second, answers.OTHER_ROUTE)

    def test_one_recipient(self) -> None:
        """``one_message_per_rcpt`` defers a second one of its way, but none of a split transaction.

        The queue has an entry of its own for each.
        """
        org = attrs.evolve(ORG, one_message_per_rcpt=True)
        _, second = self.taken(b"a@example.org", b"b@example.org", org=org)
        self.assert_refused(second, answers.ONE_RECIPIENT)
        recipients = (b"a@example.org", b"b@example.com", b"c@example.org", b"d@example.org")
        for decision in self.taken(*recipients, org=org):
            self.assert_accepted(decision)

    def test_no_queue(self) -> None:
        """Without a queue a further way is deferred, as a fault of ours."""
        _, second = self.taken(b"a@example.com", b"b@example.org", outbound=None)
        self.assert_refused(second, answers.NO_QUEUE, fault=True)
        self.assertIn("split_routes=queue", second.why)


class RelayAddressTests(SynchronousTestCase):
    """``relay_acl_allow`` and the two forms of an IPv4 address."""

    FOREIGN = b"RCPT TO:<b@elsewhere.example>\r\n"

    def code(self, ip: str, *relays: str) -> int:
        """The reply to a foreign recipient for a client at ``ip``."""
        given = settings(relays=Networks(map(network, relays)))
        edge = Edge(target=ScriptedTarget(), settings_=given, ip=ip).to_sender()
        [code] = edge.codes(self.FOREIGN)
        return code

    def test_mapped_client(self) -> None:
        """An IPv4 client of an IPv6 socket relays as its IPv4 address does."""
        for ip in ("192.0.2.5", "::ffff:192.0.2.5", "::ffff:c000:205"):
            self.assertEqual(self.code(ip, "192.0.2.0/28"), 250, ip)
        for ip in ("192.0.2.16", "::ffff:192.0.2.16", "::192.0.2.5", "2001:db8::c000:205"):
            self.assertEqual(self.code(ip, "192.0.2.0/28"), 550, ip)

    def test_mapped_entry(self) -> None:
        """An entry in the mapped form means the IPv4 network."""
        for ip in ("192.0.2.5", "::ffff:192.0.2.5"):
            self.assertEqual(self.code(ip, "::ffff:192.0.2.0/124"), 250, ip)
            self.assertEqual(self.code(ip, "::ffff:192.0.2.5"), 250, ip)
            self.assertEqual(self.code(ip, "::ffff:192.0.2.6"), 550, ip)

    def test_ipv6_network_of_all(self) -> None:
        """An IPv6 network is for IPv6 clients, however wide it is."""
        self.assertEqual(self.code("::ffff:192.0.2.5", "::/1"), 550)
        self.assertEqual(self.code("::1", "::/1"), 250)
        self.assertIsInstance(network("::/1"), ipaddress.IPv6Network)

    def test_scope(self) -> None:
        """A link-local client is known by its address, whatever its interface."""
        self.assertEqual(self.code("fe80::1%eth0", "fe80::/10"), 250)
