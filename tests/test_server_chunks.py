"""The chunks of a message: their arguments, their octets, their end."""

import os
import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smtpforward import answers
from smtpforward.config.settings import Limits
from smtpforward.server.chunks import Chunk, ChunkedArrival, Chunks, parse
from tests.support import split

BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")
TEXT = st.text("a.\r\n", max_size=12).map(str.encode)


class ParseTests(SynchronousTestCase):
    """The argument of BDAT."""

    def test_good(self) -> None:
        """A number, and LAST in any case."""
        for rest, chunk in (
            (b"0", Chunk(0, False)),
            (b"100", Chunk(100, False)),
            (b"00000000000000000007 LAST", Chunk(7, True)),
            (b"7   last", Chunk(7, True)),
        ):
            self.assertEqual(parse(rest, 100), chunk)

    def test_bad(self) -> None:
        """Anything else, an endless number too."""
        for rest in (
            *(b"", b"LAST", b"-1", b"+1", b"1_0", b"0x10", b"1.0", b"1 LAST LAST", b"1LAST"),
            *(b"1\tLAST", b"1 LAS", b"\xd9\xa1", b"1" * 21, b"0" * 21, b"9" * 5000),
        ):
            self.assertIs(parse(rest, 100), answers.BAD_CHUNK, rest)

    def test_too_large(self) -> None:
        """More than will be read."""
        for rest in (b"101", b"9" * 20 + b" LAST"):
            self.assertIs(parse(rest, 100), answers.TOO_LARGE, rest)


class ChunkedArrivalTests(SynchronousTestCase):
    """A message in plain form."""

    def setUp(self) -> None:
        self.directory = self.mktemp()
        os.mkdir(self.directory)

    def arrived(
        self, pieces: list[bytes], *, normalize: bool = False, **limits: int
    ) -> ChunkedArrival:
        """A message that is complete."""
        made = ChunkedArrival(self.directory, Limits(**limits), normalize=normalize)
        self.addCleanup(made.content.close)
        for piece in pieces:
            self.assertIsNone(made.feed(piece))
        made.finish()
        return made

    @given(TEXT, st.lists(st.integers(0, 20), max_size=4))
    def test_octets(self, data: bytes, cuts: list[int]) -> None:
        """What comes is stored, dots and all, with a CRLF at its end; bare CRs and LFs refuse it.

        However it is cut: a CR at the very end is bare too.
        """
        arrival = self.arrived(split(data, cuts))
        self.assertEqual(arrival.breach, BARE.search(data) is not None)
        if arrival.breach:
            self.assertIs(arrival.refusal, answers.BARE_NEWLINE)
            return
        self.assertIsNone(arrival.refusal)
        whole = data if not data or data.endswith(b"\r\n") else data + b"\r\n"
        self.assertEqual(b"".join(arrival.content.plain()), whole)
        self.assertEqual(
            b"".join(arrival.content.wire()), (b"\n" + whole).replace(b"\n.", b"\n..")[1:]
        )

    @given(TEXT, st.lists(st.integers(0, 20), max_size=4))
    def test_normalized(self, data: bytes, cuts: list[int]) -> None:
        """Each bare LF becomes CRLF where that is asked for; a bare CR is never made good."""
        arrival = self.arrived(split(data, cuts), normalize=True)
        self.assertEqual(arrival.breach, re.search(rb"\r(?!\n)", data) is not None)
        if not arrival.breach:
            good = BARE.sub(b"\r\n", data)
            whole = good if not good or good.endswith(b"\r\n") else good + b"\r\n"
            self.assertEqual(b"".join(arrival.content.plain()), whole)

    def test_spooled(self) -> None:
        """A large one goes to a file, and leaves it dot-stuffed."""
        arrival = self.arrived([b"abc\r\n", b".\r\n", b".def"], spool_after=4)
        self.assertTrue(arrival.content.spooled)
        self.assertEqual(b"".join(arrival.content.wire()), b"abc\r\n..\r\n..def\r\n")

    def test_limits(self) -> None:
        """They are those of DATA; the CRLF that is added does not count."""
        for data, refusal in ((b"12345678", None), (b"123456789", answers.TOO_LARGE)):
            self.assertIs(self.arrived([data], bytes=8).refusal, refusal)
        for data, refusal in (
            (b"a: b\r\n\r\nbody", None),
            (b"a: bc\r\n\r\nbody", answers.HEADER_TOO_LARGE),
            (b"a: bc\r\n", answers.HEADER_TOO_LARGE),
            (b"a: b\r\n", None),
        ):
            self.assertIs(self.arrived([data], header_bytes=6).refusal, refusal, data)

    def test_no_spool_directory(self) -> None:
        """A spool that fails refuses the message for now."""
        self.directory = os.path.join(self.directory, "none")
        self.assertIs(self.arrived([b"abc"], spool_after=2).refusal, answers.SPOOL_FULL)


class ChunksTests(SynchronousTestCase):
    """The octets of a chunk, and what is behind them."""

    def test_counted(self) -> None:
        """Exactly as many as were announced; an empty chunk ends at once."""
        chunks = Chunks(Chunk(5, False), 100)
        self.assertIsNone(chunks.feed(b"123"))
        self.assertEqual(chunks.feed(b"45QUIT\r\n"), b"QUIT\r\n")
        chunks.begin(Chunk(0, True))
        self.assertEqual(chunks.feed(b"QUIT\r\n"), b"QUIT\r\n")

    def test_at_most_so_many_for_nothing(self) -> None:
        """The octets of refused chunks are counted together."""
        chunks = Chunks(Chunk(6, False), 10)
        chunks.refusal = answers.RCPT_FIRST
        chunks.feed(b"123456")
        chunks.begin(Chunk(6, False))
        chunks.feed(b"1234")
        self.assertFalse(chunks.hopeless)
        chunks.feed(b"5")
        self.assertTrue(chunks.hopeless)
