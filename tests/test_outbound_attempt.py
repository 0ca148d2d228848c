"""One attempt: broken off at each stage, with what is not foreseen, and what is recorded of it."""

import os
import tempfile
from collections.abc import Callable, Collection
from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.config.settings import Route, Settings
from smtpforward.content import Content
from smtpforward.counts import Counts
from smtpforward.envelope import Envelope, Recipient
from smtpforward.job import Delivery, Event, NextHop
from smtpforward.outbound import attempt, notices
from smtpforward.outbound.attempt import (
    MUCH_LATER,
    NOTHING,
    SOON,
    STORE_AGAIN,
    After,
    Attempts,
)
from smtpforward.outbound.entry import Claimed, Lease, Message, Result, State
from smtpforward.outbound.errors import StoreDamagedError, StoreFullError, StoreUnavailableError
from smtpforward.outbound.handover import HandedOver, Targets
from smtpforward.outbound.leases import Leases
from smtpforward.outbound.unroutable import lookup_failed, no_such_domain
from tests.queuesupport import BEGAN, BUSY, DONE, MESSAGE, NO_USER, ScriptedHosts, queueing
from tests.support import address, next_hop, settings

DELIVERED, QUEUED, FAILED = State.DELIVERED, State.QUEUED, State.FAILED


class ScriptedStore:
    """What an attempt asks of a store: the test answers.

    :ivar reading, recording, giving: what is answered; ``None``: at once, and well.
    """

    def __init__(self, clock: Clock) -> None:
        self.reading: Deferred[Content] | None = None
        self.recording: list[Deferred[None]] = []
        self.giving: Deferred[None] | None = None
        self.results: list[Result] = []
        self.notices: list[bytes] = []
        self.given_back: list[tuple[tuple[int, ...], float]] = []
        self._clock = clock

    def now(self) -> float:
        return BEGAN + self._clock.seconds()

    def content(self, message: str) -> "Deferred[Content]":
        return succeed(Content.of_wire(MESSAGE)) if self.reading is None else self.reading

    def record(self, result: Result) -> "Deferred[None]":
        self.results.append(result)
        recorded = self.recording.pop(0) if self.recording else succeed(None)
        return recorded.addCallback(lambda _: self._read(result))

    def _read(self, result: Result) -> None:
        self.notices += [b"".join(new.content.wire()) for new in result.notices]

    def renew(self, entries: Collection[int], lease: Lease) -> "Deferred[frozenset[int]]":
        return succeed(frozenset(entries))

    def give_back(self, entries: Collection[int], owner: str, due: float) -> "Deferred[None]":
        self.given_back.append((tuple(entries), due - BEGAN))
        return succeed(None) if self.giving is None else self.giving


