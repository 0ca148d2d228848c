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
