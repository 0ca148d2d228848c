"""The tables of a queue in PostgreSQL, and how those of an earlier version become them.

``queue_version`` holds the number of steps that have been taken. What is missing of them is taken
in one transaction, by one gateway at a time, however many start at once. A database of a later
version is left as it is.

Messages stand in ``part``, in pieces in wire form, so that lists and counts read no mail, and none
is ever whole in memory that need not be. An entry all of whose recipients are settled stays, with
no ``due``, until its message goes. A claim moves ``due`` to the lease's end. ``queued``,
``delivered`` and ``failed`` hold the indices of its recipients; ``recipients`` those still queued,
for searches; ``last`` what was answered last.
"""

from collections.abc import Sequence

from smtpforward.outbound.errors import StoreError, StoreTooNewError
from smtpforward.outbound.store.postgresql.connections import Work
from smtpforward.outbound.store.rows import MESSAGE_COLUMNS

# A number that nothing else locks, one hopes: "smtpfwd" in ASCII.
LOCK = 0x73_6D_74_70_66_77_64

# "C": names compare by their bytes, whatever the database's language. Compressing mail costs the
# server time and saves little, and a row in one piece is written faster than one in several. The
# parts of a large message are there before it is.
FIRST = """
CREATE TABLE message (
    id text COLLATE "C" PRIMARY KEY,
    received float8 NOT NULL,
    sender text NOT NULL,
    envelope text NOT NULL,
    size int8 NOT NULL,
    origin text NOT NULL,
    octets int8 NOT NULL
);
CREATE TABLE part (
    message text COLLATE "C" REFERENCES message ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    number int4,
    data bytea NOT NULL,
    PRIMARY KEY (message, number)
) WITH (toast_tuple_target = 8160);
ALTER TABLE part ALTER data SET STORAGE EXTERNAL;
CREATE TABLE entry (
    id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message text COLLATE "C" NOT NULL REFERENCES message ON DELETE CASCADE,
    received float8 NOT NULL,
    destination text COLLATE "C" NOT NULL,
    delivery text NOT NULL,
    due float8,
    owner text,
    held bool NOT NULL DEFAULT false,
    attempts int4 NOT NULL DEFAULT 0,
    noticed bool NOT NULL DEFAULT false,
    queued text NOT NULL,
    delivered text NOT NULL DEFAULT '[]',
    failed text NOT NULL DEFAULT '[]',
    recipients text NOT NULL,
    last text NOT NULL DEFAULT ''
);
CREATE TABLE attempt (
    number int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    entry int8 NOT NULL REFERENCES entry ON DELETE CASCADE,
    at float8 NOT NULL,
    owner text NOT NULL,
    took float8 NOT NULL,
    peer text NOT NULL,
    results text NOT NULL
);
CREATE INDEX entry_message ON entry (message);
CREATE INDEX entry_due ON entry (due, destination) WHERE NOT held AND due IS NOT NULL;
CREATE INDEX entry_destination ON entry (destination, due) WHERE NOT held AND due IS NOT NULL;
CREATE INDEX entry_received ON entry (received) WHERE due IS NOT NULL;
CREATE INDEX attempt_entry ON attempt (entry, at);
"""

STEPS = (FIRST,)

# The columns of ``MESSAGE_COLUMNS``, where ``entry`` has some of the same name.
MESSAGE = ", ".join(f"message.{name}" for name in MESSAGE_COLUMNS.split(", "))

_VERSION = "CREATE TABLE IF NOT EXISTS queue_version (version int4 NOT NULL)"


def migrate(work: Work, steps: Sequence[str] = STEPS) -> None:
    """Take the steps that the database lacks, all of them or none.

    :raise StoreTooNewError: when it has taken more than there are.
    :raise StoreError: when it cannot hold every text.
    """
    if work.rows("SHOW server_encoding") != [("UTF8",)]:
        raise StoreError("the database's encoding is not UTF8: make one with ENCODING 'UTF8'")
    there = work.rows("SELECT to_regclass('queue_version')") != [(None,)]
    if there and _taken(work, steps) == len(steps):
        return
    with work.connection.transaction():
        work.rows("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        # Another gateway may have been here first; so it is asked for anew what there is.
        work.do(_VERSION)
        for step in steps[_taken(work, steps) :]:
            for statement in filter(str.strip, step.split(";\n")):
                work.do(statement)
        work.do("DELETE FROM queue_version")
        work.do("INSERT INTO queue_version VALUES (%s)", (len(steps),))


def _taken(work: Work, steps: Sequence[str]) -> int:
    version: int = (work.rows("SELECT version FROM queue_version") or [(0,)])[0][0]
    if version > len(steps):
        raise StoreTooNewError(
            f"the queue is of version {version}, made by a later smtpforward; this one knows"
            f" versions up to {len(steps)}: install the later one again, or name another store"
        )
    return version