class AttemptCase(SynchronousTestCase):
    """A test with attempts, a scripted store and scripted hosts."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = ScriptedStore(self.clock)
        self.hosts = ScriptedHosts(self.clock)
        self.leases = Leases(self.store, "own", self.clock, lambda: 300.0)
        self.settings = queueing(intervals=(60.0, 300.0))
        self.told: list[HandedOver] = []
        self.targets: Targets | None = None
        self.find: Callable[[str], Deferred[NextHop]] = self.hosts.mail_hosts
        self.attempts = Attempts(
            self.store,
            self.leases,
            lambda: self.targets or Targets(self.hosts, self.hosts, self.find),
            self._settings,
            self.clock,
            lambda claimed, handed: self.told.append(handed),
            Counts(),
        )

    def _settings(self) -> Settings:
        return self.settings

    def claimed(self, *to: str, sender: bytes = b"a@example.net", **changes: Any) -> Claimed:
        """An entry."""
        recipients = tuple(Recipient(address(each.encode())) for each in to or ("b@example.org",))
        message = Message("M1", BEGAN, Envelope(address(sender), recipients), len(MESSAGE))
        made = Claimed(
            7, message, "example.org", Delivery.OUTBOUND, tuple(enumerate(recipients)), 0, False
        )
        self.leases.hold(7, Lease("own", BEGAN + 300.0))
        return attrs.evolve(made, **changes)

    def make(self, *to: str, content: Content | None = None, **changes: Any) -> "Deferred[After]":
        """Begin an attempt."""
        making = self.attempts.make(self.claimed(*to, **changes), content)
        return Deferred.fromCoroutine(making)

    def states(self) -> list[list[State]]:
        """What was recorded."""
        return [[each.state for each in r.attempt.results] for r in self.store.results]

    def file(self) -> tuple[Content, int]:
        """A message in a file, and its descriptor."""
        with tempfile.TemporaryFile() as file:
            file.write(MESSAGE)
            file.flush()
            descriptor = os.dup(file.fileno())
        return Content.of_file(descriptor, len(MESSAGE)), descriptor

    def assert_closed(self, descriptor: int) -> None:
        self.assertRaises(OSError, os.fstat, descriptor)


class BrokenOffTests(AttemptCase):
    """Cancelled, because the gateway has to end."""

    def test_reading(self) -> None:
        """While the message is read: given back, and what was read is closed when it comes."""
        self.store.reading = Deferred()
        making = self.make()
        making.cancel()
        self.assertEqual(self.successResultOf(making), After(BEGAN))
        content, descriptor = self.file()
        self.store.reading.callback(content)
        self.assert_closed(descriptor)
        self.assertEqual((self.store.given_back, self.store.results), ([((7,), 0.0)], []))

    def test_reading_that_fails(self) -> None:
        """What cannot be read after that is nobody's affair."""
        self.store.reading = Deferred()
        making = self.make()
        making.cancel()
        self.successResultOf(making)
        self.store.reading.errback(StoreUnavailableError("away"))

    def test_looking_up(self) -> None:
        """While MX hosts are looked up: given back, and nobody hears anything."""
        asked: list[Deferred[NextHop]] = []
        self.find = lambda domain: asked.append(Deferred()) or asked[0]  # type: ignore[func-returns-value]
        content, descriptor = self.file()
        making = self.make(content=content)
        making.cancel()
        self.assertEqual(self.successResultOf(making), After(BEGAN))
        self.assert_closed(descriptor)
        self.assertEqual((self.hosts.jobs, self.store.results, self.told), ([], [], []))

    def test_handing_over(self) -> None:
        """While it is handed over: the target is told, and the entry given back."""
        self.hosts.held = []
        content, descriptor = self.file()
        making = self.make(content=content)
        making.cancel()
        self.assertEqual(self.successResultOf(making), After(BEGAN))
        self.assertEqual((self.hosts.cancelled, self.store.results), (1, []))
        self.assert_closed(descriptor)

    def test_recording(self) -> None:
        """While the result is recorded: that goes on, and nothing is given back."""
        recording: Deferred[None] = Deferred()
        self.store.recording = [recording]
        self.hosts.script = lambda r: NO_USER
        making = self.make()
        making.cancel()
        self.assertNoResult(making)
        recording.callback(None)
        self.assertIsNone(self.successResultOf(making).due)
        self.assertEqual((self.states(), self.store.given_back), ([[FAILED]], []))
        self.assertIn(b"example.org", self.store.notices[0], "the notice is whole")

    def test_recording_that_fails(self) -> None:
        """Where that fails it is given back: it is tried no more."""
        recording: Deferred[None] = Deferred()
        self.store.recording = [recording]
        making = self.make()
        making.cancel()
        recording.errback(StoreUnavailableError("away"))
        self.assertEqual(self.successResultOf(making), After(BEGAN))
        self.assertEqual((len(self.store.results), len(self.store.given_back)), (1, 1))

    def test_between_two_recordings(self) -> None:
        """The same while the next one is waited for."""
        self.store.recording = [fail(StoreUnavailableError("away"))]
        making = self.make()
        self.assertNoResult(making)
        making.cancel()
        self.assertEqual(self.successResultOf(making), After(BEGAN))
        self.assertEqual(len(self.store.results), 1)
        self.assertEqual([c for c in self.clock.getDelayedCalls() if c.getTime() < 60.0], [])

    def test_giving_back(self) -> None:
        """While it is given back: that goes on, and the attempt has ended."""
        self.store.reading = fail(StoreUnavailableError("away"))
        self.store.giving = Deferred()
        making = self.make()
        making.cancel()
        self.assertEqual(self.successResultOf(making), NOTHING)

    def test_not_begun(self) -> None:
        """What is to be attempted after that is given back, and its content closed."""
        content, descriptor = self.file()
        leaving = Deferred.fromCoroutine(self.attempts.leave(self.claimed(), content))
        self.assertEqual(self.successResultOf(leaving), After(BEGAN))
        self.assert_closed(descriptor)
        leaving = Deferred.fromCoroutine(self.attempts.leave(self.claimed()))
        self.assertEqual(self.successResultOf(leaving), After(BEGAN))


