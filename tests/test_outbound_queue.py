"""The outbound queue: taking, attempting, retrying, giving up."""

import email
import email.policy
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import formatEvent, globalLogPublisher

from smtpforward.config.settings import Outbound, Route
from smtpforward.job import Delivery, Event, Job
from smtpforward.outbound import accept
from smtpforward.outbound.entry import Change, Filter, State
from smtpforward.outbound.errors import StoreFullError, StoreUnavailableError
from smtpforward.outbound.queue import OPEN_AGAIN, TAKE_OVER_AGAIN
from smtpforward.outbound.unroutable import no_such_domain
from tests.peers.wait import until
from tests.queuesupport import BEGAN, BUSY, DONE, MESSAGE, NO_USER, QueueCase, queueing
from tests.support import next_hop, settings

HOUR = 3600.0
LARGE = MESSAGE + b"x" * 70_000 + b"\r\n"  # does not come with its claim
SIX = (60.0, 300.0, 300.0, HOUR, HOUR, HOUR)  # 1m, 5m*2, 1h*3


def bounce_of(data: bytes) -> Any:
    """A notice as Python's ``email`` reads it, with its three parts."""
    return email.message_from_bytes(data, policy=email.policy.SMTP)


class TakingTests(QueueCase):
    """A message comes in."""

    async def test_taken_is_on_disk(self) -> None:
        """The answer comes when another process finds the message, whole."""
        await self.start(disabled=True)
        outcome = await self.put("b@example.com")
        self.assertIs(outcome.event, Event.ACCEPTED)
        self.assertEqual(outcome.reply and outcome.reply.lines, (b"2.0.0 queued as M1",))
        other = self.make(self.queue.settings, delivers=False)
        other.start()
        await until(lambda: other._opened, "the other one is open")
        content = await other.store.content("M1")
        self.assertTrue(b"".join(content.wire()).startswith(b"Received: from x\r\nSubject: hello"))
        self.assertTrue(b"".join(content.wire()).endswith(b"\r\n..dots\r\n"))
        content.close()

    async def test_not_open(self) -> None:
        """Before the store is open nothing is taken."""
        self.queue = self.make(queueing())
        outcome = await self.put("b@example.com")
        self.assertIs(outcome.event, Event.QUEUE_UNAVAILABLE)

    async def test_early(self) -> None:
        """What comes while the store is opened for the first time waits for that."""
        self.queue = self.make(queueing())
        self.queue.start()
        putting = self.queue.deliver(self.job("b@example.com"))
        given_up = self.queue.deliver(self.job("c@example.com"))
        given_up.addErrback(lambda failure: None)
        given_up.cancel()
        self.assertFalse(putting.called)
        outcomes = await putting
        self.assertIs(outcomes[0].event, Event.ACCEPTED)
        await self.settled()
        self.assertEqual(self.hosts.recipients, [["b@example.com"]])

    async def test_cannot_be_opened(self) -> None:
        """What waits for a store that cannot be opened hears that; later ones at once."""
        self.queue = self.make(queueing())
        opening: Deferred[Any] = Deferred()
        self.patch(self.queue.store, "open", lambda owner: opening)
        self.queue.start()
        putting = self.queue.deliver(self.job("b@example.com"))
        opening.errback(StoreUnavailableError("locked"))
        for outcomes in (await putting, await self.queue.deliver(self.job("b@example.com"))):
            self.assertIs(outcomes[0].event, Event.QUEUE_UNAVAILABLE)
        self.patch(self.queue.store, "open", lambda owner: _firing(None))
        self.patch(self.queue.store, "watch", lambda changed: None)
        self.patch(self.queue.store, "close", lambda: _firing(None))
        self.patch(self.queue, "delivers", False)
        self.clock.advance(OPEN_AGAIN)
        self.assertTrue(self.queue._opened)

    async def test_succeeds(self) -> None:
        """While the gateway before delivers mail is put in; once it has gone, delivered."""
        before = self.make(queueing())
        before.start()
        await until(lambda: before._opened, "the one before is open")
        self.hosts.held = []
        self.queue = self.make(queueing(), succeeds=True)
        self.queue.start()
        self.assertIs((await self.put("b@example.com")).event, Event.ACCEPTED)
        self.assertFalse(self.queue.delivers)
        for _ in range(2):  # It asks again and again.
            self.clock.advance(TAKE_OVER_AGAIN)
            await until(lambda: self.queue._opening is not None, "it has asked")
        self.assertEqual(self.queue.destinations.active, 0)
        await before.end()
        await before.close()
        self.clock.advance(TAKE_OVER_AGAIN)
        await until(lambda: self.queue.delivers, "it has taken over")
        await until(lambda: self.hosts.jobs, "it is attempted")
        self.hosts.let_go()
        await self.settled()
        self.assertEqual(self.hosts.recipients, [["b@example.com"]])

    async def test_store_fails(self) -> None:
        """What the store cannot take is answered by why, and nothing counts as attempted."""
        await self.start()
        for error, event in (
            (StoreFullError("full"), Event.QUEUE_FULL),
            (StoreUnavailableError("locked"), Event.QUEUE_UNAVAILABLE),
        ):
            failing: Deferred[Any] = Deferred()
            self.patch(self.queue.store, "add", lambda new, failing=failing: failing)
            putting = self.queue.deliver(self.job("b@example.com"))
            failing.errback(error)
            outcomes = await putting
            self.assertIs(outcomes[0].event, event)
            self.assertEqual(self.queue.destinations.active, 0)

    async def test_client_gone(self) -> None:
        """A client that has gone is told nothing, and the message is delivered."""
        await self.start()
        putting = self.queue.deliver(self.job("b@example.com"))
        putting.addErrback(lambda failure: None)
        putting.cancel()
        await until(lambda: self.hosts.jobs, "it is attempted")
        await self.settled()

    async def test_at_once(self) -> None:
        """Where there is room it goes out as it comes, with what the edge has put before it."""
        await self.start()
        await self.put("b@example.com")
        await self.settled()
        self.assertEqual(self.hosts.recipients, [["b@example.com"]])
        self.assertEqual(self.hosts.messages[0][:18], b"Received: from x\r\n")
        self.assertFalse(self.hosts.jobs[0][1].atomic)

    async def test_nothing_is_claimed(self) -> None:
        """What goes out as it comes costs the store no further question."""
        await self.start()
        await until(lambda: self.queue.idle, "it has looked")
        self.patch(self.queue.store, "claim", lambda *_: self.fail("there is nothing to claim"))
        await self.put("b@example.com")
        await self.settled()
        self.assertTrue(self.queue.destinations.may_begin_at_once("example.com"))
        self.assertTrue(self.queue.idle)

    async def test_grouped(self) -> None:
        """The recipients of one domain share a transaction; domains do not."""
        await self.start()
        await self.put("b@example.com", "c@example.org", "d@EXAMPLE.com")
        await self.settled()
        expected = [["b@example.com", "d@EXAMPLE.com"], ["c@example.org"]]
        self.assertEqual(sorted(self.hosts.recipients), expected)

    async def test_received_header(self) -> None:
        """``received_header`` adds a line of the queue's own before the edge's."""
        await self.start(received_header="passed by the queue")
        await self.put("b@example.com")
        await self.settled()
        self.assertRegex(
            self.hosts.messages[0],
            rb"^Received: by mx\.example\.net \(passed by the queue\) id M1;\r\n\t[^\r]+\r\n"
            rb"Received: from x\r\n",
        )


