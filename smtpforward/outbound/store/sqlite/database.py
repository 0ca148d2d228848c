"""Opening the database: its rights, its way of writing, its tables, and who delivers from it.

Failure policy: what fails raises, and leaves nothing open. The lock on ``PATH.lock`` is the
kernel's: it ends with its process, whatever ends that.
"""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator

from smtpforward.outbound.errors import StoreInUseError
from smtpforward.outbound.store.sqlite.bodies import sync_directory
from smtpforward.outbound.store.sqlite.connection import BUSY, Execute
from smtpforward.outbound.store.sqlite.schema import migrate

FREE_PAGES = 1024  # that a file keeps
PAGES_AT_ONCE = 256  # that are cut off in one transaction
_PRAGMAS = (
    "foreign_keys = ON",
    # Durable at each commit, and one sync for it: that of the write-ahead log.
    "synchronous = FULL",
    "wal_autocheckpoint = 2000",
    "journal_size_limit = 33554432",
    # What was deleted is overwritten where that needs no further page.
    "secure_delete = FAST",
    "temp_store = MEMORY",
    "cache_size = -16384",
)


class Lock:
    """The right to deliver from a queue, which one process has.

    :raise StoreInUseError: when another one has it.
    """

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            if not isinstance(error, BlockingIOError):
                raise
            raise StoreInUseError(
                f"{path}: another gateway delivers from this queue: stop it, or have several share"
                " one in PostgreSQL (outbound.ini: store)"
            )

    def release(self) -> None:
        """Let another one have it."""
        os.close(self._descriptor)


def connect(path: str, writes: bool = True) -> sqlite3.Connection:
    """A connection for one thread; the file is there."""
    # Transactions are begun by statements of our own.
    connection = sqlite3.connect(path, timeout=BUSY, isolation_level=None)
    try:
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        connection.execute(f"PRAGMA query_only = {not writes}")
    except BaseException:
        connection.close()
        raise
    return connection


def make(path: str) -> sqlite3.Connection:
    """A connection for one thread, in a directory that is there; what else is missing is made."""
    directory = os.path.dirname(path)
    with _alone_in(directory):
        _make_file(path, directory)
        connection = connect(path)
        try:
            # It counts before the first table is made.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            migrate(connection)
        except BaseException:
            connection.close()
            raise
    return connection


@contextlib.contextmanager
def _alone_in(directory: str) -> Iterator[None]:
    """Nobody else makes a database there: SQLite does not wait when several begin to use WAL."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make_file(path: str, directory: str) -> None:
    # Mail is nobody's business; the log and its index get the same rights. A file that is there is
    # not opened: closing it would end the locks that another connection of this process has.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        sync_directory(directory)


def free_octets(execute: Execute) -> int:
    """What the file has room for without growing."""
    return _pragma(execute, "freelist_count") * _pragma(execute, "page_size")


def spare_pages(execute: Execute) -> int:
    """How many free pages there are beyond those that stay, for what comes next."""
    free, pages = _pragma(execute, "freelist_count"), _pragma(execute, "page_count")
    return max(0, free - (pages - free) // 4 - FREE_PAGES)


def give_space_back(execute: Execute) -> bool:
    """Cut some spare pages off the file; whether there are more."""
    spare = spare_pages(execute)
    if spare:
        # It works while it is read from.
        execute(f"PRAGMA incremental_vacuum({min(spare, PAGES_AT_ONCE)})").fetchall()
    return spare > PAGES_AT_ONCE


def data_version(execute: Execute) -> int:
    """A number that changes with each commit of another connection."""
    return _pragma(execute, "data_version")


def _pragma(execute: Execute, name: str) -> int:
    value: int = execute(f"PRAGMA {name}").fetchone()[0]
    return value
