"""Watching directories, with the kernel's own events."""

import shutil
from pathlib import Path
from typing import Any

from twisted.internet import inotify, reactor
from twisted.internet.defer import Deferred
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase

from smtpforward.net.watching import Watcher


class WatcherTests(TestCase):
    """What is told, and what is not."""

    timeout = 30

    def setUp(self) -> None:
        """A watched directory with a file."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.file = self.folder / "file"
        self.file.write_text("one")
        self.watcher = Watcher(reactor)
        self.addCleanup(self.watcher.stop)
        self.touches = 0
        self.waiting: Deferred[None] | None = None
        self.watch()

    def watch(self) -> None:
        """Watch the directory."""
        self.watcher.watch([str(self.folder)], self.touched)

    def touched(self) -> None:
        """Something has happened."""
        self.touches += 1
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            waiting.callback(None)

    async def after(self, act: Any) -> None:
        """Do it, and wait until it is told."""
        self.waiting = Deferred()
        act()
        await self.waiting

    async def test_changes(self) -> None:
        """Written, replaced, removed, made, permitted: each is told."""
        other = self.folder.with_name(f"{self.folder.name}.other")
        other.write_text("two")
        await self.after(lambda: self.file.write_text("two"))
        await self.after(lambda: other.replace(self.file))
        await self.after(lambda: self.file.chmod(0o600))
        await self.after(self.file.unlink)
        await self.after(lambda: self.file.symlink_to("elsewhere"))

    async def test_anew(self) -> None:
        """After watching anew, a change is told once and not once for each time."""
        self.watch()
        self.watch()
        await self.after(lambda: self.file.chmod(0o600))
        self.assertEqual(self.touches, 1)

    async def test_removed_and_made_again(self) -> None:
        """A directory that has gone is no fault; made again, it can be watched anew."""
        await self.after(lambda: shutil.rmtree(self.folder))
        self.watch()
        self.folder.mkdir()
        self.watch()
        await self.after(lambda: self.file.write_text("two"))

    def test_stopped(self) -> None:
        """Nothing of it is left in the reactor."""
        self.watcher.stop()
        self.watcher.stop()
        self.assertEqual([r for r in reactor.getReaders() if isinstance(r, inotify.INotify)], [])  # type: ignore[attr-defined]

    def test_cannot_be_watched(self) -> None:
        """The log names such a directory once."""
        said: list[str] = []
        observer = lambda event: said.append(formatEvent(event))  # noqa: E731
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        for _ in range(2):
            self.watcher.watch(["/nonexistent/directory"], self.touched)
        self.assertEqual(len(said), 1)
        self.assertIn("/nonexistent/directory cannot be watched", said[0])

    def test_no_more_notifiers(self) -> None:
        """So it does when the system gives no more of them."""

        def none(reactor: object) -> object:
            raise inotify.INotifyError("too many")

        self.patch(inotify, "INotify", none)
        self.watch()
        self.watcher.stop()
