"""A thread with a connection: many operations in one commit, and each with its own end."""

import sqlite3
import threading
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from smtpforward.outbound.errors import StoreUnavailableError
from smtpforward.outbound.store.sqlite import connection as connections
from smtpforward.outbound.store.sqlite.connection import Connection, Transaction


class CountingReactor:
    """The real one's ``callFromThread``, counted."""

    def __init__(self) -> None:
        self.calls = 0

    def callFromThread(self, function: Callable[..., Any], *arguments: Any) -> None:
        """See IReactorFromThreads."""
        self.calls += 1
        reactor.callFromThread(function, *arguments)  # type: ignore[attr-defined]


def insert(number: int) -> Callable[[Transaction], int]:
    """An operation that writes ``number``, and gives it."""

    def operation(transaction: Transaction) -> int:
        transaction.execute("INSERT INTO number VALUES (?, ?)", (number, number))
        return number

    return operation


class ConnectionTests(TestCase):
    """One connection that writes."""

    async def setUp(self) -> None:  # type: ignore[override]
        self.path = self.mktemp()
        self.statements: list[str] = []
        self.settled: list[Transaction] = []
        self.reactor = CountingReactor()
        self.writer = Connection(self.reactor, self.connect, self.explain, self.settled.append)
        await self.writer.start()
        self.addCleanup(self.writer.stop)
        await self.writer.run(
            lambda t: t.execute(
                "CREATE TABLE number (value INTEGER UNIQUE, "
                "parent REFERENCES number (value) DEFERRABLE INITIALLY DEFERRED)"
            )
        )

    def connect(self) -> sqlite3.Connection:
        """A database whose statements are noted."""
        connection = sqlite3.connect(self.path, timeout=0, isolation_level=None)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.set_trace_callback(self.statements.append)
        return connection

    def explain(self, error: BaseException) -> BaseException:
        """What a store makes of an error."""
        return StoreUnavailableError(str(error)) if isinstance(error, sqlite3.Error) else error

    def block(self) -> tuple["Deferred[bool]", threading.Event]:
        """Keep the thread busy, so that what is asked from now on waits together."""
        begun, go_on = threading.Event(), threading.Event()

        def operation(transaction: Transaction) -> bool:
            begun.set()
            return go_on.wait(30)

        done = self.writer.run(operation)
        self.assertTrue(begun.wait(30))
        self.statements.clear()
        self.reactor.calls = 0
        return done, go_on

    async def numbers(self) -> list[int]:
        """What is in the table."""
        return await self.writer.run(
            lambda t: [row[0] for row in t.execute("SELECT value FROM number ORDER BY value")]
        )

    async def test_what_waits_is_committed_together(self) -> None:
        """One commit for all, and one call to the reactor, which fires them in order."""
        blocked, go_on = self.block()
        order: list[int] = []
        waiting = [self.writer.run(insert(n)).addCallback(order.append) for n in range(20)]
        go_on.set()
        await gatherResults([blocked, *waiting])
        self.assertEqual(order, list(range(20)))
        self.assertEqual(self.statements.count("COMMIT"), 2)
        self.assertEqual(self.reactor.calls, 2)

    async def test_not_too_many_together(self) -> None:
        """One transaction does not grow without bound."""
        self.patch(self.writer, "_most", 5)
        blocked, go_on = self.block()
        waiting = [self.writer.run(insert(number)) for number in range(12)]
        go_on.set()
        await gatherResults([blocked, *waiting])
        self.assertEqual(self.statements.count("COMMIT"), 1 + 3)

    async def test_one_fails(self) -> None:
        """The others are done, each once; the one at fault has changed nothing."""

        def half(transaction: Transaction) -> None:
            transaction.execute("INSERT INTO number VALUES (99, 99)")
            raise ValueError("half done")

        blocked, go_on = self.block()
        waiting = [self.writer.run(insert(1)), self.writer.run(half), self.writer.run(insert(2))]
        go_on.set()
        await blocked
        self.assertEqual([await waiting[0], await waiting[2]], [1, 2])
        await self.assertFailure(waiting[1], ValueError)
        self.assertEqual(await self.numbers(), [1, 2])

    async def test_a_commit_fails(self) -> None:
        """What can be committed by itself is; the one that cannot fails alone."""
        blocked, go_on = self.block()
        orphan = self.writer.run(lambda t: t.execute("INSERT INTO number VALUES (7, 8)"))
        good = self.writer.run(insert(1))
        go_on.set()
        await gatherResults([blocked, good])
        await self.assertFailure(orphan, StoreUnavailableError)
        self.assertEqual(await self.numbers(), [1])

    async def test_locked(self) -> None:
        """While another one writes for too long all fail; afterwards it works."""
        self.patch(connections, "BUSY", 0.0)
        other = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(other.close)
        blocked, go_on = self.block()
        go_on.set()
        await blocked
        other.execute("BEGIN IMMEDIATE")
        refused = [self.writer.run(insert(1)), self.writer.run(insert(2))]
        for each in refused:
            await self.assertFailure(each, StoreUnavailableError)
        other.execute("ROLLBACK")
        self.assertEqual(await self.writer.run(insert(3)), 3)
        self.assertEqual(await self.numbers(), [3])

    async def test_in_turn(self) -> None:
        """Who waits for another one goes on as soon as that has ended."""
        other = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN IMMEDIATE")
        self.statements.clear()
        done = self.writer.run(insert(1))
        while len(self.statements) < 3:
            await deferLater(reactor, 0, lambda: None)  # type: ignore[arg-type]
        self.assertEqual(set(self.statements), {"BEGIN IMMEDIATE"})
        other.execute("ROLLBACK")
        self.assertEqual(await done, 1)

    async def test_what_a_transaction_leaves(self) -> None:
        """Files to be removed are told of after the commit; those of what failed are not."""

        def removing(name: str, fails: bool) -> Callable[[Transaction], None]:
            def operation(transaction: Transaction) -> None:
                transaction.files.append(name)
                if fails:
                    raise ValueError(name)

            return operation

        blocked, go_on = self.block()
        waiting = [self.writer.run(removing(name, name == "b")) for name in "abc"]
        go_on.set()
        await blocked
        await self.assertFailure(waiting[1], ValueError)
        await gatherResults([waiting[0], waiting[2]])
        await self.numbers()
        self.assertEqual([name for each in self.settled for name in each.files], ["a", "c"])

    async def test_stop(self) -> None:
        """What waits is done; what comes later is refused; the log is emptied."""
        blocked, go_on = self.block()
        waiting = [self.writer.run(insert(number)) for number in range(3)]
        stopped = self.writer.stop()
        late = self.writer.run(insert(9))
        go_on.set()
        self.assertEqual(await gatherResults([blocked, *waiting]), [True, 0, 1, 2])
        await self.assertFailure(late, StoreUnavailableError)
        await stopped
        await self.writer.stop()
        with sqlite3.connect(self.path) as again:
            self.assertEqual(again.execute("SELECT count(*) FROM number").fetchone(), (3,))
        again.close()

    async def test_not_opened(self) -> None:
        """What cannot be opened says why, and does nothing."""

        def fail() -> sqlite3.Connection:
            raise sqlite3.OperationalError("no such place")

        other = Connection(self.reactor, fail, self.explain)
        await self.assertFailure(other.start(), StoreUnavailableError)
        await self.assertFailure(other.run(insert(1)), StoreUnavailableError)
        await other.stop()

    async def test_reading(self) -> None:
        """One that reads does each by itself: one that fails makes no other be done again."""
        reader = Connection(self.reactor, self.connect, self.explain)
        await reader.start()
        self.addCleanup(reader.stop)
        calls: list[int] = []

        def noting(number: int) -> Callable[[Transaction], None]:
            def operation(transaction: Transaction) -> None:
                calls.append(number)
                if number == 1:
                    raise KeyError(number)

            return operation

        waiting = [reader.run(noting(number)) for number in range(3)]
        await waiting[0]
        await self.assertFailure(waiting[1], KeyError)
        await waiting[2]
        self.assertEqual(calls, [0, 1, 2])
