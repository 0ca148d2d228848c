"""The stores that are measured, each time with nothing in it."""

from collections.abc import Sequence

from benchmarks.common.bench import Bench

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
