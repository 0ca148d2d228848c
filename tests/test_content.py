"""A message's data: both forms, in memory and spooled, whatever the seams."""

import errno
import os
from collections.abc import Sequence
from unittest import mock

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.content import Content, Form, Memory
from tests.support import content, split

LINES = st.lists(
    st.sampled_from(
        (b"", b".", b"..", b"...", b".a", b"a", b"a.", b"a: b", b".\t", b"Received: x")
    ),
    max_size=12,
)
CUTS = st.lists(st.integers(0, 200), max_size=6)
FEW = examples(max_examples=150, deadline=None)


def plain_of(lines: Sequence[bytes]) -> bytes:
    """The lines in plain form."""
    return b"".join(line + b"\r\n" for line in lines)


def wire_of(lines: Sequence[bytes]) -> bytes:
    """The lines in wire form, made the slow way."""
    return plain_of([b"." + line if line.startswith(b".") else line for line in lines])


class FormTests(SynchronousTestCase):
    """The two forms of one message."""

    def filled(self, data: bytes, cuts: Sequence[int], form: Form, after: int) -> Content:
        """A content that got ``data`` cut at ``cuts``."""
        made = Content(self.directory, after, form)
        self.addCleanup(made.close)
        for piece in split(data, cuts):
            made.append(piece)
        return made

    def setUp(self) -> None:
        self.directory = self.mktemp()
        os.mkdir(self.directory)

    @given(LINES, CUTS, st.sampled_from((0, 10, 10000)))
    @FEW
    def test_from_wire(self, lines: list[bytes], cuts: list[int], after: int) -> None:
        """Stored as wire, any split gives the same two forms, in memory and in a file."""
        made = self.filled(wire_of(lines), cuts, Form.WIRE, after)
        self.assertEqual(b"".join(made.wire()), wire_of(lines))
        self.assertEqual(b"".join(made.plain()), plain_of(lines))
        made.close()

    @given(LINES, CUTS, st.sampled_from((0, 10, 10000)))
    @FEW
    def test_from_plain(self, lines: list[bytes], cuts: list[int], after: int) -> None:
        """Stored as plain, any split gives the same two forms, in memory and in a file."""
        made = self.filled(plain_of(lines), cuts, Form.PLAIN, after)
        self.assertEqual(b"".join(made.wire()), wire_of(lines))
        self.assertEqual(b"".join(made.plain()), plain_of(lines))
        made.close()

    @given(LINES, CUTS, st.integers(1, 7))
    @FEW
    def test_seams_of_reading(self, lines: list[bytes], cuts: list[int], size: int) -> None:
        """The pieces in which a file is read change neither form."""
        with mock.patch("smtpforward.content.READ_SIZE", size):
            made = self.filled(wire_of(lines), cuts, Form.WIRE, 0)
            self.assertEqual(b"".join(made.plain()), plain_of(lines))
            back = self.filled(plain_of(lines), cuts, Form.PLAIN, 0)
            self.assertEqual(b"".join(back.wire()), wire_of(lines))
        made.close()
        back.close()

    @given(LINES, CUTS)
    @FEW
    def test_there_and_back(self, lines: list[bytes], cuts: list[int]) -> None:
        """Wire to plain to wire is the same message."""
        made = self.filled(wire_of(lines), cuts, Form.WIRE, 10000)
        again = Content.from_plain(b"".join(made.plain()))
        self.assertEqual(b"".join(again.wire()), wire_of(lines))

    def test_an_empty_piece_is_no_seam(self) -> None:
        """A piece without bytes does not end the beginning of a line."""
        for form, expected in ((Form.PLAIN, b"a\r\n..b\r\n"), (Form.WIRE, b"a\r\nb\r\n")):
            made = Content(self.directory, 1000, form)
            for piece in (b"", b"a\r\n", b"", b".b\r\n"):
                made.append(piece)
            read = made.wire() if form is Form.PLAIN else made.plain()
            self.assertEqual(b"".join(read), expected)

    def test_prefix(self) -> None:
        """The prefix stands before the message in both forms and is no part of its size."""
        made = content(b"..a\r\n")
        made.prefix = b"Received: x\r\n"
        self.assertEqual(b"".join(made.wire()), b"Received: x\r\n..a\r\n")
        self.assertEqual(b"".join(made.plain()), b"Received: x\r\n.a\r\n")
        self.assertEqual(made.size, 5)

    def test_read_twice(self) -> None:
        """A message may be read as often as needed."""
        for after in (0, 100):
            made = self.filled(b"a\r\n.b\r\n", (), Form.PLAIN, after)
            self.assertEqual(list(made.wire()), list(made.wire()))


