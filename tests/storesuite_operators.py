"""What every store shows an operator, and lets one do."""

from collections.abc import Sequence
from typing import Any

import attrs

from smtpforward.job import Delivery
from smtpforward.outbound.entry import Change, DestinationCount, Filter, Listed
from tests.storesuite import ALL, StoreSuite
from tests.storesupport import DELIVERED, FAILED, QUEUED, new, result


class LookingSuite(StoreSuite):
    """Lists, one message, numbers."""

    async def found(self, store: Any, which: Filter) -> list[str]:
        """The ids of the messages of a list."""
        return [each.message.id for each in await store.listed(which, 100, None)]

    async def test_listed(self) -> None:
        """One line for each entry, with all that it says."""
        store = await self.opened()
        added = new("1F", b"a@example.com", b"b@example.org", delivery=Delivery.SMTP_FORWARD)
        await store.add(added)
        (claimed,) = await store.claim("example.com", 1, self.lease())
        first, second = await store.listed(ALL, 10, None)
        one, two = added.message.envelope.recipients
        way = Delivery.SMTP_FORWARD
        expected = Listed(
            *(claimed.id, added.message, "example.com", way, (one,), 0, self.seconds + 60),
            *(False, True, ""),
        )
        self.assertEqual(first, expected)
        self.assertEqual(
            second,
            Listed(
                *(second.entry, added.message, "example.org", way, (two,), 0, self.seconds),
                *(False, False, ""),
            ),
        )
        self.seconds += 60
        (first, _) = await store.listed(ALL, 10, None)
        self.assertEqual(first, attrs.evolve(expected, leased=False))

    async def test_pages(self) -> None:
        """The oldest message first, however many pages; those received at once in one order."""
        store = await self.opened()
        times = (1003.0, 1001.0, 1001.0, 1002.0, 1001.0)
        for number, at in enumerate(times):
            await store.add(new(f"{number}", b"a@x", b"b@y", received=at))
        whole = await store.listed(ALL, 100, None)
        received = [each.message.received for each in whole]
        self.assertEqual((len(whole), received), (10, sorted(received)))
        for most in (1, 3, 10):
            pages: list[Listed] = []
            while page := await store.listed(ALL, most, pages[-1] if pages else None):
                self.assertTrue(len(page) <= most)
                pages += page
            self.assertEqual(pages, whole)

    async def test_filters(self) -> None:
        """Each by itself, and all that are given together."""
        store = await self.opened()
        await store.add(new("1", b"a@example.com", sender=b"Sender@Example.NET", received=1.0))
        await store.add(new("2", b"A@EXAMPLE.org", sender=b"", received=2.0))
        await store.add(new("3", b"b@example.org", b"c@mail.example.com", received=3.0))
        await store.change(Filter(ids=("2",)), Change.HOLD)
        cases: Sequence[tuple[Filter, list[str]]] = (
            (Filter(), ["1", "2", "3", "3"]),
            (Filter(ids=("1", "3", "9")), ["1", "3", "3"]),
            (Filter(sender="sender@example.net"), ["1"]),
            (Filter(sender="@EXAMPLE.net"), ["1", "3", "3"]),
            (Filter(sender="<>"), ["2"]),
            (Filter(sender="ender@example.net"), []),
            (Filter(recipient="a@example.ORG"), ["2"]),
            (Filter(recipient="@example.org"), ["2", "3"]),
            (Filter(recipient="@example.com"), ["1"]),
            (Filter(recipient="%"), []),
            (Filter(recipient="_@example.com"), []),
            (Filter(destination="mail.example.com"), ["3"]),
            (Filter(held=True), ["2"]),
            (Filter(held=False), ["1", "3", "3"]),
            (Filter(older=2.0), ["1"]),
            (Filter(older=2.5, recipient="@example.org"), ["2"]),
            (Filter(older=2.5, recipient="@example.org", sender="@example.net"), []),
        )
        for which, expected in cases:
            self.assertEqual(await self.found(store, which), expected, which)

    async def test_shown(self) -> None:
        """One message, or nothing."""
        store = await self.opened()
        added = new("1F", b"a@example.com", b"b@example.org")
        await store.add(added)
        shown = await store.shown("1F")
        self.assertEqual((shown.message, shown.attempts), (added.message, ()))
        self.assertEqual(shown.states, (QUEUED, QUEUED))
        self.assertEqual(list(shown.entries), await store.listed(ALL, 10, None))
        self.assertIsNone(await store.shown("2F"))

    async def test_stats(self) -> None:
        """Numbers of entries, and the destinations with the most of them."""
        store = await self.opened()
        empty = await store.stats(5)
        self.assertEqual((empty.messages, empty.octets, empty.oldest), (0, 0, None))
        self.assertEqual((empty.due, empty.destinations), (0, ()))
        size = (await self._filled(store)).size
        stats = await store.stats(2)
        self.assertEqual((stats.messages, stats.octets), (5, 5 * size))
        counts = (stats.due, stats.deferred, stats.held, stats.leased)
        self.assertEqual((counts, stats.oldest), ((2, 1, 2, 1), 11.0))
        self.assertEqual(
            stats.destinations, (DestinationCount("b", 3, 12.0), DestinationCount("a", 2, 11.0))
        )
        self.assertEqual(len((await store.stats(9)).destinations), 3)
        self.seconds += 60
        stats = await store.stats(9)
        counts = (stats.due, stats.deferred, stats.held, stats.leased)
        self.assertEqual(counts, (3, 1, 2, 0))

    async def _filled(self, store: Any) -> Any:
        """Two due (a, b), one deferred (b), two held (a, b), one leased (c)."""
        added = [
            new("1", b"x@a", b"x@b", received=13.0),
            new("2", b"x@b", received=12.0),
            new("3", b"x@c", received=14.0),
            new("4", b"x@b", received=15.0),
            new("5", b"x@a", received=11.0),
        ]
        for each in added:
            await store.add(each)
        await store.change(Filter(ids=("1",)), Change.HOLD)
        await store.claim("c", 1, self.lease())
        for entry in await store.claim("b", 1, self.lease()):
            await store.record(result(entry, QUEUED, due=self.seconds + 1000))
        return added[0].message


