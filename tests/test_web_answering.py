"""What one process answers: of the log that it observes, of its store, and put together."""

from typing import Any

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import LogPublisher
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.client.target import ForwardTarget
from smtpforward.config.settings import Outbound
from smtpforward.counts import Counts
from smtpforward.figures import Figures, Observation
from smtpforward.outbound.errors import StoreUnavailableError
from smtpforward.questions import Question, Refused
from smtpforward.web.answering import AT_A_TIME, Answering
from smtpforward.web.overview import Overview, Own, RefusedError
from smtpforward.web.queued import PAGE, cursor, from_cursor
from tests.queuevalues import NOW, listed, message, stats
from tests.recentload import attempted, refused, usual
from tests.support import ME, settings


class Store:
    """Answers at once.

    :ivar error: in place of an answer.
    """

    def __init__(self) -> None:
        self.pages: list[Any] = []
        self.asked: list[Any] = []
        self.error: Exception | None = None

    def now(self) -> float:
        """See IQueueStore."""
        return NOW

    async def stats(self, most: int) -> Any:
        """See IQueueStore."""
        return stats()

    async def listed(self, which: Any, most: int, after: Any) -> Any:
        """See IQueueStore."""
        self.asked.append((which, most, after))
        if self.error is not None:
            raise self.error
        return self.pages.pop(0) if self.pages else []

    async def shown(self, id: str) -> None:
        """See IQueueStore."""


class Queue:
    """An outbound queue, as far as it is asked here."""

    is_open = True
    delivers = True

    def __init__(self) -> None:
        self.store: Any = Store()
        real = self.store.stats
        self.store.stats = lambda most: Deferred.fromCoroutine(real(most))


class AnsweringCase(SynchronousTestCase):
    """A process that has a queue, or none."""

    def setUp(self) -> None:
        """It runs."""
        self.clock = Clock()
        self.publisher = LogPublisher()
        self.counts = Counts()
        self.queue: Any = None
        nobody: Any = None
        self.target = ForwardTarget(nobody, self.clock, counts=self.counts)
        self.answering = Answering(
            self.counts,
            self.target,
            lambda: None if self.queue is None else (self.queue, self.target),
            lambda: settings().routes.next_hops(),
            self.clock,
            lambda: NOW + self.clock.seconds(),
            publisher=self.publisher,
        )
        self.answering.startService()

    def log(self, entry: Any, at: float) -> None:
        """Something is logged."""
        self.publisher({"mail_line": entry, "log_time": at})

    def ask(self, kind: str, **about: Any) -> Any:
        """The answer, when all that it takes has had its turn."""
        asking = self.answering.answer(Question(kind, about))
        for _ in range(1000):
            if asking.called:
                break
            self.clock.advance(0)
        return self.successResultOf(asking)


class TransactionsTests(AnsweringCase):
    """What has passed."""

    def test_observed(self) -> None:
        """From the start to the end, and no longer."""
        self.log(usual(1), NOW)
        self.answering.stopService()
        self.log(usual(2), NOW)
        found = self.ask("transactions", search="", limit=9)
        self.assertEqual((len(found["transactions"]), found["kept"]), (1, 1))
        self.assertEqual(found["since"], NOW)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_search(self) -> None:
        """It ends with enough; mail has its turn in between."""
        for number in range(5 * AT_A_TIME):
            self.log(usual(number), NOW + number)
        found = self.ask("transactions", search="USER7@", limit=9)["transactions"]
        self.assertEqual([one["from"] for one in found], ["user7@example-7.com"])
        asking = self.answering.answer(Question("transactions", {"search": "nobody", "limit": 9}))
        # Each turn puts the next one off, to be had when the reactor comes round.
        turns = 0
        while not asking.called:
            turn = self.clock.calls.pop(0)
            self.assertEqual(turn.time, 0)
            turn.func(*turn.args, **turn.kw)
            turns += 1
        self.assertEqual(turns, 5)
        first = self.ask("transactions", search="", limit=2)["transactions"]
        self.assertEqual([one["at"] for one in first], [NOW + 499, NOW + 498])

    def test_ended(self) -> None:
        """The newest of those since then."""
        for number in range(5):
            self.log(usual(number), NOW + number)
        found = self.ask("ended", after=NOW + 2, most=2)
        self.assertEqual([one["at"] for one in found["transactions"]], [NOW + 4, NOW + 3])
        self.assertEqual(found["now"], NOW)
        found = self.ask("ended", after=NOW + 4, most=9)
        self.assertEqual([one["at"] for one in found["transactions"]], [NOW + 4])

    def test_timeline(self) -> None:
        """All that is known of an id, in order; a bounce is found by its own id as well."""
        entry, attempt = usual(1), attempted(1)
        id = str(attempt.facts()["id"])
        self.log(attempt, NOW + 1)
        self.log(refused(3), NOW)
        facts = {"event": "bounce", "id": id, "notice": "B", "to": [], "about": []}
        self.publisher({"facts": facts, "log_time": NOW + 2})
        self.log(entry, NOW)
        events = self.ask("transaction", id=id)
        self.assertEqual([event["event"] for event in events], ["attempt", "bounce"])
        self.assertEqual(self.ask("transaction", id="B")[0]["id"], id)
        self.assertEqual(
            [one["event"] for one in self.ask("transaction", id=entry.facts()["id"])],
            ["received", "forwarded"],
        )


