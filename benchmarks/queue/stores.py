"""The stores that are measured, each time with nothing in it."""

from collections.abc import Sequence

from benchmarks.common.bench import Bench
from tests.peers.postgresql import PostgreSQL
from tests.peers.process import Process

SQLITE, POSTGRESQL = "SQLite", "PostgreSQL"
ALL = (SQLITE, POSTGRESQL)
# As it comes, but for what the tests' servers leave out.
SETTINGS = {"shared_buffers": "128MB", "max_connections": "100"}


class Stores:
    """Makes addresses of empty stores.

    :param names: of those that are measured.
    """

    def __init__(self, bench: Bench, names: Sequence[str]) -> None:
        self.names = names
        self._bench = bench
        self._server: PostgreSQL | None = None

    async def start(self) -> None:
        """Begin with the database server, where one is needed."""
        if POSTGRESQL in self.names:
            server = PostgreSQL(self._bench.folder(), SETTINGS)
            self._server = await self._bench.keep(server).ready()

    async def new(self, name: str) -> str:
        """The address of an empty store."""
        if name == SQLITE:
            return f"sqlite:{self._bench.folder() / 'queue.sqlite3'}"
        assert self._server is not None, "it was started"
        return self._server.address_of(self._server.new_database())

    def server(self, name: str) -> Process | None:
        """The database server that a store is in, where it is in one."""
        return self._server if name == POSTGRESQL else None