class GroupingTests(QueueCase):
    """Which recipients share an entry."""

    def destinations(self, job: Job, **changes: Any) -> list[tuple[str, tuple[int, ...]]]:
        """What becomes of the recipients of ``job``."""
        more = {"hosts": ("ours.test",), **changes.pop("settings", {})}
        held = queueing(settings(**more), **changes)
        return [(e.destination, e.indices) for e in accept.entries(held, job)]

    def test_always_split(self) -> None:
        """``always_split`` gives each recipient an entry."""
        job = self.job("b@a.test", "c@a.test")
        self.assertEqual(self.destinations(job), [("a.test", (0, 1))])
        split = self.destinations(job, always_split=True)
        self.assertEqual(split, [("a.test", (0,)), ("a.test", (1,))])

    def test_one_message_per_rcpt(self) -> None:
        """So does a route's ``one_message_per_rcpt``, for its own."""
        alone = Route("a.test", next_hop("own.example"), one_message_per_rcpt=True, own_host=True)
        job = self.job("b@a.test", "c@a.test", "b@b.test", "c@b.test")
        found = self.destinations(job, settings={"sections": {"a.test": alone}})
        own = "own.example:25"
        self.assertEqual(found, [(own, (0,)), (own, (1,)), ("b.test", (2, 3))])

    def test_where(self) -> None:
        """A section's own host, the smart host, and the domain itself, in that order."""
        own = Route("own.test", next_hop("own.example"), own_host=True)
        inherits = Route("inherits.test", next_hop())
        sections = {"own.test": own, "inherits.test": inherits}
        job = self.job("b@own.test", "b@inherits.test", "b@other.test", "b@ours.test")
        found = self.destinations(job, settings={"sections": sections})
        ours = "backend.example.com:25"
        expected = ["own.example:25", "inherits.test", "other.test", ours]
        self.assertEqual([where for where, _ in found], expected)
        smart = self.destinations(
            job, settings={"sections": sections}, smart_host=next_hop("smart.example", 587)
        )
        expected = ["own.example:25", "smart.example:587", ours]
        self.assertEqual([where for where, _ in smart], expected)

    def test_section_of_ours(self) -> None:
        """One whose own section has ``enable_outbound=false`` goes to its MX hosts."""
        job = self.job("b@ours.test")
        for section, selector, expected in (
            (
                Route("", next_hop(), enable_outbound=False, own_outbound=True),
                "rcpt_to",
                "ours.test",
            ),
            (
                Route("", next_hop(), queue="outbound", enable_outbound=False, own_outbound=True),
                "rcpt_to",
                "backend.example.com:25",
            ),
            (Route("", next_hop(), enable_outbound=False), "rcpt_to", "backend.example.com:25"),
            (Route("", next_hop(), own_outbound=True), "rcpt_to", "backend.example.com:25"),
            (
                Route("", next_hop(), enable_outbound=False, own_outbound=True),
                "mail_from",
                "backend.example.com:25",
            ),
        ):
            held = queueing(settings(hosts=("ours.test",)))
            sections = {"ours.test": section, "example.net": section}
            routes: Any = attrs.evolve(held.routes, sections=sections, domain_selector=selector)
            [entry] = accept.entries(attrs.evolve(held, routes=routes), job)
            self.assertEqual(entry.destination, expected, (section, selector))

    def test_chosen_to_be_forwarded(self) -> None:
        """What was chosen to be forwarded goes to its route's host, by an entry of its own."""
        job = self.job(
            "b@a.test", "c@a.test", deliveries=[Delivery.SMTP_FORWARD, Delivery.OUTBOUND]
        )
        found = self.destinations(job)
        self.assertEqual(found, [("backend.example.com:25", (0,)), ("a.test", (1,))])


