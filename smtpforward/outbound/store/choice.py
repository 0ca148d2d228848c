"""Which store an address means."""

from typing import Any

from smtpforward.outbound.errors import StoreUnavailableError
from smtpforward.outbound.store.sqlite import SQLiteStore

SQLITE, POSTGRESQL = "sqlite:", ("postgresql://", "postgres://")


def store_at(address: str, reactor: Any) -> Any:
    """The :class:`~smtpforward.interfaces.IQueueStore` at ``address``, not yet opened.

    :param address: ``sqlite:PATH``, or a ``postgresql://`` address as libpq has it.
    :raise ValueError: when it is neither.
    :raise StoreUnavailableError: when it is PostgreSQL's, and there is no library for that.
    """
    if address.startswith(SQLITE):
        return SQLiteStore(address.removeprefix(SQLITE), reactor)
    if not address.startswith(POSTGRESQL):
        raise ValueError("neither sqlite:PATH nor postgresql://...")
    # Not above: its library is an extra, which a queue in SQLite does not need.
    try:
        from smtpforward.outbound.store.postgresql import PostgreSQLStore
    except ImportError as error:
        raise StoreUnavailableError(
            f"a queue in PostgreSQL needs psycopg ({error}): install smtpforward[postgresql]"
        )
    return PostgreSQLStore(address, reactor)
