"""Paths and parameters of MAIL and RCPT."""

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.address import (
    Fault,
    Path,
    parse_recipient,
    parse_sender,
    parse_utf8_recipient,
)
from smtpforward.envelope import NULL_SENDER, Address

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
    b"<a@[192.0.2.1]> ": b"a@[192.0.2.1]",
    b"<%b@example.com>" % (b"x" * 200): b"x" * 200 + b"@example.com",
    b"<!#$%&'*+/=?^_`{|}~-@example.com>": b"!#$%&'*+/=?^_`{|}~-@example.com",
}
BAD = (
    *(b"", b" ", b"<", b"<joe@example.com", b"joe@example.com>", b"<joe@>", b"<@example.com>"),
    *(b"<a@b@c>", b"<a b@example.com>", b"<a@example..com>", b"<a@.example.com>"),
    *(b"<a@example.com.>", b"<a@-example.com>", b"<a@example-.com>", b"<a@[192.0.2.256]>"),
    *(b"<a@[IPv6:192.0.2.1]>", b"<a@[2001:db8::1]>", b"<a@[]>", b"<a@[IPv6:]>", b"<a@[x]>"),
    *(b'<"a@example.com>', b'<a"b@example.com>', b'<"a"b"@example.com>', b'<"a\\"@example.com>'),
    *(b"<<a@example.com>>", b"<a@example.com>SIZE=1", b"<a@example.com> <b@example.com>x="),
    *(b"<@one.example:>", b"<@one.example a@example.com>", b"<@[192.0.2.1]:a@example.com>"),
    *(b"<a@[192.0.2.01]>", b"<a@[192.0.2]>", b"<a@[IPv6:fe80::1%eth0]>", b"<a@[IPv6:1::2::3]>"),
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

    def test_length(self) -> None:
        """A path of 256 octets is the longest; its local part may have what the domain leaves."""
        for local, domain in ((b"x" * 251, b"y"), (b"x", b".".join([b"y" * 63] * 4)[:251])):
            path = parse_sender(b"FROM:<%b@%b>" % (local, domain))
            self.assertIsInstance(path, Path)
            self.assertEqual(len(path.address.path), 255)
            self.assertIsInstance(parse_sender(b"FROM:<%b@%bz>" % (local, domain)), Path)
            self.assertIs(parse_sender(b"FROM:<%b@%bzz>" % (local, domain)), Fault.LENGTH)
            self.assertIs(parse_recipient(b"TO:<%b@%bzz>" % (local, domain)), Fault.LENGTH)

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


ASK = b" SMTPUTF8"
INTERNATIONAL = {
    "<ü@example.com>": "example.com",
    "<user@bücher.example>": "xn--bcher-kva.example",
    "<user@BÜCHER.Example>": "xn--bcher-kva.example",
    "<用户@例子.测试>": "xn--fsqu00a.xn--0zwm56d",
    "<квіточка@пошта.укр>": "xn--80a1acn3a.xn--j1amh",
    '<"ü b"@example.com>': "example.com",
    '<"ü\\"b"@my_host.bücher.example>': "my_host.xn--bcher-kva.example",
    "<क्\u200dष@example.com>": "example.com",
    "<e\u0301@example.com>": "example.com",
    "<@böse.example:ü@example.com>": "example.com",
    "ü@example.com": "example.com",
    "<ü@[192.0.2.1]>": "[192.0.2.1]",
}
UNFIT = (
    *("\x80", "\x85", "\x9f", "\xa0", "\xad", "\u2028", "\u2029", "\u200b", "\u200e", "\u202e"),
    *("\u2066", "\u3000", "\ufeff", "\ue000", "\ufdd0", "\ufffe", "\U000e0001", "\U0010fffd"),
    *(
        "\u0378",
        "\uff20",
        "\uff05",
        "\uff01",
        "\uff5c",
        "\uff1c",
        "\uff1e",
        "\uff02",
        "\ufe6b",
        "\u037e",
        "¨",
        "≮",
        "…",
    ),
)
NOT_UTF8 = (
    *(b"\xff", b"\x80", b"\xc3", b"\xc0\x80", b"\xc1\xbf", b"\xe0\x80\xaf", b"\xed\xa0\x80"),
    *(b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xc3\xbc\xff"),
)
BAD_DOMAINS = (
    *(
        "exämple\u3002com",
        "exämple\uff0ecom",
        "ü..example",
        "-ü.example",
        "ü-.example",
        "☃.example",
    ),
    *(
        "\uff45xample.com",
        "u\u0308.example",
        "xn--ü.example",
        "ü" * 60 + ".example",
        "exämple.com.",
    ),
)


class InternationalTests(SynchronousTestCase):
    """Addresses outside ASCII (RFC 6531)."""

    def test_good(self) -> None:
        """With SMTPUTF8 they are taken as received, and compare by A-labels."""
        for path, host in INTERNATIONAL.items():
            for parsed in (
                parse_sender(b"FROM:" + path.encode() + ASK),
                parse_sender(b"FROM:" + path.encode() + b" size=1 smtputf8"),
                parse_utf8_recipient(b"TO:" + path.encode()),
            ):
                self.assertIsInstance(parsed, Path, path)
                self.assertEqual(parsed.address.host, host)
                meant = path.removeprefix("<@böse.example:").strip("<>")
                self.assertEqual(str(parsed.address), meant)

    def test_not_asked_for(self) -> None:
        """Without SMTPUTF8 a path outside ASCII is a fault of its own."""
        for path in INTERNATIONAL:
            self.assertIs(parse_sender(b"FROM:" + path.encode()), Fault.NON_ASCII)
            self.assertIs(parse_recipient(b"TO:" + path.encode()), Fault.NON_ASCII)
        trick = 'FROM:<"ü SMTPUTF8"@example.com>'.encode()
        self.assertIs(parse_sender(trick), Fault.NON_ASCII)
        self.assertIsInstance(parse_sender(trick + ASK), Path)

    def test_ascii_needs_no_asking(self) -> None:
        """An ASCII path with SMTPUTF8 is one as any other."""
        self.assertEqual(
            parse_sender(b"FROM:<a@example.com>" + ASK).address,
            parse_sender(b"FROM:<a@example.com>").address,
        )
        parsed = parse_utf8_recipient(b"TO:<a@example.com>")
        self.assertEqual(parsed, parse_recipient(b"TO:<a@example.com>"))
        self.assertIs(parse_utf8_recipient("TO:<ü>".encode()), Fault.NO_DOMAIN)

    def assert_refused(self, path: bytes, why: object) -> None:
        """No way in, quoted or not, even where SMTPUTF8 was asked for."""
        self.assertIs(parse_sender(b"FROM:<%b>" % path + ASK), Fault.SYNTAX, why)
        self.assertIs(parse_utf8_recipient(b"TO:<%b>" % path), Fault.SYNTAX, why)

    def test_unfit(self) -> None:
        """Nothing invisible, blank or unassigned, and nothing that is an ASCII sign to others."""
        for character in UNFIT:
            for path in (f"a{character}b@example.com", f'"a{character}b"@example.com'):
                self.assert_refused(path.encode(), hex(ord(character)))

    def test_not_utf8(self) -> None:
        """Octets that are no UTF-8 do not pass."""
        for octets in NOT_UTF8:
            self.assert_refused(octets + b"@example.com", octets)
            self.assert_refused(b'"%b"@example.com' % octets, octets)
            self.assert_refused(b"a@%b.example" % octets, octets)

    def test_domains(self) -> None:
        """A label is a U-label as it stands, without any mapping."""
        for domain in BAD_DOMAINS:
            self.assert_refused(f"a@{domain}".encode(), domain)

    def test_length_is_in_octets(self) -> None:
        """As for ASCII the path has 256 octets, and the A-labels of a domain 255."""
        local = "ü" * 121
        self.assertIsInstance(parse_utf8_recipient(f"TO:<{local}@example.com>".encode()), Path)
        self.assertIs(parse_utf8_recipient(f"TO:<{local}ü@example.com>".encode()), Fault.LENGTH)
        domain = ".".join(["ü"] * 80)  # 239 octets, 719 as A-labels
        self.assertIs(parse_utf8_recipient(f"TO:<a@{domain}>".encode()), Fault.SYNTAX)

    def test_parameters(self) -> None:
        """A value of a parameter may be outside ASCII as well, by the same rules."""
        parsed = parse_utf8_recipient("TO:<a@example.com> ORCPT=utf-8;ü@example.com".encode())
        self.assertEqual(parsed.parameters, {b"ORCPT": "utf-8;ü@example.com".encode()})
        for bad in ("ORCPT=utf-8;\u2028", "ORCPT=utf-8;\x85", "ÖRCPT=1"):
            argument = f"TO:<a@example.com> {bad}".encode()
            self.assertIn(parse_utf8_recipient(argument), (Fault.SYNTAX, Fault.PARAMETERS))

    @given(st.text(max_size=20), st.text(max_size=20), st.booleans())
    @examples(max_examples=300, deadline=None)
    def test_only_printable_text_passes(self, local: str, domain: str, quoted: bool) -> None:
        """Whatever is taken is printable, has its parts where they were, and is read back."""
        given = (f'"{local}"' if quoted else local).encode("utf-8", "surrogatepass")
        argument = b"TO:<%b@%b>" % (given, domain.encode("utf-8", "surrogatepass"))
        parsed = parse_utf8_recipient(argument)
        if isinstance(parsed, Path):
            self.assertTrue(str(parsed.address).replace("\u200c", "").isprintable())
            self.assertTrue(parsed.address.host.isascii())
            self.assertEqual(parse_utf8_recipient(b"TO:" + parsed.address.path), parsed)

    @given(st.binary(max_size=24), st.booleans())
    @examples(max_examples=300, deadline=None)
    def test_any_octets(self, octets: bytes, quoted: bool) -> None:
        """Whatever octets come, what is taken is UTF-8 without control characters."""
        local = b'"%b"' % octets if quoted else octets
        parsed = parse_sender(b"FROM:<%b@example.com>" % local + ASK)
        if isinstance(parsed, Path):
            for word in (parsed.address.path, *parsed.parameters, *parsed.parameters.values()):
                self.assertFalse(any(c < " " or "\x7f" <= c < "\xa0" for c in word.decode()))


LOCALS = st.one_of(
    st.from_regex(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,20}", fullmatch=True),
    st.from_regex(r'"([ !#-\[\]-~]|\\[ -~]){0,15}"', fullmatch=True),
    st.text("aüßéж用ข", min_size=1, max_size=10),
)
DOMAINS = st.one_of(
    st.from_regex(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,5}[a-z0-9])?(\.[a-z]{1,5}){0,3}", fullmatch=True),
    st.ip_addresses(v=4).map(lambda ip: f"[{ip}]"),
    st.ip_addresses(v=6).map(lambda ip: f"[IPv6:{ip}]"),
    st.sampled_from(("bücher.example", "例子.测试", "a.пошта.укр", "straße.example")),
)


class ReadBackTests(SynchronousTestCase):
    """Parsing and writing are each other's opposites."""

    @given(LOCALS, DOMAINS)
    @examples(max_examples=300, deadline=None)
    def test_parse_of_format(self, local: str, domain: str) -> None:
        """An address, written as a path and parsed, is the same address."""
        address = Address(local.encode(), domain.encode())
        parsed = parse_sender(b"FROM:%b SMTPUTF8" % address.path)
        self.assertIsInstance(parsed, Path, address)
        self.assertEqual(parsed.address, address)
        self.assertEqual(parse_utf8_recipient(b"TO:" + address.path).address, address)

    @given(LOCALS, DOMAINS)
    @examples(max_examples=300, deadline=None)
    def test_ascii_form(self, local: str, domain: str) -> None:
        """The ASCII form of an address, where it has one, is the same mailbox."""
        address = Address(local.encode(), domain.encode())
        ascii_form = address.in_ascii()
        self.assertEqual(ascii_form is None, not local.isascii())
        if ascii_form is not None:
            again = parse_recipient(b"TO:" + ascii_form.path)
            self.assertEqual(again.address.comparable, address.comparable)

    @given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=15))
    def test_quoting_says_nothing(self, meant: str) -> None:
        """A local part quoted as much as can be, or as little, is the same mailbox."""
        much = '"' + "".join(f"\\{character}" for character in meant) + '"'
        little = '"' + meant.replace("\\", "\\\\").replace('"', '\\"') + '"'
        one, other = (Address(form.encode(), b"example.com") for form in (much, little))
        self.assertEqual(one.comparable, other.comparable)
        self.assertIsInstance(parse_sender(b"FROM:<%b@b>" % one.comparable[0]), Path)


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
        for text in (
            b" A=1\vB=2",
            b" A=1\fB=2",
            b" SIZE=1 size=2",
            b" =1",
            b" SIZE=",
            b" -A=1",
            b" SIZE=1=\x01",
            b" <b@c>",
        ):
            self.assertIs(self.parameters(text), Fault.PARAMETERS, text)

    def test_of_recipients(self) -> None:
        """RCPT takes the same grammar."""
        parsed = parse_recipient(b"TO:<a@example.com> NOTIFY=NEVER")
        self.assertEqual(parsed.parameters, {b"NOTIFY": b"NEVER"})
