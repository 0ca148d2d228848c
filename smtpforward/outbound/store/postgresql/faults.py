"""What PostgreSQL's errors mean to the queue.

Failure policy: whatever may pass by itself, or once an operator has looked at the server, is
"unavailable": the sender keeps its mail and tries again. A connection that ended leaves it open
whether the last statement was carried out.
"""

import contextlib
import errno
from collections.abc import Iterator

import psycopg
from psycopg import errors

from smtpforward.outbound.errors import (
    StoreDamagedError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
)

_FULL = (errors.DiskFull,)
_DAMAGED = (errors.DataCorrupted, errors.IndexCorrupted)
# Those that are not OperationalErrors: what an administrator has set, or a standby.
_UNAVAILABLE = (
    psycopg.OperationalError,
    errors.ReadOnlySqlTransaction,
    errors.InsufficientPrivilege,
    errors.UndefinedTable,
    errors.InvalidCatalogName,
    errors.InvalidSchemaName,
    errors.IdleInTransactionSessionTimeout,
)


def as_store_error(error: psycopg.Error, where: str) -> StoreError:
    """The error of the queue's that ``error`` is."""
    text = f"{where}: {_text(error)}"
    if isinstance(error, _FULL):
        return StoreFullError(text)
    if isinstance(error, _DAMAGED):
        return StoreDamagedError(text)
    if isinstance(error, _UNAVAILABLE):
        return StoreUnavailableError(text)
    return StoreError(text)


def _text(error: psycopg.Error) -> str:
    """The first line, without what the statement held."""
    said = error.diag.message_primary or str(error).strip() or type(error).__name__
    state = f" ({error.sqlstate})" if error.sqlstate else ""
    return said.splitlines()[0] + state


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """Around what makes values of rows: rows that are none of ours are damage."""
    try:
        yield
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise StoreDamagedError(f"what a row holds is not what was written: {error!r}") from error


def of_os_error(error: OSError) -> StoreError:
    """What went wrong with a large message's file on this host."""
    kind = StoreFullError if error.errno in (errno.ENOSPC, errno.EDQUOT) else StoreUnavailableError
    return kind(f"a message on its way from or to the queue: {error.strerror or error}")
