"""The queue in a PostgreSQL database, which several gateways share.

Each call runs in a thread with a connection; nothing is kept in this process, so that any gateway
may end at any time. Messages are in the database too: no gateway needs another's disk.

Failure policy: what fails has changed nothing (but :meth:`PostgreSQLStore.change`, which goes in
steps), and the next call may work: the store connects again by itself. Where a connection ends
during a commit, nobody knows what became of it: the call fails, and may have been done. A sender
then brings its message again: there may be two, never none.
"""

import secrets
import tempfile
from collections.abc import Callable, Collection, Generator, Sequence
from operator import itemgetter
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.logger import Logger
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
from smtpforward.outbound.store.postgresql import (
    adding,
    changing,
    contents,
    leases,
    looking,
    results,
    schema,
)
from smtpforward.outbound.store.postgresql.address import Address
from smtpforward.outbound.store.postgresql.clock import DatabaseClock
from smtpforward.outbound.store.postgresql.connections import Connections, Work
from smtpforward.outbound.store.postgresql.listening import Listener, Notifier
from smtpforward.outbound.store.postgresql.together import Together
from smtpforward.outbound.store.rows import ASKED

T = TypeVar("T")
CONNECTIONS = 8
PATIENCE = 15.0  # seconds
SMALL = 65536  # bytes of a message that is put in together with others
SPOOL_AFTER = 1048576  # bytes
FSYNC = "the queue's database runs with fsync=off: when its host fails, accepted mail is lost"

_log = Logger()

_Small = tuple[NewMessage, int, bytes]


@implementer(IQueueStore)
class PostgreSQLStore:
    """See :class:`smtpforward.interfaces.IQueueStore`.

    :param address: as in ``address.py``; it may hold a password.
    :param connections: at most so many, and one more that listens.
    :param patience: seconds after which a call that does not go on fails.
    :param now: the time, where it is not to be the database's.
    :param spool_dir: where contents of more than ``spool_after`` bytes are while they are read.
    :raise ValueError: when the address is none.
    """

    def __init__(
        self,
        address: str,
        reactor: Any,
        *,
        connections: int = CONNECTIONS,
        patience: float = PATIENCE,
        now: Callable[[], float] | None = None,
        spool_dir: str | None = None,
        spool_after: int = SPOOL_AFTER,
    ) -> None:
        clock = DatabaseClock()
        self.now = now or clock.now
        self._spool = (spool_dir or tempfile.gettempdir(), spool_after)
        where = Address.of(address)
        self._connections = Connections(where, reactor, clock, connections, patience)
        name = secrets.token_hex(8)
        self._notifier = Notifier(self._connections, reactor, name)
        self._listener = Listener(self._connections, reactor, name)
        self._adding = Together(self._add_all, self._add_alone)
        self._recording = Together(self._record_all, self._record_alone)

    def __repr__(self) -> str:
        return f"<PostgreSQLStore {self._connections.place}>"

    @inlineCallbacks
    def open(self, owner: str | None = None) -> "Generator[Deferred[Any], Any, None]":
        """Make or migrate the tables; who delivers listens from now on. It may be repeated."""
        if (yield self._connections.run(_open)) == "off":
            _log.warn(FSYNC)
        if owner is not None and not self._listener.is_listening:
            yield self._listener.start()

    def close(self) -> "Deferred[None]":
        """End all connections, when what was begun has ended."""
        self._listener.stop()
        self._notifier.stop()
        return self._connections.close()

    def watch(self, changed: Callable[[], object]) -> None:
        """It is called, too, whenever the way to the database is there again."""
        self._listener.watch(changed)

    def add(self, new: NewMessage) -> "Deferred[list[Claimed]]":
        if self._connections.is_closed:
            return self._connections.refuse()
        if len(new.content.prefix) + new.content.size <= SMALL and not new.content.spooled:
            # Read now: who cancels may close it.
            added = self._adding.do((new, 0, b"".join(new.content.wire())))
        else:
            added = self._connections.run(adding.add, new, self.now())
        return added if new.lease else added.addCallback(self._say)

    def due(self, most: int, but: Collection[str]) -> "Deferred[list[str]]":
        return self._connections.run(leases.due, most, but, self.now())

    def next_due(self, but: Collection[str]) -> "Deferred[float | None]":
        return self._connections.run(leases.next_due, but)

    def claim(
        self, destination: str, most: int, lease: Lease, asked: bool = False
    ) -> "Deferred[list[Claimed]]":
        until = ASKED if asked else self.now()
        return self._connections.run(leases.claim, destination, most, lease, until)

    def renew(self, entries: Collection[int], lease: Lease) -> "Deferred[frozenset[int]]":
        return self._connections.run(leases.renew, entries, lease)

    def give_back(self, entries: Collection[int], owner: str, due: float) -> "Deferred[None]":
        given = self._connections.run(leases.give_back, entries, owner, due)
        return given.addCallback(self._say)

    def record(self, result: Result) -> "Deferred[None]":
        if self._connections.is_closed:
            return self._connections.refuse()
        if results.is_plain(result):
            return self._recording.do(result)
        recorded = self._connections.run(results.record, result, self.now())
        return recorded.addCallback(self._say) if result.notices else recorded

    def defer(
        self, destination: str, reply: str, intervals: Sequence[float], most: int
    ) -> "Deferred[int]":
        return self._connections.run(results.defer, destination, reply, intervals, most, self.now())

    def content(self, message: str) -> "Deferred[Content]":
        return self._connections.run(contents.content, message, *self._spool)

    def listed(self, which: Filter, most: int, after: Listed | None) -> "Deferred[list[Listed]]":
        return self._connections.run(looking.listed, which, most, after, self.now())

    def shown(self, message: str) -> "Deferred[Shown | None]":
        return self._connections.run(looking.shown, message, self.now())

    def change(self, which: Filter, change: Change) -> "Deferred[int]":
        changed = self._connections.run(changing.change, which, change, self.now())
        return changed.addCallback(self._say)

    def stats(self, most: int) -> "Deferred[Stats]":
        return self._connections.run(looking.stats, most, self.now())

    def _add_all(self, those: "list[_Small]") -> "Deferred[list[list[Claimed]]]":
        return self._connections.run_also(adding.add_all, those, self.now())

    def _add_alone(self, small: "_Small") -> "Deferred[list[Claimed]]":
        return self._add_all([small]).addCallback(itemgetter(0))

    def _record_all(self, those: list[Result]) -> "Deferred[list[None]]":
        return self._connections.run_also(results.record_all, those, self.now())

    def _record_alone(self, result: Result) -> "Deferred[None]":
        return self._record_all([result]).addCallback(itemgetter(0))

    def _say(self, result: T) -> T:
        self._notifier.say()
        return result


def _open(work: Work) -> str:
    schema.migrate(work)
    fsync: str = work.rows("SHOW fsync")[0][0]
    return fsync