class ScheduleTests(QueueCase):
    """Attempts in their time."""

    async def test_intervals_exactly(self) -> None:
        """``1m, 5m*2, 1h*3``: each attempt comes at its time, and the seventh failure bounces."""
        await self.start(intervals=SIX)
        self.hosts.script = lambda recipient: BUSY
        await self.put("b@example.org")
        await self.settled(1)
        expected, at = [0.0], 0.0
        for wait in SIX:
            at += wait
            await self.advance_to(at - 0.5)
            self.assertEqual(self.hosts.times, expected)
            self.assertEqual([e.due for e in await self.listed()], [BEGAN + at])
            if len(expected) == len(SIX):
                self.hosts.script = lambda recipient: (
                    BUSY if recipient.address.host == "example.org" else DONE
                )
            await self.advance_to(at)
            expected.append(at)
            await self.attempted(len(expected))
        await self.settled()
        self.assertEqual(self.hosts.times, [*expected, at])
        bounce = bounce_of(self.hosts.messages[-1])
        self.assertEqual(self.hosts.recipients[-1], ["a@example.net"])
        self.assertEqual(bounce.get_content_type(), "multipart/report")
        self.assertIn("451 4.2.1 come again", self.hosts.messages[-1].decode())

    async def test_no_retry(self) -> None:
        """Without intervals the first failure bounces."""
        await self.start(intervals=())
        self.hosts.script = lambda r: BUSY if r.address.host == "example.org" else DONE
        await self.put("b@example.org")
        await self.settled()
        self.assertEqual(self.hosts.recipients, [["b@example.org"], ["a@example.net"]])

    async def test_mixed(self) -> None:
        """Each recipient has a fate of its own; only who was deferred is tried again."""
        await self.start(intervals=SIX)
        replies = {b"b": DONE, b"c": BUSY, b"d": NO_USER}
        self.hosts.script = lambda r: replies.get(r.address.local, DONE)
        await self.put("b@example.org", "c@example.org", "d@example.org")
        await self.settled(1)
        shown = await self.shown("M1")
        self.assertEqual(shown.states, (State.DELIVERED, State.QUEUED, State.FAILED))
        self.assertEqual(self.hosts.recipients[1], ["a@example.net"], "the bounce")
        bounce = self.hosts.messages[1].decode()
        self.assertIn("<d@example.org>", bounce)
        self.assertNotIn("c@example.org", bounce)
        replies[b"c"] = DONE
        await self.advance_to(60.0)
        await self.settled()
        self.assertEqual(self.hosts.recipients[2:], [["c@example.org"]])

    async def test_cannot_be_read_now(self) -> None:
        """What the store cannot give now is attempted soon, and counts for nothing."""
        queue = await self.start(disabled=True, intervals=())
        await self.put("b@example.com", data=LARGE)
        store, content = queue.store, queue.store.content
        failures = [StoreUnavailableError("away"), StoreFullError("full")]
        self.patch(store, "content", lambda m: _failing(failures.pop()) if failures else content(m))
        outbound = attrs.evolve(queue.settings.outbound, disabled=False)  # type: ignore[arg-type]
        queue.adopt(attrs.evolve(queue.settings, outbound=outbound))
        for at in (5.0, 10.0):
            await self.settled(1)
            await self.advance_to(at)
        await self.settled()
        self.assertEqual(self.hosts.times, [10.0])

    async def test_not_an_attempt(self) -> None:
        """That no connection was free counts for nothing."""
        await self.start(intervals=(60.0,))
        self.hosts.script = lambda r: Event.POOL_FULL
        await self.put("b@example.org")
        for at in (60.0, 120.0, 180.0):
            await self.settled(1)
            await self.advance_to(at)
        self.hosts.script = lambda r: DONE
        await self.advance_to(240.0)
        await self.settled()
        self.assertEqual(self.hosts.recipients, [["b@example.org"]] * 5)

    async def busy_then_waiting(self) -> None:
        """One is put off for 5 s; of the same destination one is attempted, and one waits."""
        await self.start(intervals=(5.0,), pool_concurrency_max=1)
        self.hosts.script = lambda r: BUSY
        await self.put("b@example.org")
        await self.settled(1)
        self.hosts.script, self.hosts.held = lambda r: DONE, []
        await self.put("c@example.org")
        await self.put("d@example.org")
        await self.attempted(2)

    async def test_due_behind_others(self) -> None:
        """What is put off is in time, though its destination had others due when one looked."""
        await self.busy_then_waiting()
        self.queue.adopt(self.queue.settings)  # it looks
        await until(lambda: not self.queue._turns.busy, "it has looked")
        self.hosts.let_go()
        await self.settled(1)
        for at in (1.0, 5.0):
            await self.advance_to(at)
        await self.settled()
        self.assertEqual(self.hosts.times, [0.0, 0.0, 0.0, 5.0])

    async def test_put_off_meanwhile(self) -> None:
        """What is put off while the store is asked for the next time is in time."""
        await self.start(intervals=(5.0,))
        self.hosts.script, self.hosts.held = lambda r: BUSY, []
        await self.put("b@example.org")
        await self.attempted()
        asked: list[Deferred[Any]] = []
        self.patch(self.queue.store, "next_due", lambda but: _noted(asked, Deferred()))
        self.queue.adopt(self.queue.settings)  # it looks
        await until(lambda: asked, "it asks")
        self.hosts.let_go()
        await until(lambda: not self.queue.destinations.active, "it is put off")
        asked[0].callback(BEGAN + 300.0)  # the end of the lease that it had then
        self.hosts.script = lambda r: DONE
        self.patch(self.queue.store, "next_due", lambda but: _firing(None))
        await self.advance_to(5.0)
        await self.settled()
        self.assertEqual(self.hosts.times, [0.0, 5.0])

    async def test_disabled(self) -> None:
        """``disabled`` takes mail and sends none, until it is taken back."""
        queue = await self.start(disabled=True)
        await self.put("b@example.com")
        await self.advance_to(120.0)
        self.assertEqual(self.hosts.jobs, [])
        outbound = attrs.evolve(queue.settings.outbound, disabled=False)  # type: ignore[arg-type]
        queue.adopt(attrs.evolve(queue.settings, outbound=outbound))
        await self.settled()
        self.assertEqual(self.hosts.recipients, [["b@example.com"]])

    async def test_no_such_domain(self) -> None:
        """A domain that there is not fails at once, with no server asked."""
        await self.start()
        self.hosts.unroutable["example.org"] = no_such_domain("example.org")
        await self.put("b@example.org")
        await self.settled()
        self.assertEqual(self.hosts.recipients, [["a@example.net"]])
        self.assertIn(b"5.1.2", self.hosts.messages[0])


