"""The queue in an SQLite database, with large messages in files beside it: one host's own.

Three threads have a connection each: one writes, one looks up what delivery asks, one answers what
may take long, an operator's questions. Large messages are written and removed in the reactor's
thread pool. With several processes all put mail in, and one, which has the lock, delivers.

Failure policy: what fails has changed nothing, and the next call may work. Messages leave a reserve
of the disk free, which results need.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredList, inlineCallbacks
from twisted.internet.threads import deferToThreadPool
from zope.interface import implementer

from smtpforward.content import Content
from smtpforward.interfaces import IQueueStore
from smtpforward.outbound.entry import (
    Change,
    Claimed,
    Filter,
    Lease,
    Listed,
    NewMessage,
    Result,
    Shown,
    Stats,
)
from smtpforward.outbound.store.rows import ASKED
from smtpforward.outbound.store.sqlite import adding, changing, database, leases, looking, results
from smtpforward.outbound.store.sqlite.bodies import Bodies, Body, of_small
from smtpforward.outbound.store.sqlite.connection import Connection, Execute, Transaction
from smtpforward.outbound.store.sqlite.faults import explained
from smtpforward.outbound.store.sqlite.upkeep import Tidying, Watcher

T = TypeVar("T")
RESERVE = 16 * 1024 * 1024


@implementer(IQueueStore)
class SQLiteStore:
    """See :class:`smtpforward.interfaces.IQueueStore`.

    :param path: of the database; large messages are in the directory ``PATH-messages``.
    :param reserve: bytes of the disk that messages leave free.
    """

    def __init__(
        self,
        path: str,
        reactor: Any,
        now: Callable[[], float] = time.time,
        reserve: int = RESERVE,
    ) -> None:
        self._path = path = os.path.abspath(path)
        self._reactor = reactor
        self._now = now
        self._bodies = Bodies(f"{path}-messages", reserve)
        self._lock: database.Lock | None = None
        self._watcher: Watcher | None = None
        self._version = self._spare = 0
        self._begun: set[Deferred[Any]] = set()
        self._renew_connections(None)

    def __repr__(self) -> str:
        return f"<SQLiteStore {self._path}>"

    def now(self) -> float:
        """The host's time."""
        return self._now()

    # -- from the beginning to the end

    def _renew_connections(self, owner: str | None) -> None:
        make, explain = partial(Connection, self._reactor), partial(explained, path=self._path)
        self._writer = make(partial(self._prepare, owner), explain, self._settled)
        look = partial(database.connect, self._path, writes=False)
        self._reader, self._browser = make(look, explain), make(look, explain)
        self._tidying = Tidying(self._reactor, self._writer.run)

    @inlineCallbacks
    def open(self, owner: str | None = None) -> Any:
        """See :meth:`IQueueStore.open`.

        :raise StoreInUseError: (from the Deferred) when another process delivers.
        """
        if owner is not None and self._writer.is_open:
            yield self._writer.run(lambda transaction: self._deliver(transaction.execute))
            return
        self._renew_connections(owner)
        try:
            for each in (self._writer, self._reader, self._browser):
                yield each.start()
        except Exception:
            yield self.close()
            raise
        if owner is not None and self._spare:
            self._tidying.soon()

    def _prepare(self, owner: str | None) -> sqlite3.Connection:
        """What opening does in the thread that writes."""
        self._bodies.make_directory()
        if owner is not None:
            self._take_lock()
        connection = database.make(self._path)
        try:
            if owner is not None:
                self._deliver(connection.execute)
            self._version = database.data_version(connection.execute)
            self._spare = database.spare_pages(connection.execute)
        except BaseException:
            connection.close()
            raise
        return connection

    def _take_lock(self) -> None:
        if self._lock is None:
            self._lock = database.Lock(f"{self._path}.lock")

    def _deliver(self, execute: Execute) -> None:
        """Begin as the one process that does; it may be repeated."""
        self._take_lock()
        leases.give_all_back(execute, self.now())
        self._bodies.sweep(adding.files(execute), self.now())

    @inlineCallbacks
    def close(self) -> Any:
        """See :meth:`IQueueStore.close`."""
        self._tidying.stop()
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher = None
        while self._begun:
            yield DeferredList(list(self._begun))
        for each in (self._browser, self._reader, self._writer):
            yield each.stop()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def watch(self, changed: Callable[[], None]) -> None:
        """See :meth:`IQueueStore.watch`."""
        self._watcher = Watcher(self._reactor, self._writer.run, self._version, changed)

    def _settled(self, transaction: Transaction) -> None:
        """A transaction has been committed."""
        if transaction.files:
            self._in_pool(self._bodies.remove, transaction.files)
        if transaction.freed:
            self._tidying.soon()

    def _in_pool(self, function: Callable[..., T], *arguments: Any) -> "Deferred[T]":
        """Call what may take long; the store closes after it."""
        pool = self._reactor.getThreadPool()
        return self._noted(deferToThreadPool(self._reactor, pool, function, *arguments))

    def _noted(self, begun: "Deferred[T]") -> "Deferred[T]":
        def ended(result: Any) -> Any:
            self._begun.discard(begun)
            return result

        self._begun.add(begun)
        return begun.addBoth(ended)

    # -- putting in

    def add(self, new: NewMessage) -> "Deferred[list[Claimed]]":
        """See :meth:`IQueueStore.add`."""
        body = of_small(new.content)
        return self._noted(self._add_large(new)) if body is None else self._add(new, body)

    def _add(self, new: NewMessage, body: Body) -> "Deferred[list[Claimed]]":
        now = self._now()

        def operation(transaction: Transaction) -> list[Claimed]:
            if not transaction.room:
                spare = partial(database.free_octets, transaction.execute)
                self._bodies.check_room(body.octets, spare)
                transaction.room = True
            return adding.add(transaction, new, body, now)

        return self._writer.run(operation)

    @inlineCallbacks
    def _add_large(self, new: NewMessage) -> Any:
        body = yield self._in_pool(self._bodies.keep, new.content)
        try:
            return (yield self._add(new, body))
        except Exception:
            yield self._in_pool(self._bodies.discard, [body])
            raise

    # -- delivery

    def due(self, most: int, but: Collection[str]) -> "Deferred[list[str]]":
        """See :meth:`IQueueStore.due`."""
        return self._reader.run(partial(leases.due, most=most, but=but, now=self._now()))

    def next_due(self, but: Collection[str]) -> "Deferred[float | None]":
        """See :meth:`IQueueStore.next_due`."""
        return self._reader.run(partial(leases.next_due, but=but))

    def claim(
        self, destination: str, most: int, lease: Lease, asked: bool = False
    ) -> "Deferred[list[Claimed]]":
        """See :meth:`IQueueStore.claim`."""
        until = ASKED if asked else self._now()
        return self._writer.run(lambda t: leases.claim(t, destination, most, lease, until))

    def renew(self, entries: Collection[int], lease: Lease) -> "Deferred[frozenset[int]]":
        """See :meth:`IQueueStore.renew`."""
        return self._writer.run(partial(leases.renew, entries=entries, lease=lease))

    def give_back(self, entries: Collection[int], owner: str, due: float) -> "Deferred[None]":
        """See :meth:`IQueueStore.give_back`."""
        return self._writer.run(partial(leases.give_back, entries=entries, owner=owner, due=due))

    def record(self, result: Result) -> "Deferred[None]":
        """See :meth:`IQueueStore.record`."""
        bodies = [of_small(notice.content) for notice in result.notices]
        small = [body for body in bodies if body is not None]
        if len(small) < len(bodies):
            return self._noted(self._record_large(result))
        return self._record(result, small).addCallback(lambda added: None)

    def _record(self, result: Result, bodies: Iterable[Body]) -> "Deferred[bool]":
        notices = list(zip(result.notices, bodies, strict=True))
        now = self._now()
        return self._writer.run(lambda t: results.record(t, result, notices, now))

    @inlineCallbacks
    def _record_large(self, result: Result) -> Any:
        bodies: list[Body] = []
        added = False
        try:
            for notice in result.notices:
                bodies.append((yield self._in_pool(self._bodies.keep, notice.content)))
            added = yield self._record(result, bodies)
        finally:
            if not added:
                yield self._in_pool(self._bodies.discard, bodies)

    def defer(
        self, destination: str, reply: str, intervals: tuple[float, ...], most: int
    ) -> "Deferred[int]":
        """See :meth:`IQueueStore.defer`."""
        now = self._now()
        return self._writer.run(
            lambda t: results.defer(t, destination, reply, intervals, most, now)
        )

    def content(self, message: str) -> "Deferred[Content]":
        """See :meth:`IQueueStore.content`."""
        return self._reader.run(partial(self._bodies.of_message, id_=message))

    # -- operators

    def listed(self, which: Filter, most: int, after: Listed | None) -> "Deferred[list[Listed]]":
        """See :meth:`IQueueStore.listed`."""
        now = self._now()
        return self._browser.run(lambda t: looking.listed(t, which, most, after, now))

    def shown(self, message: str) -> "Deferred[Shown | None]":
        """See :meth:`IQueueStore.shown`."""
        return self._browser.run(partial(looking.shown, id_=message, now=self._now()))

    def stats(self, most: int) -> "Deferred[Stats]":
        """See :meth:`IQueueStore.stats`."""
        return self._browser.run(partial(looking.stats, most=most, now=self._now()))

    @inlineCallbacks
    def change(self, which: Filter, change: Change) -> Any:
        """See :meth:`IQueueStore.change`."""
        ids = yield self._browser.run(partial(changing.meant, which=which))
        now, changed = self._now(), 0
        for start in range(0, len(ids), changing.AT_ONCE):
            some = ids[start : start + changing.AT_ONCE]
            changed += yield self._writer.run(
                partial(changing.change, ids=some, what=change, now=now)
            )
        return changed
