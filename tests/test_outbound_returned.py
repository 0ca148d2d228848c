"""What a notification returns of the message (RFC 3461 4.3 and 6.2)."""

import binascii
from typing import ClassVar

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.content import Content, Form
from smtpforward.outbound.parts import Part
from smtpforward.outbound.returned import MAX_HEADER, MAX_WHOLE, Kind, Returned, returned
from tests.bouncesupport import ORIGINAL
from tests.support import content

HEADER = ORIGINAL.partition(b"\r\n\r\n")[0] + b"\r\n"


def of(plain: bytes, whole: bool = True) -> Returned:
    """What is returned of a message."""
    return returned(Content.from_plain(plain), whole)


def held(back: Returned) -> bytes:
    """The body of the part, as it stands there."""
    [part] = back.parts
    return part.body


def decoded(back: Returned) -> bytes:
    """The body of the part, quoted-printable decoded."""
    [part] = back.parts
    return binascii.a2b_qp(part.body) if part.encoding == "quoted-printable" else part.body


class WholeTests(SynchronousTestCase):
    """All of a message goes back as it is, or not at all."""

    def test_verbatim(self) -> None:
        """Byte for byte, lines that begin with a dot, or with ``From``, with them."""
        back = of(ORIGINAL)
        self.assertIs(back.kind, Kind.WHOLE)
        self.assertEqual(back.parts[0].kind, "message/rfc822")
        self.assertEqual(back.parts[0].encoding, "7bit")
        self.assertEqual(held(back), ORIGINAL)

    def test_wire_form(self) -> None:
        """A message that is kept dot-stuffed goes back without those dots, its prefix with it."""
        stored = content(ORIGINAL.replace(b"\r\n.", b"\r\n.."), Form.WIRE)
        stored.prefix = b"Received: here\r\n"
        self.assertEqual(held(returned(stored, True)), b"Received: here\r\n" + ORIGINAL)

    def test_eight_bits(self) -> None:
        """A body of 8-bit bytes goes as it is."""
        back = of(b"Subject: x\r\n\r\n\xe4\xff\xc3\xa4\r\n")
        self.assertEqual(back.parts[0].encoding, "8bit")
        self.assertEqual(held(back), b"Subject: x\r\n\r\n\xe4\xff\xc3\xa4\r\n")

    def test_largest(self) -> None:
        """Up to so many bytes; one more, and it is the header only."""
        begun = b"Subject: x\r\n\r\n"
        body = (b"x" * 78 + b"\r\n") * (MAX_WHOLE // 80)
        body = body[: MAX_WHOLE - len(begun) - 2] + b"\r\n"
        self.assertEqual(len(begun + body), MAX_WHOLE)
        self.assertIs(of(begun + body).kind, Kind.WHOLE)
        back = of(begun + b"y" + body)
        self.assertIs(back.kind, Kind.HEADER)
        self.assertEqual(held(back), b"Subject: x\r\n")

    def test_what_no_mail_may_hold(self) -> None:
        """NUL, a line that is too long, a header outside ASCII: the header only."""
        for plain in (
            b"Subject: x\r\n\r\na\0b\r\n",
            b"Subject: x\r\n\r\n" + b"y" * 999 + b"\r\n",
            b"Subject: \xc3\xa4\r\n\r\nbody\r\n",
        ):
            self.assertIs(of(plain).kind, Kind.HEADER)
        self.assertIs(of(b"Subject: x\r\n\r\n" + b"y" * 998 + b"\r\n").kind, Kind.WHOLE)

    def test_without_header(self) -> None:
        """A message may be all body; an empty one is not returned."""
        for plain in (b"\r\nbody\r\n", b"no header\r\n", b"\r\n"):
            self.assertEqual((of(plain).kind, held(of(plain))), (Kind.WHOLE, plain))
        self.assertEqual(of(b""), Returned(Kind.NOTHING, (), ""))


class HeaderTests(SynchronousTestCase):
    """The header alone."""

    def test_plain(self) -> None:
        """Its lines, without the empty one."""
        back = of(ORIGINAL, whole=False)
        self.assertIs(back.kind, Kind.HEADER)
        self.assertEqual(back.parts[0].kind, "text/rfc822-headers; charset=us-ascii")
        self.assertEqual(back.parts[0].encoding, "7bit")
        self.assertEqual(held(back), HEADER)

    def part(self, header: bytes) -> Part:
        """The part with ``header``, which comes out of it as it was."""
        back = of(header + b"\r\nbody\r\n", whole=False)
        self.assertEqual(decoded(back), header)
        self.assertTrue(held(back).isascii())
        self.assertLessEqual(max(map(len, held(back).split(b"\r\n"))), 76)
        return back.parts[0]

    def test_encoded(self) -> None:
        """What may not stand in a mail as it is goes quoted-printable, with its charset."""
        for header, charset in (
            ("Subject: Grüße \r\nTo: 中@example.com\r\n".encode(), "utf-8"),
            (b"Subject: Gr\xfc\xdfe\r\n", "unknown-8bit"),
            (b"Subject: " + b"x" * 2000 + b"\r\n", "us-ascii"),
            (b"Subject: a\0b\r\n\t=3D \r\n", "us-ascii"),
        ):
            part = self.part(header)
            self.assertEqual(part.kind, f"text/rfc822-headers; charset={charset}")
            self.assertEqual(part.encoding, "quoted-printable")

    def test_huge(self) -> None:
        """So many bytes of whole lines, and no more."""
        line = b"X-Padding: " + b"x" * 60 + b"\r\n"
        got = held(of(line * 5000 + b"\r\nbody\r\n"))
        self.assertEqual(got, line * (MAX_HEADER // len(line)))

    def test_only_so_much_is_read(self) -> None:
        """However large the message is."""
        read = []

        class Watched(Content):
            def plain(self):  # type: ignore[no-untyped-def]
                for _ in range(1000):
                    read.append(1)
                    yield b"X-Padding: " + b"x" * 4085 + b"\r\n"

        self.assertIs(returned(Watched("", 1), True).kind, Kind.HEADER)
        self.assertEqual(len(read), MAX_HEADER // 4098 + 1)

    def test_end(self) -> None:
        """It ends at the empty line, or at what is no field; without one nothing goes back."""
        for plain, header in {
            b"A: 1\r\n\tfolded\r\nB : 2\r\n\r\nC: 3\r\n": b"A: 1\r\n\tfolded\r\nB : 2\r\n",
            b"A: 1\r\nsecret text: none\r\n\r\n": b"A: 1\r\n",
            b"A: 1\r\nB: 2\r\n": b"A: 1\r\nB: 2\r\n",
        }.items():
            self.assertEqual(held(of(plain, whole=False)), header)
        for plain in (b"", b"\r\nA: 1\r\n", b"no header\r\n\r\nA: 1\r\n", b" A: folded\r\n"):
            self.assertEqual(of(plain, whole=False), Returned(Kind.NOTHING, (), ""), plain)

    @given(st.lists(st.binary(max_size=200), max_size=8))
    def test_any(self, values: list[bytes]) -> None:
        """Any header comes back as it was, in lines that a mail may have."""
        lines = [b"X-Any: " + v.replace(b"\r", b"").replace(b"\n", b"") + b"\r\n" for v in values]
        header = b"".join(lines)
        back = of(header + b"\r\nbody\r\n", whole=False)
        if header:
            self.assertEqual(decoded(back), header)
            self.assertNotIn(b"\0", held(back))


class MessageIdTests(SynchronousTestCase):
    """The message's own id, for what refers to it."""

    IDS: ClassVar[dict[bytes, str]] = {
        b"Message-ID: <a@b>\r\n": "<a@b>",
        b"A: 1\r\nMESSAGE-Id:<a@b> \t\r\nB: 2\r\n": "<a@b>",
        b"Message-ID:\r\n\t<a@b>\r\n": "<a@b>",
        b"A: <x@y>\r\n Message-ID: <a@b>\r\n": "",
        b"Message-ID: a@b\r\n": "",
        b"Message-ID: <a@b> <c@d>\r\n": "",
        b"Message-ID: <a@b\r\n >\r\n": "",
        b"Message-ID: <a\xe4@b>\r\n": "",
        b"Message-ID: <" + b"a" * 300 + b"@b>\r\n": "",
        b"X-Message-ID: <a@b>\r\n": "",
    }

    def test_found(self) -> None:
        """In its field, folded or not; nothing but one id that is short and ASCII."""
        for header, expected in self.IDS.items():
            self.assertEqual(of(header + b"\r\nbody\r\n").message_id, expected, header)

    def test_not_in_the_body(self) -> None:
        """A message in the message has its own."""
        self.assertEqual(of(b"A: 1\r\n\r\nMessage-ID: <a@b>\r\n").message_id, "")
