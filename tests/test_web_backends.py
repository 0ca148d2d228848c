"""Backends as a process knows them, and as those of all processes."""

from typing import Any

import attrs
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.client.target import DOWN_FOR, SAME_OUTAGE, ForwardTarget, Health, Standing
from smtpforward.counts import MX, Counts
from smtpforward.web.backends import MOST, backends, of_all
from tests.support import next_hop

NAME = "backend.example.com:25"
UNKNOWN = Standing(Health.UNKNOWN)


class BackendsTests(SynchronousTestCase):
    """One process."""

    def setUp(self) -> None:
        """Nothing was brought to any."""
        self.clock = Clock()
        nobody: Any = None
        self.counts = Counts()
        self.target = ForwardTarget(nobody, self.clock, counts=self.counts)
        self.hop = next_hop()
        [self.server] = self.hop.servers

    def told(self, *hops: Any) -> dict[str, Any]:
        """By name."""
        return backends(self.target, hops or (self.hop,), None, self.counts, 1000.0)

    def test_unknown(self) -> None:
        """Until something was brought there; then it is known to be there."""
        one = self.told()[NAME]
        self.assertEqual((one["health"], one["why"], one["since"]), ("unknown", None, None))
        self.assertEqual((one["limit"], one["busy"], one["waiting"]), (1000, 0, 0))
        self.counts.transactions[NAME, "bounced"] += 2
        self.counts.deliveries[NAME, "sent"] += 3
        one = self.told()[NAME]
        self.assertEqual((one["health"], one["sent"], one["bounced"]), ("up", 3, 2))

    def test_unreachable(self) -> None:
        """Since when, and why; long after that nobody knows."""
        self.clock.advance(5.0)
        self.target.lost(self.server, "refused")
        self.clock.advance(DOWN_FOR - 1)
        self.target.lost(self.server, "no route")
        one = self.told()[NAME]
        self.assertEqual(
            (one["health"], one["why"], one["since"]), ("unreachable", "no route", 1005.0)
        )
        self.counts.transactions[NAME, "sent"] += 1
        self.clock.advance(DOWN_FOR)
        one = self.told()[NAME]
        self.assertEqual((one["health"], one["since"]), ("unknown", 1005.0))
        self.target.found(self.server)
        self.assertEqual(self.told()[NAME]["health"], "up")

    def test_another_outage(self) -> None:
        """It begins anew where it was last lost long ago."""
        self.target.lost(self.server, "x")
        self.clock.advance(SAME_OUTAGE)
        self.target.lost(self.server, "y")
        self.assertEqual(
            self.target.standing(self.server), Standing(Health.UNREACHABLE, SAME_OUTAGE, "y")
        )

    def test_resting(self) -> None:
        """One of several rests."""
        [other] = next_hop("other.example.com").servers
        hop = attrs.evolve(self.hop, servers=(self.server, other))
        self.target.lost(other, "refused")
        self.target.hosts.failed(other, hop, "refused")
        self.addCleanup(self.target.hosts.stop)
        told = self.told(hop)
        self.assertEqual(list(told), [NAME, "other.example.com:25"])
        self.assertEqual(told["other.example.com:25"]["health"], "resting")
        self.assertEqual(told["other.example.com:25"]["why"], "refused")

    def test_same_name(self) -> None:
        """Servers that differ in more than host and port are one; the worst of them is told."""
        [same] = self.hop.servers
        hop = attrs.evolve(self.hop, servers=(attrs.evolve(same, helo="other"),))
        self.target.lost(hop.servers[0], "refused")
        told = self.told(self.hop, hop)
        self.assertEqual({name: one["health"] for name, one in told.items()}, {NAME: "unreachable"})

    def test_smart_host(self) -> None:
        """It is a backend of its own, with what the queue brought there; no mail host is."""
        smart = next_hop("smart.example.com")
        nobody: Any = None
        direct = ForwardTarget(nobody, self.clock, counts=self.counts)
        self.counts.deliveries["smart.example.com:25", "deferred"] += 2
        direct.lost(smart.servers[0], "refused")
        told = backends(self.target, [self.hop], direct, self.counts, 0.0, smart)
        self.assertEqual(list(told), [NAME, "smart.example.com:25"])
        one = told["smart.example.com:25"]
        self.assertEqual(
            (one["health"], one["why"], one["deferred"]), ("unreachable", "refused", 2)
        )
        self.counts.deliveries[MX, "sent"] += 1
        told = backends(self.target, [self.hop], direct, self.counts, 0.0, smart)
        self.assertEqual(told[MX]["sent"], 1)

    def test_smart_host_of_a_route(self) -> None:
        """One that is the backend of a route, too, is told once, the worst of both."""
        nobody: Any = None
        direct = ForwardTarget(nobody, self.clock, counts=self.counts)
        self.counts.transactions[NAME, "sent"] += 3
        direct.lost(self.server, "refused")
        told = backends(self.target, [self.hop], direct, self.counts, 0.0, self.hop)
        self.assertEqual(
            [(NAME, "unreachable", 3)],
            [(name, one["health"], one["sent"]) for name, one in told.items()],
        )

    def test_many(self) -> None:
        """No more than are worth looking at."""
        hops = [next_hop(f"b{number}.example.com") for number in range(3 * MOST)]
        self.assertEqual(len(self.told(*hops)), MOST)
        asked: list[Any] = []
        self.patch(self.target, "standing", lambda server: asked.append(server) or UNKNOWN)
        self.assertEqual(len(self.told(*[self.hop] * 100_000)), 1)
        self.assertEqual(len(asked), 1)

    def test_of_all(self) -> None:
        """Numbers add up, the limit is the gateway's, and the worst is told with its reason."""
        good = self.told()[NAME] | {"health": "up", "idle": 2, "sent": 5}
        bad = good | {"health": "resting", "why": "refused", "since": 7.0, "idle": 0}
        unsaid = bad | {"why": None, "since": None}
        for processes in ((good, bad), (bad, good), (good, unsaid, bad)):
            [one] = of_all({NAME: process} for process in processes)
            self.assertEqual(
                (one["backend"], one["health"], one["why"], one["since"], one["limit"]),
                (NAME, "resting", "refused", 7.0, 1000),
            )
            self.assertEqual(one["sent"], 5 * len(processes))
