"""One message while it arrives."""

import errno
import os
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from smtpforward import answers
from smtpforward.config.settings import Limits
from smtpforward.content import Memory
from smtpforward.server.data import Arrival
from tests.support import split


class ArrivalTests(SynchronousTestCase):
    """Collected, or discarded to its end."""

    def setUp(self) -> None:
        self.directory = self.mktemp()
        os.mkdir(self.directory)

    def arrival(self, *, normalize: bool = False, **limits: int) -> Arrival:
        """A message under ``limits``."""
        self.memory = Memory()
        made = Arrival(self.directory, Limits(**limits), self.memory, normalize)
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

    def test_normalized(self) -> None:
        """A bare LF becomes CRLF where that is asked for, in memory and in a file."""
        data = b"Subject: x\r\n\r\na\n.\nb\r\n.\nc\n\r\n.\r\n"
        stored = b"Subject: x\r\n\r\na\r\n..\r\nb\r\n..\r\nc\r\n\r\n"
        for spool_after in (0, 20, 1000):
            for at in range(len(data)):
                arrival = self.arrival(normalize=True, spool_after=spool_after)
                for piece in split(data, [at, at + 7]):
                    arrival.feed(piece)
                self.assertIsNone(arrival.refusal)
                self.assertFalse(arrival.breach)
                self.assertEqual(arrival.content.spooled, spool_after < 1000)
                self.assertEqual(b"".join(arrival.content.wire()), stored, (spool_after, at))
                arrival.content.close()

    def test_normalized_is_what_counts(self) -> None:
        """The size limit is for the message as it leaves."""
        for most, refusal in ((8, None), (7, answers.TOO_LARGE)):
            arrival = self.arrival(normalize=True, bytes=most)
            arrival.feed(b"\n\n\n\r\n.\r\n")
            self.assertIs(arrival.refusal, refusal, most)

    def test_bare_cr_is_never_normalized(self) -> None:
        """A bare CR refuses the message and ends the connection, whatever was good before it."""
        arrival = self.arrival(normalize=True)
        arrival.feed(b"a\nb")
        arrival.feed(b"\rc\r\n.\r\n")
        self.assertIs(arrival.refusal, answers.BARE_NEWLINE)
        self.assertTrue(arrival.breach)


HEADER = b"Subject: x\r\nX: y\r\n"  # 18 bytes


class HeaderTests(SynchronousTestCase):
    """How long a header may be."""

    def setUp(self) -> None:
        self.directory = self.mktemp()
        os.mkdir(self.directory)

    def refused(self, most: int, pieces: list[bytes], spool_after: int = 1000) -> bool:
        """Whether the message is, for its header; it is always read to its end."""
        limits = Limits(header_bytes=most, spool_after=spool_after)
        arrival = Arrival(self.directory, limits)
        rest = [arrival.feed(piece) for piece in pieces]
        self.assertEqual(rest[-1], b"")
        arrival.content.close()
        if arrival.refusal is not None:
            self.assertIs(arrival.refusal, answers.HEADER_TOO_LARGE)
        self.assertFalse(arrival.breach or arrival.hopeless)
        return arrival.refusal is not None

    def test_any_split(self) -> None:
        """One byte more than the limit is refused, wherever chunks end, with a body or without."""
        for body in (b"\r\nbody\r\n", b"\r\n", b""):
            data = HEADER + body + b".\r\n"
            for first in range(len(data)):
                for second in range(first, len(data)):
                    pieces = split(data, [first, second])
                    self.assertFalse(self.refused(len(HEADER), pieces), pieces)
                    self.assertTrue(self.refused(len(HEADER) - 1, pieces), pieces)

    def test_spooled(self) -> None:
        """The same in a file."""
        pieces = [HEADER, b"\r\nbody\r\n", b".\r\n"]
        self.assertFalse(self.refused(len(HEADER), pieces, spool_after=0))
        self.assertTrue(self.refused(len(HEADER) - 1, pieces, spool_after=0))

    def test_no_header(self) -> None:
        """A message that begins with the empty line has none; one without that is all header."""
        body = b"line\r\n" * 100
        self.assertFalse(self.refused(1, [b"\r\n" + body, b".\r\n"]))
        self.assertTrue(self.refused(100, [body, b".\r\n"]))

    def test_looked_at_once(self) -> None:
        """A header that is good is looked for once, a short message's never."""
        with mock.patch("smtpforward.content.Content.header", return_value=b"x") as header:
            self.assertFalse(self.refused(100, [b"a" * 98 + b"\r\n", b".\r\n"]))
            self.assertEqual(header.call_count, 0)
            self.assertFalse(self.refused(100, [b"a" * 98 + b"\r\n", *[b"b\r\n"] * 9, b".\r\n"]))
            self.assertEqual(header.call_count, 1)


class MemoryTests(SynchronousTestCase):
    """All messages together."""

    def setUp(self) -> None:
        self.directory = self.mktemp()
        os.mkdir(self.directory)
        self.memory = Memory()

    def arrival(self, most: int, directory: str = "") -> Arrival:
        """One of several messages that may hold ``most`` bytes together."""
        limits = Limits(memory=most, bytes=100)
        made = Arrival(directory or self.directory, limits, self.memory)
        self.addCleanup(made.content.close)
        return made

    def test_above_the_bound_to_the_spool(self) -> None:
        """Who crosses the bound goes to a file, however small it is; the others stay."""
        first, second, third = (self.arrival(10) for _ in range(3))
        first.feed(b"123456")
        second.feed(b"1234")
        self.assertFalse(first.content.spooled or second.content.spooled)
        second.feed(b"5")
        self.assertTrue(second.content.spooled)
        self.assertEqual(self.memory.held, 6)
        third.feed(b"1234")
        self.assertFalse(third.content.spooled)
        second.feed(b"6\r\n.\r\n")
        self.assertEqual(b"".join(second.content.wire()), b"123456\r\n")
        for arrival in (first, second, third):
            arrival.content.close()
        self.assertEqual(self.memory.held, 0)

    def test_refused(self) -> None:
        """What is thrown away does not count, and the rest of it never does."""
        for refused in (b"1" * 101, b"a\nb"):
            arrival = self.arrival(1000)
            arrival.feed(b"12345")
            self.assertEqual(self.memory.held, 5)
            arrival.feed(refused)
            self.assertEqual(self.memory.held, 0)
            arrival.feed(b"more")
            self.assertEqual(self.memory.held, 0)

    def test_no_spool(self) -> None:
        """When it must go to a file and there is none, it is refused for now and counts no more."""
        for failing in ("none", ""):
            arrival = self.arrival(10, os.path.join(self.directory, failing))
            with mock.patch("os.write", side_effect=OSError(errno.ENOSPC, "full")):
                arrival.feed(b"12345678901")
            self.assertIs(arrival.refusal, answers.SPOOL_FULL)
            self.assertEqual(self.memory.held, 0)
