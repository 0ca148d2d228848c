"""Paths and parameters of MAIL and RCPT."""

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.address import Fault, Path, parse_recipient, parse_sender
from smtpforward.envelope import NULL_SENDER

GOOD = {
    b"<joe@example.com>": b"joe@example.com",
    b"<Joe.Q.Public@Example.COM>": b"Joe.Q.Public@Example.COM",
    b" <joe@example.com>": b"joe@example.com",
    b"\t<joe@example.com>": b"joe@example.com",
    b"joe@example.com": b"joe@example.com",
    b"<a..b@example.com>": b"a..b@example.com",
    b"<.a.@example.com>": b".a.@example.com",
    b"<a@my_host.example.com>": b"a@my_host.example.com",
    b"<a@localhost>": b"a@localhost",
    b"<a@[192.0.2.1]>": b"a@[192.0.2.1]",
    b"<a@[IPv6:2001:db8::1]>": b"a@[IPv6:2001:db8::1]",
    b"<a@[ipv6:::1]>": b"a@[ipv6:::1]",
    b'<"a b"@example.com>': b'"a b"@example.com',
    b'<"a\\"b@c"@example.com>': b'"a\\"b@c"@example.com',
    b'<""@example.com>': b'""@example.com',
    b"<@one.example,@two.example:a@example.com>": b"a@example.com",
    b"<!#$%&'*+/=?^_`{|}~-@example.com>": b"!#$%&'*+/=?^_`{|}~-@example.com",
}
BAD = (
    *(b"", b" ", b"<", b"<joe@example.com", b"joe@example.com>", b"<joe@>", b"<@example.com>"),
    *(b"<a@b@c>", b"<a b@example.com>", b"<a@example..com>", b"<a@.example.com>"),
    *(b"<a@example.com.>", b"<a@-example.com>", b"<a@example-.com>", b"<a@[192.0.2.256]>"),
    *(b"<a@[IPv6:192.0.2.1]>", b"<a@[2001:db8::1]>", b"<a@[]>", b"<a@[IPv6:]>", b"<a@[x]>"),
    *(b'<"a@example.com>', b'<a"b@example.com>', b'<"a"b"@example.com>', b'<"a\\"@example.com>'),
    *(b"<<a@example.com>>", b"<a@example.com>SIZE=1", b"<a@example.com> <b@example.com>x="),
    *(b"<@one.example:>", b"<@one.example a@example.com>", b"<a@" + b"x" * 256 + b">"),
)


