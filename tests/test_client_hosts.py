"""Which of several servers is tried first, and when one that rests is probed."""

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.client.errors import ConnectFailed
from smtpforward.client.hosts import RestingHosts
from smtpforward.job import Event, NextHop, Server

A, B, C = (Server(f"192.0.2.{number}", 25, "gateway.example") for number in (1, 2, 3))
ALL = NextHop((A, B, C), retry_dead_after=60.0)


class HostsCase(SynchronousTestCase):
    """Resting hosts on a fake clock; a test says how a probe ends."""

    def setUp(self) -> None:
        """Nobody rests."""
        self.clock = Clock()
        self.probes: list[tuple[Server, Deferred[object]]] = []
        self.hosts = RestingHosts(self.clock, self.probe)
        self.given_up: list[Server] = []

    def probe(self, server: Server, next_hop: NextHop) -> "Deferred[object]":
        """Note it."""
        probing: Deferred[object] = Deferred(lambda _: self.given_up.append(server))
        self.probes.append((server, probing))
        return probing

    def down(self, *servers: Server, hop: NextHop = ALL) -> None:
        """They cannot be reached, a second apart."""
        for server in servers:
            self.hosts.failed(server, hop, "refused")
            self.clock.advance(1)

    def order(self, hop: NextHop = ALL, jobs: Sequence[int] = (0, 0, 0)) -> list[Server]:
        """In which order a job tries them, when A, B and C have so many."""
        return list(self.hosts.order(hop, dict(zip((A, B, C), jobs, strict=True)).__getitem__))


class KeepTests(HostsCase):
    """Servers that are in no route any more."""

    def test_forgotten(self) -> None:
        """They are forgotten with their timers; the others rest on."""
        self.down(A, B)
        self.hosts.keep({B, C})
        self.assertEqual(list(self.hosts.resting), [B])
        self.clock.advance(60)
        self.assertEqual([server for server, _ in self.probes], [B])

    def test_being_probed(self) -> None:
        """Its probe is given up, and nothing comes after it."""
        self.down(A)
        self.clock.advance(60)
        self.hosts.keep(())
        self.assertEqual(self.given_up, [A])
        self.assertEqual((list(self.hosts.resting), self.clock.getDelayedCalls()), ([], []))


class OrderTests(HostsCase):
    """The order."""

    def test_nobody_rests(self) -> None:
        """As configured."""
        self.assertEqual(self.order(), [A, B, C])

    def test_fewest_jobs(self) -> None:
        """The one with the fewest jobs first; with equally few as configured; who rests is last."""
        self.assertEqual(self.order(jobs=(2, 1, 0)), [C, B, A])
        self.assertEqual(self.order(jobs=(1, 0, 0)), [B, C, A])
        self.assertEqual(self.order(jobs=(3, 3, 3)), [A, B, C])
        self.down(C)
        self.assertEqual(self.order(jobs=(2, 1, 0)), [B, A, C])

    def test_one_rests(self) -> None:
        """It comes last; another route that has it too knows as much."""
        self.down(A)
        self.assertEqual(self.order(), [B, C, A])
        self.assertEqual(self.order(NextHop((A, C))), [C, A])
        self.assertEqual(self.order(NextHop((B, C))), [B, C])

    def test_alone(self) -> None:
        """A route's only server is tried, though it rests for another one."""
        self.down(A)
        self.assertEqual(self.order(NextHop((A,))), [A])

    def test_all_rest(self) -> None:
        """The one that has rested longest first, and each failure puts one at the end."""
        self.down(B, A, C)
        self.assertEqual(self.order(), [B, A, C])
        self.down(B)
        self.assertEqual(self.order(), [A, C, B])
        self.assertEqual(list(self.hosts.resting), [A, C, B])

    def test_back(self) -> None:
        """Reached, it has its place again."""
        self.down(A, B)
        self.hosts.reached(A)
        self.assertEqual(self.order(), [A, C, B])
        self.hosts.reached(C)
        self.assertEqual(self.order(), [A, C, B])

    def test_only_one(self) -> None:
        """Where there is no other one it does not rest."""
        self.down(A, hop=NextHop((A,)))
        self.assertEqual(self.hosts.resting, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])


class ProbeTests(HostsCase):
    """The probes."""

    def end_probe(self, result: Any = None) -> None:
        """The newest probe ends."""
        self.probes[-1][1].callback(result)

    def fail_probe(self, error: Exception | None = None) -> None:
        """The newest probe fails."""
        self.probes[-1][1].errback(error or ConnectFailed(Event.UNREACHABLE, "no"))

    def test_after_the_rest(self) -> None:
        """One, after ``retry_dead_after``, however often it failed meanwhile."""
        self.down(A, A, A)
        self.clock.advance(56)
        self.assertEqual(self.probes, [])
        self.clock.advance(1)
        self.assertEqual([server for server, _ in self.probes], [A])
        self.clock.advance(600)
        self.assertEqual(len(self.probes), 1)

    def test_success(self) -> None:
        """It is back, and nothing is left in the clock."""
        self.down(A)
        self.clock.advance(60)
        self.assertEqual(self.order(), [B, C, A])
        self.end_probe()
        self.assertEqual(self.order(), [A, B, C])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_failure(self) -> None:
        """It rests on, its place among those that rest unchanged, and is probed again."""
        self.down(A, B)
        self.clock.advance(58)
        self.fail_probe()
        self.assertEqual(self.order(), [C, A, B])
        self.clock.advance(60)
        self.assertEqual([server for server, _ in self.probes], [A, B, A])

    def test_fault(self) -> None:
        """A probe that breaks is logged, and not the last one."""
        self.down(A)
        self.clock.advance(60)
        self.fail_probe(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.clock.advance(60)
        self.assertEqual(len(self.probes), 2)

    def test_failed_while_probed(self) -> None:
        """A message that fails meanwhile makes no second probe."""
        self.down(A)
        self.clock.advance(60)
        self.down(A)
        self.clock.advance(600)
        self.assertEqual(len(self.probes), 1)
        self.fail_probe()
        self.clock.advance(60)
        self.assertEqual(len(self.probes), 2)

    def test_reached_while_probed(self) -> None:
        """One that a message reaches meanwhile is not probed again."""
        self.down(A)
        self.clock.advance(60)
        self.hosts.reached(A)
        self.fail_probe()
        self.assertEqual(self.order(), [A, B, C])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_reached_before(self) -> None:
        """One that a message reaches before is not probed at all."""
        self.down(A)
        self.hosts.reached(A)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop(self) -> None:
        """Timers and probes end, and none begins any more."""
        self.down(A)
        self.clock.advance(59)
        self.down(B)
        self.assertEqual(len(self.probes), 1)
        self.hosts.stop()
        self.assertTrue(self.probes[0][1].called)
        self.down(C)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(CancelledError), [])
