"""What every store of the outbound queue does: run for each, with ``make_store`` of its own."""

from typing import Any

import attrs
from twisted.internet.defer import Deferred, DeferredList, gatherResults
from zope.interface.verify import verifyObject

from smtpforward.content import Content, Form
from smtpforward.interfaces import IQueueStore
from smtpforward.job import Delivery
from smtpforward.outbound.entry import Change, Filter, Lease
from smtpforward.outbound.errors import StoreError
from tests.storesupport import BODY, new, wire
from tests.support import content

ALL = Filter()


class StoreSuite:
    """The ground of the suites.

    :ivar seconds: the time of all stores of the test.
    """

    seconds = 1000.0
    addCleanup: Any
    assertEqual: Any  # noqa: N815
    assertTrue: Any  # noqa: N815
    assertIsNone: Any  # noqa: N815
    assertFailure: Any  # noqa: N815

    def make_store(self) -> Any:
        """A store at the one place of this test, whose time is ``seconds``; not yet opened."""
        raise NotImplementedError

    def now(self) -> float:
        """The clock of the stores."""
        return self.seconds

    async def opened(self, owner: str | None = "a") -> Any:
        """A store that is open, until the test ends."""
        store = self.make_store()
        await store.open(owner)
        self.addCleanup(store.close)
        return store

    def lease(self, owner: str = "a", seconds: float = 60.0) -> Lease:
        """A lease from now on."""
        return Lease(owner, self.seconds + seconds)

    async def claimed(self, store: Any, destination: str = "example.com", most: int = 10) -> Any:
        """The ids of the messages of what ``a`` claims, and the entries."""
        entries = await store.claim(destination, most, self.lease())
        return [entry.message.id for entry in entries], entries


