"""The queue of commands: whole lines, or what is wrong with them."""

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.server.lines import Breach, CommandLines
from tests.support import split

BYTES = st.lists(
    st.sampled_from((b"\r\n", b"\r", b"\n", b"\0", b"NOOP", b"x" * 9, b"", b"\xff")), max_size=10
).map(b"".join)
CUTS = st.lists(st.integers(0, 60), max_size=8)
LIMIT = 12


def taken(pieces: list[bytes]) -> list[bytes | Breach]:
    """All that can be taken after each of ``pieces``; the end of it when a breach is endless."""
    lines = CommandLines(LIMIT)
    found: list[bytes | Breach] = []
    for piece in pieces:
        lines.append(piece)
        while (line := lines.take()) is not None:
            if line is Breach.ENDLESS:
                return found
            found.append(line)
    return found


def reference(data: bytes) -> list[bytes | Breach]:
    """The same, the slow way."""
    found: list[bytes | Breach] = []
    *ended, _ = data.split(b"\n")
    for line in ended:
        text = line[:-1]
        if not line.endswith(b"\r") or b"\r" in text or b"\0" in text:
            found.append(Breach.NEWLINE)
        else:
            found.append(Breach.LENGTH if len(line) + 1 > LIMIT else text)
    return found


class CommandLinesTests(SynchronousTestCase):
    """Bytes in, lines out."""

    def setUp(self) -> None:
        self.lines = CommandLines(LIMIT)

    def test_lines_in_order(self) -> None:
        """Lines come out one by one, without their CRLF, and empty ones count."""
        self.lines.append(b"EHLO a\r\n\r\nMAIL")
        self.assertEqual([self.lines.take() for _ in range(3)], [b"EHLO a", b"", None])
        self.assertEqual(len(self.lines), 4)
        self.lines.append(b"\r\n")
        self.assertEqual((self.lines.take(), len(self.lines)), (b"MAIL", 0))

    @given(BYTES, CUTS)
    @examples(max_examples=400, deadline=None)
    def test_any_split(self, data: bytes, cuts: list[int]) -> None:
        """However the bytes are split, the same lines and breaches come out."""
        found = taken(split(data, cuts))
        self.assertEqual(found, reference(data)[: len(found)])
        if max(map(len, data.split(b"\n"))) < LIMIT:
            self.assertEqual(len(found), data.count(b"\n"))

    def test_length(self) -> None:
        """A line of the limit is taken; one byte more is a breach that spares the next one."""
        self.lines.append(b"x" * (LIMIT - 2) + b"\r\n" + b"y" * (LIMIT - 1) + b"\r\nNOOP\r\n")
        self.assertEqual(
            [self.lines.take() for _ in range(3)], [b"x" * (LIMIT - 2), Breach.LENGTH, b"NOOP"]
        )

    def test_another_limit(self) -> None:
        """One line may have a limit of its own."""
        self.lines.append(b"x" * LIMIT)
        self.assertIsNone(self.lines.take(LIMIT + 2))
        self.lines.append(b"\r\n")
        self.assertEqual(self.lines.take(LIMIT + 2), b"x" * LIMIT)

    def test_endless(self) -> None:
        """A line whose end has not come is a breach as soon as it is over the limit."""
        self.lines.append(b"x" * LIMIT)
        self.assertIsNone(self.lines.take())
        self.lines.append(b"x")
        self.assertIs(self.lines.take(), Breach.ENDLESS)

    def test_newlines(self) -> None:
        """A bare CR, a bare LF or a NUL is a breach, also right behind a good line."""
        for wrong in (b"\n", b"a\n", b"a\rb\r\n", b"a\r\r\n", b"\r\r\n", b"a\0\r\n"):
            self.lines.append(b"A\r\n" + wrong)
            self.assertEqual([self.lines.take(), self.lines.take()], [b"A", Breach.NEWLINE], wrong)
            self.assertEqual(len(self.lines), 0)

    def test_clear(self) -> None:
        """What waits can be forgotten."""
        self.lines.append(b"NOOP\r\n")
        self.lines.clear()
        self.assertFalse(self.lines)
        self.assertIsNone(self.lines.take())
