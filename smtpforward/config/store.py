"""Where the outbound queue is kept: ``store`` of ``outbound.ini`` to an address that can be used.

Rules: a relative path is one in the configuration directory; the folder of an SQLite file is there
and writable. A ``postgresql://`` address is one that its driver takes, and the driver is installed.
Memory, and folders that are swept, give a warning. No message shows an address with a password.
"""

import os

from smtpforward.config.checks_outbound import STORE_REMEDY
from smtpforward.config.problems import Report, shown
from smtpforward.config.values import WrongValueError

SQLITE = "sqlite:"
POSTGRESQL = ("postgresql://", "postgres://")
DEFAULT_FILE = "/var/lib/smtpforward/queue.sqlite3"
EXTRA = "pip install smtpforward[postgresql]"
MOUNTS = "/proc/self/mounts"
IN_MEMORY = frozenset({"tmpfs", "ramfs"})
SWEPT = "/tmp"  # noqa: S108 -- nothing is made there


def usable(address: str, root: str, report: Report) -> str:
    """``address`` with an absolute path in it; on what does not last, with a warning.

    :raise WrongValueError: when nothing can be kept there.
    """
    if address.startswith(SQLITE):
        path = os.path.abspath(os.path.join(root, address.removeprefix(SQLITE)))
        check_file(path)
        why = why_passing(os.path.dirname(path))
        if why:
            report.warn(f"the queue's store {path} {why}: mail in it can be lost")
        return SQLITE + path
    if not address.startswith(POSTGRESQL):
        raise WrongValueError("is neither sqlite:PATH nor a postgresql:// address", STORE_REMEDY)
    _check_postgresql(address)
    return address


def check_file(path: str) -> None:
    """Whether an SQLite file can be made or written at ``path``.

    :raise WrongValueError: when it cannot.
    """
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        message = f"{shown(folder)} is no directory"
        raise WrongValueError(message, "make it, for the gateway's user, or store=sqlite:PATH")
    if os.path.isdir(path):
        raise WrongValueError(f"{shown(path)} is a directory", "the path of a file in it")
    # SQLite makes further files beside its own.
    for needed, right in ((folder, os.W_OK | os.X_OK), (path, os.R_OK | os.W_OK)):
        if os.path.exists(needed) and not os.access(needed, right):
            message = f"{shown(needed)} is not writable"
            raise WrongValueError(message, "a place that this user can write to")


def _check_postgresql(address: str) -> None:
    try:
        # 9 MiB in each process: for those alone whose queue is there.
        from psycopg import Error, conninfo
    except ImportError:
        raise WrongValueError("a store in PostgreSQL needs the package psycopg", EXTRA) from None
    try:
        conninfo.conninfo_to_dict(address)
    except Error:
        # Its text may quote the address.
        message = "is an address that PostgreSQL does not take"
        raise WrongValueError(message, STORE_REMEDY.rpartition(" ")[2]) from None


def why_passing(folder: str, mounts: str = MOUNTS) -> str:
    """Why what is kept in ``folder`` may go without having been asked to, if it may.

    :param mounts: the file that says what is mounted where.
    """
    real = os.path.realpath(folder)
    if _inside(real, SWEPT):
        return f"is under {SWEPT}"
    return "is in memory" if _kind(real, mounts) in IN_MEMORY else ""


def _kind(folder: str, mounts: str) -> str:
    """The kind of file system that ``folder`` is on, where the system says it."""
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
            mounted = [line.split(" ")[1:3] for line in file]
    except OSError:
        return ""
    kinds = [(point, kind) for point, kind in mounted if _inside(folder, point)]
    # What was mounted last hides what was there before.
    return max(reversed(kinds), key=lambda found: len(found[0]), default=("", ""))[1]


def _inside(folder: str, other: str) -> bool:
    return os.path.commonpath([folder, other]) == other


def in_words(address: str) -> str:
    """What may be shown of a store's address."""
    return address if address.startswith(SQLITE) else "PostgreSQL"
