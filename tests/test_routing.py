"""Whether and where one recipient goes."""

import re

import attrs
from twisted.trial.unittest import SynchronousTestCase

from smtpforward import answers, routing
from smtpforward.config.settings import Access, Route, Settings
from smtpforward.envelope import Address, Client
from smtpforward.job import NextHop
from tests.support import address, next_hop, settings

STRANGER = Client("192.0.2.1", 4321)
RELAYING = attrs.evolve(STRANGER, relaying=True)
ORG = Route("example.org", next_hop("other.example.com"))


def decide(
    to: bytes,
    client: Client = STRANGER,
    given: Settings | None = None,
    taken: NextHop | None = None,
) -> routing.Accept | routing.Refuse:
    """The decision about ``to``."""
    where = address(to) if b"@" in to else Address(to)
    return routing.decide(given or settings(sections={"example.org": ORG}), client, where, taken)


class AcceptTests(SynchronousTestCase):
    """Who may send to whom."""

    def assert_refused(self, decision: object, reply: object) -> None:
        """The recipient gets ``reply``, and there is a reason."""
        self.assertIsInstance(decision, routing.Refuse)
        self.assertIs(decision.reply, reply)  # type: ignore[attr-defined]
        self.assertTrue(decision.why)  # type: ignore[attr-defined]

    def test_host_list(self) -> None:
        """A domain of ``host_list`` is accepted from everyone, in any case."""
        for to in (b"b@example.com", b"B@Example.COM", b"b@example.org"):
            self.assertIsInstance(decide(to), routing.Accept)

    def test_others(self) -> None:
        """Another domain is refused, a subdomain too."""
        for to in (b"b@elsewhere.example", b"b@sub.example.com", b"b@xexample.com"):
            self.assert_refused(decide(to), answers.NO_RELAYING)

    def test_host_list_regex(self) -> None:
        """An expression of ``host_list_regex`` has to match the whole domain."""
        given = attrs.evolve(
            settings(), access=Access(host_pattern=re.compile(r".*\.example\.net"))
        )
        self.assertIsInstance(decide(b"b@a.example.net", given=given), routing.Accept)
        for to in (b"b@a.example.net.example", b"b@example.net", b"b@example.com"):
            self.assert_refused(decide(to, given=given), answers.NO_RELAYING)

    def test_relaying(self) -> None:
        """A client that relays may send to every domain."""
        self.assertIsInstance(decide(b"b@elsewhere.example", RELAYING), routing.Accept)

    def test_check_recipient(self) -> None:
        """A section makes its domain acceptable only when the settings say so."""
        for checked, kind in ((True, routing.Accept), (False, routing.Refuse)):
            given = settings(hosts=(), sections={"example.org": ORG}, check_recipient=checked)
            self.assertIsInstance(decide(b"b@example.org", given=given), kind)
            self.assertIsInstance(decide(b"b@example.com", given=given), routing.Refuse)

    def test_postmaster(self) -> None:
        """``<postmaster>`` is accepted from everyone, on the default route."""
        given = settings(hosts=())
        decision = decide(b"postmaster", given=given)
        self.assertIsInstance(decision, routing.Accept)
        self.assertIs(decision.route, given.routes.default)

    def test_routing_characters(self) -> None:
        """A local part that the backend might relay on is refused, quoted or not."""
        for local in (b'"b@elsewhere.example"', b"b%elsewhere.example", b"elsewhere!b", b"|b"):
            self.assert_refused(decide(local + b"@example.com"), answers.NO_SOURCE_ROUTES)
            self.assertIsInstance(decide(local + b"@example.com", RELAYING), routing.Accept)

    def test_reasons_differ(self) -> None:
        """Each way to be accepted says which rule it was."""
        checked = settings(hosts=(), sections={"example.org": ORG}, check_recipient=True)
        whys = {
            decide(b"b@example.com").why,
            decide(b"b@example.com", RELAYING).why,
            decide(b"postmaster").why,
            decide(b"b@example.org", given=checked).why,
        }
        self.assertEqual(len(whys), 4)


class RouteTests(SynchronousTestCase):
    """Which route."""

    def test_section_or_default(self) -> None:
        """The section of the domain, in any case, else the default."""
        given = settings(sections={"example.org": ORG})
        self.assertIs(decide(b"b@EXAMPLE.org", given=given).route, ORG)
        self.assertIs(decide(b"b@example.com", given=given).route, given.routes.default)

    def test_another_next_hop(self) -> None:
        """A transaction has one next hop: who needs another is deferred to the next one."""
        decision = decide(b"b@example.org", taken=next_hop())
        self.assertIsInstance(decision, routing.Refuse)
        self.assertIs(decision.reply, answers.OTHER_ROUTE)
        self.assertIn("example.org", decision.why)
        decision = decide(b"b@example.com", taken=ORG.next_hop)
        self.assertIn("default", decision.why)

    def test_the_same_next_hop(self) -> None:
        """Two sections with one next hop may share a transaction."""
        self.assertIsInstance(decide(b"b@example.com", taken=next_hop()), routing.Accept)
        self.assertIsInstance(
            decide(b"b@example.org", taken=next_hop("other.example.com")), routing.Accept
        )

    def test_refused_before_deferred(self) -> None:
        """Who may not be written to is refused for good, whatever the route."""
        decision = decide(b"b@elsewhere.example", taken=ORG.next_hop)
        self.assertIs(decision.reply, answers.NO_RELAYING)