class AddingSuite(StoreSuite):
    """Putting mail in, and its content."""

    async def test_interface(self) -> None:
        """It has all methods of a store, and tells the time."""
        store = await self.opened()
        verifyObject(IQueueStore, store)
        self.assertEqual(store.now(), self.seconds)

    async def test_add(self) -> None:
        """What is put in is due at once, comes out as it was, and is there for another store."""
        store = await self.opened()
        added = new("1F", b"b@example.com", "ü@bücher.example".encode(), b"c@example.com")
        self.assertEqual(await store.add(added), [])
        other = await self.opened(None)
        (claimed,) = await other.claim("example.com", 10, self.lease())
        self.assertEqual(claimed.message, added.message)
        recipients = added.message.envelope.recipients
        self.assertEqual(claimed.recipients, ((0, recipients[0]), (2, recipients[2])))
        self.assertEqual(
            (claimed.destination, claimed.delivery), ("example.com", Delivery.OUTBOUND)
        )
        self.assertEqual((claimed.attempts, claimed.noticed), (0, False))

    async def test_add_with_lease(self) -> None:
        """Nobody else gets it; what comes back is what a claim would have given."""
        store = await self.opened()
        added = new("1F", b"b@example.com", b"c@example.org", lease=self.lease())
        first, second = await store.add(added)
        self.assertEqual(first.destination, "example.com")
        self.assertEqual(second.recipients, ((1, added.message.envelope.recipients[1]),))
        self.assertEqual(await store.due(10, ()), [])
        self.assertEqual(await store.next_due(()), self.seconds + 60)
        await store.give_back([first.id, second.id], "a", self.seconds)
        self.assertEqual(await store.claim("example.com", 10, self.lease()), [first])
        self.assertEqual(await store.claim("example.org", 10, self.lease()), [second])

    async def test_parameters(self) -> None:
        """Parameters of sender and recipients come back as the bytes that they were."""
        store = await self.opened()
        added = new("1F")
        envelope = added.message.envelope
        envelope = attrs.evolve(
            envelope,
            parameters={b"ENVID": b"x+00", b"RET": b"HDRS", b"SMTPUTF8": b""},
            recipients=(
                attrs.evolve(envelope.recipients[0], parameters={b"ORCPT": "utf-8;ü@x".encode()}),
            ),
        )
        message = attrs.evolve(added.message, envelope=envelope)
        await store.add(attrs.evolve(added, message=message))
        (claimed,) = await store.claim("example.com", 1, self.lease())
        self.assertEqual(claimed.message.envelope, envelope)

    async def test_many_at_once(self) -> None:
        """Messages that are added together are all there, each with its own content."""
        store = await self.opened()
        names = [f"{number:X}" for number in range(50)]
        await gatherResults([store.add(new(name, body=name.encode() + b"\r\n")) for name in names])
        ids, _ = await self.claimed(store, most=100)
        self.assertEqual(sorted(ids), sorted(names))
        for name in names:
            self.assertEqual(wire(await store.content(name)), name.encode() + b"\r\n")

    async def test_an_id_a_second_time(self) -> None:
        """It is refused, whatever is added at the same time is not, and nothing of it stays."""
        store = await self.opened()
        bodies = (b"a\r\n", b"b\r\n")
        twice: list[Deferred[Any]] = [store.add(new("1", body=body)) for body in bodies]
        other = store.add(new("2", body=b"c\r\n"))
        (first, _), (second, _) = outcomes = await DeferredList(twice, consumeErrors=True)
        await other
        self.assertTrue(first is not second)
        outcomes[first][1].trap(StoreError)
        self.assertEqual(wire(await store.content("1")), bodies[second])
        self.assertEqual((await store.stats(1)).due, 2)

    async def test_content(self) -> None:
        """It comes back in wire form with its prefix, whatever form it had."""
        store = await self.opened()
        made = content(b"Subject: x\r\n\r\n.dot\r\n", Form.PLAIN)
        made.prefix = b"Received: by mx\r\n"
        await store.add(new("1F", body=made))
        made.close()
        self.assertEqual(wire(await store.content("1F")), BODY)
        stored = await store.content("1F")
        self.assertEqual(stored.header(1000), b"Received: by mx\r\nSubject: x\r\n")
        self.assertEqual((stored.prefix, stored.size), (b"", len(BODY)))
        stored.close()

    async def test_large_content(self) -> None:
        """A message of any size comes back whole, from memory or from a file."""
        store = await self.opened()
        lines = b"..0123456789\r\n" * 50_000
        await store.add(new("1", body=lines))
        spooled = Content(".", 1000)
        self.addCleanup(spooled.close)
        spooled.append(lines)
        await store.add(new("2", body=spooled, lease=self.lease()))
        for name in "12":
            self.assertTrue(wire(await store.content(name)) == lines)

    async def test_small_content_in_a_file(self) -> None:
        """What went to a file while memory was short is a message like any other."""
        store = await self.opened()
        spooled = Content(".", 1)
        self.addCleanup(spooled.close)
        spooled.append(BODY)
        await store.add(new("1", body=spooled))
        self.assertEqual(wire(await store.content("1")), BODY)

    async def test_no_content(self) -> None:
        """Of a message that is not there."""
        store = await self.opened()
        await self.assertFailure(store.content("1F"), KeyError)

    async def test_content_outlives_its_message(self) -> None:
        """Who has a content can read it, though the message has gone."""
        store = await self.opened()
        large = BODY * 10_000
        await store.add(new("1", body=large))
        stored = await store.content("1")
        self.assertEqual(await store.change(Filter(ids=("1",)), Change.DELETE), 1)
        await self.assertFailure(store.content("1"), KeyError)
        self.assertTrue(wire(stored) == large)

    async def test_closed(self) -> None:
        """What was begun ends before the store is closed; then it does nothing more."""
        store = self.make_store()
        await store.open("a")
        adding = [store.add(new("1")), store.add(new("2", body=BODY * 10_000))]
        closing = store.close()
        await gatherResults(adding)
        await closing
        await self.assertFailure(store.add(new("3")), StoreError)
        again = await self.opened()
        ids, _ = await self.claimed(again)
        self.assertEqual(sorted(ids), ["1", "2"])

    async def test_others_are_noticed(self) -> None:
        """What another store puts in is noticed; what the store does itself is not."""
        store, other = await self.opened(), await self.opened(None)
        waiting: list[Deferred[None]] = []

        def changed() -> None:
            if waiting:
                waiting.pop().callback(None)

        store.watch(changed)
        for name in ("2", "4"):
            await store.add(new(f"{name}-own"))
            noticed: Deferred[None] = Deferred()
            waiting.append(noticed)
            await other.add(new(name))
            await noticed
            self.assertEqual((await self.claimed(store))[0], [f"{name}-own", name])


