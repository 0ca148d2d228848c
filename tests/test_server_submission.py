"""What a message of a client that relays may lack."""

from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from smtpforward.server import submission
from smtpforward.server.submission import missing_fields
from tests.support import ME, content

DATE = b"Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n"
MESSAGE_ID = b"Message-ID: <1F@mx.example.net>\r\n"


class MissingFieldsTests(SynchronousTestCase):
    """``Date`` and ``Message-ID``."""

    def missing(self, message: bytes) -> bytes:
        """The lines that ``message`` gets."""
        with mock.patch("time.time", return_value=1700000000.0):
            return missing_fields(content(message), ME, "1F")

    def test_missing(self) -> None:
        """Each is added where it is missing."""
        self.assertEqual(self.missing(b"Subject: x\r\n\r\nbody\r\n"), DATE + MESSAGE_ID)
        self.assertEqual(self.missing(b"Date: x\r\n\r\nbody\r\n"), MESSAGE_ID)
        self.assertEqual(self.missing(b"Subject: x\r\nMessage-Id: <a@b>\r\n\r\n"), DATE)
        self.assertEqual(self.missing(b"message-id : <a@b>\r\nDATE:x\r\n"), b"")

    def test_only_the_header(self) -> None:
        """Neither the body nor the rest of a folded line counts, nor a name that only ends so."""
        for message in (
            b"\r\nDate: x\r\nMessage-ID: x\r\n",
            b"Subject: x\r\n\r\nDate: x\r\nMessage-ID: x\r\n",
            b"Subject: x\r\n Date: x\r\n\tMessage-ID: x\r\n\r\n",
            b"Resent-Date: x\r\nX-Message-ID: x\r\n\r\n",
            b"",
        ):
            self.assertEqual(self.missing(message), DATE + MESSAGE_ID, message)

    def test_endless_header(self) -> None:
        """A header that is not looked through to its end gets none: it may have them."""
        self.patch(submission, "HEADER_LIMIT", 100)
        self.assertEqual(self.missing(b"X: " + b"x" * 200 + b"\r\nDate: x\r\n\r\n"), b"")
