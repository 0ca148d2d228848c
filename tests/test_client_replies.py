"""A backend's replies, read in pieces and within bounds."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.client.replies import MAX_LINE, MAX_REPLY, NotAReply, ReplyReader
from smtpforward.reply import Reply

CODES = st.builds(
    lambda a, b, c: a * 100 + b * 10 + c, st.integers(2, 5), st.integers(0, 5), st.integers(0, 9)
)
TEXT = st.binary(max_size=40).map(lambda text: text.replace(b"\n", b"").rstrip(b"\r"))
REPLIES = st.builds(Reply, CODES, st.lists(TEXT, min_size=1, max_size=4).map(tuple))


def on_the_wire(reply: Reply) -> bytes:
    """A reply as a backend writes it."""
    *first, last = reply.lines
    head = b"".join(b"%d-%b\r\n" % (reply.code, line) for line in first)
    return head + b"%d %b\r\n" % (reply.code, last)


def read(*pieces: bytes) -> tuple[list[Reply], bool]:
    """All replies in ``pieces``, and whether the connection is still of use."""
    reader = ReplyReader()
    replies: list[Reply] = []
    try:
        for piece in pieces:
            for reply in reader.feed(piece):
                replies.append(reply)
    except NotAReply:
        return (replies, False)
    return (replies, True)


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    """``data`` cut at ``cuts``."""
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


class ReplyReaderTests(SynchronousTestCase):
    """Bytes to replies."""

    def test_lines(self) -> None:
        """A reply keeps its code and the text of each line."""
        data = b"250-first\r\n250-\r\n250 third\r\n"
        self.assertEqual(read(data), ([Reply(250, (b"first", b"", b"third"))], True))

    def test_code_alone(self) -> None:
        """A code without text, with or without a blank, is a reply with an empty line."""
        for line in (b"250\r\n", b"250 \r\n", b"250\n"):
            self.assertEqual(read(line), ([Reply(250)], True))

    def test_line_feed_alone(self) -> None:
        """A missing CR is forgiven."""
        self.assertEqual(read(b"250-a\n250 b\n"), ([Reply(250, (b"a", b"b"))], True))

    def test_codes(self) -> None:
        """Every code of RFC 5321 4.2.1 is taken: 2 to 5, then 0 to 5, then any digit."""
        for code in (200, 220, 250, 251, 252, 354, 421, 450, 500, 550, 559):
            self.assertEqual(read(b"%d x\r\n" % code), ([Reply(code, (b"x",))], True))

    def test_not_a_reply(self) -> None:
        """What is no reply line is an error."""
        for line in (
            *(b"", b"\r", b"25", b"25x ok", b"+25 ok", b" 250 ok", b"-25 ok", b"2500 ok"),
            *(b"100 ok", b"600 ok", b"260 ok", b"290 ok", b"250_ok", b"250\tok", b"HTTP/1.1 400"),
            *(b"\xb2\xb5\xb0 ok", "२५० ok".encode(), b"0250 ok", b"250\x00"),
        ):
            self.assertEqual(read(line + b"\n"), ([], False), line)

    def test_continuation_with_another_code(self) -> None:
        """All lines of a reply have one code (RFC 5321 4.2.1)."""
        self.assertEqual(read(b"250-a\r\n251 b\r\n"), ([], False))

    def test_empty(self) -> None:
        """A reader is empty where nothing of a further reply has come."""
        reader = ReplyReader()
        self.assertTrue(reader.empty)
        for piece, replies, empty in (
            (b"250-a\r\n", 0, False),
            (b"25", 0, False),
            (b"0 b\r\n", 1, True),
            (b"250 c\r\n250", 1, False),
        ):
            self.assertEqual(len(list(reader.feed(piece))), replies)
            self.assertEqual(reader.empty, empty)

    def test_empty_between_replies(self) -> None:
        """While replies are taken from one piece, those that follow count as not taken."""
        reader = ReplyReader()
        self.assertEqual([reader.empty for _ in reader.feed(b"250 a\r\n250 b\r\n")], [False, True])

    def test_good_replies_before_a_bad_one(self) -> None:
        """A reply that is complete counts, whatever rubbish comes with it in one segment."""
        self.assertEqual(read(b"250 taken\r\nrubbish\r\n"), ([Reply(250, (b"taken",))], False))

    @settings(deadline=None, max_examples=100)
    @given(st.lists(REPLIES, max_size=4), st.lists(st.integers(0, 500), max_size=6))
    def test_any_split(self, replies: list[Reply], cuts: list[int]) -> None:
        """However the bytes arrive, the replies are the same."""
        data = b"".join(map(on_the_wire, replies))
        self.assertEqual(read(*pieces_of(data, cuts)), (replies, True))

    @settings(deadline=None, max_examples=150)
    @given(
        st.lists(st.sampled_from([b"250", b"421", b" ", b"-", b"x", b"\r", b"\n", b"\r\n"])),
        st.lists(st.integers(0, 500), max_size=4),
    )
    def test_any_split_of_anything(self, words: list[bytes], cuts: list[int]) -> None:
        """However the bytes arrive, good or bad ones, what is read from them is the same."""
        data = b"".join(words)
        self.assertEqual(read(*pieces_of(data, cuts)), read(data))

    def test_every_byte(self) -> None:
        """Byte by byte, and cut in two at each place."""
        data = b"250-a\r\n250 b\r\n354 go\r\n550-5.1.1 no\n550 5.1.1 one\r\n"
        whole = read(data)
        self.assertEqual(len(whole[0]), 3)
        self.assertEqual(read(*(data[i : i + 1] for i in range(len(data)))), whole)
        for cut in range(len(data)):
            self.assertEqual(read(data[:cut], data[cut:]), whole)


class BoundsTests(SynchronousTestCase):
    """Nothing that a backend sends is kept without bound."""

    def test_longest_line(self) -> None:
        """A line of the greatest length is taken, also when its end comes later."""
        line = b"250 " + b"x" * (MAX_LINE - 4)
        expected = ([Reply(250, (line[4:],))], True)
        self.assertEqual(read(line + b"\r\n"), expected)
        for cut in (MAX_LINE - 1, MAX_LINE, MAX_LINE + 1):
            self.assertEqual(read((line + b"\r\n")[:cut], (line + b"\r\n")[cut:]), expected)

    def test_longer_line(self) -> None:
        """One byte more is an error, whether or not its end has come."""
        line = b"250 " + b"x" * (MAX_LINE - 3)
        self.assertEqual(read(line + b"\r\n"), ([], False))
        self.assertEqual(read(line, b"\r\n"), ([], False))
        self.assertEqual(read(line + b"\r", b"\n"), ([], False))

    def test_endless_line(self) -> None:
        """A line without end is given up after a few kilobytes."""
        reader = ReplyReader()
        with self.assertRaises(NotAReply):
            for _ in range(MAX_LINE // 512 + 2):
                list(reader.feed(b"2" * 512))

    def test_endless_reply(self) -> None:
        """A reply of ever more long lines is given up."""
        reader = ReplyReader()
        fed = 0
        with self.assertRaises(NotAReply):
            while fed < 2 * MAX_REPLY:
                fed += 1004
                list(reader.feed(b"250-" + b"x" * 998 + b"\r\n"))
        self.assertLess(fed, MAX_REPLY + 2 * 1004)

    def test_endless_short_lines(self) -> None:
        """A reply of ever more short lines is given up: each costs memory beyond its bytes."""
        self.assertEqual(read(b"250-\r\n" * (MAX_REPLY // 64 + 1)), ([], False))

    def test_long_reply_then_another(self) -> None:
        """The bound is that of one reply: it starts anew with the next."""
        one = b"250-" + b"x" * 998 + b"\r\n"
        data = (one * 60 + b"250 end\r\n") * 3
        replies, useful = read(data)
        self.assertTrue(useful)
        self.assertEqual([len(reply.lines) for reply in replies], [61, 61, 61])
