"""Server-sent events, to requests without sockets, on a fake clock."""

import json
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.test.requesthelper import DummyRequest

from smtpforward.web.events import AT_THE_LATEST, EACH, MOST, STUCK, Events


class Overview:
    """Tells what the test says.

    :ivar asked: up to when the transactions were known, each time.
    """

    def __init__(self) -> None:
        self.told: dict[str, Any] = {"now": 0.0, "ready": True, "queue": None}
        self.ended_then: list[dict[str, Any]] = []
        self.asked: list[tuple[float, int]] = []
        self.until = 1.0
        self.waiting: Deferred[Any] = succeed(None)
        self.fault: Exception | None = None

    async def status(self) -> dict[str, Any]:
        """See Overview."""
        await self.waiting
        if self.fault is not None:
            raise self.fault
        self.told["now"] += 1.0
        return dict(self.told)

    async def ended(self, after: float, most: int) -> tuple[float, list[dict[str, Any]]]:
        """See Overview."""
        self.asked.append((after, most))
        return self.until, self.ended_then[:most]


class Request(DummyRequest):
    """A request whose connection can be cut off."""

    def __init__(self) -> None:
        DummyRequest.__init__(self, [b"events"])
        self.channel = self
        self.aborted = 0

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See Request; the other one wants it to write at once."""
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        """See Request."""
        self.producer = None

    def forceAbortClient(self) -> None:
        """See HTTPChannel."""
        self.aborted += 1
        self.processingFailed(Failure(ConnectionLost()))

    def events(self) -> list[tuple[str, Any]]:
        """What has come since the last time."""
        text = b"".join(self.written).decode()
        self.written.clear()
        blocks = [block.split("\n") for block in text.split("\n\n") if "data: " in block]
        return [
            (e.removeprefix("event: "), json.loads(d.removeprefix("data: "))) for e, d in blocks
        ]


class EventsTests(SynchronousTestCase):
    """What is told to whom."""

    def setUp(self) -> None:
        """Nobody listens."""
        self.clock = Clock()
        self.overview: Any = Overview()
        self.events = Events(self.overview, self.clock)

    def join(self) -> Request:
        """One more."""
        request = Request()
        self.assertTrue(self.events.join(request))
        self.clock.advance(0)
        return request

    def test_at_once(self) -> None:
        """The status; then nothing, until something changes or ten seconds are over."""
        request = self.join()
        self.assertEqual(request.events(), [("status", {"now": 1.0, "ready": True, "queue": None})])
        self.clock.advance(EACH)
        self.assertEqual(request.events(), [])
        self.overview.told["ready"] = False
        self.clock.advance(EACH)
        [(name, told)] = request.events()
        self.assertEqual((name, told["ready"]), ("status", False))
        for _ in range(int(AT_THE_LATEST / EACH) - 1):
            self.clock.advance(EACH)
        self.assertEqual(request.events(), [])
        self.clock.advance(EACH)
        self.assertEqual([name for name, _ in request.events()], ["status"])

    def test_only_older(self) -> None:
        """That the oldest message has grown older is nothing new."""
        self.overview.told["queue"] = {"messages": 1, "oldest": 1.0}
        request = self.join()
        request.events()
        self.overview.told["queue"] = {"messages": 1, "oldest": 2.0}
        self.clock.advance(EACH)
        self.assertEqual(request.events(), [])
        self.overview.told["queue"] = {"messages": 2, "oldest": 3.0}
        self.clock.advance(EACH)
        self.assertEqual(len(request.events()), 1)

    def test_ended(self) -> None:
        """Transactions since the beginning, each once."""
        self.overview.ended_then = [{"id": "OLD", "at": 0.5}]
        request = self.join()
        request.events()
        self.overview.until = 5.0
        self.overview.ended_then = [{"id": "B", "at": 5.5}, {"id": "A", "at": 2.0}]
        self.clock.advance(EACH)
        told = [("transactions", {"transactions": self.overview.ended_then})]
        self.assertEqual(request.events(), told)
        self.overview.ended_then = [{"id": "C", "at": 6.0}, {"id": "B", "at": 5.5}]
        self.clock.advance(EACH)
        self.assertEqual(
            request.events(), [("transactions", {"transactions": [{"id": "C", "at": 6.0}]})]
        )
        self.assertEqual(self.overview.asked, [(0.0, 0), (1.0, 50), (5.0, 50)])

    def test_slow(self) -> None:
        """Who does not read skips, and hears how things stand when it reads again."""
        slow, quick = self.join(), self.join()
        slow.events()
        slow.producer.pauseProducing()
        for number in range(5):
            self.overview.told["bytes"] = number
            self.clock.advance(EACH)
        self.assertEqual(slow.written, [])
        self.assertEqual(len(quick.events()), 6)
        slow.producer.resumeProducing()
        self.clock.advance(EACH)
        [(_, told)] = slow.events()
        self.assertEqual(told["bytes"], 4)

    def test_stuck(self) -> None:
        """Who has not read for a minute is cut off."""
        request = self.join()
        request.producer.pauseProducing()
        for _ in range(int(STUCK / EACH)):
            self.assertEqual(request.aborted, 0)
            self.clock.advance(EACH)
            request.producer.pauseProducing()
        self.clock.advance(EACH)
        self.assertEqual(request.aborted, 1)
        self.clock.advance(EACH)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_too_many(self) -> None:
        """It is not let in; who goes makes room."""
        requests = [self.join() for _ in range(MOST)]
        self.assertFalse(self.events.join(Request()))  # type: ignore[arg-type]
        requests[0].processingFailed(Failure(ConnectionLost()))
        self.assertTrue(self.events.join(Request()))  # type: ignore[arg-type]

    def test_nobody(self) -> None:
        """While nobody listens nothing is asked."""
        self.join().processingFailed(Failure(ConnectionLost()))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        before = len(self.overview.asked)
        self.clock.advance(60.0)
        self.assertEqual(len(self.overview.asked), before)

    def test_slow_answer(self) -> None:
        """It is waited for, and nothing is asked meanwhile; who comes then hears it, too."""
        self.overview.waiting = Deferred()
        first = self.join()
        second = self.join()
        self.clock.advance(10 * EACH)
        self.assertEqual(len(self.overview.asked), 1)
        self.overview.waiting.callback(None)
        self.assertEqual([len(first.events()), len(second.events())], [1, 1])

    def test_fault(self) -> None:
        """It is logged, and asked again."""
        self.overview.fault = ZeroDivisionError()
        request = self.join()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.overview.fault = None
        self.clock.advance(EACH)
        self.assertEqual(len(request.events()), 1)

    def test_end(self) -> None:
        """All are let go."""
        request = self.join()
        self.events.stop()
        self.assertEqual((request.finished, self.clock.getDelayedCalls()), (1, []))
