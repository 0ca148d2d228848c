"""Tells of changes in directories, with inotify.

A change is: a file was closed after writing, or came, went or was renamed, or its permissions
changed. All directories are watched anew each time: Twisted's notifier gives up when one of them
is removed, and does not notice one that has been made again.

Failure policy: a directory that cannot be watched is named in the log once; the others are.
"""

from collections.abc import Callable, Iterable
from typing import Any

from twisted.logger import Logger
from twisted.python.filepath import FilePath

inotify: Any
try:
    from twisted.internet import inotify
except ImportError:  # pragma: no cover -- a system without it
    inotify = None


class Watcher:
    """Watches directories.

    :param reactor: an IReactorFDSet.
    """

    log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._notifier: Any = None
        self._complained: set[str] = set()

    def watch(self, paths: Iterable[str], touched: Callable[[], None]) -> None:
        """Watch these directories in place of all others.

        :param touched: called for each change.
        """
        self.stop()
        if inotify is None:  # pragma: no cover -- a system without it
            self._complain("any directory", "this system has no inotify")
            return
        try:
            self._notifier = inotify.INotify(self._reactor)
        except inotify.INotifyError as error:
            self._complain("any directory", str(error))
            return
        self._notifier.startReading()
        for path in paths:
            self._add(path, touched)

    def _add(self, path: str, touched: Callable[[], None]) -> None:
        mask = (
            inotify.IN_CLOSE_WRITE
            | inotify.IN_MOVED_FROM
            | inotify.IN_MOVED_TO
            | inotify.IN_CREATE
            | inotify.IN_DELETE
            | inotify.IN_ATTRIB
        )
        try:
            self._notifier.watch(FilePath(path), mask, callbacks=[lambda *_: touched()])
        except inotify.INotifyError as error:
            self._complain(path, str(error))

    def _complain(self, path: str, why: str) -> None:
        if path not in self._complained:
            self._complained.add(path)
            self.log.warn(
                "{path} cannot be watched for changes; SIGHUP has it read again: {why}",
                path=path,
                why=why,
            )

    def stop(self) -> None:
        """Watch nothing."""
        notifier, self._notifier = self._notifier, None
        if notifier is not None:
            notifier.loseConnection()
