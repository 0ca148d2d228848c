"""A PostgreSQL that is away, full, hangs or refuses: calls end in time, and go on by themselves."""

from collections.abc import Callable
from typing import Any

import psycopg
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, DeferredList, gatherResults
from twisted.internet.task import deferLater

from smtpforward.outbound.entry import Change, Filter, Lease
from smtpforward.outbound.errors import StoreFullError, StoreUnavailableError
from smtpforward.outbound.store.postgresql import PostgreSQLStore, threads
from smtpforward.outbound.store.postgresql.connections import Work
from smtpforward.outbound.store.postgresql.threads import SESSION
from tests.integration.postgresqlqueue import StoreTestCase
from tests.peers.postgresql import QUOTED
from tests.peers.wait import until
from tests.storesupport import DELIVERED, new, result

REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '{}'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON part FOR EACH ROW EXECUTE FUNCTION refuse();
"""
WAITING = "FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


class AwayTests(StoreTestCase):
    """The server ends, and comes back."""

    own_server = True

    async def test_crash(self) -> None:
        """While it is away all fails soon; then the same store works, and nothing is lost."""
        store = await self.opened()
        await store.add(new("before"))
        [entry] = await store.add(new("leased", lease=Lease("a", store.now() + 60)))
        await self.server.crash()
        began = reactor.seconds()
        calls: list[Deferred[Any]] = [store.add(new(f"during {n}")) for n in range(30)]
        calls += [store.due(1, ()), store.renew([entry.id], Lease("a", store.now() + 60))]
        for good, failure in await DeferredList(calls, consumeErrors=True):
            self.assertFalse(good)
            failure.trap(StoreUnavailableError)
        self.assertLess(reactor.seconds() - began, 10)
        await self.start_again()
        await self.works_again(store)
        await store.add(new("after"))
        ids = {each.message.id for each in await store.listed(Filter(), 100, None)}
        self.assertEqual({"before", "leased", "after"}, ids)
        await store.record(result(entry, DELIVERED))

    async def test_restart_while_nobody_asks(self) -> None:
        """Connections that ended while they lay idle are not noticed by who calls next."""
        store = await self.opened(None)
        lease = Lease("a", store.now() + 60)
        await gatherResults([store.add(new(f"{n}", lease=lease)) for n in range(20)])
        await self.server.stop()
        await self.start_again()
        await gatherResults([store.add(new(f"more {n}", lease=lease)) for n in range(20)])
        self.assertEqual(40, (await store.stats(1)).messages)

    async def test_listens_again(self) -> None:
        """After a restart it is told as before, and at once of what may have come meanwhile."""
        store, other = await self.opened("a"), await self.opened(None)
        calls: list[None] = []
        store.watch(lambda: calls.append(None))
        await self.server.crash()
        await self.start_again()
        await until(lambda: calls, "being told that the connection is back")
        await self.works_again(other)
        before = len(calls)
        await other.add(new("1"))
        await until(lambda: len(calls) > before, "being told of the message")

    async def test_away_at_the_start(self) -> None:
        """A store that cannot be opened can be opened later."""
        store = self.make_closing_store()
        await self.server.crash()
        await self.assertFailure(store.open("a"), StoreUnavailableError)
        await self.start_again()
        await self.works_again(store, lambda: store.open("a"))
        await store.add(new("1"))

    async def test_watches_before_it_is_there(self) -> None:
        """Who watches a queue that is away is told when it comes."""
        await self.server.crash()
        store = self.make_closing_store()
        told: list[None] = []
        store.watch(lambda: told.append(None))
        await self.start_again()
        await until(lambda: told, "being told")

    async def test_hangs(self) -> None:
        """A server that says nothing any more, but is there, holds nobody for longer than asked."""
        store = await self.opened(patience=1.0)
        await store.add(new("before"))
        self.server.freeze()
        self.addCleanup(self.server.thaw)
        began = reactor.seconds()
        calls: list[Deferred[Any]] = [store.add(new(f"during {n}")) for n in range(20)]
        for good, failure in await DeferredList(calls, consumeErrors=True):
            self.assertFalse(good)
            failure.trap(StoreUnavailableError)
        self.assertLess(reactor.seconds() - began, 4)
        self.server.thaw()
        await self.works_again(store)
        self.assertIn(
            "before", [each.message.id for each in await store.listed(Filter(), 99, None)]
        )

    async def test_hangs_at_the_start(self) -> None:
        """Nor one that takes a connection and does not answer."""
        self.server.freeze()
        self.addCleanup(self.server.thaw)
        store = self.make_closing_store(patience=1.0)
        began = reactor.seconds()
        failure = await self.failed(store.open("a"), StoreUnavailableError)
        self.assertLess(reactor.seconds() - began, 4)
        self.assertIn(f"127.0.0.1:{self.server.port}", str(failure))

    async def test_hangs_when_a_connection_is_made(self) -> None:
        """Nor one that goes silent right then: the thread comes back, and the next call has it."""
        self.patch(threads, "SESSION", "SELECT pg_sleep(60), %(patience)s::text")
        store = self.make_closing_store(patience=1.0, connections=1)
        began = reactor.seconds()
        await self.failed(store.open("a"), StoreUnavailableError)
        self.patch(threads, "SESSION", SESSION)
        await self.works_again(store, lambda: store.open("a"))
        self.assertLess(reactor.seconds() - began, 10)

    async def test_hangs_when_a_connection_is_made_at_the_end(self) -> None:
        """Who ends does not wait for it."""
        self.patch(threads, "SESSION", "SELECT pg_sleep(60), %(patience)s::text")
        store = self.make_store()
        began, opening = reactor.seconds(), store.open("a")
        sleeping = "SELECT count(*)::int FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        await until(lambda: self.server.sql(sleeping, "postgres") == [(1,)], "the connection")
        store._connections._threads.finalClose()
        await self.failed(opening, StoreUnavailableError)
        await store.close()
        self.assertLess(reactor.seconds() - began, 10)

    async def test_commit_in_doubt(self) -> None:
        """A commit without an answer fails the call, and the mail is there: two, never none."""
        store = await self.opened()
        # A commit is on disk, and its answer waits for a standby.
        await self.set_up("synchronous_standby_names", "nobody")
        adding = store.add(new("1"))
        waiting = "SELECT count(*)::int FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        await until(lambda: self.server.sql(waiting, "postgres") == [(1,)], "the commit")
        await self.server.crash()
        (self.server.folder / "data" / "postgresql.auto.conf").write_text("")
        await self.assertFailure(adding, StoreUnavailableError)
        await self.start_again()
        await self.works_again(store)
        self.assertEqual(1, (await store.stats(1)).messages)

    async def test_no_further_connection(self) -> None:
        """Where the server has none left, all calls share those that there are."""
        self.server.sql("ALTER ROLE queue CONNECTION LIMIT 2", "postgres")
        store = await self.opened()
        await gatherResults([store.add(new(f"{n}")) for n in range(30)])
        self.assertEqual(30, (await store.stats(1)).messages)

    async def start_again(self) -> None:
        """Start the server where it was."""
        self.server = await self.server.again()
        self.stop_later(self.server.stop)

    async def works_again(
        self, store: Any, call: Callable[[], Deferred[Any]] | None = None
    ) -> None:
        """Wait until ``call`` works, or a look at the queue: with no new store, only once more."""
        deadline = reactor.seconds() + 20
        while True:
            try:
                await (call() if call else store.next_due(()))
                return
            except StoreUnavailableError:
                self.assertLess(reactor.seconds(), deadline)
            await deferLater(reactor, 0.02)

    async def set_up(self, name: str, value: str) -> None:
        """Have the server run with a setting."""
        self.server.sql(f"ALTER SYSTEM SET {name} = '{value}'", "postgres")
        self.server.sql("SELECT pg_reload_conf()", "postgres")
        await until(lambda: self.server.sql(f"SHOW {name}") == [(value,)], f"the setting {name}")


class RefusalTests(StoreTestCase):
    """The server is there, and does not do what it is asked."""

    async def test_full(self) -> None:
        """A full disk is said to be one; there is mail again when there is space."""
        store = await self.opened()
        self.sql(REFUSE.format("53100"))
        failure = await self.failed(store.add(new("1")), StoreFullError)
        self.assertIn("could not extend file (53100)", str(failure))
        self.sql("DROP TRIGGER refuse ON part")
        await store.add(new("1"))
        self.assertEqual(1, (await store.stats(1)).messages)

    async def test_full_in_the_middle(self) -> None:
        """Nothing is left of a large message for which there was no space."""
        store = await self.opened()
        self.sql(REFUSE.format("53100"))
        self.sql("DROP TRIGGER refuse ON part")
        self.sql(
            "CREATE TRIGGER refuse BEFORE INSERT ON part FOR EACH ROW WHEN (NEW.number = 2)"
            " EXECUTE FUNCTION refuse()"
        )
        await self.assertFailure(store.add(new("1", body=b"x" * 800_000 + b"\r\n")), StoreFullError)
        self.assertEqual([(0,)], self.sql("SELECT count(*)::int FROM part"))
        self.assertEqual(0, (await store.stats(1)).messages)

    async def test_no_memory(self) -> None:
        """Whatever else it lacks may be there later."""
        store = await self.opened()
        self.sql(REFUSE.format("53200"))
        await self.assertFailure(store.add(new("1")), StoreUnavailableError)

    async def test_standby(self) -> None:
        """A server that only answers questions cannot be used now."""
        store = await self.opened(None)
        self.sql(f"ALTER DATABASE {self.database} SET default_transaction_read_only = on")
        other = self.make_closing_store()
        await self.assertFailure(other.add(new("1")), StoreUnavailableError)
        await store.add(new("1"))

    async def test_lock_that_stays(self) -> None:
        """Who waits for another for too long gives up, and nothing of it is done later."""
        store = await self.opened(patience=0.5)
        with psycopg.connect(self.address) as other:
            other.execute("LOCK TABLE message IN EXCLUSIVE MODE")
            await self.assertFailure(store.add(new("1")), StoreUnavailableError)
        self.assertEqual(0, (await store.stats(1)).messages)

    async def test_gateway_that_stands_still(self) -> None:
        """One that was stopped in the middle of a transaction does not hold up the others."""
        store = await self.opened(patience=1.5)
        await store.add(new("1"))
        other = psycopg.connect(self.address, application_name="smtpforward")
        self.addCleanup(other.close)
        with self.assertRaises(psycopg.OperationalError), other.pipeline():
            # The server waits for the next part of it, and nothing there ends that.
            other.execute("SELECT FROM message FOR UPDATE").fetchall()
            self.assertEqual(1, await self.deleted(store))
            self.assertEqual(0, (await store.stats(1)).messages)
            other.execute("SELECT").fetchall()

    async def test_gateway_that_stands_still_after_a_flush(self) -> None:
        """Nor one that looks idle, but to which the server's own patience does not apply."""
        store = await self.opened(patience=1.5)
        await store.add(new("1"))
        other = psycopg.connect(self.address, application_name="smtpforward")
        self.addCleanup(other.close)
        other.execute("SET idle_in_transaction_session_timeout = '100ms'")
        with self.assertRaises(psycopg.OperationalError), other.pipeline() as pipeline:
            other.execute("SELECT FROM message FOR UPDATE")
            pipeline.sync()
            other.pgconn.send_flush_request()
            other.pgconn.flush()
            self.assertEqual(1, await self.deleted(store))
            other.execute("SELECT").fetchall()

    async def test_gateway_that_stands_still_on_what_is_due(self) -> None:
        """Nor does it keep from them what they would not wait for."""
        store = await self.opened(patience=1.0)
        await store.add(new("1"))
        other = psycopg.connect(self.address, application_name="smtpforward")
        self.addCleanup(other.close)
        with self.assertRaises(psycopg.OperationalError), other.pipeline():
            other.execute("SELECT FROM entry FOR UPDATE").fetchall()
            ends, claimed = reactor.seconds() + 20, list[Any]()
            while not claimed and reactor.seconds() < ends:
                claimed = await store.claim("example.com", 1, Lease("a", store.now() + 60))
            self.assertEqual(1, len(claimed))
            other.execute("SELECT").fetchall()

    async def deleted(self, store: Any) -> int:
        """How many messages were, once it was possible."""
        for _ in range(10):
            try:
                changed: int = await store.change(Filter(), Change.DELETE)
            except StoreUnavailableError:
                continue
            return changed
        raise AssertionError("the message stays locked")

    async def test_other_programs_may_stand_still(self) -> None:
        """What is none of ours is left alone, whatever it locks."""
        store = await self.opened(patience=0.5)
        await store.add(new("1"))
        with psycopg.connect(self.address) as other, other.pipeline():
            other.execute("SELECT FROM message FOR UPDATE").fetchall()
            for _ in range(3):
                await self.assertFailure(
                    store.change(Filter(), Change.DELETE), StoreUnavailableError
                )
            other.execute("SELECT").fetchall()

    async def test_ended_by_an_administrator(self) -> None:
        """A call whose session is ended fails, and the next one has another."""
        store = await self.opened()
        with psycopg.connect(self.address) as other:
            other.execute("LOCK TABLE message IN EXCLUSIVE MODE")
            adding = store.add(new("1"))
            await self.until_waiting()
            self.server.sql(
                f"SELECT pg_terminate_backend(pid) {WAITING}", "postgres", self.database
            )
            await self.assertFailure(adding, StoreUnavailableError)
        await store.add(new("1"))

    async def test_cancelled(self) -> None:
        """What nobody waits for any more has no commit, and its connection is free for others."""
        store = await self.opened(connections=1)
        with psycopg.connect(self.address) as other:
            other.execute("LOCK TABLE part IN EXCLUSIVE MODE")
            large = b"x" * 300_000 + b"\r\n"
            adding, waiting = (store.add(new(name, body=large)) for name in "12")
            await self.until_waiting()
            for each in (adding, waiting):
                each.cancel()
                await self.assertFailure(each, CancelledError)
        await store.add(new("3"))
        self.assertEqual(1, (await store.stats(1)).messages)

    async def test_settings_of_the_role(self) -> None:
        """What an administrator has set for the role makes nothing less safe."""
        self.sql(f"ALTER DATABASE {self.database} SET synchronous_commit = off")
        self.sql(
            f"ALTER DATABASE {self.database} SET default_transaction_isolation = 'serializable'"
        )
        store = await self.opened()
        shown = [
            await store._connections.run(Work.rows, f"SHOW {name}")
            for name in ("synchronous_commit", "default_transaction_isolation")
        ]
        self.assertEqual([[("on",)], [("read committed",)]], shown)

    async def test_remote_commits_stay(self) -> None:
        """Who waits for standbys to have it goes on to do so."""
        self.sql(f"ALTER DATABASE {self.database} SET synchronous_commit = remote_apply")
        store = await self.opened()
        shown = await store._connections.run(Work.rows, "SHOW synchronous_commit")
        self.assertEqual([("remote_apply",)], shown)

    async def test_passwords_are_not_told(self) -> None:
        """Neither by what is wrong, nor by the store itself."""
        wrong = self.address.replace(QUOTED, "se%20cret")
        store = PostgreSQLStore(wrong, reactor)
        self.addCleanup(store.close)
        failure = await self.failed(store.open(), StoreUnavailableError)
        self.assertIn("password authentication failed", str(failure))
        for text in (str(failure), repr(failure.__cause__), repr(store), repr(vars(store))):
            self.assertNotIn("cret", text)

    async def until_waiting(self) -> None:
        """Wait until one session waits for a lock."""
        asked = f"SELECT count(*)::int {WAITING}"
        await until(
            lambda: self.server.sql(asked, "postgres", self.database) == [(1,)],
            "waiting for a lock",
        )
