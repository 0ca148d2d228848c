"""The queue in PostgreSQL, on a real server: what every store does."""

from typing import Any

from twisted.internet import reactor

from smtpforward.outbound.store.postgresql import PostgreSQLStore
from tests import storesuite, storesuite_operators, storesuite_results
from tests.peers import postgresql
from tests.peers.case import PeerTestCase


class OnPostgreSQL(PeerTestCase):
    """Stores in a database of the test's own."""

    address = ""
    now: Any

    async def setUp(self) -> None:  # type: ignore[override]
        server = await postgresql.shared()
        self.address = server.address_of(server.new_database())

    def make_store(self) -> PostgreSQLStore:
        """See StoreSuite."""
        return PostgreSQLStore(self.address, reactor, now=self.now)


class AddingTests(OnPostgreSQL, storesuite.AddingSuite):
    """Putting mail in."""


class LeasesTests(OnPostgreSQL, storesuite.LeasesSuite):
    """What is due, and whose it is."""


class RecordingTests(OnPostgreSQL, storesuite_results.RecordingSuite):
    """What attempts made of entries."""


class DeferringTests(OnPostgreSQL, storesuite_results.DeferringSuite):
    """A destination that backs off."""


class LookingTests(OnPostgreSQL, storesuite_operators.LookingSuite):
    """Lists, one message, numbers."""


class ChangingTests(OnPostgreSQL, storesuite_operators.ChangingSuite):
    """What an operator does."""
