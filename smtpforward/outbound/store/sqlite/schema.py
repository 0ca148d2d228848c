"""The tables of a queue in SQLite, and how those of an earlier version become them.

``PRAGMA user_version`` holds the version, which is the number of steps that have been taken; what
is missing of them is taken in one transaction. A file of a later version is left as it is.

A message's row is small: the content stands in a table of its own, or beside the database in a
file, so that lists and counts read no mail. An entry all of whose recipients are settled stays,
with no ``due``, until its message goes. A claim moves ``due`` to the lease's end. ``queued``,
``delivered`` and ``failed`` hold the indices of its recipients; ``recipients`` those still queued,
for searches; ``last`` what was answered last.
"""

import sqlite3
from collections.abc import Sequence

from smtpforward.outbound.errors import StoreTooNewError
from smtpforward.outbound.store.rows import MESSAGE_COLUMNS

# Those of a message where entries are joined to it.
MESSAGE = ", ".join(f"message.{name}" for name in MESSAGE_COLUMNS.split(", "))
# What an entry must be for the partial indexes: they are not used without these words.
WAITING = "held = 0 AND due IS NOT NULL"

FIRST = """
CREATE TABLE message (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    received REAL NOT NULL,
    sender TEXT NOT NULL,
    envelope TEXT NOT NULL,
    size INTEGER NOT NULL,
    origin TEXT NOT NULL
);
CREATE TABLE body (
    message INTEGER PRIMARY KEY REFERENCES message ON DELETE CASCADE,
    octets INTEGER NOT NULL,
    file TEXT,
    data BLOB,
    CHECK ((file IS NULL) <> (data IS NULL))
);
CREATE TABLE entry (
    -- never given a second time: a late result must not meet another entry
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    message INTEGER NOT NULL REFERENCES message ON DELETE CASCADE,
    received REAL NOT NULL,
    destination TEXT NOT NULL,
    delivery TEXT NOT NULL,
    due REAL,
    owner TEXT,
    held INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    noticed INTEGER NOT NULL DEFAULT 0,
    queued TEXT NOT NULL,
    delivered TEXT NOT NULL DEFAULT '[]',
    failed TEXT NOT NULL DEFAULT '[]',
    recipients TEXT NOT NULL,
    last TEXT NOT NULL DEFAULT ''
);
CREATE TABLE attempt (
    number INTEGER PRIMARY KEY,
    entry INTEGER NOT NULL REFERENCES entry ON DELETE CASCADE,
    at REAL NOT NULL,
    owner TEXT NOT NULL,
    took REAL NOT NULL,
    peer TEXT NOT NULL,
    results TEXT NOT NULL
);
CREATE INDEX body_file ON body (file) WHERE file IS NOT NULL;
CREATE INDEX entry_message ON entry (message);
CREATE INDEX entry_due ON entry (due, destination) WHERE held = 0 AND due IS NOT NULL;
CREATE INDEX entry_destination ON entry (destination, due) WHERE held = 0 AND due IS NOT NULL;
CREATE INDEX entry_received ON entry (received) WHERE due IS NOT NULL;
CREATE INDEX attempt_entry ON attempt (entry, at);
"""

STEPS = (FIRST,)


def migrate(connection: sqlite3.Connection, steps: Sequence[str] = STEPS) -> None:
    """Take the steps that ``connection``'s database lacks, all of them or none.

    :raise StoreTooNewError: when it has taken more than there are.
    """
    if _version(connection, steps) == len(steps):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have been here first.
        for step in steps[_version(connection, steps) :]:
            for statement in _statements(step):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(steps)}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _version(connection: sqlite3.Connection, steps: Sequence[str]) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(steps):
        raise StoreTooNewError(
            f"the queue is of version {version}, made by a later smtpforward; this one knows"
            f" versions up to {len(steps)}: install the later one again, or name another store"
        )
    return version


def _statements(step: str) -> list[str]:
    # executescript() would commit what was begun.
    return [statement for statement in step.split(";\n") if statement.strip()]