class BackoffTests(QueueCase):
    """A destination that cannot be reached."""

    async def test_shared(self) -> None:
        """One failure speaks for all messages of the destination; others are not touched."""
        await self.start(intervals=SIX, pool_concurrency_max=1)
        self.hosts.script = lambda r: Event.UNREACHABLE if r.address.host == "dead.test" else DONE
        for number in range(5):
            await self.put(f"b{number}@dead.test")
        await self.put("c@live.test")
        await self.settled(5)
        tried = [to for to in self.hosts.recipients if to[0].endswith("@dead.test")]
        self.assertEqual(tried, [["b0@dead.test"]])
        self.assertEqual([e.attempts for e in await self.listed()], [1] * 5)
        last = {e.last for e in await self.listed()}
        self.assertTrue(all("4.4.1" in text for text in last), last)

    async def test_one_at_a_time_afterwards(self) -> None:
        """When it may be tried again a single attempt finds out; then all go."""
        await self.start(intervals=SIX)
        self.hosts.script = lambda r: Event.UNREACHABLE
        for number in range(5):
            await self.put(f"b{number}@dead.test")
            await self.settled(number + 1)
        self.hosts.script = lambda r: DONE
        self.hosts.held = []
        before = len(self.hosts.jobs)
        await until(lambda: self.queue.idle, "it waits")
        self.clock.advance(60.0)
        await until(lambda: len(self.hosts.jobs) > before, "one is tried")
        self.assertEqual(len(self.hosts.jobs), before + 1)
        self.hosts.let_go()
        await self.settled()
        self.assertEqual(len(self.hosts.jobs), before + 5)

    async def test_last_attempt_while_it_backs_off(self) -> None:
        """A message whose last attempt falls into that time bounces, without a connection."""
        await self.start(intervals=(10.0,))
        self.hosts.script = lambda r: Event.UNREACHABLE if r.address.host == "dead.test" else DONE
        await self.put("b@dead.test")
        await self.settled(1)
        await self.advance_to(10.0)
        await self.settled()
        self.assertEqual(self.hosts.recipients, [["b@dead.test"], ["a@example.net"]])
        self.assertIn(b"4.4.1", self.hosts.messages[-1])

    async def test_an_operator_asks(self) -> None:
        """What an operator asks for is attempted even then."""
        await self.start(intervals=SIX)
        self.hosts.script = lambda r: Event.UNREACHABLE
        await self.put("b@dead.test")
        await self.settled(1)
        self.hosts.script = lambda r: DONE
        other = self.make(self.queue.settings, delivers=False)
        other.start()
        await until(lambda: other._opened, "the other one is open")
        self.assertEqual(await other.store.change(Filter(), Change.RETRY), 1)
        await self.attempted(2)
        await self.settled()

    async def test_new_settings(self) -> None:
        """What new settings say may be another host: it is tried; the same ones change nothing."""
        queue = await self.start(intervals=(10.0, 10.0, 10.0, 10.0))
        self.hosts.script = lambda r: Event.UNREACHABLE
        await self.put("b@dead.test")
        await self.settled(1)
        queue.adopt(attrs.evolve(queue.settings, me="new.example.net"))
        await self.advance_to(10.0)
        await until(lambda: queue.idle, "it is put off")
        self.assertEqual(len(self.hosts.jobs), 1)
        outbound = attrs.evolve(queue.settings.outbound, smart_host=next_hop("smart.test"))
        queue.adopt(attrs.evolve(queue.settings, outbound=outbound))
        self.hosts.script = lambda r: DONE
        await self.advance_to(20.0)
        await self.settled()
        self.assertEqual(self.hosts.jobs[-1][1].next_hop.servers[0].host, "smart.test")

    async def test_set_up(self) -> None:
        """A host of the settings that does not let us in is an error; an MX host is none."""
        said: list[str] = []
        observer: Callable[[Any], None] = lambda event: said.append(formatEvent(event))  # noqa: E731
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        await self.start(smart_host=next_hop("smart.test"))
        self.hosts.script = lambda r: Event.AUTH
        for number, outbound in enumerate((self.queue.settings.outbound, Outbound())):
            self.queue.adopt(attrs.evolve(self.queue.settings, outbound=outbound))
            await self.put("b@example.com", "c@example.com")
            await self.settled(number + 1)
        found = [line for line in said if "check the settings for this host" in line]
        self.assertEqual(len(found), 1, said)
        self.assertIn("id=M1 relay=smart.test:25: the backend has not let us log in", found[0])
        counted = {("smart.test:25", "deferred"): 2, ("mx", "deferred"): 2}
        self.assertEqual(self.counts.deliveries, counted)


