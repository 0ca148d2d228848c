"""The tables, and how those of an earlier version become them."""

import sqlite3

from twisted.trial.unittest import SynchronousTestCase

from smtpforward.outbound.errors import StoreTooNewError
from smtpforward.outbound.store.sqlite.schema import STEPS, migrate

ONE = "CREATE TABLE a (x);\nCREATE TABLE b (x);\n"
TWO = "ALTER TABLE a ADD COLUMN y;\nUPDATE a SET y = x || ';';\n"
BAD = "CREATE TABLE c (x);\nINSERT INTO nowhere VALUES (1);\n"


class MigrateTests(SynchronousTestCase):
    """Steps from one version to the next."""

    def setUp(self) -> None:
        self.database = sqlite3.connect(self.mktemp(), isolation_level=None)
        self.addCleanup(self.database.close)

    def version(self) -> int:
        """The version that the database says it has."""
        version: int = self.database.execute("PRAGMA user_version").fetchone()[0]
        return version

    def tables(self) -> set[str]:
        """The names of its tables."""
        return {row[0] for row in self.database.execute("SELECT name FROM sqlite_schema")}

    def test_from_nothing(self) -> None:
        """All steps are taken; a second time there is nothing to do."""
        for _ in range(2):
            migrate(self.database, [ONE, TWO])
            self.assertEqual((self.version(), self.tables()), (2, {"a", "b"}))

    def test_only_what_is_missing(self) -> None:
        """An older database keeps its data, which the further step changes."""
        migrate(self.database, [ONE])
        self.database.execute("INSERT INTO a VALUES (7)")
        migrate(self.database, [ONE, TWO])
        self.assertEqual(self.database.execute("SELECT * FROM a").fetchall(), [(7, "7;")])
        self.assertEqual(self.version(), 2)

    def test_all_or_nothing(self) -> None:
        """A step that fails takes those before it along."""
        migrate(self.database, [ONE])
        with self.assertRaises(sqlite3.OperationalError):
            migrate(self.database, [ONE, TWO, BAD])
        self.assertEqual((self.version(), self.tables()), (1, {"a", "b"}))
        columns = self.database.execute("SELECT name FROM pragma_table_info('a')").fetchall()
        self.assertEqual(columns, [("x",)])
        self.assertFalse(self.database.in_transaction)

    def test_too_new(self) -> None:
        """A later version is left as it is, and named."""
        migrate(self.database, [ONE, TWO])
        with self.assertRaises(StoreTooNewError) as caught:
            migrate(self.database, [ONE])
        self.assertIn("version 2", str(caught.exception))
        self.assertEqual((self.version(), self.tables()), (2, {"a", "b"}))

    def test_the_tables(self) -> None:
        """Version 1; what refers to a message goes with it."""
        migrate(self.database)
        self.assertEqual((self.version(), len(STEPS)), (1, 1))
        self.assertLessEqual({"message", "body", "entry", "attempt"}, self.tables())