class ChangingSuite(StoreSuite):
    """What an operator does."""

    async def test_retry(self) -> None:
        """It is due now; what is held is so when it is released."""
        store = await self.opened()
        for name in ("1", "2"):
            (entry,) = await store.add(new(name, lease=self.lease()))
            await store.record(result(entry, QUEUED, due=9999.0))
        await store.change(Filter(ids=("2",)), Change.HOLD)
        self.assertEqual(await store.change(ALL, Change.RETRY), 2)
        ids, _ = await self.claimed(store)
        self.assertEqual(ids, ["1"])
        await store.change(ALL, Change.RELEASE)
        ids, entries = await self.claimed(store)
        self.assertEqual((ids, entries[0].attempts), (["2"], 1))

    async def test_asked(self) -> None:
        """What an operator asks for comes first, is known as that, and is put off by nothing."""
        store = await self.opened()
        for name in ("1", "2"):
            await store.add(new(name))
        self.assertEqual(await store.change(Filter(ids=("2",)), Change.RETRY), 1)
        self.assertEqual(await store.next_due(()), 0.0)
        self.assertEqual(await store.defer("example.com", "451 no route", (9.0,) * 9, 10), 1)
        await store.add(new("3"))
        entries = await store.claim("example.com", 10, self.lease(), True)
        self.assertEqual([(e.message.id, e.asked) for e in entries], [("2", True)])
        self.assertEqual(await store.claim("example.com", 10, self.lease(), True), [])
        ids, _ = await self.claimed(store)
        self.assertEqual(ids, ["3"])
        await store.give_back([entries[0].id], "a", store.now())
        ids, entries = await self.claimed(store)
        self.assertEqual((ids, [entry.asked for entry in entries]), (["2"], [False]))

    async def test_hold_and_release(self) -> None:
        """What is held is not attempted; those that were so already are not counted."""
        store = await self.opened()
        await store.add(new("1"))
        await store.add(new("2", b"a@example.org"))
        self.assertEqual(await store.change(Filter(ids=("1",)), Change.HOLD), 1)
        self.assertEqual(await store.due(9, ()), ["example.org"])
        self.assertEqual(await self.claimed(store), ([], []))
        self.assertEqual(await store.change(ALL, Change.HOLD), 1)
        self.assertIsNone(await store.next_due(()))
        self.assertEqual([e.held for e in await store.listed(ALL, 9, None)], [True, True])
        self.assertEqual(await store.change(Filter(ids=("2",)), Change.RELEASE), 1)
        self.assertEqual(await store.change(ALL, Change.RELEASE), 1)
        self.assertEqual(await store.change(ALL, Change.RELEASE), 0)
        self.assertEqual(await store.due(9, ()), ["example.com", "example.org"])

    async def test_delete(self) -> None:
        """Gone, without a bounce: the entries that are meant, and messages that have no other."""
        store = await self.opened()
        await store.add(new("1", b"a@example.com", b"b@example.org"))
        await store.add(new("2"))
        (entry,) = await store.add(new("3", b"a@x", b"b@x", lease=self.lease()))
        await store.record(result(entry, DELIVERED, QUEUED))
        self.assertEqual(await store.change(Filter(destination="example.com"), Change.DELETE), 2)
        self.assertIsNone(await store.shown("2"))
        shown = await store.shown("1")
        self.assertEqual(shown.states, (FAILED, QUEUED))
        self.assertEqual([each.destination for each in shown.entries], ["example.org"])
        self.assertEqual([r.state for a in shown.attempts for r in a.results], [FAILED])
        self.assertEqual(await store.due(9, ()), ["example.org"])
        self.assertEqual(await store.change(ALL, Change.DELETE), 2)
        self.assertEqual((await store.stats(9)).messages, 0)
        self.assertEqual(await store.change(ALL, Change.DELETE), 0)

    async def test_leased(self) -> None:
        """What is being attempted is left to its attempt, and not counted."""
        store = await self.opened()
        (entry,) = await store.add(new("1", lease=self.lease()))
        for change in Change:
            self.assertEqual(await store.change(ALL, change), 0, change)
        self.assertEqual(await store.renew([entry.id], self.lease()), frozenset({entry.id}))
        await store.record(result(entry, QUEUED, due=9999.0))
        self.assertEqual(await store.change(ALL, Change.HOLD), 1)

    async def test_after_a_lease(self) -> None:
        """What was leased until now may be changed, and its owner hears that it has it no more."""
        for number, change in enumerate((Change.RETRY, Change.HOLD, Change.DELETE)):
            store = await self.opened(f"a{number}")
            (entry,) = await store.add(new(f"{number}", lease=self.lease()))
            self.seconds += 60
            self.assertEqual(await store.change(Filter(ids=(f"{number}",)), change), 1)
            self.assertEqual(await store.renew([entry.id], self.lease()), frozenset(), change)
            await store.close()

    async def test_many(self) -> None:
        """More than are changed in one step."""
        store = await self.opened()
        wanted = [b"%d@example.com" % number for number in range(1200)]
        names = [f"host{number}" for number in range(1200)]
        await store.add(new("1", *wanted, destinations=names))
        self.assertEqual(await store.change(ALL, Change.HOLD), 1200)
        self.assertEqual((await store.stats(1)).held, 1200)
        self.assertEqual(await store.change(ALL, Change.DELETE), 1200)
        self.assertIsNone(await store.shown("1"))