class NoticeTests(QueueCase):
    """Who is told what."""

    async def test_double_bounce(self) -> None:
        """What has no sender and fails is dropped."""
        await self.start()
        self.hosts.script = lambda r: NO_USER
        await self.put("b@example.org", sender=b"")
        await self.settled()
        self.assertEqual(len(self.hosts.jobs), 1)

    async def test_bounce_that_bounces(self) -> None:
        """So is a bounce that fails: there are no bounces of bounces."""
        await self.start()
        self.hosts.script = lambda r: NO_USER
        await self.put("b@example.org")
        await self.settled()
        self.assertEqual(self.hosts.recipients, [["b@example.org"], ["a@example.net"]])

    async def test_never(self) -> None:
        """``NOTIFY=NEVER`` gets none."""
        await self.start()
        self.hosts.script = lambda r: NO_USER
        await self.put("b@example.org", notify=b"NEVER")
        await self.settled()
        self.assertEqual(len(self.hosts.jobs), 1)

    async def test_delay(self) -> None:
        """Who asked for it hears of a delay, once."""
        await self.start(intervals=SIX, delay_notice=300.0)
        self.hosts.script = lambda r: BUSY if r.address.host == "example.org" else DONE
        await self.put("b@example.org", notify=b"DELAY,FAILURE")
        await self.settled(1)
        for at in (60.0, 360.0, 660.0):
            await self.advance_to(at)
            await self.settled(1)
        notices = [m for to, m in zip(self.hosts.recipients, self.hosts.messages, strict=True)
                   if to == ["a@example.net"]]  # fmt: skip
        self.assertEqual(len(notices), 1)
        self.assertIn(b"Action: delayed", notices[0])

    async def test_no_delay_unasked(self) -> None:
        """Who did not ask hears of none."""
        await self.start(intervals=SIX, delay_notice=30.0)
        self.hosts.script = lambda r: BUSY
        await self.put("b@example.org")
        await self.settled(1)
        await self.advance_to(60.0)
        await self.settled(1)
        self.assertEqual(self.hosts.recipients, [["b@example.org"]] * 2)

    async def test_success(self) -> None:
        """``NOTIFY=SUCCESS`` is answered here where the next server has no DSN."""
        await self.start()
        await self.put("b@example.org", notify=b"SUCCESS")
        await self.settled()
        self.assertIn(b"Action: relayed", self.hosts.messages[-1])
        self.hosts.dsn = True
        await self.put("b@example.org", notify=b"SUCCESS")
        await self.settled()
        self.assertEqual(len(self.hosts.jobs), 3)

    async def test_to_one_of_ours(self) -> None:
        """A bounce to a sender of a domain of ours goes to its backend, not to its MX hosts."""
        await self.start()
        self.hosts.script = lambda r: NO_USER if r.address.host == "example.org" else DONE
        self.queue.adopt(queueing(settings(hosts=("example.net",))))
        await self.put("b@example.org")
        await self.settled()
        hop = self.hosts.jobs[-1][1].next_hop.servers[0].host
        self.assertEqual(hop, "backend.example.com")


