"""The ``Received`` line."""

from email.utils import parsedate_to_datetime
from unittest import mock

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.envelope import Client
from smtpforward.server.received import received_line
from tests.support import ME

CLIENT = Client("192.0.2.1", 4321, "mail.example.net", b"client.example.net", "ESMTP")


class ReceivedTests(SynchronousTestCase):
    """RFC 5321 4.4."""

    def line(self, client: Client = CLIENT, recipient: bytes = b"", now: float = 0.0) -> bytes:
        """The line at ``now``."""
        with mock.patch("time.time", return_value=now):
            return received_line(client, ME, "1F", recipient)

    def test_whole(self) -> None:
        """From whom, by whom, with what, for whom, and when."""
        self.assertEqual(
            self.line(recipient=b"<b@example.com>", now=1700000000.7),
            b"Received: from client.example.net (mail.example.net [192.0.2.1])\r\n"
            b"\tby mx.example.net with ESMTP id 1F\r\n"
            b"\tfor <b@example.com>;\r\n"
            b"\tTue, 14 Nov 2023 22:13:20 +0000\r\n",
        )

    def test_without_recipient(self) -> None:
        """No recipient is named when there are several."""
        self.assertEqual(
            self.line(),
            b"Received: from client.example.net (mail.example.net [192.0.2.1])\r\n"
            b"\tby mx.example.net with ESMTP id 1F;\r\n"
            b"\tThu, 01 Jan 1970 00:00:00 +0000\r\n",
        )

    def test_ipv6(self) -> None:
        """An IPv6 address is a literal with its tag (RFC 5321 4.1.3)."""
        self.assertIn(b" (unknown [IPv6:2001:db8::1])\r\n", self.line(Client("2001:db8::1", 1)))

    def test_no_helo(self) -> None:
        """Where no name was given there is still a word."""
        self.assertTrue(self.line(Client("192.0.2.1", 1)).startswith(b"Received: from unknown ("))

    def test_long_recipient(self) -> None:
        """A recipient longer than a path may be is not named: the line would be too long."""
        path = b"<%b@example.com>" % (b"x" * 1000)
        self.assertNotIn(b"for", self.line(recipient=path))

    def test_utf8(self) -> None:
        """SMTPUTF8 has keywords of its own (RFC 6531 4.3)."""
        for tls, user, keyword in (
            (False, "", b"UTF8SMTP"),
            (True, "", b"UTF8SMTPS"),
            (False, "a", b"UTF8SMTPA"),
            (True, "a", b"UTF8SMTPSA"),
        ):
            client = Client("192.0.2.1", 1, protocol="ESMTP", tls=tls, user=user)
            line = received_line(client, ME, "1F", b"", True)
            self.assertIn(b" with %b id " % keyword, line)

    def test_recipient_outside_ascii(self) -> None:
        """The line is ASCII whatever the envelope is: such a recipient is not named."""
        self.assertNotIn(b"for", self.line(recipient="<ü@example.com>".encode()))

    @given(st.binary(max_size=400))
    @examples(max_examples=150, deadline=None)
    def test_the_name_cannot_break_out(self, helo: bytes) -> None:
        """Whatever the client calls itself, the line stays one field of short, printable lines."""
        line = self.line(Client("192.0.2.1", 1, "unknown", helo))
        first, second, third, end = line.split(b"\r\n")
        self.assertEqual(end, b"")
        self.assertTrue(first.startswith(b"Received: from "))
        self.assertTrue(first.endswith(b" (unknown [192.0.2.1])"))
        self.assertEqual(first.count(b"("), 1)
        self.assertTrue(second.startswith(b"\tby ") and third.startswith(b"\t"))
        self.assertLess(len(first), 400)
        self.assertTrue(all(0x20 <= byte < 0x7F for byte in first))

    @given(st.integers(0, 4_000_000_000))
    @examples(max_examples=100, deadline=None)
    def test_date(self, now: int) -> None:
        """The date is RFC 5322's, and says the same second."""
        date = self.line(now=now).rpartition(b";\r\n\t")[2].decode().strip()
        self.assertEqual(parsedate_to_datetime(date).timestamp(), now)
