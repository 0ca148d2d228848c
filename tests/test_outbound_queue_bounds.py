"""What the outbound queue holds, leases and asks for no longer than it must, whatever fails."""

import errno
import os
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from smtpforward.config.settings import Limits
from smtpforward.content import Content
from smtpforward.job import Event
from smtpforward.outbound.errors import StoreUnavailableError
from smtpforward.outbound.queue import OPEN_AGAIN
from tests.peers.wait import until
from tests.queuesupport import MESSAGE, QueueCase, queueing
from tests.support import settings


class TakingTests(QueueCase):
    """A message comes in."""

    async def test_one_that_does_not_deliver(self) -> None:
        """A process that only takes mail attempts none, whatever its settings become."""
        self.queue = self.make(queueing(), delivers=False)
        self.queue.start()
        await until(lambda: self.queue._opened, "the store is open")
        await self.put("b@example.com")
        self.queue.adopt(queueing(concurrency_max=7))
        self.assertTrue(self.queue.idle)
        self.assertEqual((self.hosts.jobs, len(await self.listed())), ([], 1))

    async def test_no_descriptor(self) -> None:
        """A message whose file cannot be opened once more is refused for a time."""
        await self.start()
        job = self.job("b@example.com")
        self.patch(Content, "copy", _no_descriptor)
        outcomes = await self.queue.deliver(job)
        self.assertIs(outcomes[0].event, Event.QUEUE_UNAVAILABLE)

    async def test_slow_store(self) -> None:
        """What waits to be written is bounded, also where no client waits for the answer."""
        memory = 3 * len(MESSAGE)
        await self.start(settings(hosts=("ours.test",), limits=Limits(memory=memory)))
        adding: list[Deferred[Any]] = []
        add = self.queue.store.add
        self.patch(self.queue.store, "add", lambda new: adding.append(Deferred()) or adding[-1])
        for number in range(2):
            gone = self.queue.deliver(self.job(f"b{number}@example.com"))
            gone.addErrback(lambda failure: None)
            gone.cancel()
        outcomes = await self.queue.deliver(self.job("b@example.com"))
        self.assertIs(outcomes[0].event, Event.QUEUE_UNAVAILABLE)
        for each in adding:
            each.errback(StoreUnavailableError("away"))
        self.patch(self.queue.store, "add", add)
        self.assertIs((await self.put("b@example.com")).event, Event.ACCEPTED)
        await self.settled()
        self.assertEqual(self.queue._writing, 0)

    async def test_large_for_the_memory(self) -> None:
        """A message that is larger than that is taken when nothing else is."""
        await self.start(settings(hosts=("ours.test",), limits=Limits(memory=1)))
        self.assertIs((await self.put("b@example.com")).event, Event.ACCEPTED)
        await self.settled()

    async def test_at_once_asks_nothing(self) -> None:
        """What goes out as it comes asks the store for nothing but to take and to record it."""
        await self.start()
        await self.settled()
        asked: list[str] = []
        for name in ("claim", "due", "next_due", "content"):
            call = getattr(self.queue.store, name)
            self.patch(self.queue.store, name, _noting(asked, name, call))
        await self.put("b@example.com")
        await self.settled()
        self.assertEqual(asked, [])

    async def test_slot_of_what_cannot_be_written(self) -> None:
        """What waits for the slot of a message that the store does not take has it at once."""
        await self.start()
        add, adding = self.queue.store.add, Deferred[Any]()
        self.patch(self.queue.store, "add", lambda new: adding)
        refused = self.queue.deliver(self.job("b@example.com"))
        self.patch(self.queue.store, "add", add)
        await self.put("c@example.com")
        await until(lambda: self.queue.destinations.ready and self.queue.idle, "it waits")
        self.assertEqual(self.hosts.jobs, [])
        adding.errback(StoreUnavailableError("away"))
        self.assertTrue(self.queue._turns.busy)
        await refused
        await self.settled()
        self.assertEqual(self.hosts.recipients, [["c@example.com"]])


