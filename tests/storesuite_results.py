"""What every store does with results of attempts, and with destinations that back off."""

from typing import Any

from twisted.internet.defer import gatherResults

from smtpforward.envelope import Recipient
from smtpforward.outbound.entry import Attempt, Change, Claimed, Filter, RecipientResult
from smtpforward.outbound.errors import StoreError
from tests.storesuite import ALL, StoreSuite
from tests.storesupport import BODY, DELIVERED, FAILED, QUEUED, new, result, wire
from tests.support import address


class RecordingSuite(StoreSuite):
    """What attempts made of entries."""

    async def leased(self, store: Any, *recipients: bytes, id_: str = "1F") -> Claimed:
        """The first entry of a new message, with ``a``."""
        entries: list[Claimed] = await store.add(new(id_, *recipients, lease=self.lease()))
        return entries[0]

    async def test_delivered(self) -> None:
        """With its last recipient the message has gone, its content too."""
        store = await self.opened()
        entry = await self.leased(store)
        await store.record(result(entry, DELIVERED))
        self.assertIsNone(await store.shown("1F"))
        await self.assertFailure(store.content("1F"), KeyError)
        self.assertEqual((await store.stats(1)).messages, 0)
        self.assertEqual(await store.renew([entry.id], self.lease()), frozenset())

    async def test_deferred(self) -> None:
        """It is due at its time, with one more attempt, and nobody's."""
        store = await self.opened()
        entry = await self.leased(store)
        await store.record(result(entry, QUEUED, due=1600.0))
        self.assertEqual(await store.next_due(()), 1600.0)
        self.assertEqual(await store.renew([entry.id], self.lease()), frozenset())
        (listed,) = await store.listed(ALL, 10, None)
        self.assertEqual((listed.attempts, listed.due, listed.last), (1, 1600.0, "451 later"))
        self.seconds = 1600.0
        (again,) = await store.claim("example.com", 1, self.lease())
        self.assertEqual((again.id, again.attempts, again.noticed), (entry.id, 1, False))

    async def test_not_counted(self) -> None:
        """An attempt that the schedule does not count."""
        store = await self.opened()
        await store.record(result(await self.leased(store), QUEUED, due=1600.0, counted=False))
        (listed,) = await store.listed(ALL, 10, None)
        self.assertEqual((listed.attempts, listed.due), (0, 1600.0))

    async def test_each_recipient(self) -> None:
        """Those that stay are attempted again, without the others; all have their state."""
        store = await self.opened()
        three = [b"a@example.com", b"b@example.com", b"c@example.com"]
        entry = await self.leased(store, *three)
        await store.record(result(entry, DELIVERED, QUEUED, FAILED))
        shown = await store.shown("1F")
        self.assertEqual(shown.states, (DELIVERED, QUEUED, FAILED))
        self.assertEqual(shown.entries[0].recipients, (Recipient(address(three[1])),))
        self.assertEqual(await store.listed(Filter(recipient="a@example.com"), 9, None), [])
        self.assertEqual(len(await store.listed(Filter(recipient="b@example.com"), 9, None)), 1)
        self.seconds = 2000.0
        (again,) = await store.claim("example.com", 1, self.lease())
        self.assertEqual(again.recipients, ((1, Recipient(address(three[1]))),))
        await store.record(result(again, DELIVERED, at=2100.0))
        self.assertIsNone(await store.shown("1F"))

    async def test_one_of_two_destinations(self) -> None:
        """A message stays for its other entry, and remembers what became of the first."""
        store = await self.opened()
        recipients = b"a@example.com", b"b@example.org"
        first, second = await store.add(new("1F", *recipients, lease=self.lease()))
        await store.record(result(first, FAILED))
        shown = await store.shown("1F")
        self.assertEqual(shown.states, (FAILED, QUEUED))
        self.assertEqual([each.entry for each in shown.entries], [second.id])
        self.assertEqual(len(shown.attempts), 1)
        self.assertEqual(await store.due(9, ()), [])
        self.seconds = 5000.0
        self.assertEqual(await store.due(9, ()), ["example.org"])
        await store.record(result(second, DELIVERED))
        self.assertIsNone(await store.shown("1F"))

    async def test_history(self) -> None:
        """All attempts at a message, the oldest first, as they were."""
        store = await self.opened()
        entry = await self.leased(store, b"a@example.com", b"b@example.com")
        results = []
        for number in range(3):
            results.append(result(entry, QUEUED, QUEUED, at=1100.0 + number, due=self.seconds))
            await store.record(results[-1])
            (entry,) = await store.claim("example.com", 1, self.lease())
        shown = await store.shown("1F")
        self.assertEqual(shown.attempts, tuple(each.attempt for each in results))
        self.assertEqual(entry.attempts, 3)

    async def test_history_is_bounded(self) -> None:
        """Of very many attempts the last ones are known."""
        store = await self.opened()
        entry = await self.leased(store)
        for number in range(60):
            await store.record(result(entry, QUEUED, at=1100.0 + number, due=self.seconds))
            (entry,) = await store.claim("example.com", 1, self.lease())
        shown = await store.shown("1F")
        times = [attempt.at for attempt in shown.attempts]
        self.assertEqual(times, [1100.0 + number for number in range(10, 60)])
        self.assertEqual(entry.attempts, 60)

    async def test_recorded_twice(self) -> None:
        """The second time does nothing: no attempt counted, no notice sent, nothing put off."""
        store = await self.opened()
        entry = await self.leased(store, b"a@example.com", b"b@example.com")
        notice = new("B1", b"a@example.net", sender=b"")
        said = result(entry, FAILED, QUEUED, noticed=True, notices=(notice,), due=1600.0)
        await gatherResults([store.record(said), store.record(said)])
        self.seconds = 1600.0
        (bounce,) = await store.claim("example.net", 9, self.lease())
        await store.record(result(bounce, DELIVERED))
        (again,) = await store.claim("example.com", 9, self.lease())
        await store.record(said)
        self.assertEqual(await store.due(9, ()), [])
        self.assertEqual(await store.renew([again.id], self.lease()), frozenset({again.id}))
        shown = await store.shown("1F")
        self.assertEqual((shown.entries[0].attempts, len(shown.attempts)), (1, 1))
        self.assertEqual(shown.states, (FAILED, QUEUED))

    async def test_the_last_result_twice(self) -> None:
        """The message has gone with the first; the second makes no further bounce."""
        store = await self.opened()
        entry = await self.leased(store)
        said = result(entry, FAILED, notices=(new("B1", b"a@example.net", sender=b""),))
        await store.record(said)
        (bounce,) = await store.claim("example.net", 9, self.lease())
        await store.record(result(bounce, DELIVERED))
        await store.record(said)
        self.assertEqual((await store.stats(9)).messages, 0)

    async def test_notices(self) -> None:
        """They are in the queue with the result, due at once, small or large."""
        store = await self.opened()
        entry = await self.leased(store)
        notices = (
            new("B1", b"a@example.net", sender=b""),
            new("B2", b"b@example.net", sender=b"", body=BODY * 10_000),
        )
        await store.record(result(entry, FAILED, notices=notices))
        self.assertIsNone(await store.shown("1F"))
        claimed = await store.claim("example.net", 9, self.lease())
        self.assertEqual([each.message for each in claimed], [each.message for each in notices])
        self.assertEqual(wire(await store.content("B1")), BODY)
        self.assertTrue(wire(await store.content("B2")) == BODY * 10_000)

    async def test_all_or_nothing(self) -> None:
        """Where a notice cannot be put in, nothing of the result is recorded."""
        store = await self.opened()
        entry = await self.leased(store)
        await store.add(new("B1", b"x@example.org"))
        for body in (BODY, BODY * 10_000):
            said = result(entry, FAILED, notices=(new("B1", b"a@example.net", body=body),))
            await self.assertFailure(store.record(said), StoreError)
            shown = await store.shown("1F")
            self.assertEqual((shown.states, shown.attempts), ((QUEUED,), ()))
            self.assertTrue(shown.entries[0].leased)
        self.assertEqual(wire(await store.content("B1")), BODY)

    async def test_noticed(self) -> None:
        """That the sender was told of the delay is kept, also after an attempt without a notice."""
        store = await self.opened()
        entry = await self.leased(store)
        await store.record(result(entry, QUEUED, at=1.0, due=self.seconds, noticed=True))
        for at in (2.0, 3.0):
            (entry,) = await store.claim("example.com", 1, self.lease())
            self.assertTrue(entry.noticed)
            await store.record(result(entry, QUEUED, at=at, due=self.seconds))

    async def test_lost_lease(self) -> None:
        """What became of recipients counts; when the entry is due is its new owner's business."""
        store = await self.opened()
        entry = await self.leased(store, b"a@example.com", b"b@example.com")
        self.seconds += 60
        (other,) = await store.claim("example.com", 1, self.lease("b"))
        await store.record(result(entry, DELIVERED, QUEUED, due=1.0))
        self.assertEqual(await store.due(9, ()), [])
        self.assertEqual(await store.renew([other.id], self.lease("b")), frozenset({other.id}))
        shown = await store.shown("1F")
        self.assertEqual(shown.states, (DELIVERED, QUEUED))
        self.assertEqual((shown.entries[0].attempts, len(shown.attempts)), (0, 1))
        await store.record(result(other, FAILED, DELIVERED, owner="b", at=9999.0))
        self.assertIsNone(await store.shown("1F"))

    async def test_lost_lease_of_all(self) -> None:
        """A message that was delivered after all has gone, though another one has it now."""
        store = await self.opened()
        entry = await self.leased(store)
        self.seconds += 60
        (other,) = await store.claim("example.com", 1, self.lease("b"))
        await store.record(result(entry, DELIVERED))
        self.assertIsNone(await store.shown("1F"))
        self.assertEqual(await store.renew([other.id], self.lease("b")), frozenset())
        bounce = new("B1", b"a@example.net", sender=b"")
        await store.record(result(other, FAILED, owner="b", notices=(bounce,)))
        self.assertEqual((await store.stats(9)).messages, 0)

    async def test_lost_lease_and_a_bounce(self) -> None:
        """A late result tells the sender of what it settles; of what it does not, the new owner."""
        store = await self.opened()
        entry = await self.leased(store, b"a@example.com", b"b@example.com")
        self.seconds += 60
        (other,) = await store.claim("example.com", 1, self.lease("b"))
        delay = new("D1", b"a@example.net", sender=b"")
        late = result(entry, QUEUED, QUEUED, notices=(delay,), noticed=True, at=1.0)
        await store.record(late)
        self.assertIsNone(await store.shown("D1"))
        bounce = new("B1", b"a@example.net", sender=b"")
        await store.record(result(entry, FAILED, QUEUED, notices=(bounce,), at=2.0))
        self.assertEqual((await store.shown("B1")).message, bounce.message)
        self.assertEqual((await store.shown("1F")).states, (FAILED, QUEUED))
        self.assertTrue(await store.renew([other.id], self.lease("b")))

    async def test_an_end_of_a_lease_that_nobody_has_taken(self) -> None:
        """A lease that has ended, but that nobody else has, is its owner's still."""
        store = await self.opened()
        entry = await self.leased(store)
        self.seconds += 100
        await store.record(result(entry, QUEUED, due=self.seconds + 50))
        self.assertEqual(await store.next_due(()), self.seconds + 50)

    async def test_unknown(self) -> None:
        """A result of what is not there, or of another message's entry, does nothing."""
        store = await self.opened()
        entry = await self.leased(store)
        said = result(entry, DELIVERED)
        attempt = said.attempt
        for wrong in (
            type(said)(entry.id + 1, "1F", "a", attempt, None),
            type(said)(entry.id, "2F", "a", attempt, None),
        ):
            await store.record(wrong)
        self.assertEqual((await store.shown("1F")).states, (QUEUED,))

    async def test_without_a_time(self) -> None:
        """A recipient that a result forgets is due at once, and not forgotten for ever."""
        store = await self.opened()
        entry = await self.leased(store, b"a@example.com", b"b@example.com")
        attempt = Attempt(1.0, 0.0, "", (RecipientResult(0, DELIVERED, "250 ok"),))
        await store.record(type(result(entry, FAILED, FAILED))(entry.id, "1F", "a", attempt, None))
        self.assertEqual(await store.due(9, ()), ["example.com"])


