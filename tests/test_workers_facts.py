"""What one worker finds out holds in another: each kind of fact, from the one to the other."""

import pickle

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.client.connect import CLEAR_FOR
from smtpforward.facts import Fact
from smtpforward.gateway import Gateway
from smtpforward.job import NextHop, Server
from smtpforward.learned import PERMANENT_FOR
from smtpforward.reply import Reply
from smtpforward.server.auth import MAX_PER_ADDRESS
from smtpforward.workers.facts import Facts
from smtpforward.workers.messages import Told
from tests.support import address, next_hop, settings

A, B = (Server(f"192.0.2.{number}", 25, "gateway.example") for number in (1, 2))
BOTH = NextHop((A, B), retry_dead_after=60.0)
HOP = next_hop()
SENDER, TO = address(b"a@example.net"), address(b"b@example.com")
NO = Reply(550, (b"5.1.1 no",))


class FactsTests(SynchronousTestCase):
    """Two workers, and what they tell."""

    def setUp(self) -> None:
        """They know nothing."""
        self.told: list[Told] = []
        self.reactors = [MemoryReactorClock(), MemoryReactorClock()]
        self.gateways = [Gateway(settings(), reactor) for reactor in self.reactors]
        self.facts = [Facts(gateway.facts, self.told.append) for gateway in self.gateways]
        self.first, self.second = self.gateways

    def pass_on(self, count: int = 1) -> None:
        """The second hears what the first has told, and tells nothing itself."""
        told, self.told[:] = list(self.told), []
        self.assertEqual(len(told), count)
        for one in told:
            self.facts[1].received(pickle.loads(pickle.dumps(one)))
        self.assertEqual(self.told, [])

    def test_learned_refusals(self) -> None:
        """What the backend has said to one, the other answers with, for as long."""
        self.first._learned.learn(HOP, SENDER, TO, NO)
        self.assertIsNone(self.second._learned.recall(HOP, SENDER, TO))
        self.pass_on()
        self.assertEqual(self.second._learned.recall(next_hop(), SENDER, TO), NO)
        self.reactors[1].advance(PERMANENT_FOR)
        self.assertIsNone(self.second._learned.recall(HOP, SENDER, TO))

    def test_resting_hosts(self) -> None:
        """A host that one could not reach comes last for both, until one of them reaches it."""
        hosts = self.first.target.hosts, self.second.target.hosts
        hosts[0].failed(A, BOTH, "refused")
        hosts[0].failed(A, BOTH, "refused again")
        self.pass_on()
        self.assertEqual(list(hosts[1].order(BOTH)), [B, A])
        hosts[0].reached(A)
        hosts[0].reached(A)
        self.pass_on()
        self.assertEqual(list(hosts[1].order(BOTH)), [A, B])
        self.assertEqual(self.reactors[1].getDelayedCalls(), [])

    def test_probes(self) -> None:
        """Who has only heard of it looks at the host as well: the other may end."""
        self.first.target.hosts.failed(A, BOTH, "refused")
        self.pass_on()
        self.reactors[1].advance(60)
        self.assertEqual(len(self.reactors[1].tcpClients), 1)

    def test_rested_longer(self) -> None:
        """One that rests already does not begin anew because another worker finds out."""
        hosts = self.second.target.hosts
        hosts.failed(B, BOTH, "refused")
        self.told.clear()
        self.reactors[1].advance(1)
        hosts.failed(A, BOTH, "refused")
        self.told.clear()
        self.first.target.hosts.failed(B, BOTH, "refused")
        self.pass_on()
        self.assertEqual(list(hosts.resting), [B, A])

    def test_hosts_without_tls(self) -> None:
        """Where TLS failed for one, the other does not try it, for as long."""
        self.first.target.connector.clear.add(("192.0.2.1", 25))
        self.pass_on()
        clear = self.second.target.connector.clear
        self.assertIn(("192.0.2.1", 25), clear)
        self.assertNotIn(("192.0.2.2", 25), clear)
        self.reactors[1].advance(CLEAR_FOR)
        self.assertNotIn(("192.0.2.1", 25), clear)

    def test_failed_logins(self) -> None:
        """Logins that fail are counted together."""
        for _ in range(MAX_PER_ADDRESS // 2):
            self.first.factory.failed_logins.note("192.0.2.7")
            self.second.factory.failed_logins.hear("192.0.2.7")
        self.pass_on(MAX_PER_ADDRESS // 2)
        self.assertTrue(self.second.factory.failed_logins.too_many("192.0.2.7"))
        self.assertFalse(self.first.factory.failed_logins.too_many("192.0.2.7"))

    def test_networks(self) -> None:
        """An IPv6 network counts as one, at the other, too."""
        for number in range(MAX_PER_ADDRESS):
            self.first.factory.failed_logins.note(f"2001:db8::{number:x}")
        self.pass_on(MAX_PER_ADDRESS)
        self.assertTrue(self.second.factory.failed_logins.too_many("2001:db8::ffff"))


class FactTests(SynchronousTestCase):
    """The base."""

    def test_alone(self) -> None:
        """In a gateway of one process nobody is told."""
        Fact().tell("anything", 1)
        self.assertRaises(NotImplementedError, Fact().hear, "anything")