class UnforeseenTests(QueueCase):
    """What nobody thought of."""

    async def test_open(self) -> None:
        """A store that fails to open in an unforeseen way is tried again, too."""
        self.queue = self.make(queueing())
        opened, failing = self.queue.store.open, Deferred[Any]()
        self.patch(self.queue.store, "open", lambda owner: failing)
        self.queue.start()
        self.patch(self.queue.store, "open", opened)
        failing.errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.clock.advance(OPEN_AGAIN)
        await until(lambda: self.queue._opened, "the store is open")

    async def test_add(self) -> None:
        """A fault in the store is the edge's to answer; no slot and no byte is lost."""
        await self.start()
        self.patch(self.queue.store, "add", lambda new: _failing(ZeroDivisionError()))
        with self.assertRaises(ZeroDivisionError):
            await self.put("b@example.com")
        self.assertEqual((self.queue.destinations.active, self.queue._writing), (0, 0))

    async def test_add_that_nobody_waits_for(self) -> None:
        """The same where the client has gone."""
        await self.start()
        adding: Deferred[Any] = Deferred()
        self.patch(self.queue.store, "add", lambda new: adding)
        gone = self.queue.deliver(self.job("b@example.com"))
        gone.addErrback(lambda failure: None)
        gone.cancel()
        adding.errback(ZeroDivisionError())
        self.assertEqual((self.queue.destinations.active, self.queue._writing), (0, 0))

    async def test_attempt(self) -> None:
        """An attempt that fails leaves its entry to the lease, and no slot is lost."""
        await self.start()
        self.patch(self.queue, "_attempts", _Failing())
        await self.put("b@example.com")
        await until(lambda: not self.queue.destinations.active, "the attempt has ended")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(len(self.queue._leases), 0)
        self.assertTrue(all(entry.leased for entry in await self.listed()))

    async def test_no_descriptor_for_the_attempt(self) -> None:
        """A message that cannot be copied for its attempt is read from the store."""
        await self.start()
        copies, copy = [0], Content.copy

        def second_fails(content: Content) -> Content:
            copies[0] += 1
            return copy(content) if copies[0] == 1 else _no_descriptor(content)

        self.patch(Content, "copy", second_fails)
        self.assertIs((await self.put("b@example.com")).event, Event.ACCEPTED)
        await self.settled()
        self.assertTrue(self.hosts.messages[0].endswith(MESSAGE))
        self.assertEqual(copies, [2])


class EndTests(QueueCase):
    """The gateway stops."""

    async def test_while_it_cannot_be_opened(self) -> None:
        """A store that is to be opened again later is left alone, or that fails after that."""
        self.queue = self.make(queueing())
        failing = [Deferred[Any](), Deferred[Any]()]
        self.patch(self.queue.store, "open", lambda owner: failing[0])
        self.queue.start()
        failing.pop(0).errback(StoreUnavailableError("locked"))
        await self.queue.end()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.queue = self.make(queueing())
        self.patch(self.queue.store, "open", lambda owner: failing[0])
        self.queue.start()
        ending = self.queue.end()
        failing[0].errback(StoreUnavailableError("locked"))
        await ending
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_waited_for_no_longer(self) -> None:
        """Who waits for the end no longer breaks nothing off that is being written."""
        await self.start()
        putting = self.queue.deliver(self.job("b@example.com"))
        ending = self.queue.end()
        ending.addErrback(lambda failure: None)
        ending.cancel()
        self.assertIs((await putting)[0].event, Event.ACCEPTED)
        await self.queue.break_off()
        await self.queue.close()

    async def test_written_while_it_breaks_off(self) -> None:
        """What is written when all is broken off is not attempted, and waits for the next."""
        await self.start()
        putting = self.queue.deliver(self.job("b@example.com"))
        await self.queue.break_off()
        await self.queue.close()
        self.assertIs((await putting)[0].event, Event.ACCEPTED)
        self.assertEqual(self.hosts.jobs, [])
        await self.start()
        await self.settled()
        self.assertEqual(len(self.hosts.jobs), 1)

    async def test_leased_while_it_breaks_off(self) -> None:
        """What is leased then is given back."""
        await self.start(disabled=True)
        await self.put("b@example.com")
        queue = self.queue
        outbound = attrs.evolve(queue.settings.outbound, disabled=False)  # type: ignore[arg-type]
        claim, ends = queue.store.claim, list[Deferred[Any]]()

        def break_off(*arguments: Any) -> Any:
            ends.append(queue.break_off())
            return claim(*arguments)

        self.patch(queue.store, "claim", break_off)
        queue.adopt(attrs.evolve(queue.settings, outbound=outbound))
        await until(lambda: ends, "it is leased")
        await ends[0]
        await queue.close()
        self.assertEqual((self.hosts.jobs, queue.destinations.active), ([], 0))
        await self.start()
        await self.settled()


class _Failing:
    """Attempts that fail."""

    async def make(self, *_: Any) -> Any:
        raise ZeroDivisionError


def _failing(error: Exception) -> Deferred[Any]:
    failing: Deferred[Any] = Deferred()
    failing.errback(error)
    return failing


def _no_descriptor(content: Content) -> Content:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def _noting(asked: list[str], name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def note(*arguments: Any) -> Any:
        asked.append(name)
        return call(*arguments)

    return note
