"""The stores that are measured, each time with nothing in it."""

from collections.abc import Sequence

from benchmarks.common.bench import Bench
from tests.peers.process import Process

SQLITE, POSTGRESQL = "SQLite", "PostgreSQL"


class Stores:
    """Makes addresses of empty stores.

    :param names: of those that are measured.
    """

    def __init__(self, bench: Bench, names: Sequence[str]) -> None:
        self.names = names
        self._bench = bench

    async def new(self, name: str) -> str:
        """The address of an empty store."""
        assert name == SQLITE, name
        return f"sqlite:{self._bench.folder() / 'queue.sqlite3'}"

    def server(self, name: str) -> Process | None:
        """The database server that a store is in, where it is in one."""
        return None
