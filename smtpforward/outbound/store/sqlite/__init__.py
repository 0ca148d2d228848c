"""The queue in an SQLite database, with large messages in files beside it."""

from smtpforward.outbound.store.sqlite.store import SQLiteStore

__all__ = ["SQLiteStore"]