class DeferringSuite(StoreSuite):
    """A destination that backs off."""

    async def test_defer(self) -> None:
        """Each has one more attempt, and its next time by how many it had."""
        store = await self.opened()
        for number in range(3):
            (entry,) = await store.add(
                new(f"{number}", b"a@example.com", b"b@example.com", lease=self.lease())
            )
            said = result(entry, DELIVERED, QUEUED, at=1.0, due=self.seconds, counted=number > 1)
            await (store.record(said) if number else store.give_back([entry.id], "a", 1.0))
        self.assertEqual(await store.defer("example.com", "451 no route", (10.0, 20.0), 10), 3)
        listed = await store.listed(ALL, 10, None)
        found = {each.message.id: (each.attempts, each.due - self.seconds) for each in listed}
        self.assertEqual(sum(attempts for attempts, _ in found.values()), 4)
        self.assertEqual(sorted(found.values()), [(1, 10.0), (1, 10.0), (2, 20.0)])
        self.assertEqual({each.last for each in listed}, {"451 no route"})
        self.assertEqual(await store.due(9, ()), [])
        for each in listed:
            attempt = (await store.shown(each.message.id)).attempts[-1]
            queued = [each.message.envelope.recipients.index(r) for r in each.recipients]
            expected = tuple(RecipientResult(i, QUEUED, "451 no route") for i in queued)
            self.assertEqual(attempt, Attempt(self.seconds, 0.0, "", expected))

    async def test_not_the_last_attempt(self) -> None:
        """Those for which it would be the last one stay as they are: due."""
        store = await self.opened()
        await store.add(new("1"))
        self.assertEqual(await store.defer("example.com", "451", (10.0,), 10), 1)
        self.seconds += 10
        self.assertEqual(await store.defer("example.com", "451", (10.0,), 10), 0)
        self.assertEqual(await store.defer("example.com", "451", (), 10), 0)
        self.assertEqual(await store.due(9, ()), ["example.com"])

    async def test_whom_it_leaves_alone(self) -> None:
        """Other destinations, what is leased, held or not due, and more than was asked for."""
        store = await self.opened()
        for name in ("leased", "held", "later", "one", "two", "three"):
            await store.add(new(name))
        await store.add(new("other", b"a@example.org"))
        for entry in await store.claim("example.com", 9, self.lease()):
            if entry.message.id != "leased":
                at = self.seconds + (60 if entry.message.id == "later" else 0)
                await store.give_back([entry.id], "a", at)
        await store.change(Filter(ids=("held",)), Change.HOLD)
        self.assertEqual(await store.defer("example.com", "451", (10.0, 10.0), 2), 2)
        self.assertEqual(await store.defer("example.com", "451", (10.0, 10.0), 2), 1)
        self.assertEqual(await store.defer("example.com", "451", (10.0, 10.0), 2), 0)
        listed = {each.message.id: each for each in await store.listed(ALL, 10, None)}
        self.assertEqual(
            sorted(name for name, each in listed.items() if each.attempts), ["one", "three", "two"]
        )
        self.assertTrue(listed["leased"].leased)

    async def test_a_lease_that_has_ended(self) -> None:
        """The entry is due, so it is deferred; whoever had it has it no more."""
        store = await self.opened()
        (entry,) = await store.add(new("1", lease=self.lease()))
        self.seconds += 60
        self.assertEqual(await store.defer("example.com", "451", (10.0,), 10), 1)
        self.assertEqual(await store.renew([entry.id], self.lease()), frozenset())