class LeasesSuite(StoreSuite):
    """What is due, and whose it is."""

    async def test_due(self) -> None:
        """Destinations with something due, the earliest due first; no more than asked for."""
        store = await self.opened()
        for number, domain in enumerate((b"c", b"a", b"b", b"a", b"d")):
            self.seconds = 1000.0 + number
            await store.add(new(f"{number}", b"x@" + domain))
        self.seconds = 2000.0
        self.assertEqual(await store.due(10, ()), ["c", "a", "b", "d"])
        self.assertEqual(await store.due(2, ()), ["c", "a"])
        self.assertEqual(await store.due(2, {"c", "b"}), ["a", "d"])

    async def test_not_due(self) -> None:
        """What has its time ahead, is leased or held, is not due."""
        store = await self.opened()
        for name in ("1", "2", "3"):
            await store.add(new(name, b"x@" + name.encode()))
        await store.change(Filter(destination="1"), Change.HOLD)
        await store.claim("2", 1, self.lease(seconds=30))
        (entry,) = await store.claim("3", 1, self.lease())
        await store.give_back([entry.id], "a", self.seconds + 20)
        self.assertEqual(await store.due(10, ()), [])
        self.assertEqual(await store.next_due(()), self.seconds + 20)
        self.assertEqual(await store.next_due({"3"}), self.seconds + 30)
        self.assertIsNone(await store.next_due({"2", "3"}))
        self.seconds += 20
        self.assertEqual(await store.due(10, ()), ["3"])
        self.seconds += 10
        self.assertEqual(await store.due(10, ()), ["3", "2"])

    async def test_due_behind_a_crowd(self) -> None:
        """A destination is found behind more entries of another than are looked at at once."""
        store = await self.opened()
        many = [new(f"{number}", b"x@crowd") for number in range(1100)]
        await gatherResults([store.add(each) for each in many])
        self.seconds += 1
        await store.add(new("late", b"x@late"))
        await store.add(new("held", b"x@held"))
        await store.change(Filter(destination="held"), Change.HOLD)
        self.seconds += 1
        self.assertEqual(await store.due(2, ()), ["crowd", "late"])
        self.assertEqual(await store.due(9, ()), ["crowd", "late"])
        self.assertEqual(await store.due(9, {"crowd"}), ["late"])
        self.assertEqual(await store.due(9, {"late"}), ["crowd"])

    async def test_claim_in_order(self) -> None:
        """The earliest due first, of the destination alone, and each once."""
        store = await self.opened()
        for name, at in (("1", 1003.0), ("2", 1001.0), ("3", 1002.0), ("4", 9999.0)):
            self.seconds = at
            await store.add(new(name))
        await store.add(new("5", b"x@example.org"))
        self.seconds = 2000.0
        self.assertEqual((await self.claimed(store, most=2))[0], ["2", "3"])
        self.assertEqual((await self.claimed(store))[0], ["1"])
        self.assertEqual((await self.claimed(store))[0], [])

    async def test_claim_with_content(self) -> None:
        """A small message comes with its claim; a large one is asked for."""
        store = await self.opened()
        await store.add(new("small"))
        self.seconds += 1
        await store.add(new("large", body=b"x" * 70_000 + b"\r\n"))
        small, large = await store.claim("example.com", 9, self.lease())
        self.assertEqual((wire(small.content), large.content), (BODY, None))
        self.assertEqual(len(wire(await store.content("large"))), 70_002)

    async def test_claims_at_once(self) -> None:
        """No entry is in the lists of two callers."""
        store, other = await self.opened(), await self.opened(None)
        await gatherResults([store.add(new(f"{number}")) for number in range(40)])
        lists = await gatherResults(
            [s.claim("example.com", 7, self.lease(o)) for s, o in ((store, "a"), (other, "b")) * 4]
        )
        ids = [entry.id for entries in lists for entry in entries]
        self.assertEqual((len(ids), len(set(ids))), (40, 40))

    async def test_a_lease_that_has_ended(self) -> None:
        """The entry is due again and goes to who asks; the one before cannot renew it."""
        store = await self.opened()
        (entry,) = await store.add(new("1", lease=self.lease("a", 10)))
        self.assertEqual(await store.claim("example.com", 1, self.lease("b")), [])
        self.seconds += 10
        self.assertEqual(await store.due(1, ()), ["example.com"])
        self.assertEqual(await store.claim("example.com", 1, self.lease("b")), [entry])
        self.assertEqual(await store.renew([entry.id], self.lease("a", 99)), frozenset())
        self.assertEqual(await store.next_due(()), self.seconds + 60)

    async def test_renew(self) -> None:
        """A lease goes on for as long as it is renewed, even when that comes late."""
        store = await self.opened()
        (one,) = await store.add(new("1", lease=self.lease("a", 10)))
        (two,) = await store.add(new("2", lease=self.lease("b", 10)))
        self.seconds += 20
        renewed = await store.renew({one.id, two.id, 999}, self.lease("a", 10))
        self.assertEqual(renewed, frozenset({one.id}))
        ids = [e.id for e in await store.claim("example.com", 9, self.lease("c"))]
        self.assertEqual(ids, [two.id])
        self.assertEqual(await store.renew((), self.lease()), frozenset())

    async def test_give_back(self) -> None:
        """Its owner ends a lease; nobody else can, and no attempt is counted."""
        store = await self.opened()
        (entry,) = await store.add(new("1", lease=self.lease()))
        await store.give_back([entry.id], "b", self.seconds)
        self.assertEqual(await store.due(1, ()), [])
        await store.give_back([entry.id], "a", self.seconds)
        (again,) = await store.claim("example.com", 1, self.lease("b"))
        self.assertEqual(again, entry)
        await store.give_back([entry.id], "a", self.seconds)
        self.assertEqual(await store.due(1, ()), [])