class QueueTests(AnsweringCase):
    """The outbound queue."""

    def setUp(self) -> None:
        """There is one."""
        AnsweringCase.setUp(self)
        self.queue = Queue()
        self.store = self.queue.store

    def test_status(self) -> None:
        """Its numbers come from the process that delivers."""
        told = self.ask("status")["queue"]
        self.assertEqual((told["open"], told["messages"], told["oldest"]), (True, 5, 200_000.0))
        self.assertEqual(told["entries"]["deferred"], 2)
        self.queue.delivers = False
        self.assertIsNone(self.ask("status")["queue"])
        self.queue.delivers, self.queue.is_open = True, False
        told = self.ask("status")["queue"]
        self.assertEqual((told["open"], told["messages"], told["oldest"]), (False, 0, None))

    def test_none(self) -> None:
        """Without a queue, or with one that is not open, it says so."""
        self.queue.is_open = False
        for kind, about in (
            ("queue list", {}), ("queue show", {"id": "A"}),
            ("queue change", {"what": "hold", "ids": ["A"]}),
        ):  # fmt: skip
            self.assertEqual(self.ask(kind, **about).code, 503)
        self.queue = None
        self.assertEqual(self.ask("queue list").code, 404)

    def test_store_fails(self) -> None:
        """That is an answer, too."""
        self.store.error = StoreUnavailableError("locked")
        answer = self.ask("queue list")
        self.assertIsInstance(answer, Refused)
        self.assertEqual((answer.code, "locked" in answer.why), (503, True))

    def test_no_ids(self) -> None:
        """They would mean the whole queue."""
        self.assertEqual(self.ask("queue change", what="delete", ids=[]).code, 400)

    def test_cursor(self) -> None:
        """A page ends where enough is found, and the next one begins behind that."""
        entries = [listed(message(f"M{number}")) for number in range(3)]
        entries = [attrs.evolve(entry, entry=n) for n, entry in enumerate(entries)]
        self.store.pages = [entries]
        page = self.ask("queue list", limit=2)
        self.assertEqual([entry["id"] for entry in page["entries"]], ["M0", "M1"])
        last = from_cursor(page["next"])
        assert last is not None
        self.assertEqual((last.message.received, last.entry), (entries[1].message.received, 1))
        self.ask("queue list", after=page["next"])
        self.assertEqual(cursor(self.store.asked[-1][2]), page["next"])

    def test_bounded(self) -> None:
        """Of entries in other states so many are looked at, and no more: then there is a cursor."""
        self.store.pages = [[listed()] * PAGE] * 10
        page = self.ask("queue list", state="due")
        self.assertEqual((page["entries"], len(self.store.asked)), ([], 4))
        self.assertIsNotNone(page["next"])
        self.assertEqual({which.held for which, _, _ in self.store.asked}, {False})

    def test_many_recipients(self) -> None:
        """Entries of large mailings make a page shorter."""
        large = listed(message("M", "ann@example.com", *["bob@example.org"] * 4000))
        self.store.pages = [[large] * 9]
        self.assertEqual(len(self.ask("queue list")["entries"]), 3)


