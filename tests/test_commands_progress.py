"""Progress: shown at a terminal, after a moment, and gone at the end."""

import io

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.commands.progress import CLEAR, FIRST, Progress


class Terminal(io.StringIO):
    """Somebody looks."""

    def isatty(self) -> bool:
        """It is one."""
        return True


class ProgressTests(SynchronousTestCase):
    """On a fake clock."""

    def setUp(self) -> None:
        """A terminal."""
        self.clock = Clock()
        self.terminal = Terminal()

    def test_share(self) -> None:
        """How much of it is done, not more often than can be seen; then nothing is left."""
        progress = Progress(self.terminal, "reading", 200, self.clock.seconds)
        progress.more(10)
        self.assertEqual(self.terminal.getvalue(), "")
        self.clock.advance(FIRST)
        progress.more(90)
        shown = f"{CLEAR}reading: [{'#' * 15}{' ' * 15}]  50%"
        self.assertEqual(self.terminal.getvalue(), shown)
        progress.more(1)
        self.assertEqual(self.terminal.getvalue(), shown)
        progress.end()
        progress.end()
        self.assertEqual(self.terminal.getvalue(), shown + CLEAR)

    def test_number(self) -> None:
        """Where nobody knows how much there is, how much is done."""
        progress = Progress(self.terminal, "counting", clock=self.clock.seconds)
        self.clock.advance(FIRST)
        progress.more(12345)
        self.assertEqual(self.terminal.getvalue(), f"{CLEAR}counting: 12,345")

    def test_more_than_all(self) -> None:
        """A file that has grown meanwhile is read to its end."""
        progress = Progress(self.terminal, "reading", 10, self.clock.seconds)
        self.clock.advance(FIRST)
        progress.more(20)
        self.assertTrue(self.terminal.getvalue().endswith("] 100%"))

    def test_short(self) -> None:
        """Of what ends soon nothing is seen."""
        progress = Progress(self.terminal, "reading", 10, self.clock.seconds)
        progress.more(10)
        progress.end()
        self.assertEqual(self.terminal.getvalue(), "")

    def test_nobody(self) -> None:
        """Nor where there is no terminal."""
        stream = io.StringIO()
        progress = Progress(stream, "reading", 10, self.clock.seconds)
        self.clock.advance(FIRST)
        progress.more(5)
        progress.end()
        self.assertEqual(stream.getvalue(), "")
