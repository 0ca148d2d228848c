"""The figures of one process: the queue's numbers, pools, and why it is not ready."""

from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.config.settings import Outbound
from smtpforward.figures import Observation
from smtpforward.gateway import Gateway
from smtpforward.outbound.entry import Stats
from smtpforward.outbound.errors import StoreUnavailableError
from smtpforward.web.backends import MOST
from smtpforward.web.gathering import PATIENCE, STATS_FOR
from tests.queuevalues import NOW, stats
from tests.support import settings

MESSAGES = ("queue_messages", ())


class Store:
    """Answers when the test wants it."""

    def __init__(self) -> None:
        self.asked: list[Deferred[Stats]] = []

    def now(self) -> float:
        """See IQueueStore."""
        return NOW

    def stats(self, most: int) -> "Deferred[Stats]":
        """See IQueueStore."""
        assert most == 0, "destinations are not shown"
        asked: Deferred[Stats] = Deferred()
        self.asked.append(asked)
        return asked


class GatheringCase(SynchronousTestCase):
    """A gateway that listens nowhere."""

    def gateway(self, **changes: Any) -> Gateway:
        """One with more settings."""
        self.reactor = MemoryReactorClock()
        return Gateway(settings(listen=(), **changes), self.reactor)

    def seen(self, gateway: Gateway) -> Observation:
        """What is to be seen at once."""
        return self.successResultOf(gateway.observe())


class QueueTests(GatheringCase):
    """The numbers of the outbound queue."""

    def setUp(self) -> None:
        """A queue whose store is open."""
        outbound = Outbound(store=f"sqlite:{self.mktemp()}")
        self.observed = self.gateway(outbound=outbound)
        queueing = self.observed.queueing
        assert queueing is not None
        self.addCleanup(queueing._lookups.stop)
        self.queue = queueing.queue
        self.store = Store()
        self.queue.store = self.store
        self.queue._opened = True

    def test_numbers(self) -> None:
        """Entries by state, messages, bytes and the oldest one's age."""
        asking = self.observed.observe()
        self.assertNoResult(asking)
        self.store.asked[0].callback(stats())
        values = self.successResultOf(asking).figures.values
        self.assertEqual(values[MESSAGES], 5)
        self.assertEqual(values["queue_entries", ("deferred",)], 2)
        self.assertEqual(values["queue_entries", ("leased",)], 4)
        self.assertEqual(values["queue_bytes", ()], 12_345)
        self.assertEqual(values["queue_oldest_age_seconds", ()], 200_000)

    def test_empty(self) -> None:
        """An empty queue has no old message."""
        asking = self.observed.observe()
        self.store.asked[0].callback(attrs.evolve(stats(), oldest=None))
        values = self.successResultOf(asking).figures.values
        self.assertEqual(values["queue_oldest_age_seconds", ()], 0)

    def test_kept(self) -> None:
        """The store is not asked again for a while."""
        asking = self.observed.observe()
        self.store.asked[0].callback(stats())
        self.successResultOf(asking)
        self.reactor.advance(STATS_FOR - 0.1)
        self.assertEqual(self.seen(self.observed).figures.values[MESSAGES], 5)
        self.reactor.advance(0.1)
        again = self.observed.observe()
        self.store.asked[1].callback(stats(messages=6))
        self.assertEqual(self.successResultOf(again).figures.values[MESSAGES], 6)

    def test_asked_once_for_all(self) -> None:
        """Two who ask at once wait for one answer."""
        before = self.reactor.getDelayedCalls()
        both = [self.observed.observe(), self.observed.observe()]
        [asked] = self.store.asked
        asked.callback(stats())
        for one in both:
            self.assertEqual(self.successResultOf(one).figures.values[MESSAGES], 5)
        self.assertEqual(self.reactor.getDelayedCalls(), before)

    def test_slow_store(self) -> None:
        """It holds nobody up; what it says later is known from then on."""
        asking = self.observed.observe()
        self.reactor.advance(PATIENCE)
        self.assertNotIn(MESSAGES, self.successResultOf(asking).figures.values)
        self.store.asked[0].callback(stats())
        self.assertEqual(self.seen(self.observed).figures.values[MESSAGES], 5)

    def test_store_fails(self) -> None:
        """There are no numbers, and no error: the queue itself says what is wrong."""
        asking = self.observed.observe()
        self.store.asked[0].errback(StoreUnavailableError("locked"))
        self.assertNotIn(MESSAGES, self.successResultOf(asking).figures.values)

    def test_asker_goes(self) -> None:
        """Whoever asked may give up; the others are answered."""
        gone, other = self.observed.observe(), self.observed.observe()
        gone.cancel()
        self.failureResultOf(gone)
        self.store.asked[0].callback(stats())
        self.assertEqual(self.successResultOf(other).figures.values[MESSAGES], 5)

    def test_of_one_process(self) -> None:
        """Of several processes only the one that delivers asks the store."""
        self.queue.delivers = False
        self.seen(self.observed)
        self.assertEqual(self.store.asked, [])

    def test_not_open(self) -> None:
        """Without its store the gateway is not ready."""
        self.queue._opened = False
        reasons = self.seen(self.observed).reasons
        self.assertIn("the store of the outbound queue is not open", reasons)


class ReadyTests(GatheringCase):
    """Why it is not."""

    def test_ready(self) -> None:
        """One that runs is."""
        gateway = self.gateway()
        self.assertEqual(self.seen(gateway).reasons, ("not listening",))
        gateway.startService()
        self.addCleanup(gateway.stopService)
        self.assertEqual(self.seen(gateway).reasons, ())

    def test_shutting_down(self) -> None:
        """One that ends is not."""
        gateway = self.gateway()
        gateway.startService()
        gateway.stopService()
        self.assertEqual(self.seen(gateway).reasons, ("shutting down",))

    def test_backend_down(self) -> None:
        """The one backend that could not be reached of late is a reason, for a minute."""
        gateway = self.gateway()
        gateway.startService()
        self.addCleanup(gateway.stopService)
        [server] = gateway.settings.routes.default.next_hop.servers
        gateway.target.lost(server)
        told = "no backend can be reached: backend.example.com:25"
        self.assertEqual(self.seen(gateway).reasons, (told,))
        self.assertEqual(self.down(gateway), {"backend.example.com:25": 1})
        gateway.target.found(server)
        self.assertEqual(self.seen(gateway).reasons, ())
        gateway.target.lost(server)
        self.reactor.advance(60.0)
        self.assertEqual(self.seen(gateway).reasons, ())
        self.assertEqual(self.down(gateway), {"backend.example.com:25": 0})

    def test_very_many_backends(self) -> None:
        """Of very many the first are told: the metrics do not grow with the domains."""
        gateway = self.gateway()
        server = gateway.settings.routes.default.next_hop.servers[0]
        assert gateway.observe()
        assert gateway._gatherer is not None
        hosts = (f"b{number}.example" for number in range(2 * MOST))
        many = [attrs.evolve(server, host=host) for host in hosts]
        gateway._gatherer._servers = lambda: many
        self.assertEqual(list(self.down(gateway)), [str(one) for one in many[:MOST]])

    def down(self, gateway: Gateway) -> dict[str, float]:
        """What is told of each backend."""
        values = self.seen(gateway).figures.values
        return {labels[0]: n for (name, labels), n in values.items() if name == "backend_down"}
