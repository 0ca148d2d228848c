"""What tests of the queue in PostgreSQL stand on: stores in a database of the test's own."""

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from smtpforward.outbound.store.postgresql import PostgreSQLStore
from tests.peers import postgresql
from tests.peers.case import PeerTestCase

T = TypeVar("T")


class StoreTestCase(PeerTestCase):
    """Its stores use the time of the database.

    :ivar own_server: whether the test does something to the server that others would notice.
    """

    own_server = False

    async def setUp(self) -> None:  # type: ignore[override]
        self.server = await (self.postgresql() if self.own_server else postgresql.shared())
        self.database = "queue" if self.own_server else self.server.new_database()
        self.address = self.server.address_of(self.database)

    def make_store(self, **keys: Any) -> PostgreSQLStore:
        """One that is not opened, and that the test closes."""
        return PostgreSQLStore(self.address, reactor, **keys)

    def make_closing_store(self, **keys: Any) -> PostgreSQLStore:
        """One that is not opened, and is closed at the end."""
        store = self.make_store(**keys)
        self.addCleanup(store.close)
        return store

    async def opened(self, owner: str | None = "a", **keys: Any) -> PostgreSQLStore:
        """One that is open until the test ends."""
        store = self.make_closing_store(**keys)
        await store.open(owner)
        return store

    def sql(self, statement: str) -> list[Any]:
        """What the database says to it."""
        return self.server.sql(statement, database=self.database)

    async def failed(self, deferred: Deferred[Any], *kinds: type[Exception]) -> Exception:
        """The exception, one of ``kinds``, with which it has failed."""
        error: Any = await self.assertFailure(deferred, *kinds)
        return error

    def later(self, coroutine: Coroutine[Any, Any, T]) -> "Deferred[T]":
        """What becomes of it."""
        return Deferred.fromCoroutine(coroutine)