class SeveralPlacesTests(AttemptCase):
    """New settings have moved recipients of one entry to different places."""

    def setUp(self) -> None:
        super().setUp()
        own = Route("own.test", next_hop("own.example"), own_host=True)
        other = Route("other.test", next_hop("other.example"), own_host=True)
        sections = {"own.test": own, "other.test": other}
        changed = settings(hosts=("ours.test",), sections=sections)
        self.settings = queueing(changed, intervals=(60.0, 300.0))

    def test_each_to_its_own(self) -> None:
        """Each gets its transaction, and all of it is one result."""
        self.make("b@example.org", "c@own.test", "d@example.org", "e@other.test")
        hosts = [job.next_hop.servers[0].host for _, job in self.hosts.jobs]
        self.assertEqual(hosts, ["mx.example.org", "own.example", "other.example"])
        self.assertEqual(self.hosts.recipients[0], ["b@example.org", "d@example.org"])
        [result] = self.store.results
        self.assertEqual(sorted(each.index for each in result.attempt.results), [0, 1, 2, 3])

    def test_new_smart_host_meanwhile(self) -> None:
        """What goes to the smart host goes over the queue's own pools, whatever comes meanwhile."""
        direct = ScriptedHosts(self.clock)
        self.settings = queueing(self.settings, smart_host=next_hop("smart.example"))
        self.targets = Targets(self.hosts, direct, self.find)
        self.hosts.held = []
        self.make("c@own.test", "b@example.org")
        self.settings = queueing(self.settings, smart_host=next_hop("other.example"))
        self.hosts.let_go()
        self.assertEqual(self.hosts.recipients, [["c@own.test"]])
        self.assertEqual(direct.recipients, [["b@example.org"]])

    def test_broken_off_in_between(self) -> None:
        """What one has taken is recorded, so that it does not get it twice; the rest stays."""
        self.hosts.script = lambda r: DONE if self.hosts.held is None else BUSY
        made: list[Deferred[After]] = []

        def find(domain: str) -> "Deferred[NextHop]":
            self.hosts.held = [] if domain == "held.test" else None
            return succeed(next_hop(f"mx.{domain}"))

        self.find = find
        made.append(self.make("b@example.org", "c@held.test", "d@own.test"))
        self.assertEqual(len(self.hosts.jobs), 2)
        made[0].cancel()
        after = self.successResultOf(made[0])
        self.assertEqual(after.due, BEGAN + 60.0)
        self.assertEqual(self.states(), [[DELIVERED, QUEUED, QUEUED]])
        self.assertEqual((len(self.hosts.jobs), self.store.given_back), (2, []))

    def test_broken_off_and_not_recorded(self) -> None:
        """That is recorded once, however it goes: the gateway has to end."""
        self.hosts.held = []
        self.find = lambda domain: succeed(next_hop(f"mx.{domain}"))
        making = self.make("b@example.org", "c@own.test")
        self.hosts.held, held = [], self.hosts.held
        [(waiting, job)] = held
        waiting.callback(self.hosts._outcomes(job))
        self.store.recording = [fail(StoreUnavailableError("away"))]
        making.cancel()
        self.assertEqual(self.successResultOf(making), After(BEGAN))
        self.assertEqual(len(self.store.results), 1)

    def test_fault_of_one(self) -> None:
        """What is not foreseen with one place is a failure for a time of that one."""
        deliver = self.hosts.deliver

        def failing(job: Any) -> Any:
            if job.next_hop.servers[0].host == "own.example":
                return fail(ZeroDivisionError())
            return deliver(job)

        self.patch(self.hosts, "deliver", failing)
        self.make("b@example.org", "c@own.test", "d@other.test")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.states(), [[DELIVERED, QUEUED, DELIVERED]])
        self.assertTrue(self.store.results[0].counted)

    def test_one_reached(self) -> None:
        """The destination is out of reach only where no part of it was reached."""
        self.hosts.script = lambda r: Event.UNREACHABLE if r.address.host == "own.test" else DONE
        self.make("b@example.org", "c@own.test")
        self.hosts.script = lambda r: Event.UNREACHABLE
        self.make("b@example.org", "c@own.test")
        found = [(told.unreachable is None, told.reached) for told in self.told]
        self.assertEqual(found, [(True, True), (False, False)])


