"""What SQLite and the file system raise, as what it means for the queue.

Each text names the file, and what an operator can do. What is not foreseen passes as it is.
"""

import errno
import sqlite3

from smtpforward.outbound.errors import (
    StoreDamagedError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
)

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
MAKE_SPACE = "make space there; the queue goes on by itself"
_FULL = (StoreFullError, MAKE_SPACE)
_DAMAGED = (
    StoreDamagedError,
    "stop the gateway, keep a copy, and see what 'sqlite3 FILE .recover' saves",
)
_RIGHTS = "let the gateway's user write the file and its directory"
_DESCRIPTORS = "let the gateway have more file descriptors (ulimit -n, LimitNOFILE=)"
_REMEDIES = {
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), _RIGHTS),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), _DESCRIPTORS),
}
_CODES: dict[int, tuple[type[StoreError], str]] = {
    sqlite3.SQLITE_FULL: _FULL,
    # The index of the write-ahead log could not grow: nothing else makes that fail.
    sqlite3.SQLITE_IOERR_SHMSIZE: _FULL,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_BUSY: (StoreUnavailableError, "see which other process keeps it locked"),
    sqlite3.SQLITE_READONLY: (StoreUnavailableError, _RIGHTS),
    sqlite3.SQLITE_CANTOPEN: (StoreUnavailableError, _RIGHTS),
    sqlite3.SQLITE_PERM: (StoreUnavailableError, _RIGHTS),
    sqlite3.SQLITE_IOERR: (StoreUnavailableError, "see the system's log about the disk"),
}


def explained(error: BaseException, path: str) -> BaseException:
    """The :class:`StoreError` for what was raised at the database ``path``, or ``error`` itself."""
    if isinstance(error, OSError):
        return of_os_error(error, path)
    if not isinstance(error, sqlite3.Error):
        return error
    code = getattr(error, "sqlite_errorcode", 0)
    # Of another code: a table or column that is missing, a value that cannot be.
    kind, remedy = _CODES.get(code) or _CODES.get(code & 0xFF) or _DAMAGED
    return kind(f"{path}: {error}: {remedy}")


def of_os_error(error: OSError, path: str) -> StoreError:
    """The same for a file; ``path`` where the error names none."""
    where = f"{error.filename or path}: {error.strerror or error}"
    if error.errno in _NO_SPACE:
        return StoreFullError(f"{where}: {MAKE_SPACE}")
    remedy = _REMEDIES.get(error.errno or 0, "see that the directory is there")
    return StoreUnavailableError(f"{where}: {remedy}")
