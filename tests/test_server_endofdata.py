"""The end of data, in any split, and nothing that other servers take for it."""

import re

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.server.endofdata import EndOfData, NormalizingEndOfData
from tests.support import split

BYTES = st.lists(
    st.sampled_from(
        (b"\r", b"\n", b".", b"\r\n", b"\r\n.", b"\r\n.\r\n", b"..", b"a", b"MAIL FROM:<>")
    ),
    max_size=12,
).map(b"".join)
CUTS = st.lists(st.integers(0, 60), max_size=8)
BARE = re.compile(rb"\r(?=[^\n])|(?<!\r)\n")
# What some server takes, or took, for the end of data; the end itself is not among them.
SMUGGLING = (
    *(b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r.\r\n", b"\r\n.\r", b"\n.\r", b"\r.\n"),
    *(b"\r\n\x00.\r\n", b"\r\n.\x00\r\n", b"\r\r\n.\r\r\n", b"\r\n.\r\r\n", b"\r\n. \r\n"),
)


def reference(data: bytes) -> tuple[bytes, bytes | None, bool]:
    """The message, what follows it (``None`` before its end) and whether a bare CR or LF is in it.

    The slow and obvious way: all bytes at once, behind the CRLF of the DATA command.
    """
    whole = b"\r\n" + data
    at = whole.find(b"\r\n.\r\n")
    if at >= 0:
        message, rest = whole[2 : at + 2], whole[at + 5 :]
    else:
        held = 1 if whole.endswith(b"\r\n.") else 2 if whole.endswith(b"\r\n.\r") else 0
        message, rest = data[: len(data) - held], None
    return message, rest, BARE.search(b"\r\n" + message) is not None


def fed(pieces: list[bytes], kind: type[EndOfData] = EndOfData) -> tuple[bytes, bytes | None, bool]:
    """The same from an ``EndOfData`` that gets ``pieces``."""
    end = kind()
    message = b""
    for at, piece in enumerate(pieces):
        message += end.feed(piece)
        if end.ended:
            return message, end.rest + b"".join(pieces[at + 1 :]), end.bare_cr or end.bare_lf
    return message, None, end.bare_cr or end.bare_lf


class EndOfDataTests(SynchronousTestCase):
    """Chunks in, message out."""

    @given(BYTES, CUTS)
    @examples(max_examples=600, deadline=None)
    def test_any_split(self, data: bytes, cuts: list[int]) -> None:
        """Message, rest and ``bare`` are those of the reference, however the bytes are split."""
        self.assertEqual(fed(split(data, cuts)), reference(data))

    @given(BYTES)
    @examples(max_examples=200, deadline=None)
    def test_byte_by_byte(self, data: bytes) -> None:
        """One byte at a time gives the same too."""
        self.assertEqual(fed([data[n : n + 1] for n in range(len(data))]), reference(data))

    def test_every_split_of_the_mark(self) -> None:
        """The end is found wherever the chunks of it begin and end."""
        data = b"a\r\n.\r\nQUIT\r\n"
        for first in range(len(data) + 1):
            for second in range(first, len(data) + 1):
                pieces = [data[:first], data[first:second], data[second:]]
                self.assertEqual(fed(pieces), (b"a\r\n", b"QUIT\r\n", False), pieces)

    def test_empty_message(self) -> None:
        """A dot that comes first ends a message of no bytes."""
        self.assertEqual(fed([b".\r\n"]), (b"", b"", False))

    def test_stuffed_dots(self) -> None:
        """Lines that begin with a dot and go on are no end, and stay as they are."""
        data = b"..\r\n.a\r\n..\r\n"
        self.assertEqual(fed([data]), (data, None, False))

    def test_smuggling(self) -> None:
        """Nothing but CRLF, dot, CRLF is the end, in any split; other line ends are bare."""
        for mark in SMUGGLING:
            data = b"text" + mark + b"MAIL FROM:<x@example.net>\r\n"
            for at in range(len(data) + 1):
                message, rest, bare = fed([data[:at], data[at:]])
                self.assertIsNone(rest, (mark, at))
                self.assertEqual(message, data)
                self.assertEqual(bare, b"\0" not in mark and b" " not in mark, (mark, at))

    def test_the_message_goes_on_after_a_mark_that_is_none(self) -> None:
        """Behind each of them the true end is still found."""
        for mark in SMUGGLING:
            message, rest, _ = fed([b"a" + mark + b"b\r\n", b".\r\nRSET\r\n"])
            self.assertEqual((message, rest), (b"a" + mark + b"b\r\n", b"RSET\r\n"), mark)

    def test_a_last_cr_is_not_yet_bare(self) -> None:
        """A CR at the end of what came is judged by what comes."""
        end = EndOfData()
        end.feed(b"a\r")
        self.assertFalse(end.bare_cr or end.bare_lf)
        end.feed(b"\n")
        self.assertFalse(end.bare_cr or end.bare_lf)
        end.feed(b"a\r")
        end.feed(b"a")
        self.assertTrue(end.bare_cr or end.bare_lf)


def normalized(message: bytes) -> bytes:
    """``message``, which has no bare CR, with CRLF for each bare LF: slowly, line by line.

    A line of the client's ends with CRLF; what bare LFs make of it is a dot too little in front of
    each line but the first, and of the first, if it is a lone dot now.
    """
    lines = []
    for sent in message.split(b"\r\n"):
        first, *others = sent.split(b"\n")
        lines.append(b".." if first == b"." and others else first)
        lines += [b"." + other if other.startswith(b".") else other for other in others]
    return b"\r\n".join(lines)


WITHOUT_CR = BYTES.map(lambda data: re.sub(rb"\r(?!\n)", b"", data))


class NormalizingTests(SynchronousTestCase):
    """A bare LF becomes CRLF, and nothing that it makes can end the data."""

    @given(WITHOUT_CR, CUTS)
    @examples(max_examples=600, deadline=None)
    def test_any_split(self, data: bytes, cuts: list[int]) -> None:
        """The message is that of the reference, however the bytes are split."""
        sent, rest, _ = reference(data + b"\r\n.\r\nQUIT\r\n")
        pieces = split(data + b"\r\n.\r\nQUIT\r\n", cuts)
        message, behind, _ = fed(pieces, NormalizingEndOfData)
        self.assertEqual((message, behind), (normalized(sent), rest))

    @given(WITHOUT_CR, CUTS)
    @examples(max_examples=600, deadline=None)
    def test_what_leaves(self, data: bytes, cuts: list[int]) -> None:
        """No bare CR or LF, no end of data, and a CRLF at the end, in any split."""
        pieces = split(data + b"\r\n.\r\n", cuts)
        message, _, _ = fed(pieces, NormalizingEndOfData)
        self.assertNotIn(b"\r\n.\r\n", b"\r\n" + message)
        self.assertIsNone(BARE.search(b"\r\n" + message + b"."))
        self.assertTrue(message.endswith(b"\r\n") or not message)

    @given(WITHOUT_CR)
    @examples(max_examples=200, deadline=None)
    def test_byte_by_byte(self, data: bytes) -> None:
        """One byte at a time gives the same too."""
        data += b"\r\n.\r\n"
        pieces = [data[n : n + 1] for n in range(len(data))]
        self.assertEqual(
            fed(pieces, NormalizingEndOfData), fed([data], NormalizingEndOfData), pieces
        )

    def test_lines(self) -> None:
        """A bare LF ends a line; a dot behind it is one of the message's own."""
        for data, message in {
            b"a\nb\r\n": b"a\r\nb\r\n",
            b"\n\n": b"\r\n\r\n",
            b"a\n.\r\nb\r\n": b"a\r\n..\r\nb\r\n",
            b"a\n.\nb\r\n": b"a\r\n..\r\nb\r\n",
            b"a\r\n.\nb\r\n": b"a\r\n..\r\nb\r\n",
            b".\n.\n": b"..\r\n..\r\n",
            b"a\n..b\n.c\r\n": b"a\r\n...b\r\n..c\r\n",
            b"..a\r\n.b\nc\r\n": b"..a\r\n.b\r\nc\r\n",
        }.items():
            for at in range(len(data) + 1):
                self.assertEqual(fed([data[:at], data[at:]], NormalizingEndOfData)[0], message)

    def test_smuggling(self) -> None:
        """No bare LF makes an end, and none is left; what has a bare CR shows it."""
        for mark in SMUGGLING:
            data = b"text" + mark + b"MAIL FROM:<x@example.net>\r\n"
            for at in range(len(data) + 1):
                end = NormalizingEndOfData()
                message = end.feed(data[:at]) + end.feed(data[at:])
                self.assertFalse(end.ended, (mark, at))
                bare_cr = re.search(rb"\r(?!\n)", data) is not None
                self.assertEqual(end.bare_cr, bare_cr, (mark, at))
                if not bare_cr:
                    self.assertNotIn(b"\r\n.\r\n", message, (mark, at))
                    self.assertIsNone(BARE.search(message), (mark, at))

    def test_nothing_bare(self) -> None:
        """A message without a bare LF is handed out as it came: the very bytes."""
        data = b"..a\r\n.b\r\n" * 3
        self.assertIs(NormalizingEndOfData().feed(data), data)
