"""Several gateways on one queue in PostgreSQL: each mail once, what the dead had, who is told."""

from functools import partial
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList, gatherResults

from smtpforward.content import Content
from smtpforward.outbound.entry import Change, Filter, Lease
from smtpforward.outbound.errors import StoreDamagedError, StoreError, StoreTooNewError
from smtpforward.outbound.store.postgresql import PostgreSQLStore, contents, schema
from tests.integration.postgresqlqueue import StoreTestCase
from tests.peers.wait import until
from tests.storesupport import DELIVERED, new, result, wire


class SharingTests(StoreTestCase):
    """More than one process."""

    async def test_claims_at_once(self) -> None:
        """Of hundreds of entries that two claim at the same time each is in one list."""
        stores = [await self.opened(owner) for owner in ("a", "b")]
        await gatherResults([stores[n % 2].add(new(f"{n}")) for n in range(400)])

        async def claim_all(store: Any, owner: str) -> list[int]:
            mine: list[int] = []
            lease = Lease(owner, store.now() + 60)
            while True:
                claims = [store.claim("example.com", 7, lease) for _ in range(4)]
                lists = await gatherResults(claims)
                mine += [entry.id for entries in lists for entry in entries]
                if not lists[0]:
                    return mine

        both = await gatherResults(
            [self.later(claim_all(store, owner)) for store, owner in zip(stores, "ab", strict=True)]
        )
        self.assertTrue(all(both), "one had nothing to do")
        self.assertEqual((400, 400), (len(both[0] + both[1]), len({*both[0], *both[1]})))

    async def test_takes_over_from_the_dead(self) -> None:
        """What one had that renews no more goes to another when the lease ends, and not before."""
        dead, alive = await self.opened("a"), await self.opened("b")
        ends = dead.now() + 0.5
        [entry] = await dead.add(new("1", lease=Lease("a", ends)))
        await dead.close()
        lease = Lease("b", ends + 60)
        self.assertEqual([], await alive.claim("example.com", 1, lease))
        self.assertEqual(ends, await alive.next_due(()))
        await until(lambda: alive.now() >= ends, "the end of the lease")
        self.assertEqual([entry], await alive.claim("example.com", 1, lease))
        await alive.record(result(entry, DELIVERED, owner="b"))
        self.assertEqual(0, (await alive.stats(1)).messages)

    async def test_one_time_for_all(self) -> None:
        """The time is the database's."""
        store = await self.opened()
        [[now]] = self.server.sql("SELECT extract(epoch FROM clock_timestamp())::float8")
        self.assertApproximates(now, store.now(), 1.0)

    async def test_told_by_each_other(self) -> None:
        """What others put in, change or give back is noticed soon, by all of them."""
        stores = [await self.opened(owner) for owner in ("a", "b", "c")]
        told = [0, 0, 0]

        def note(number: int) -> None:
            told[number] += 1

        for number, store in enumerate(stores):
            store.watch(partial(note, number))
        [entry] = await stores[0].add(new("1", lease=Lease("a", stores[0].now() + 60)))
        self.assertEqual([0, 0, 0], told, "nothing is due")
        await stores[0].give_back([entry.id], "a", stores[0].now())
        await until(lambda: told[1] and told[2], lambda: f"being told: {told}")
        before = list(told)
        await stores[1].change(Filter(), Change.RETRY)
        await until(lambda: told[2] > before[2] and told[0], lambda: f"being told: {told}")

    async def test_keeps_listening(self) -> None:
        """What is told costs no connection: the next one comes over the same."""
        store, other = await self.opened("a"), await self.opened(None)
        calls: list[None] = []
        store.watch(lambda: calls.append(None))
        listening = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
        before = self.sql(listening)
        for number in range(3):
            await other.add(new(f"{number}"))
            await until(lambda number=number: len(calls) > number, "being told")  # type: ignore[misc]
        self.assertEqual(before, self.sql(listening))

    async def test_many_notifications_are_few(self) -> None:
        """A hundred messages that come at once are told of together."""
        store, other = await self.opened("a"), await self.opened("b")
        calls: list[None] = []
        store.watch(lambda: calls.append(None))
        await gatherResults([other.add(new(f"{n}")) for n in range(100)])
        await other.close()
        await self.in_order_of_notifications(store, calls)
        self.assertLess(len(calls), 20)

    async def test_opened_at_once(self) -> None:
        """The tables are made once, however many gateways start together."""
        stores = [self.make_store() for _ in range(6)]
        for store in stores:
            self.addCleanup(store.close)
        await gatherResults([store.open(f"{n}") for n, store in enumerate(stores)])
        self.assertEqual([(len(schema.STEPS),)], self.sql("SELECT version FROM queue_version"))
        await gatherResults([store.add(new(f"{n}")) for n, store in enumerate(stores)])

    async def in_order_of_notifications(self, store: Any, calls: list[None]) -> None:
        """Wait until ``store`` has been told all that was said until now."""
        last = await self.opened("last")
        seen = len(calls)
        await last.add(new("last"))
        await until(lambda: len(calls) > seen, "the last notification")