class LeaseTests(QueueCase):
    """Who may send."""

    async def test_renewed(self) -> None:
        """A long attempt keeps its lease, and its dot may leave."""
        await self.start()
        self.hosts.held = []
        await self.put("b@example.com")
        [job] = await self.attempted()
        may_send = job.may_send
        assert may_send is not None
        for _ in range(20):
            self.clock.advance(60.0)
            await until(lambda: may_send(), "the lease is renewed")
            await until(lambda: self.queue._leases._timer is not None, "the next renewal")
        self.assertTrue(all(entry.leased for entry in await self.listed()))
        self.hosts.let_go()
        await self.settled()

    async def test_cannot_renew(self) -> None:
        """Who cannot renew sends no dot."""
        await self.start()
        self.hosts.held = []
        await self.put("b@example.com")
        [job] = await self.attempted()
        may_send = job.may_send
        assert may_send is not None
        error = StoreUnavailableError("away")
        self.patch(self.queue.store, "renew", lambda entries, lease: _failing(error))
        self.clock.pump([10.0] * 40)
        self.assertFalse(may_send())
        self.hosts.script = lambda r: Event.NOT_ALLOWED
        self.hosts.let_go()
        await self.settled(1)

    async def test_duration(self) -> None:
        """``lease`` says how long others wait; the last quarter is left to the dot's way."""
        await self.start(lease=20.0)
        self.hosts.held = []
        await self.put("b@example.com")
        [job] = await self.attempted()
        assert job.may_send is not None
        self.assertEqual([entry.due for entry in await self.listed()], [BEGAN + 20.0])
        asked: list[Deferred[Any]] = []
        self.patch(self.queue.store, "renew", lambda *_: _noted(asked, Deferred()))
        self.clock.advance(4.0)
        self.assertEqual(len(asked), 1, "it asks in time")
        self.clock.advance(10.9)
        self.assertTrue(job.may_send())
        self.clock.advance(0.2)
        self.assertFalse(job.may_send())
        self.hosts.let_go()
        await self.settled()

    async def test_own_lease_has_ended(self) -> None:
        """What is being attempted here is not attempted a second time when its lease ends."""
        await self.start(lease=20.0)
        await self.put("a@example.com")
        await self.settled()
        self.hosts.held = []
        await self.put("b@example.com")
        [_, job] = await self.attempted(2)
        assert job.may_send is not None
        error, renew = StoreUnavailableError("locked"), self.queue.store.renew
        self.patch(self.queue.store, "renew", lambda *_: _failing(error))
        self.clock.pump([1.0] * 30)
        self.queue.adopt(self.queue.settings)  # it looks
        await until(lambda: not self.queue._turns.busy, "it has looked")
        self.patch(self.queue.store, "renew", renew)
        self.assertEqual(len(self.hosts.jobs), 2)
        self.assertFalse(job.may_send(), "another may have had it meanwhile")
        self.hosts.let_go()
        await self.settled()
        self.assertEqual(len(self.hosts.jobs), 2)
        self.assertEqual(self.queue.destinations.active, 0)

    async def test_lost(self) -> None:
        """What another has leased meanwhile is not sent."""
        await self.start()
        self.hosts.held = []
        await self.put("b@example.com")
        [job] = await self.attempted()
        may_send = job.may_send
        assert may_send is not None
        self.assertTrue(may_send())
        self.patch(self.queue.store, "renew", lambda entries, lease: _firing(frozenset()))
        self.clock.advance(60.0)
        self.assertFalse(may_send())
        self.hosts.let_go()
        await self.settled()


