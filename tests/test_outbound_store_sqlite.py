"""The queue in SQLite: what every store does, and what is this one's own."""

import contextlib
import errno
import os
import sqlite3
import stat
from typing import Any
from unittest import mock

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from smtpforward.outbound.entry import Change, Filter
from smtpforward.outbound.errors import (
    StoreDamagedError,
    StoreError,
    StoreFullError,
    StoreInUseError,
    StoreTooNewError,
    StoreUnavailableError,
)
from smtpforward.outbound.store.sqlite import SQLiteStore
from smtpforward.outbound.store.sqlite.adding import files
from tests import storesuite, storesuite_operators, storesuite_results
from tests.storesupport import BODY, FAILED, QUEUED, SteppedReactor, new, result, wire


class OnSQLite:
    """Stores in a directory of the test's own."""

    path = ""

    def make_store(self: Any, reactor: Any = reactor) -> SQLiteStore:
        """See StoreSuite."""
        if not self.path:
            self.path = os.path.join(os.path.abspath(self.mktemp()), "queue.sqlite3")
        return SQLiteStore(self.path, reactor, self.now, reserve=0)

    def files(self) -> list[str]:
        """The files that hold large messages."""
        return sorted(os.listdir(f"{self.path}-messages"))


class AddingTests(OnSQLite, storesuite.AddingSuite, TestCase):
    """Putting mail in."""


class LeasesTests(OnSQLite, storesuite.LeasesSuite, TestCase):
    """What is due, and whose it is."""


class RecordingTests(OnSQLite, storesuite_results.RecordingSuite, TestCase):
    """What attempts made of entries."""


class DeferringTests(OnSQLite, storesuite_results.DeferringSuite, TestCase):
    """A destination that backs off."""


class LookingTests(OnSQLite, storesuite_operators.LookingSuite, TestCase):
    """Lists, one message, numbers."""


class ChangingTests(OnSQLite, storesuite_operators.ChangingSuite, TestCase):
    """What an operator does."""


