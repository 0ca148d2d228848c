"""One connection to the database, in a thread of its own, and what many share: a commit.

An operation is a callable that is given the transaction in which it works. The thread takes all
operations that wait, runs them in one transaction, commits once, and tells the reactor once.

Failure policy: where one of several operations or their commit fails, all is rolled back, and each
is done again in a transaction of its own, so that the one at fault takes no other along; so is one
for which a full disk has room in the second attempt. Therefore an operation changes nothing but the
database. Where no transaction can even begin, all fail. Then it goes on with what comes next.
"""

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from smtpforward.outbound.errors import StoreUnavailableError

T = TypeVar("T")
Execute = Callable[..., sqlite3.Cursor]
MOST = 256  # operations that are written in one transaction
BUSY = 5.0  # seconds that others may keep the database locked
TURN = 0.0005  # seconds between two looks whether they still do, and that they get in return


class Transaction:
    """What operations work in.

    :ivar execute: runs one statement.
    :ivar files: names of files that nothing needs any more once it is committed.
    :ivar freed: whether rows were deleted. ``room``: whether there was space for more.
    """

    __slots__ = ("execute", "files", "freed", "room")

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.execute = connection.execute
        self.files: list[str] = []
        self.freed = False
        self.room = False


Operation = Callable[[Transaction], T]
_Waiting = tuple[Operation[Any], "Deferred[Any]"]
_Done = tuple["Deferred[Any]", Any]


class Connection:
    """A thread that runs operations.

    :param connect: opens the database, in the thread.
    :param explain: what an operation's exception means.
    :param settled: told in the reactor's thread of each transaction that was committed. ``None``
        for one that only reads: there each operation is by itself.
    """

    def __init__(
        self,
        reactor: Any,
        connect: Callable[[], sqlite3.Connection],
        explain: Callable[[BaseException], BaseException],
        settled: Callable[[Transaction], None] | None = None,
    ) -> None:
        self._reactor = reactor
        self._connect = connect
        self._begin = _begin_to_write if settled else _begin_to_read
        self._most = MOST if settled else 1
        self._explain = explain
        self._settled = settled
        self._waiting: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._open = False
        self._ended: Deferred[None] = Deferred()

    @property
    def is_open(self) -> bool:
        """Whether it runs operations."""
        return self._open

    def start(self) -> "Deferred[None]":
        """Open the database; it may be called once."""
        started: Deferred[None] = Deferred()
        # A daemon: what nobody has heard of being done may end with the process.
        threading.Thread(target=self._main, args=(started,), daemon=True).start()
        return started

    def run(self, operation: Operation[T]) -> "Deferred[T]":
        """What ``operation`` gives, once it is committed."""
        if not self._open:
            return fail(StoreUnavailableError("the queue's store is closed"))
        done: Deferred[T] = Deferred()
        self._waiting.put((operation, done))
        return done

    def stop(self) -> "Deferred[None]":
        """Do what waits, nothing more, and close the database."""
        if not self._open:
            return succeed(None)
        self._open = False
        self._waiting.put(None)
        return self._ended

    # -- in the thread

    def _main(self, started: "Deferred[None]") -> None:
        try:
            connection = self._connect()
        except Exception as error:
            self._reactor.callFromThread(started.errback, self._failure(error))
            return
        if self._settled is not None:
            connection.execute("PRAGMA busy_timeout = 0")  # see _begin_to_write
        self._reactor.callFromThread(self._begun, started)
        while self._serve(connection):
            pass
        if self._settled is not None:
            _empty_log(connection)
        connection.close()
        self._reactor.callFromThread(self._ended.callback, None)

    def _serve(self, connection: sqlite3.Connection) -> bool:
        """Run all that waits, once there is something; whether more may come."""
        batch: list[_Waiting] = []
        next_ = self._waiting.get()
        with contextlib.suppress(Empty):
            while next_ is not None:
                batch.append(next_)
                if len(batch) == self._most:
                    break
                next_ = self._waiting.get_nowait()
        if batch:
            self._run(connection, batch)
        return next_ is not None

    def _run(
        self, connection: sqlite3.Connection, batch: list[_Waiting], last: bool = False
    ) -> None:
        transaction = Transaction(connection)
        results: list[_Done]
        try:
            waited = self._begin(connection)
        except Exception as error:
            self._tell([(done, self._failure(error)) for _, done in batch], transaction)
            return
        try:
            results = [(done, operation(transaction)) for operation, done in batch]
            connection.execute("COMMIT")
        except Exception as error:
            _roll_back(connection)
            room = _made_room(connection, error)
            if not last and (room or len(batch) > 1):
                for each in batch:
                    self._run(connection, [each], last=True)
                return
            transaction = Transaction(connection)
            results = [(batch[0][1], self._failure(error))]
        self._tell(results, transaction)
        if waited:
            # Else those who wait, too, would rarely find the database free.
            time.sleep(TURN)

    def _failure(self, error: BaseException) -> Failure:
        return Failure(self._explain(error))

    def _tell(self, results: list[_Done], transaction: Transaction) -> None:
        self._reactor.callFromThread(self._fire, results, transaction)

    # -- in the reactor's

    def _begun(self, started: "Deferred[None]") -> None:
        self._open = True
        started.callback(None)

    def _fire(self, results: list[_Done], transaction: Transaction) -> None:
        if self._settled is not None:
            self._settled(transaction)
        for done, result in results:
            if isinstance(result, Failure):
                done.errback(result)
            else:
                done.callback(result)


def _begin_to_read(connection: sqlite3.Connection) -> bool:
    connection.execute("BEGIN")
    return False


def _begin_to_write(connection: sqlite3.Connection) -> bool:
    """Have the right to write, as soon as no other process has it; whether that took a while.

    SQLite's own way of waiting looks ever more rarely: one of several processes starves.
    """
    given_up = time.monotonic() + BUSY
    waited = False
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
            return waited
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > given_up:
                raise
        waited = True
        time.sleep(TURN)


def _roll_back(connection: sqlite3.Connection) -> None:
    # SQLite may have done it by itself. What else is wrong the next BEGIN says.
    with contextlib.suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _made_room(connection: sqlite3.Connection, error: Exception) -> bool:
    # On a full disk the log cannot grow; once it is all in the database, it begins anew.
    if getattr(error, "sqlite_errorcode", 0) != sqlite3.SQLITE_FULL:
        return False
    with contextlib.suppress(sqlite3.Error):
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        return True
    return False


def _empty_log(connection: sqlite3.Connection) -> None:
    # Where others use the database, it is theirs to do.
    with contextlib.suppress(sqlite3.Error):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