class PathTests(SynchronousTestCase):
    """What is a path, and what is none."""

    def test_good(self) -> None:
        """Lenient where mail practice is; the address stays as received, without a source route."""
        for path, expected in GOOD.items():
            for parsed in (parse_sender(b"FROM:" + path), parse_recipient(b"to:" + path)):
                self.assertIsInstance(parsed, Path, path)
                self.assertEqual(bytes(parsed.address), expected)

    def test_bad(self) -> None:
        """Whatever another server could read differently is a fault."""
        for path in BAD:
            for parsed in (parse_sender(b"FROM:" + path), parse_recipient(b"TO:" + path)):
                self.assertIn(parsed, (Fault.SYNTAX, Fault.PARAMETERS), path)

    def test_wrong_keyword(self) -> None:
        """FROM belongs to MAIL and TO to RCPT."""
        self.assertIs(parse_sender(b"TO:<a@example.com>"), Fault.SYNTAX)
        self.assertIs(parse_recipient(b"FROM:<a@example.com>"), Fault.SYNTAX)
        self.assertIs(parse_sender(b"<a@example.com>"), Fault.SYNTAX)
        self.assertIs(parse_sender(b""), Fault.SYNTAX)

    def test_null_path(self) -> None:
        """``<>`` is a sender and no recipient."""
        parsed = parse_sender(b"FROM:<>")
        self.assertIsInstance(parsed, Path)
        self.assertEqual(parsed.address, NULL_SENDER)
        self.assertIs(parse_recipient(b"TO:<>"), Fault.SYNTAX)

    def test_without_domain(self) -> None:
        """Only ``postmaster``, in any case, and only as a recipient, goes without a domain."""
        self.assertIs(parse_sender(b"FROM:<postmaster>"), Fault.NO_DOMAIN)
        self.assertIs(parse_recipient(b"TO:<joe>"), Fault.NO_DOMAIN)
        self.assertEqual(parse_recipient(b"TO:<PostMaster>").address.local, b"PostMaster")

    def test_non_ascii(self) -> None:
        """An address outside ASCII is a fault of its own: SMTPUTF8 is not offered."""
        for path in ("<ü@example.com>".encode(), "<a@exämple.com>".encode(), b"<\xff@example.com>"):
            self.assertIs(parse_sender(b"FROM:" + path), Fault.NON_ASCII)
            self.assertIs(parse_recipient(b"TO:" + path), Fault.NON_ASCII)

    def test_domain_length(self) -> None:
        """A domain of 255 octets is the longest."""
        domain = b".".join([b"x" * 63] * 4)
        self.assertIsInstance(parse_sender(b"FROM:<a@%b>" % domain), Path)
        self.assertIs(parse_sender(b"FROM:<a@%bx>" % domain), Fault.SYNTAX)

    @given(st.binary(max_size=40), st.sampled_from((b"FROM:", b"FROM:<", b'FROM:<"')))
    @examples(max_examples=300, deadline=None)
    def test_no_control_character_passes(self, text: bytes, start: bytes) -> None:
        """Whatever is parsed, quoted or not, holds printable ASCII alone."""
        for argument in (start + text, start + text + b'"@example.com>'):
            parsed = parse_sender(argument)
            if isinstance(parsed, Path):
                words = (parsed.address.path, *parsed.parameters, *parsed.parameters.values())
                self.assertTrue(all(0x20 <= byte < 0x7F for word in words for byte in word))

    def test_each_control_character(self) -> None:
        """Inside a quoted local part, escaped or not, a control character is a fault."""
        for byte in (*range(0x20), 0x7F):
            for form in (b'FROM:<"a%bb"@example.com>', b'FROM:<"a\\%bb"@example.com>'):
                self.assertIs(parse_sender(form % bytes([byte])), Fault.SYNTAX, byte)

    def test_a_path_is_read_back(self) -> None:
        """What parses, parses from its own path to the same address."""
        for path in GOOD:
            parsed = parse_sender(b"FROM:" + path)
            again = parse_sender(b"FROM:" + parsed.address.path)
            self.assertEqual(again.address, parsed.address)


class ParameterTests(SynchronousTestCase):
    """What stands behind the path."""

    def parameters(self, text: bytes) -> object:
        """The parameters of MAIL, or the fault."""
        parsed = parse_sender(b"FROM:<a@example.com>" + text)
        return parsed.parameters if isinstance(parsed, Path) else parsed

    def test_none(self) -> None:
        """No parameters, whatever blanks there are."""
        self.assertEqual(self.parameters(b""), {})
        self.assertEqual(self.parameters(b"  "), {})

    def test_some(self) -> None:
        """Keywords are upper case, values as received, and one may go without a value."""
        self.assertEqual(
            self.parameters(b" size=10  BODY=8bitmime\tX-Y"),
            {b"SIZE": b"10", b"BODY": b"8bitmime", b"X-Y": b""},
        )

    def test_bad(self) -> None:
        """A keyword twice, or a word that is none, is a fault."""
        for text in (b" SIZE=1 size=2", b" =1", b" SIZE=", b" -A=1", b" SIZE=1=\x01", b" <b@c>"):
            self.assertIs(self.parameters(text), Fault.PARAMETERS, text)

    def test_of_recipients(self) -> None:
        """RCPT takes the same grammar."""
        parsed = parse_recipient(b"TO:<a@example.com> NOTIFY=NEVER")
        self.assertEqual(parsed.parameters, {b"NOTIFY": b"NEVER"})
