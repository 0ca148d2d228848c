"""Where a queued recipient goes, by the settings of now."""

import attrs
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.config.settings import Route, Settings
from smtpforward.envelope import NULL_SENDER, Address
from smtpforward.job import Delivery
from smtpforward.outbound.places import Direct, of_notice, place
from tests.queuesupport import queueing
from tests.support import address, next_hop, settings

FORWARD, OUTBOUND = Delivery.SMTP_FORWARD, Delivery.OUTBOUND
SENDER = address(b"a@example.net")
SMART = next_hop("smart.example", 587)


def made(smart: bool = False, **changes: object) -> Settings:
    """Settings with a domain of ours and two sections, one of which sets a host of its own."""
    own = Route("own.test", next_hop("own.example"), own_host=True)
    inherits = Route("inherits.test", next_hop("inherited.example"))
    sections = {"own.test": own, "inherits.test": inherits}
    base = settings(hosts=("ours.test",), sections=sections)
    return queueing(attrs.evolve(base, **changes), smart_host=SMART if smart else None)


class PlaceTests(SynchronousTestCase):
    """One recipient."""

    def where(self, to: bytes, delivery: Delivery = OUTBOUND, smart: bool = False) -> str:
        return str(place(made(smart), SENDER, address(to), delivery))

    def test_in_order(self) -> None:
        """The section's own host; ours to the route's; the smart host; else MX hosts."""
        for to, without, with_smart in (
            (b"b@own.test", "own.example:25", "own.example:25"),
            (b"b@inherits.test", "inherits.test", "smart.example:587"),
            (b"b@ours.test", "backend.example.com:25", "backend.example.com:25"),
            (b"b@other.test", "other.test", "smart.example:587"),
        ):
            found = (self.where(to), self.where(to, smart=True))
            self.assertEqual(found, (without, with_smart), to)

    def test_chosen_to_be_forwarded(self) -> None:
        """It goes to its route's host, whatever the domain is."""
        for to, host in (
            (b"b@other.test", "backend.example.com:25"),
            (b"b@inherits.test", "inherited.example:25"),
            (b"b@own.test", "own.example:25"),
        ):
            self.assertEqual(self.where(to, FORWARD, smart=True), host)

    def test_postmaster(self) -> None:
        """``<postmaster>`` without a domain is this gateway's own."""
        found = str(place(made(), SENDER, Address(b"postmaster"), OUTBOUND))
        self.assertEqual(found, "backend.example.com:25")

    def test_one_domain(self) -> None:
        """However a domain is written it is one place."""
        self.assertEqual(place(made(), SENDER, address(b"b@Other.TEST"), OUTBOUND),
                         Direct("other.test"))  # fmt: skip

    def test_without_a_queue(self) -> None:
        """Settings without the queue's own part know no smart host."""
        without = attrs.evolve(made(smart=True), outbound=None)
        self.assertEqual(place(without, SENDER, address(b"b@o.test"), OUTBOUND), Direct("o.test"))

    def test_by_sender(self) -> None:
        """With ``domain_selector=mail_from`` the sender's section says it; of ``<>`` none."""
        routes = attrs.evolve(made().routes, domain_selector="mail_from")
        found = [
            str(place(made(routes=routes), sender, address(b"b@other.test"), OUTBOUND))
            for sender in (address(b"a@own.test"), NULL_SENDER)
        ]
        self.assertEqual(found, ["own.example:25", "other.test"])


class NoticeTests(SynchronousTestCase):
    """Which way a bounce is chosen."""

    def test_of_notice(self) -> None:
        """Forwarded to senders in domains of ours or with a section; else through the queue."""
        for to, expected in (
            (b"a@ours.test", FORWARD),
            (b"a@inherits.test", FORWARD),
            (b"a@other.test", OUTBOUND),
        ):
            self.assertIs(of_notice(made(), address(to)), expected)
