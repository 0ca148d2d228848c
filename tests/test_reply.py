"""Replies: what they mean and how they stand on the wire."""

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.reply import Reply

REPLIES = st.builds(
    Reply,
    st.integers(200, 599),
    st.lists(st.binary(max_size=20), min_size=1, max_size=4).map(tuple),
)


class ReplyTests(SynchronousTestCase):
    """One reply."""

    def test_only_25z_is_positive(self) -> None:
        """The mail system says yes with 25z; 22z and 35z do not count."""
        positive = [code for code in range(200, 600) if Reply(code).positive]
        self.assertEqual(positive, list(range(250, 260)))

    def test_only_5yz_is_permanent(self) -> None:
        """Asking again is no use after 5yz alone."""
        self.assertEqual(
            [Reply(code).permanent for code in (451, 499, 500, 599)], [False, False, True, True]
        )

    def test_status_is_the_one_given(self) -> None:
        """An enhanced status code that fits the reply code is the status."""
        self.assertEqual(Reply(550, (b"5.7.1 no",)).status, b"5.7.1")
        self.assertEqual(Reply(550, (b"5.7.1",)).status, b"5.7.1")

    def test_status_is_made_up(self) -> None:
        """Without one, or with one of another class, the status is the class's undefined one."""
        for lines in ((b"no",), (b"",), (b"4.7.1 no",), (b"5.7.1234 no",), (b"5.7.1x",)):
            self.assertEqual(Reply(550, lines).status, b"5.0.0", lines)

    def test_enhanced_keeps_what_has_one(self) -> None:
        """A line that has its code is not given a second one."""
        reply = Reply(250, (b"2.1.0 yes",))
        self.assertIs(reply.enhanced(), reply)

    def test_enhanced_marks_each_line(self) -> None:
        """Each line of several gets the code of the first one."""
        reply = Reply(550, (b"5.1.1 no such user", b"ask your postmaster", b"5.1.1 bye"))
        self.assertEqual(
            reply.enhanced().lines,
            (b"5.1.1 no such user", b"5.1.1 ask your postmaster", b"5.1.1 bye"),
        )

    def test_enhanced_invents_one(self) -> None:
        """A reply without any gets the class's undefined one."""
        self.assertEqual(Reply(450, (b"busy",)).enhanced().lines, (b"4.0.0 busy",))

    def test_wire_of_one_line(self) -> None:
        """Code, blank, text, CRLF."""
        self.assertEqual(Reply(250, (b"2.0.0 OK",)).wire(), b"250 2.0.0 OK\r\n")

    def test_wire_of_several_lines(self) -> None:
        """All lines but the last have a hyphen behind the code."""
        self.assertEqual(Reply(250, (b"a", b"b", b"c")).wire(), b"250-a\r\n250-b\r\n250 c\r\n")

    def test_wire_is_cut(self) -> None:
        """No line is longer than 512 bytes (RFC 5321 4.5.3.1.5), whatever a backend said."""
        lines = Reply(550, (b"x" * 2000, b"y" * 506, b"z" * 507)).wire().split(b"\r\n")
        self.assertEqual([len(line) for line in lines], [510, 510, 510, 0])

    def test_wire_is_made_once(self) -> None:
        """Asking again gives the same bytes, and two equal replies stay equal."""
        reply = Reply(250, (b"2.0.0 OK",))
        self.assertIs(reply.wire(), reply.wire())
        self.assertEqual(reply, Reply(250, (b"2.0.0 OK",)))

    def test_text_is_one_line(self) -> None:
        """The log sees all lines in one, with undecodable bytes made visible."""
        self.assertEqual(Reply(550, (b"no", b"\xff")).text, "550 no \\xff")
        self.assertEqual(Reply(550).text, "550")

    @given(REPLIES)
    @examples(max_examples=100, deadline=None)
    def test_wire_cannot_be_split(self, reply: Reply) -> None:
        """Whatever a backend said, the reply has as many lines as it should, each with the code."""
        lines = reply.wire().split(b"\r\n")
        self.assertEqual(lines.pop(), b"")
        self.assertEqual(len(lines), len(reply.lines))
        for line in lines:
            self.assertTrue(line.startswith(b"%d" % reply.code))
            self.assertFalse(set(line) & {0, 10, 13})
        self.assertEqual(
            [line[3:4] for line in lines], [b"-"] * (len(lines) - 1) + [b" "], "separators"
        )

    @given(REPLIES)
    @examples(max_examples=100, deadline=None)
    def test_enhanced_twice_is_once(self, reply: Reply) -> None:
        """Enhancing changes neither code nor number of lines, and a second time nothing."""
        once = reply.enhanced()
        self.assertEqual((once.code, len(once.lines)), (reply.code, len(reply.lines)))
        if reply.code >= 400 or reply.code < 300:
            self.assertEqual(once.enhanced(), once)
