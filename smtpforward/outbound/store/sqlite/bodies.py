"""What messages hold: small ones for a row of the database, large ones in files beside it.

A file is complete and on disk, its name too, before the row that names it; it goes only after the
commit that took the row away. What a crash leaves in between, a file without a row, is removed at
the start, when it is an hour old: another process may be about to add its row.

Failure policy: a file that cannot be written whole is removed, and the error raised.
"""

import contextlib
import os
import secrets
from collections.abc import Callable, Iterable

from attrs import frozen

from smtpforward.content import Content
from smtpforward.outbound.errors import StoreDamagedError, StoreFullError
from smtpforward.outbound.store.sqlite import faults
from smtpforward.outbound.store.sqlite.connection import Transaction

SMALL = 64 * 1024
ORPHANED = 3600.0  # seconds
_PART = ".part"
_BODY = "SELECT octets, data, file FROM body JOIN message ON number = message WHERE id = ?"


@frozen
class Body:
    """A message as it is kept: ``octets`` in wire form, as ``data`` or under the name ``file``."""

    octets: int
    data: bytes | None
    file: str | None = None


def of_small(content: Content) -> Body | None:
    """The body of a message that needs no file to be read or written; ``None`` for another."""
    if content.spooled or len(content.prefix) + content.size > SMALL:
        return None
    data = b"".join(content.wire())
    return Body(len(data), data)


class Bodies:
    """The files of one store. Every method does slow IO.

    :param reserve: bytes of the disk that messages leave free, so that results can be recorded.
    """

    def __init__(self, directory: str, reserve: int) -> None:
        self._directory = directory
        self._reserve = reserve

    def keep(self, content: Content) -> Body:
        """The body of any message.

        :raise StoreError: when it cannot be written; nothing is left of it.
        """
        if len(content.prefix) + content.size <= SMALL:
            data = b"".join(content.wire())
            return Body(len(data), data)
        self.check_room(len(content.prefix) + content.size)
        name = secrets.token_hex(12)
        path = self._path(name)
        try:
            octets = _write(path + _PART, content)
            os.rename(path + _PART, path)
            sync_directory(self._directory)
        except BaseException as error:
            for each in (path + _PART, path):
                _remove(each)
            if isinstance(error, OSError):
                raise faults.of_os_error(error, path)
            raise
        return Body(octets, None, name)

    def check_room(self, octets: int, spare: Callable[[], int] = int) -> None:
        """See that there is space for ``octets`` and the reserve.

        :param spare: what else there is beside the space of the disk; asked when that is short.
        :raise StoreFullError: when there is not.
        """
        state = os.statvfs(self._directory)
        lacking = octets + self._reserve - state.f_bavail * state.f_frsize
        if lacking > 0 and lacking > spare():
            raise StoreFullError(
                f"{self._directory}: less than {self._reserve} bytes would be left on the disk:"
                f" {faults.MAKE_SPACE}"
            )

    def of_message(self, transaction: Transaction, id_: str) -> Content:
        """What the message ``id_`` holds.

        :raise KeyError: when there is no such message.
        :raise StoreDamagedError: when it is not all there.
        """
        for last in (False, True):
            row = transaction.execute(_BODY, (id_,)).fetchone()
            if row is None:
                raise KeyError(id_)
            octets, data, file = row
            if data is not None:
                return Content.of_wire(data)
            try:
                return self._open(octets, file)
            except FileNotFoundError as error:
                if last:
                    raise StoreDamagedError(f"{error.filename}: the message {id_} has no file")
            # It may just have been removed: a new transaction sees that.
            transaction.execute("COMMIT")
            transaction.execute("BEGIN")
        raise AssertionError("unreachable")

    def _open(self, octets: int, file: str) -> Content:
        path = self._path(file)
        descriptor = os.open(path, os.O_RDONLY)
        found = os.fstat(descriptor).st_size
        if found != octets:
            os.close(descriptor)
            raise StoreDamagedError(f"{path}: {found} bytes in place of {octets}")
        return Content.of_file(descriptor, octets)

    def remove(self, files: Iterable[str]) -> None:
        """Remove files that nothing needs."""
        for file in files:
            _remove(self._path(file))

    def discard(self, bodies: Iterable[Body]) -> None:
        """Remove what was kept of messages that have no row."""
        self.remove(body.file for body in bodies if body.file is not None)

    def make_directory(self) -> None:
        """See that there is a place for files, and for the database beside it."""
        os.makedirs(os.path.dirname(self._directory), 0o700, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._directory, 0o700)
            sync_directory(os.path.dirname(self._directory))

    def sweep(self, known: set[str], now: float) -> None:
        """Remove old files that are not ``known``."""
        with os.scandir(self._directory) as all_:
            for found in all_:
                if found.name not in known and _is_old(found, now):
                    _remove(found.path)

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, name)


def _write(path: str, content: Content) -> int:
    octets = 0
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", 0) as file:
        for piece in content.wire():
            view = memoryview(piece)
            while view:
                view = view[file.write(view) :]
            octets += len(piece)
        os.fsync(file.fileno())
    return octets


def _is_old(found: "os.DirEntry[str]", now: float) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return found.stat().st_mtime < now - ORPHANED
    return False


def _remove(path: str) -> None:
    # A file that stays is an orphan, and goes at a later start.
    with contextlib.suppress(OSError):
        os.unlink(path)


def sync_directory(path: str) -> None:
    """Have the names in a directory on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