class FromPlainTests(SynchronousTestCase):
    """Messages that the gateway or an application makes."""

    def test_last_line_is_ended(self) -> None:
        """A missing CRLF at the end is added, and an empty message stays empty."""
        self.assertEqual(b"".join(Content.from_plain(b"a").plain()), b"a\r\n")
        self.assertEqual(b"".join(Content.from_plain(b"a\r\n").plain()), b"a\r\n")
        self.assertEqual(b"".join(Content.from_plain(b"").wire()), b"")

    def test_bare_newlines(self) -> None:
        """A bare CR or LF anywhere is refused."""
        for data in (b"a\nb", b"a\rb", b"\n", b"a\r", b"a\r\r\n", b"a\n\r\n", b"\r\n\n"):
            self.assertRaises(ValueError, Content.from_plain, data)

    def test_stays_in_memory(self) -> None:
        """It is not spooled, however large."""
        self.assertFalse(Content.from_plain(b"a" * 3_000_000).spooled)


class MemoryTests(SynchronousTestCase):
    """What a message costs while it is in memory."""

    def test_tiny_pieces_are_joined(self) -> None:
        """A message that comes byte by byte is no heap of objects."""
        made = Content("/nonexistent", 100_000)
        for n in range(20_000):
            made.append(b"%c" % (n % 256))
        self.assertLess(len(made._chunks), 40)
        self.assertEqual(b"".join(made.wire()), bytes(n % 256 for n in range(20_000)))

    def test_large_pieces_are_not_copied(self) -> None:
        """Pieces as a network makes them stay as they came."""
        made = Content("/nonexistent", 100_000)
        pieces = [b"a" * 4096, b"b" * 10, b"c" * 4096]
        for piece in pieces:
            made.append(piece)
        self.assertTrue(all(x is y for x, y in zip(made._chunks, pieces, strict=True)))


class SpoolTests(SynchronousTestCase):
    """Large messages."""

    def setUp(self) -> None:
        self.directory = self.mktemp()
        os.mkdir(self.directory)

    def test_above_the_bound(self) -> None:
        """One byte above ``spool_after`` the message is in a file that has no name."""
        made = Content(self.directory, 10)
        self.addCleanup(made.close)
        made.append(b"12345678\r\n")
        self.assertFalse(made.spooled)
        made.append(b"1")
        self.assertTrue(made.spooled)
        made.append(b"\r\n")
        self.assertEqual(os.listdir(self.directory), [])
        self.assertEqual(b"".join(made.wire()), b"12345678\r\n1\r\n")
        self.assertEqual(made.size, 13)

    def test_close(self) -> None:
        """Closing gives the file back, and doing it again closes no one else's."""
        made = Content(self.directory, 0)
        made.append(b"a\r\n")
        descriptor = made._fd
        made.close()
        self.assertRaises(OSError, os.fstat, descriptor)
        with mock.patch("os.close") as close:
            made.close()
        close.assert_not_called()
        self.assertFalse(made.spooled)

    def test_short_writes(self) -> None:
        """A write that takes only part of the data is continued."""
        made = Content(self.directory, 0)
        self.addCleanup(made.close)
        write = os.write
        with mock.patch("os.write", lambda fd, data: write(fd, data[:3])):
            made.append(b"0123456789\r\n")
        self.assertEqual(b"".join(made.wire()), b"0123456789\r\n")

    def test_no_directory(self) -> None:
        """Where no file can be made the error is an OSError, and closing is safe."""
        made = Content(os.path.join(self.directory, "none"), 0)
        self.assertRaises(OSError, made.append, b"a\r\n")
        made.close()

    def test_disk_full(self) -> None:
        """A write that fails raises OSError; closing then gives the descriptor back."""
        made = Content(self.directory, 0)
        made.append(b"a\r\n")
        descriptor = made._fd
        with mock.patch("os.write", side_effect=OSError(errno.ENOSPC, "full")):
            self.assertRaises(OSError, made.append, b"b\r\n")
        made.close()
        self.assertRaises(OSError, os.fstat, descriptor)


class AsciiTests(SynchronousTestCase):
    """Whether a message holds 8-bit bytes."""

    @given(st.lists(st.binary(max_size=20), max_size=5), st.sampled_from((0, 30, 1000)))
    @FEW
    def test_any(self, pieces: list[bytes], after: int) -> None:
        """Whatever the pieces are, and wherever they are kept."""
        directory = self.mktemp()
        os.mkdir(directory)
        made = Content(directory, after)
        for piece in pieces:
            made.append(piece)
        self.assertEqual(made.is_ascii(), max(b"".join(pieces), default=0) < 128)
        made.close()