class EndTests(QueueCase):
    """The gateway stops."""

    async def test_what_is_under_way_ends(self) -> None:
        """``end`` waits for attempts and begins none."""
        await self.start()
        self.hosts.held = []
        await self.put("b@example.com")
        await self.attempted()
        ended: list[object] = []
        self.queue.end().addCallback(ended.append)
        outcome = await self.put("c@example.com")
        self.assertIs(outcome.event, Event.QUEUE_UNAVAILABLE)
        self.assertEqual(ended, [])
        self.hosts.let_go()
        await until(lambda: ended, "the attempt is recorded")
        other = self.make(self.queue.settings, delivers=False)
        await other.store.open()
        self.assertEqual(await other.store.listed(Filter(), 10, None), [])

    async def test_while_it_opens(self) -> None:
        """A store that is being opened is closed when it is open; who waits for it hears 451."""
        self.queue = self.make(queueing())
        self.queue.start()
        putting = self.queue.deliver(self.job("b@example.com"))
        await self.queue.break_off()
        await self.queue.close()
        self.assertIs((await putting)[0].event, Event.QUEUE_UNAVAILABLE)
        await self.start()

    async def test_what_does_not_end_is_given_back(self) -> None:
        """``break_off`` does so, and the next process has the message at once."""
        await self.start()
        self.hosts.held = []
        await self.put("b@example.com")
        await self.attempted()
        await self.queue.break_off()
        await self.queue.close()
        self.assertEqual(self.hosts.cancelled, 1)
        self.hosts.held = None
        await self.start()
        await self.settled()
        self.assertEqual(len(self.hosts.jobs), 2)

    async def test_what_has_left_is_waited_for(self) -> None:
        """``break_off`` lets those go on whose message may be with the next server already."""
        await self.start()
        self.hosts.held = []
        await self.put("b@example.com")
        [job] = await self.attempted()
        assert job.may_send is not None
        self.assertTrue(job.may_send())
        ended: list[object] = []
        self.queue.break_off().addCallback(ended.append)
        self.assertEqual((self.hosts.cancelled, ended), (0, []))
        self.hosts.let_go()
        await until(lambda: ended, "it is recorded")
        self.assertEqual(await self.listed(), [])

    async def test_told_later_that_it_is_not_recorded(self) -> None:
        """What the store says after a while is heard as it is."""
        await self.start()
        store, record = self.queue.store, self.queue.store.record
        waiting: list[Deferred[Any]] = []
        self.patch(store, "record", lambda r: _noted(waiting, Deferred()))
        await self.put("b@example.com")
        await until(lambda: waiting, "it is recorded")
        self.patch(store, "record", record)
        # One that is not foreseen would be a failure in the log, and this test fails.
        waiting[0].errback(StoreUnavailableError("away"))
        self.clock.advance(1.0)
        await self.settled()

    async def test_recorded_until_it_is(self) -> None:
        """A result that cannot be recorded is recorded later; nothing is sent twice."""
        await self.start()
        store, record = self.queue.store, self.queue.store.record
        failures = [StoreUnavailableError("away"), StoreFullError("full")]
        self.patch(store, "record", lambda r: _failing(failures.pop()) if failures else record(r))
        await self.put("b@example.com")
        await until(lambda: len(failures) == 1, "tried once")
        self.clock.advance(1.0)
        await until(lambda: not failures, "tried twice")
        self.clock.advance(2.0)
        await self.settled()
        self.assertEqual(len(self.hosts.jobs), 1)


def _failing(error: Exception) -> Deferred[Any]:
    failing: Deferred[Any] = Deferred()
    failing.errback(error)
    return failing


def _firing(value: Any) -> Deferred[Any]:
    firing: Deferred[Any] = Deferred()
    firing.callback(value)
    return firing


def _noted(into: list[Deferred[Any]], deferred: Deferred[Any]) -> Deferred[Any]:
    into.append(deferred)
    return deferred