class VersionTests(StoreTestCase):
    """The tables of other versions."""

    async def test_too_new(self) -> None:
        """A queue that a later version has made is not touched."""
        await self.opened()
        self.sql("UPDATE queue_version SET version = 99")
        failure = await self.failed(self.make_closing_store().open("a"), StoreTooNewError)
        self.assertIn("version 99", str(failure))

    async def test_migration(self) -> None:
        """What is missing is done to a queue that is in use, once, whoever comes first."""
        store = await self.opened()
        await store.add(new("1"))
        steps = (*schema.STEPS, "ALTER TABLE message ADD more int;\nUPDATE message SET more = 7;\n")
        work = store._connections
        await gatherResults([work.run(schema.migrate, steps) for _ in range(4)])
        self.assertEqual([(7,)], self.sql("SELECT more FROM message"))
        self.assertEqual([(2,)], self.sql("SELECT version FROM queue_version"))
        await self.assertFailure(self.make_closing_store().open(), StoreTooNewError)

    async def test_migration_that_fails(self) -> None:
        """Nothing of it is done, and the version is the old one."""
        store = await self.opened()
        steps = (*schema.STEPS, "ALTER TABLE message ADD more int;\nSELECT no_such_thing;\n")
        await self.assertFailure(store._connections.run(schema.migrate, steps), StoreError)
        self.assertEqual([(1,)], self.sql("SELECT version FROM queue_version"))
        await store.add(new("1"))

    async def test_encoding(self) -> None:
        """A database that cannot hold every text is refused."""
        self.server.sql(
            "CREATE DATABASE ascii OWNER queue ENCODING 'SQL_ASCII' TEMPLATE template0",
            *("postgres", "postgres"),
        )
        store = PostgreSQLStore(self.server.address_of("ascii"), reactor)
        self.addCleanup(store.close)
        failure = await self.failed(store.open(), StoreError)
        self.assertIn("UTF8", str(failure))


class ContentTests(StoreTestCase):
    """Large messages."""

    async def test_in_parts(self) -> None:
        """One is never whole in memory: it goes in parts, and comes into a file."""
        store = await self.opened()
        lines = b"0123456789abcdef" * 64 + b"\r\n"
        made = Content(".", 1000)
        made.prefix = b"Received: by mx\r\n"
        for _ in range(3000):
            made.append(lines)
        await store.add(new("1", body=made))
        octets = len(made.prefix) + made.size
        made.close()
        parts = self.sql("SELECT count(*), max(length(data)), sum(length(data))::int8 FROM part")
        self.assertEqual([(-(-octets // contents.PART), contents.PART, octets)], parts)
        stored = await store.content("1")
        self.assertTrue(stored.spooled)
        self.assertTrue(wire(stored) == b"Received: by mx\r\n" + lines * 3000)

    async def test_exactly_one_part(self) -> None:
        """The border between one part and two."""
        store = await self.opened()
        for more in (-1, 0, 1):
            line = b"x" * (contents.PART + more - 2) + b"\r\n"
            await store.add(new(f"{more}", body=line))
            self.assertTrue(wire(await store.content(f"{more}")) == line)

    async def test_a_part_is_missing(self) -> None:
        """A message of which something is missing is not given out as if it were whole."""
        store = await self.opened()
        await store.add(new("1", body=b"x" * contents.PART + b"\r\n"))
        self.sql("DELETE FROM part WHERE number = 1")
        await self.assertFailure(store.content("1"), StoreDamagedError)
        self.sql("DELETE FROM part")
        await self.assertFailure(store.content("1"), StoreDamagedError)

    async def test_rows_of_others(self) -> None:
        """An entry that says nothing the gateway has written is damage."""
        store = await self.opened()
        await store.add(new("1"))
        self.sql("UPDATE message SET envelope = 'nothing'")
        claiming = store.claim("example.com", 1, Lease("a", store.now() + 60))
        await self.assertFailure(claiming, StoreDamagedError)

    async def test_read_while_it_goes(self) -> None:
        """Who reads a message that is just being deleted gets all of it, or hears that it went."""
        store = await self.opened()
        body = b"x" * contents.PART * 4 + b"\r\n"
        await store.add(new("1", body=body))
        reading: list[Deferred[Any]] = [store.content("1") for _ in range(4)]
        deleting = store.change(Filter(), Change.DELETE)
        for good, got in await DeferredList(reading, consumeErrors=True):
            if good:
                self.assertTrue(wire(got) == body)
            else:
                got.trap(KeyError)
        self.assertEqual(1, await deleting)
