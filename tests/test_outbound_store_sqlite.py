"""The queue in SQLite: what every store does, and what is this one's own."""

import os
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from smtpforward.outbound.store.sqlite import SQLiteStore
from tests import storesuite, storesuite_operators, storesuite_results


class OnSQLite:
    """Stores in a directory of the test's own."""

    path = ""

    def make_store(self: Any) -> SQLiteStore:
        """See StoreSuite."""
        if not self.path:
            self.path = os.path.join(os.path.abspath(self.mktemp()), "queue.sqlite3")
        return SQLiteStore(self.path, reactor, self.now, reserve=0)


class AddingTests(OnSQLite, storesuite.AddingSuite, TestCase):
    """Putting mail in."""


class LeasesTests(OnSQLite, storesuite.LeasesSuite, TestCase):
    """What is due, and whose it is."""


class RecordingTests(OnSQLite, storesuite_results.RecordingSuite, TestCase):
    """What attempts made of entries."""


class DeferringTests(OnSQLite, storesuite_results.DeferringSuite, TestCase):
    """A destination that backs off."""


class LookingTests(OnSQLite, storesuite_operators.LookingSuite, TestCase):
    """Lists, one message, numbers."""


class ChangingTests(OnSQLite, storesuite_operators.ChangingSuite, TestCase):
    """What an operator does."""
