"""One message while it arrives."""

import errno
import os
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from smtpforward import answers
from smtpforward.config.settings import Limits
from smtpforward.server.data import Arrival


class ArrivalTests(SynchronousTestCase):
    """Collected, or discarded to its end."""

    def setUp(self) -> None:
        self.directory = self.mktemp()
        os.mkdir(self.directory)

    def arrival(self, **limits: int) -> Arrival:
        """A message under ``limits``."""
        made = Arrival(self.directory, Limits(**limits))
        self.addCleanup(made.content.close)
        return made

    def test_collected(self) -> None:
        """Chunks are collected to the end, and what follows is handed back."""
        arrival = self.arrival()
        self.assertIsNone(arrival.feed(b"a\r\n."))
        self.assertEqual(arrival.feed(b".b\r\n.\r\nQUIT\r\n"), b"QUIT\r\n")
        self.assertIsNone(arrival.refusal)
        self.assertEqual(b"".join(arrival.content.wire()), b"a\r\n..b\r\n")
        self.assertFalse(arrival.breach or arrival.hopeless)

    def test_spooled(self) -> None:
        """A large message goes to a file on its way."""
        arrival = self.arrival(spool_after=4)
        arrival.feed(b"abcdef\r\n.\r\n")
        self.assertTrue(arrival.content.spooled)

    def test_at_the_limit(self) -> None:
        """A message of exactly the limit is taken."""
        arrival = self.arrival(bytes=8)
        self.assertEqual(arrival.feed(b"123456\r\n.\r\n"), b"")
        self.assertIsNone(arrival.refusal)

    def test_too_large(self) -> None:
        """One byte more is refused, kept nowhere, and read on to its end."""
        arrival = self.arrival(bytes=8, spool_after=2)
        arrival.feed(b"1234")
        descriptor = arrival.content._fd
        arrival.feed(b"567\r\n")
        self.assertIs(arrival.refusal, answers.TOO_LARGE)
        self.assertRaises(OSError, os.fstat, descriptor)
        self.assertIsNone(arrival.feed(b"more\r\n"))
        self.assertEqual(arrival.feed(b".\r\nRSET\r\n"), b"RSET\r\n")

    def test_at_most_twice_the_limit(self) -> None:
        """The end of a refused message is waited for up to twice the limit."""
        arrival = self.arrival(bytes=10)
        for _ in range(4):
            arrival.feed(b"12345")
            self.assertFalse(arrival.hopeless)
        arrival.feed(b"1")
        self.assertTrue(arrival.hopeless)

    def test_bare_newline(self) -> None:
        """A bare CR or LF refuses the message and marks the connection, wherever it stands."""
        for text in (b"a\nb\r\n", b"a\rb\r\n", b"a\r\n.\nb\r\n"):
            arrival = self.arrival()
            self.assertEqual(arrival.feed(text + b".\r\nNOOP\r\n"), b"NOOP\r\n")
            self.assertIs(arrival.refusal, answers.BARE_NEWLINE)
            self.assertTrue(arrival.breach)

    def test_first_refusal_stays(self) -> None:
        """The first thing that was wrong is the answer; a breach of line ends is still one."""
        arrival = self.arrival(bytes=4)
        arrival.feed(b"12345")
        arrival.feed(b"\n12345")
        self.assertIs(arrival.refusal, answers.TOO_LARGE)
        self.assertTrue(arrival.breach)

    def test_disk_full(self) -> None:
        """A spool that fails refuses the message for now, and it is read to its end."""
        arrival = self.arrival(spool_after=2)
        with mock.patch("os.write", side_effect=OSError(errno.ENOSPC, "full")):
            self.assertIsNone(arrival.feed(b"12345\r\n"))
        self.assertIs(arrival.refusal, answers.SPOOL_FULL)
        self.assertFalse(arrival.content.spooled)
        self.assertEqual(arrival.feed(b"678\r\n.\r\n"), b"")
        self.assertFalse(arrival.breach)

    def test_no_spool_directory(self) -> None:
        """So does one that cannot be begun."""
        self.directory = os.path.join(self.directory, "none")
        arrival = self.arrival(spool_after=2)
        arrival.feed(b"12345\r\n.\r\n")
        self.assertIs(arrival.refusal, answers.SPOOL_FULL)