class UnforeseenTests(AttemptCase):
    """What nobody thought of."""

    def test_hand_over(self) -> None:
        """A fault in the hand-over counts as a failed attempt: in the end it bounces."""
        self.patch(self.hosts, "deliver", lambda job: fail(ZeroDivisionError()))
        for attempts, state in ((0, QUEUED), (2, FAILED)):
            self.make(attempts=attempts)
            self.assertEqual(self.states()[-1], [state])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.assertEqual(len(self.store.notices), 1)

    def test_notice(self) -> None:
        """A notice that cannot be made: nothing is sent twice, and nobody is dropped in silence."""

        def failing(*_: Any) -> Any:
            raise ZeroDivisionError

        self.patch(notices, "made_by", failing)
        replies = {b"b": DONE, b"c": NO_USER, b"d": BUSY}
        self.hosts.script = lambda r: replies[r.address.local]
        after = self.successResultOf(self.make("b@a.test", "c@a.test", "d@a.test"))
        self.assertEqual(self.states(), [[DELIVERED, QUEUED, QUEUED]])
        self.assertEqual(after.due, BEGAN + MUCH_LATER)
        self.assertIsNone(self.successResultOf(self.make("b@a.test")).due)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_record(self) -> None:
        """A result that fails in an unforeseen way is recorded again, as any other."""
        self.store.recording = [fail(ZeroDivisionError()), fail(StoreFullError("full"))]
        making = self.make()
        self.clock.advance(1.0)
        self.assertNoResult(making)
        self.clock.advance(2.0)
        self.successResultOf(making)
        self.assertEqual((len(self.hosts.jobs), len(self.store.results)), (1, 3))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class ReadingTests(AttemptCase):
    """The message."""

    def test_gone(self) -> None:
        """What an operator has deleted meanwhile is nobody's affair."""
        self.store.reading = fail(KeyError("M1"))
        self.assertEqual(self.successResultOf(self.make()), NOTHING)
        self.assertEqual((self.hosts.jobs, self.store.results, self.store.given_back), ([], [], []))

    def test_store_away(self) -> None:
        """While the store gives nothing, for whatever reason, there is no attempt."""
        for error in (StoreUnavailableError("away"), StoreFullError("no space to read it into")):
            self.store.reading = fail(error)
            self.assertEqual(self.successResultOf(self.make()), After(BEGAN + STORE_AGAIN))
        self.assertEqual((self.hosts.jobs, self.store.results), ([], []))

    def test_store_away_for_long(self) -> None:
        """What cannot be given back is left to its lease."""
        self.store.reading = fail(StoreUnavailableError("away"))
        self.store.giving = fail(StoreUnavailableError("away"))
        self.assertEqual(self.successResultOf(self.make()), NOTHING)

    def test_damaged(self) -> None:
        """A message that cannot be read counts attempts, and bounces in the end without itself."""
        for attempts, state in ((0, QUEUED), (2, FAILED)):
            self.store.reading = fail(StoreDamagedError("no file"))
            self.make(attempts=attempts)
            self.assertEqual(self.states()[-1], [state])
        self.assertEqual(self.hosts.jobs, [])
        self.assertIn(b"Diagnostic-Code", self.store.notices[0])
        self.assertFalse(self.told[0].reached)

    def test_closed_once_sent(self) -> None:
        """What was read is closed when all is recorded."""
        content, descriptor = self.file()
        self.store.reading = succeed(content)
        self.store.recording = [Deferred()]
        recording = self.store.recording[0]
        making = self.make()
        os.fstat(descriptor)
        recording.callback(None)
        self.successResultOf(making)
        self.assert_closed(descriptor)


class OutcomeTests(AttemptCase):
    """What is told of a destination, and asked of a job."""

    def test_lease_is_asked_for(self) -> None:
        """The job's dot leaves only while the lease has some time to run."""
        self.hosts.held = []
        self.make()
        [(_, job)] = self.hosts.jobs
        assert job.may_send is not None
        self.assertTrue(job.may_send())
        self.leases.drop(7)
        self.assertFalse(job.may_send())

    def test_unroutable(self) -> None:
        """A domain that is not there was asked; one that the DNS keeps silent about backs off."""
        for error, unreachable, reached, state in (
            (no_such_domain("example.org"), False, True, FAILED),
            (lookup_failed("example.org", "example.org", "timeout"), True, False, QUEUED),
        ):
            self.hosts.unroutable["example.org"] = error
            self.make()
            told = self.told[-1]
            self.assertEqual((told.unreachable is not None, told.reached), (unreachable, reached))
            self.assertEqual(self.states()[-1], [state])

    def test_no_attempt(self) -> None:
        """Where no connection was free nothing is said of the destination."""
        self.hosts.script = lambda r: Event.POOL_FULL
        after = self.successResultOf(self.make(attempts=2))
        self.assertEqual(after.due, BEGAN + SOON)
        self.assertFalse(self.store.results[0].counted)
        self.assertEqual((self.told[0].unreachable, self.told[0].reached), (None, False))

    def test_instead(self) -> None:
        """What falls due while its destination backs off is told why, and asks nobody."""
        making = self.attempts.make(self.claimed(attempts=2), None, BUSY)
        self.successResultOf(Deferred.fromCoroutine(making))
        self.assertEqual((self.hosts.jobs, self.states()), ([], [[FAILED]]))
        self.assertIn(b"451 4.2.1 come again", self.store.notices[0])

    def test_slowest(self) -> None:
        """A result is recorded again after ever longer times, up to a bound."""
        self.store.recording = [fail(StoreUnavailableError("away")) for _ in range(8)]
        making = self.make()
        times = []
        while not making.called:
            before = len(self.store.results)
            began = self.clock.seconds()
            while len(self.store.results) == before:
                self.clock.advance(1.0)
            times.append(self.clock.seconds() - began)
        self.assertEqual(times, [1.0, 2.0, 4.0, 8.0, 16.0, *[attempt.SLOWEST_RECORD] * 3])
