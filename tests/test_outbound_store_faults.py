"""What SQLite and the file system raise, as what it means for the queue."""

import errno
import sqlite3

from twisted.trial.unittest import SynchronousTestCase

from smtpforward.outbound.errors import (
    StoreDamagedError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
)
from smtpforward.outbound.store.sqlite.faults import explained

PATH = "/var/lib/queue"


def of_sqlite(code: int) -> sqlite3.Error:
    """An error as the library raises it."""
    error = sqlite3.OperationalError("it says so")
    error.sqlite_errorcode = code
    return error


class ExplainedTests(SynchronousTestCase):
    """Each error, its kind, and a text that helps."""

    def check(self, error: Exception, kind: type[StoreError], *words: str) -> None:
        """See what ``error`` is explained as."""
        found = explained(error, PATH)
        self.assertIs(type(found), kind, error)
        for word in (PATH, *words):
            self.assertIn(word, str(found))

    def test_of_sqlite(self) -> None:
        """By code, the extended ones by what they extend."""
        for code, kind, words in (
            (sqlite3.SQLITE_FULL, StoreFullError, "make space"),
            (sqlite3.SQLITE_IOERR_SHMSIZE, StoreFullError, "make space"),
            (sqlite3.SQLITE_IOERR_WRITE, StoreUnavailableError, "disk"),
            (sqlite3.SQLITE_BUSY, StoreUnavailableError, "other process"),
            (sqlite3.SQLITE_BUSY_SNAPSHOT, StoreUnavailableError, "other process"),
            (sqlite3.SQLITE_READONLY, StoreUnavailableError, "user"),
            (sqlite3.SQLITE_CANTOPEN, StoreUnavailableError, "user"),
            (sqlite3.SQLITE_CORRUPT, StoreDamagedError, "copy"),
            (sqlite3.SQLITE_NOTADB, StoreDamagedError, "copy"),
            (sqlite3.SQLITE_ERROR, StoreDamagedError, "copy"),
        ):
            self.check(of_sqlite(code), kind, words, "it says so")

    def test_of_the_file_system(self) -> None:
        """By number, with the file's own name where it is known."""
        for number in (errno.ENOSPC, errno.EDQUOT):
            self.check(OSError(number, "No"), StoreFullError, "make space")
        self.check(PermissionError(errno.EACCES, "No"), StoreUnavailableError, "user")
        error = explained(OSError(errno.EIO, "No", "/a/file"), PATH)
        self.assertIsInstance(error, StoreUnavailableError)
        self.assertIn("/a/file", str(error))

    def test_the_others(self) -> None:
        """What is not foreseen, and what is explained already, is as it was."""
        for error in (KeyError("1F"), StoreFullError("full"), ValueError("x")):
            self.assertIs(explained(error, PATH), error)