class OpeningTests(OnSQLite, storesuite.StoreSuite, TestCase):
    """How a store begins."""

    async def test_one_delivers(self) -> None:
        """While one delivers no other may, but put mail in; then another one may."""
        store = await self.opened("a")
        other = self.make_store()
        await self.assertFailure(other.open("b"), StoreInUseError)
        await other.open()
        await other.add(new("1"))
        await other.close()
        await store.close()
        await other.open("b")
        self.assertEqual((await self.claimed(other))[0], ["1"])
        await other.close()

    async def test_taken_over(self) -> None:
        """A store that mail is put in delivers, still open, once the other has ended."""
        store = await self.opened("a")
        await store.add(new("1", lease=self.lease()))
        other = await self.opened(None)
        await other.add(new("2"))
        await self.assertFailure(other.open("b"), StoreInUseError)
        adding = other.add(new("3"))
        await store.close()
        await other.open("b")
        await adding
        self.assertEqual(sorted((await self.claimed(other))[0]), ["1", "2", "3"])
        await self.assertFailure(self.make_store().open("c"), StoreInUseError)

    async def test_leases_are_given_back(self) -> None:
        """What the process before had is due for who delivers now; not for who looks."""
        store = await self.opened("a")
        (entry,) = await store.add(new("1", lease=self.lease()))
        await store.close()
        looking = await self.opened(None)
        self.assertEqual(await looking.due(9, ()), [])
        store = await self.opened("b")
        self.assertEqual(await store.due(9, ()), ["example.com"])
        self.assertEqual(await store.renew([entry.id], self.lease()), frozenset())

    async def test_rights(self) -> None:
        """Mail is nobody else's business."""
        store = await self.opened()
        await store.add(new("1", body=BODY * 10_000))
        paths = [self.path, f"{self.path}-wal", f"{self.path}-shm", f"{self.path}.lock"]
        (file,) = self.files()
        paths.append(os.path.join(f"{self.path}-messages", file))
        self.assertEqual([stat.S_IMODE(os.stat(path).st_mode) for path in paths], [0o600] * 5)
        for path in (f"{self.path}-messages", os.path.dirname(self.path)):
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o700)

    async def test_durable(self) -> None:
        """Each commit is on disk, whoever writes it, and the file can be made smaller."""
        store = await self.opened()
        for each, wanted in (("journal_mode", "wal"), ("synchronous", 2), ("auto_vacuum", 2)):
            found = await store._writer.run(
                lambda t, name=each: t.execute(f"PRAGMA {name}").fetchone()
            )
            self.assertEqual(found, (wanted,), each)

    async def test_no_database(self) -> None:
        """A file of something else is left as it is; put right, it opens."""
        store = self.make_store()
        os.makedirs(os.path.dirname(self.path))
        with open(self.path, "w") as file:
            file.write("From: somebody\n" * 1000)
        await self.assertFailure(store.open("a"), StoreDamagedError)
        self.assertEqual(os.path.getsize(self.path), 15_000)
        os.unlink(self.path)
        await store.open("a")
        await store.close()

    async def test_no_directory(self) -> None:
        """Where no directory can be made."""
        store = self.make_store()
        with open(os.path.dirname(self.path), "w"):
            pass
        error = await self.assertFailure(store.open("a"), StoreUnavailableError)
        self.assertIn(os.path.dirname(self.path), str(error))

    async def test_damaged(self) -> None:
        """Pages that are no longer what they were are noticed, and the store named."""
        store = await self.opened()
        await gatherResults([store.add(new(f"{number}")) for number in range(100)])
        await store.close()
        with open(self.path, "r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * 4096 * 20)
        store = self.make_store()

        async def use() -> None:
            await store.open("a")
            await store.claim("example.com", 100, self.lease())

        error = await self.assertFailure(Deferred.fromCoroutine(use()), StoreDamagedError)
        self.assertIn(self.path, str(error))
        await store.close()

    async def test_too_new(self) -> None:
        """What a later gateway made is left to it."""
        store = await self.opened()
        await store.close()
        with contextlib.closing(sqlite3.connect(self.path)) as database:
            database.execute("PRAGMA user_version = 99")
        await self.assertFailure(self.make_store().open(None), StoreTooNewError)


class FilesTests(OnSQLite, storesuite.StoreSuite, TestCase):
    """Large messages are files."""

    def old(self, name: str, seconds: float) -> None:
        """A file of that age."""
        path = os.path.join(f"{self.path}-messages", name)
        with open(path, "w"):
            pass
        os.utime(path, (self.seconds - seconds, self.seconds - seconds))

    async def test_which(self) -> None:
        """Up to 64 KiB a message is in the database, above it is a file."""
        store = await self.opened()
        await store.add(new("1", body=b"x" * 65534 + b"\r\n"))
        self.assertEqual(self.files(), [])
        await store.add(new("2", body=b"x" * 65535 + b"\r\n"))
        self.assertEqual(len(self.files()), 1)
        self.assertEqual((await store.content("2")).size, 65537)

    async def test_removed(self) -> None:
        """With its message, whichever way that goes, and with what was never put in."""
        store = await self.opened()
        large = BODY * 10_000
        (entry,) = await store.add(new("1", body=large, lease=self.lease()))
        await store.add(new("2", body=large))
        await self.assertFailure(store.add(new("2", body=large)), StoreError)
        self.assertEqual(len(self.files()), 2)
        notice = new("B", b"a@example.net", body=large)
        said = result(entry, FAILED, notices=(notice,))
        await store.record(said)
        await store.record(said)
        await store.change(Filter(ids=("2",)), Change.DELETE)
        await store.close()
        self.assertEqual(len(self.files()), 1)

    async def test_orphans(self) -> None:
        """Files that no message has are removed at the start, when they are an hour old."""
        store = await self.opened()
        await store.add(new("1", body=BODY * 10_000))
        await store.close()
        (file,) = self.files()
        self.seconds = 2e9
        self.old("orphan", 3601)
        self.old("begun.part", 3601)
        self.old("young", 3599)
        store = await self.opened(None)
        self.assertEqual(len(self.files()), 4)
        await store.close()
        store = await self.opened("a")
        self.assertEqual(self.files(), sorted([file, "young"]))
        self.assertTrue(wire(await store.content("1")) == BODY * 10_000)

    async def test_lost(self) -> None:
        """A file that is gone, or cut, is damage, and no shorter mail."""
        store = await self.opened()
        await store.add(new("1", body=BODY * 10_000))
        path = os.path.join(f"{self.path}-messages", self.files()[0])
        os.truncate(path, 1000)
        error = await self.assertFailure(store.content("1"), StoreDamagedError)
        self.assertIn(path, str(error))
        os.unlink(path)
        await self.assertFailure(store.content("1"), StoreDamagedError)

    async def test_not_written(self) -> None:
        """What cannot be written whole leaves nothing, and is full or unavailable."""
        store = await self.opened()
        for number, kind in ((errno.ENOSPC, StoreFullError), (errno.EIO, StoreUnavailableError)):
            with mock.patch("os.fsync", side_effect=OSError(number, "No")):
                await self.assertFailure(store.add(new("1", body=BODY * 10_000)), kind)
            self.assertEqual(self.files(), [])
            self.assertIsNone(await store.shown("1"))
        await store.add(new("1", body=BODY * 10_000))

    async def test_reserve(self) -> None:
        """Messages leave some of the disk free, unless the database has room."""
        state = os.statvfs(".")
        for reserve in (state.f_frsize * state.f_blocks, 0):
            self.make_store()
            store = SQLiteStore(self.path, reactor, self.now, reserve=reserve)
            await store.open("a")
            for body in (BODY, BODY * 10_000):
                adding = store.add(new(f"{len(body)}", body=body))
                await (self.assertFailure(adding, StoreFullError) if reserve else adding)
            await store.close()


class UpkeepTests(OnSQLite, storesuite.StoreSuite, TestCase):
    """What a store does by itself, on a clock."""

    async def stepped(self) -> tuple[SQLiteStore, SteppedReactor]:
        """A store that delivers, whose timers the test moves."""
        clock = SteppedReactor()
        store = self.make_store(clock)
        await store.open("a")
        self.addCleanup(store.close)
        return store, clock

    async def pass_(self, store: SQLiteStore, clock: SteppedReactor, seconds: float) -> None:
        """Let time pass, and what it begins end."""
        clock.advance(seconds)
        await store.renew((), self.lease())

    async def test_own_commits(self) -> None:
        """They are not noticed; another's is, once, also one from before the watch began."""
        store, clock = await self.stepped()
        calls: list[None] = []
        other = await self.opened(None)
        await other.add(new("1"))
        store.watch(lambda: calls.append(None))
        await self.pass_(store, clock, 0)
        self.assertEqual(len(calls), 1)
        for name in ("2", "3"):
            await store.add(new(name))
            await self.pass_(store, clock, 0.5)
        self.assertEqual(len(calls), 1)
        await other.add(new("4"))
        await self.pass_(store, clock, 0.4)
        self.assertEqual(len(calls), 1)
        for _ in range(3):
            await self.pass_(store, clock, 0.5)
        self.assertEqual(len(calls), 2)
        await store.close()
        self.assertEqual(clock.getDelayedCalls(), [])

    async def test_nothing_to_do(self) -> None:
        """Nobody who watches, nothing deleted: no timer."""
        store, clock = await self.stepped()
        await store.add(new("1"))
        self.assertEqual(clock.getDelayedCalls(), [])

    async def test_space_is_given_back(self) -> None:
        """After much was deleted the file becomes small, a little at a time."""
        store, clock = await self.stepped()
        body = b"x" * 60_000 + b"\r\n"
        await gatherResults([store.add(new(f"{n}", body=body)) for n in range(300)])
        self.assertEqual(await store.change(storesuite.ALL, Change.DELETE), 300)
        steps, before = 0, await self.pages(store)
        await self.pass_(store, clock, 1.0)
        while clock.getDelayedCalls():
            last = await self.pages(store)
            await self.pass_(store, clock, 0.05)
            steps += 1
            self.assertTrue(last - 256 <= await self.pages(store) < last)
        self.assertTrue(before > 4000)
        self.assertTrue(steps > 10)
        self.assertTrue(await self.pages(store) < 1500)
        await store.close()
        self.assertTrue(os.path.getsize(self.path) < 1500 * 4096)
        self.assertFalse(os.path.exists(f"{self.path}-wal"))

    async def test_space_of_a_life_before(self) -> None:
        """Who delivers next gives back what was left, without anything more being deleted."""
        store, _ = await self.stepped()
        body = b"x" * 60_000 + b"\r\n"
        await gatherResults([store.add(new(f"{n}", body=body)) for n in range(100)])
        await store.change(storesuite.ALL, Change.DELETE)
        await store.close()
        looking = await self.opened(None)
        before = await self.pages(looking)
        store, clock = await self.stepped()
        await self.pass_(store, clock, 1.0)
        self.assertTrue(await self.pages(store) < before)

    async def pages(self, store: SQLiteStore) -> int:
        """How long the database is."""
        return await store._writer.run(lambda t: t.execute("PRAGMA page_count").fetchone()[0])

    async def test_closed_in_between(self) -> None:
        """A step that was to come does not come any more."""
        store, clock = await self.stepped()
        await store.add(new("1"))
        await store.change(storesuite.ALL, Change.DELETE)
        self.assertEqual(len(clock.getDelayedCalls()), 1)
        await store.close()
        self.assertEqual(clock.getDelayedCalls(), [])


class PlansTests(OnSQLite, storesuite.StoreSuite, TestCase):
    """Statements that are quick however much lies in the queue."""

    async def plans(self, store: SQLiteStore, use: Any) -> list[str]:
        """How the statements of ``use(store)`` are carried out."""
        statements: list[str] = []
        for each in (store._writer, store._reader, store._browser):
            await each.run(lambda t: t.execute.__self__.set_trace_callback(statements.append))
        await use(store)
        asked = [s for s in statements if s.strip().startswith(("SELECT", "WITH", "UPDATE"))]
        found = []
        with contextlib.closing(sqlite3.connect(self.path)) as database:
            for each in asked:
                found += [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {each}")]
        self.assertTrue(found)
        return found

    async def test_no_scans(self) -> None:
        """What delivery asks, and a page of a list, touch no more rows than they have to."""
        store = await self.opened()
        (entry,) = await store.add(new("1", lease=self.lease()))
        which = Filter(destination="example.com", older=9e9)
        (last,) = await store.listed(storesuite.ALL, 1, None)
        for use in (
            lambda s: s.next_due(()),
            lambda s: s.claim("example.com", 5, self.lease()),
            lambda s: s.renew([entry.id], self.lease()),
            lambda s: s.give_back([entry.id], "a", 1.0),
            lambda s: s.shown("1"),
            lambda s: s.content("1"),
            lambda s: s.listed(Filter(ids=("1",)), 5, None),
            lambda s: s.defer("example.com", "451", (1.0, 1.0), 5),
            lambda s: s.record(result(entry, QUEUED)),
        ):
            plans = await self.plans(store, use)
            slow = [p for p in plans if p.startswith("SCAN") and not p.startswith(_SMALL)]
            self.assertEqual(slow, [], plans)
        for use in (
            lambda s: s.due(5, ()),
            lambda s: s.listed(which, 5, None),
            lambda s: s.listed(which, 5, last),
        ):
            plans = await self.plans(store, use)
            self.assertTrue(any(" USING " in plan and "entry" in plan for plan in plans), plans)
        for use in (
            lambda s: s.claim("example.com", 5, self.lease()),
            lambda s: s.defer("example.com", "451", (1.0, 1.0), 5),
            lambda s: s.listed(which, 5, last),
        ):
            plans = await self.plans(store, use)
            self.assertFalse([plan for plan in plans if "TEMP B-TREE" in plan], plans)

    async def test_files(self) -> None:
        """The files of large messages are found without a look at the small ones."""
        store = await self.opened()
        plans = await self.plans(store, lambda s: s._writer.run(lambda t: files(t.execute)))
        self.assertEqual(plans, ["SEARCH body USING COVERING INDEX body_file (file>?)"])


# What is given to a statement, and an index whose first entry that fits is the answer.
_SMALL = ("SCAN json_each", "SCAN (", "SCAN entry USING COVERING INDEX entry_due")