class HeaderTests(SynchronousTestCase):
    """The header section."""

    def test_up_to_the_empty_line(self) -> None:
        """All lines before the first empty one, their CRLF included."""
        self.assertEqual(
            content(b"A: 1\r\nB: 2\r\n\r\nC: 3\r\n\r\n").header(100), b"A: 1\r\nB: 2\r\n"
        )

    def test_without_body(self) -> None:
        """A message without an empty line is all header."""
        self.assertEqual(content(b"A: 1\r\n").header(100), b"A: 1\r\n")
        self.assertEqual(content(b"").header(100), b"")

    def test_a_message_without_a_header(self) -> None:
        """A message that begins with the empty line has none: lines of its body are not taken."""
        self.assertEqual(content(b"\r\nReceived: a\r\n\r\nb\r\n").header(100), b"")

    def test_the_prefix_is_left_out(self) -> None:
        """What the gateway itself put before the message is not seen."""
        made = content(b"A: 1\r\n\r\nb\r\n")
        made.prefix = b"Received: x\r\n"
        self.assertEqual(made.header(100), b"A: 1\r\n")

    @given(LINES, CUTS, st.integers(1, 60))
    @FEW
    def test_any_split(self, lines: list[bytes], cuts: list[int], limit: int) -> None:
        """Neither seams nor the limit change what is taken: a prefix of the header."""
        data = wire_of(lines)
        made = Content("/nonexistent", 1000)
        for piece in split(data, cuts):
            made.append(piece)
        header = (b"\r\n" + data).partition(b"\r\n\r\n")[0] + b"\r\n"
        expected = header[2:] if b"\r\n\r\n" in b"\r\n" + data else data
        self.assertEqual(made.header(limit), expected[:limit])


class SharedMemoryTests(SynchronousTestCase):
    """What several messages have in memory."""

    def setUp(self) -> None:
        self.directory = self.mktemp()
        os.mkdir(self.directory)
        self.memory = Memory()

    def content(self, directory: str = "", after: int = 1000, most: int = 10) -> Content:
        """A new one that is counted."""
        made = Content(directory or self.directory, after, memory=self.memory, most=most)
        self.addCleanup(made.close)
        return made

    def test_counted_until_closed(self) -> None:
        """Each piece counts; closed twice it is given back once."""
        first, second = self.content(), self.content()
        first.append(b"1234")
        first.append(b"56")
        second.append(b"78")
        self.assertEqual(self.memory.held, 8)
        first.close()
        first.close()
        self.assertEqual(self.memory.held, 2)

    def test_at_the_bound(self) -> None:
        """Up to the bound it stays in memory; one byte more and all of it goes to the file."""
        made = self.content()
        made.append(b"1234567890")
        self.assertFalse(made.spooled)
        made.append(b"1")
        self.assertTrue(made.spooled)
        self.assertEqual(self.memory.held, 0)
        made.append(b"234")
        self.assertEqual(self.memory.held, 0)
        self.assertEqual(b"".join(made.wire()), b"12345678901234")
        made.close()
        self.assertEqual(self.memory.held, 0)

    def test_too_large_for_memory_by_itself(self) -> None:
        """What goes to a file because of its own size is given back too."""
        made = self.content(after=2)
        made.append(b"123")
        self.assertTrue(made.spooled)
        self.assertEqual(self.memory.held, 0)

    def test_failures(self) -> None:
        """After a write that failed, and without a file, closing gives it back."""
        made = self.content()
        with (
            mock.patch("os.write", side_effect=OSError(errno.ENOSPC, "full")),
            self.assertRaises(OSError),
        ):
            made.append(b"12345678901")
        lost = self.content(directory=os.path.join(self.directory, "none"))
        with self.assertRaises(OSError):
            lost.append(b"12345678901")
        made.close()
        lost.close()
        self.assertEqual(self.memory.held, 0)


class StoredTests(SynchronousTestCase):
    """Messages that a store gives back, in wire form."""

    def test_in_memory(self) -> None:
        """Both forms of it, and its size; nothing is written anywhere."""
        made = Content.of_wire(b"A: 1\r\n\r\n..b\r\n")
        self.assertEqual(b"".join(made.wire()), b"A: 1\r\n\r\n..b\r\n")
        self.assertEqual(b"".join(made.plain()), b"A: 1\r\n\r\n.b\r\n")
        self.assertEqual((made.size, made.spooled), (13, False))
        self.assertEqual(made.header(100), b"A: 1\r\n")

    def test_empty(self) -> None:
        """A message without a byte is one."""
        made = Content.of_wire(b"")
        self.assertEqual((b"".join(made.wire()), made.size, made.spooled), (b"", 0, False))

    def test_in_a_file(self) -> None:
        """The file may have lost its name; its descriptor is closed with the content."""
        name = self.mktemp()
        with open(name, "wb") as file:
            file.write(b"A: 1\r\n\r\n..b\r\n")
        descriptor = os.open(name, os.O_RDONLY)
        os.unlink(name)
        made = Content.of_file(descriptor, 13)
        for _ in range(2):
            self.assertEqual(b"".join(made.wire()), b"A: 1\r\n\r\n..b\r\n")
        self.assertEqual(b"".join(made.plain()), b"A: 1\r\n\r\n.b\r\n")
        self.assertEqual((made.size, made.spooled, made.octets(100)), (13, True, None))
        self.assertEqual(made.header(100), b"A: 1\r\n")
        made.close()
        made.close()
        with self.assertRaises(OSError):
            os.fstat(descriptor)
