"""The outbound queue as it is wired: which addresses are this gateway's own."""

from typing import Any
from unittest.mock import patch

import attrs
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smtpforward import queueing
from smtpforward.client.connect import Connector
from smtpforward.client.target import ForwardTarget
from smtpforward.config.settings import Outbound
from smtpforward.net.tls import ClientContexts
from smtpforward.queueing import Queueing, is_own_address
from tests.support import settings

OUTBOUND = Outbound(store="sqlite:/nonexistent/queue.sqlite3", nameservers=(("127.0.0.1", 5300),))


class QueueingTests(SynchronousTestCase):
    """The parts, and what listens here."""

    def queueing(self, *listened_on: tuple[str, int]) -> Queueing:
        """One that is never started."""
        clock: Any = Clock()
        held = attrs.evolve(settings(), outbound=OUTBOUND)
        connector = Connector(clock, held.own_name, ClientContexts(held.client_tls), clock)
        routes = ForwardTarget(connector, clock)
        return Queueing(held, clock, clock, connector, routes, lambda: listened_on)

    def test_other_nameservers(self) -> None:
        """New nameservers are asked from then on; what says the same keeps what was found."""
        ours = self.queueing()
        held, lookups = ours.queue.settings, ours._lookups
        ours.adopt(attrs.evolve(held, me="other.example"), frozenset())
        self.assertIs(ours._lookups, lookups)
        others = attrs.evolve(OUTBOUND, nameservers=(("127.0.0.2", 5300),))
        ours.adopt(attrs.evolve(held, outbound=others), frozenset())
        self.assertIsNot(ours._lookups, lookups)
        self.assertIs(ours._mail_hosts._lookups, ours._lookups)

    def test_targets(self) -> None:
        """Hosts of routes go over the edge's own pools, all others over the queue's."""
        ours = self.queueing()
        targets = ours._targets()
        self.assertIs(targets.direct, ours.direct)
        self.assertIsNot(targets.direct, targets.routes)
        self.assertEqual(targets.mail_hosts, ours._mail_hosts.next_hop)

    def test_address(self) -> None:
        """An address of this host can be bound; one of another cannot."""
        self.assertTrue(is_own_address("127.0.0.1"))
        for ip in ("192.0.2.1", "2001:db8::1"):
            self.assertFalse(is_own_address(ip))

    def test_cannot_be_told(self) -> None:
        """What says nothing of the address leaves it ours: a loop is worse than a delay."""
        with patch.object(queueing.socket, "socket", side_effect=OSError(24, "too many files")):
            self.assertTrue(is_own_address("192.0.2.1"))

    def test_listened_on(self) -> None:
        """Address and port together: another port of ours is another server."""
        ours = self.queueing(("127.0.0.1", 25), ("0.0.0.0", 2525))
        for ip, port, expected in (
            ("127.0.0.1", 25, True),
            ("127.0.0.1", 26, False),
            ("127.0.0.2", 25, False),
            ("127.0.0.2", 2525, True),
            ("192.0.2.1", 2525, False),
        ):
            self.assertIs(ours._is_ours(ip, port), expected, (ip, port))
