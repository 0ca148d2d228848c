"""The values of an envelope."""

from twisted.trial.unittest import SynchronousTestCase

from smtpforward.envelope import NULL_SENDER, Address, Client, Envelope, Recipient


class AddressTests(SynchronousTestCase):
    """One mailbox."""

    def test_forms(self) -> None:
        """Local part and domain stay as received; the domain to compare with is lower case."""
        made = Address(b"Joe", b"Example.COM")
        self.assertEqual((bytes(made), str(made)), (b"Joe@Example.COM", "Joe@Example.COM"))
        self.assertEqual((made.path, made.host), (b"<Joe@Example.COM>", "example.com"))

    def test_null_sender(self) -> None:
        """The null sender is the empty path."""
        self.assertEqual((NULL_SENDER.path, bytes(NULL_SENDER), NULL_SENDER.host), (b"<>", b"", ""))

    def test_postmaster(self) -> None:
        """A local part alone has a path without ``@``."""
        self.assertEqual(Address(b"postmaster").path, b"<postmaster>")

    def test_compares_as_received(self) -> None:
        """Local parts are not folded: whose business that is, the backend knows."""
        self.assertEqual(Address(b"a", b"b"), Address(b"a", b"b"))
        self.assertNotEqual(Address(b"a", b"b"), Address(b"A", b"b"))

    def test_comparable(self) -> None:
        """Quotes that say nothing, and the forms of a domain, make no other mailbox; case does."""
        same = (
            (Address(b'"joe"', b"example.com"), Address(b"joe", b"Example.COM")),
            (Address(b'"j\\o\\e"', b"example.com"), Address(b"joe", b"example.com")),
            (Address(b'"a\\ b"', b"x"), Address(b'"a b"', b"x")),
            (Address(b"a", b"[IPv6:2001:DB8:0::1]"), Address(b"a", b"[ipv6:2001:db8::1]")),
            (
                Address("ü".encode(), "bücher.example".encode()),
                Address('"ü"'.encode(), b"XN--bcher-kva.example"),
            ),
        )
        for one, other in same:
            self.assertEqual(one.comparable, other.comparable)
        for local in (b"Joe", b'"jo e"', b'"joe@"', b'"\\"joe"', b'""'):
            other = Address(local, b"example.com")
            self.assertNotEqual(Address(b"joe", b"example.com").comparable, other.comparable)

    def test_mailbox(self) -> None:
        """Settings name a mailbox without regard to case and quotes."""
        for local in (b"Joe", b'"joe"', b"JOE"):
            self.assertEqual(Address(local, b"Example.com").mailbox, "joe@example.com")
        composed, decomposed = ("\xdc".encode(), "u\u0308".encode())
        self.assertEqual(Address(composed, b"b").mailbox, Address(decomposed, b"b").mailbox)

    def test_literals(self) -> None:
        """An address literal compares in its shortest form, and keeps its own."""
        made = Address(b"a", b"[IPv6:2001:0DB8:0:0:0:0:0:1]")
        self.assertEqual(made.host, "[ipv6:2001:db8::1]")
        self.assertEqual(made.path, b"<a@[IPv6:2001:0DB8:0:0:0:0:0:1]>")
        self.assertEqual(Address(b"a", b"[192.0.2.1]").host, "[192.0.2.1]")

    def test_in_ascii(self) -> None:
        """A domain has an ASCII form, a local part has none."""
        for given, expected in (
            (Address(b"a", "Bücher.example".encode()), b"<a@xn--bcher-kva.example>"),
            (Address(b"A", b"B.example"), b"<A@B.example>"),
            (NULL_SENDER, b"<>"),
        ):
            made = given.in_ascii()
            assert made is not None
            self.assertEqual(made.path, expected)
        self.assertIsNone(Address("ü".encode(), b"example.com").in_ascii())


class ClientTests(SynchronousTestCase):
    """The one who speaks to the edge."""

    def test_transmission(self) -> None:
        """The keywords of RFC 3848: TLS and logins are told of ESMTP alone."""
        for protocol, tls, user, keyword in (
            ("SMTP", False, "", "SMTP"),
            ("SMTP", True, "a", "SMTP"),
            ("ESMTP", False, "", "ESMTP"),
            ("ESMTP", True, "", "ESMTPS"),
            ("ESMTP", False, "a", "ESMTPA"),
            ("ESMTP", True, "a", "ESMTPSA"),
        ):
            client = Client("192.0.2.1", 4321, protocol=protocol, tls=tls, user=user)
            self.assertEqual(client.transmission, keyword)


class EnvelopeTests(SynchronousTestCase):
    """A whole envelope."""

    def test_parameters_are_not_shared(self) -> None:
        """Each recipient and envelope without parameters has a mapping of its own."""
        first, second = Recipient(Address(b"a", b"b")), Recipient(Address(b"a", b"b"))
        self.assertIsNot(first.parameters, second.parameters)
        self.assertEqual(Envelope(NULL_SENDER, (first,)).parameters, {})

    def test_in_ascii(self) -> None:
        """Each address in ASCII, with its parameters; none when one of them has no such form."""
        to, bad = Address(b"b", "ü.example".encode()), Address("ü".encode(), b"b")
        parameters = {b"NOTIFY": b"NEVER"}
        envelope = Envelope(to, (Recipient(to, parameters),), {b"RET": b"HDRS"})
        plain = Address(b"b", b"xn--tda.example")
        expected = Envelope(plain, (Recipient(plain, parameters),), {b"RET": b"HDRS"})
        self.assertEqual(envelope.in_ascii(), expected)
        for sender, recipient in (
            (bad, Recipient(to)),
            (to, Recipient(bad)),
            (to, Recipient(to, {b"ORCPT": "utf-8;ü@b".encode()})),
        ):
            self.assertIsNone(Envelope(sender, (Recipient(to), recipient)).in_ascii())
