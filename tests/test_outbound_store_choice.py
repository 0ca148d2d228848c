"""Which store an address means."""

import sys
from typing import cast
from unittest import mock

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.outbound.errors import StoreUnavailableError
from smtpforward.outbound.store.choice import store_at
from smtpforward.outbound.store.sqlite import SQLiteStore

POSTGRESQL = "smtpforward.outbound.store.postgresql"


class StoreAtTests(SynchronousTestCase):
    """Addresses of stores."""

    def test_sqlite(self) -> None:
        """The rest is a path, whatever it holds."""
        store = store_at("sqlite:/var/lib/a b?c=%20.sqlite3", Clock())
        self.assertIsInstance(store, SQLiteStore)
        self.assertIn("/var/lib/a b?c=%20.sqlite3", repr(store))

    def test_postgresql(self) -> None:
        """The whole address is libpq's."""
        module = mock.Mock()
        clock = Clock()
        with mock.patch.dict(sys.modules, {POSTGRESQL: module}):
            for address in ("postgresql://db/queue", "postgres://u:p@db:5433/queue"):
                store_at(address, clock)
                module.PostgreSQLStore.assert_called_with(address, clock)

    def test_without_its_library(self) -> None:
        """What is missing, and how it is installed; SQLite needs none of it."""
        missing = cast(dict[str, object], {POSTGRESQL: None})
        with mock.patch.dict(sys.modules, missing):
            with self.assertRaises(StoreUnavailableError) as caught:
                store_at("postgresql://db/queue", Clock())
            self.assertIn("smtpforward[postgresql]", str(caught.exception))
            store_at("sqlite:/queue", Clock())

    def test_neither(self) -> None:
        """Anything else is no address; a password in it is in no text."""
        with self.assertRaises(ValueError) as caught:
            store_at("mysql://user:secret@db/queue", Clock())
        self.assertNotIn("secret", str(caught.exception))