class OverviewTests(SynchronousTestCase):
    """What the processes have answered, as of one gateway."""

    def setUp(self) -> None:
        """Nobody answers."""
        self.answers: dict[str, list[Any]] = {}
        self.asked: list[Question] = []
        self.given = settings()
        seen = Observation(
            Figures({("workers", ()): 2.0, ("refusals_total", ("loop",)): 3.0}), ("why",)
        )
        self.overview = Overview(
            lambda: succeed(seen),
            self.ask,
            lambda: self.given,
            lambda: Own(1, 2, ("wrong\x1b",), {"mx": 5.0}),
            "1.0",
            True,
            lambda: NOW,
        )

    async def ask(self, question: Question) -> list[Any]:
        """See Overview."""
        self.asked.append(question)
        return self.answers.get(question.kind, [])

    def result(self, asking: Any) -> Any:
        """What comes of it."""
        return self.successResultOf(Deferred.fromCoroutine(asking))

    def refused(self, asking: Any) -> int:
        """The code of what is refused."""
        failure = self.failureResultOf(Deferred.fromCoroutine(asking), RefusedError)
        code: int = failure.value.refused.code  # type: ignore[attr-defined]
        return code

    def test_status(self) -> None:
        """Also while no process answers; a process that cannot is left out."""
        self.answers["status"] = [Refused(500, "x")]
        told = self.result(self.overview.status())
        self.assertEqual((told["ready"], told["reasons"], told["workers"]), (False, ["why"], 2))
        self.assertEqual((told["hostname"], told["version"]), (ME, "1.0"))
        self.assertEqual(told["refusals"], {"loop": 3})
        self.assertEqual((told["backends"], told["queue"]), ([], None))
        self.assertEqual(told["reloads"], {"good": 1, "bad": 2})
        self.assertEqual(told["problems"], ["wrong\\x1b"])
        self.assertEqual(told["certificates"], [{"certificate": "mx", "expires": 5.0}])

    def test_queue(self) -> None:
        """That of the one process that knows it; else one that is not open."""
        self.given = settings(outbound=Outbound())
        told = self.result(self.overview.status())["queue"]
        self.assertEqual((told["open"], told["may_change"]), (False, True))
        part: dict[str, Any] = {"history": [], "backends": {}, "queue": None}
        self.answers["status"] = [part, part | {"queue": {"open": True, "messages": 7}}]
        told = self.result(self.overview.status())["queue"]
        self.assertEqual(
            told, {"open": True, "messages": 7, "may_change": True, "smart_host": None}
        )

    def test_timeline(self) -> None:
        """Events of all, in order, and the queue's part; 404 where there is neither."""
        self.given = settings(outbound=Outbound())
        self.assertEqual(self.refused(self.overview.transaction("A")), 404)
        self.answers["transaction"] = [[{"at": 2.0}], [{"at": 1.0}], Refused(500, "x")]
        self.answers["queue show"] = [{"id": "A"}]
        told = self.result(self.overview.transaction("A"))
        self.assertEqual(told["events"], [{"at": 1.0}, {"at": 2.0}])
        self.assertEqual(told["queue"], {"id": "A"})
        self.answers["queue show"] = [Refused(503, "not open")]
        self.assertIsNone(self.result(self.overview.transaction("A"))["queue"])

    def test_of_one(self) -> None:
        """The queue is asked of one process, and a change is given time."""
        self.answers["queue change"] = [{"changed": 1}]
        self.assertEqual(self.result(self.overview.change("hold", ["A"])), {"changed": 1})
        [question] = self.asked
        self.assertTrue(question.of_one)
        self.assertGreater(question.patience, 30)
        self.assertEqual(question.about, {"what": "hold", "ids": ["A"]})

    def test_no_answer(self) -> None:
        """503; an id that is not there is 404."""
        self.assertEqual(self.refused(self.overview.entries()), 503)
        self.answers["queue show"] = [None]
        self.assertEqual(self.refused(self.overview.queued("A")), 404)

    def test_ended(self) -> None:
        """All is known up to where the slowest process has looked."""
        self.answers["ended"] = [
            {"now": 5.0, "transactions": []}, {"now": 4.0, "transactions": []},
        ]  # fmt: skip
        self.assertEqual(self.result(self.overview.ended(1.0, 9)), (4.0, []))
        self.answers["ended"] = []
        self.assertEqual(self.result(self.overview.ended(1.0, 9)), (1.0, []))
