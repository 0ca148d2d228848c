"""Which parameters of MAIL and RCPT are taken."""

from twisted.trial.unittest import SynchronousTestCase

from smtpforward import answers
from smtpforward.server.parameters import refuse_mail, refuse_rcpt

LIMIT = 1000


class MailTests(SynchronousTestCase):
    """MAIL."""

    def test_taken(self) -> None:
        """SIZE up to the limit, BODY with its two values, and AUTH, which means nothing."""
        for parameters in (
            {},
            {b"SIZE": b"0"},
            {b"SIZE": b"1000"},
            {b"BODY": b"7bit"},
            {b"BODY": b"8BITMIME"},
            {b"AUTH": b"<>"},
            {b"AUTH": b""},
            {b"SIZE": b"10", b"BODY": b"8bitmime", b"AUTH": b"a@example.com"},
        ):
            self.assertIsNone(refuse_mail(parameters, LIMIT), parameters)

    def test_too_large(self) -> None:
        """A message that says that it is too large is refused before it is sent."""
        for size in (b"1001", b"9" * 20):
            self.assertIs(refuse_mail({b"SIZE": size}, LIMIT), answers.TOO_LARGE)

    def test_bad_values(self) -> None:
        """What is no number, or no body type, is a bad value."""
        for size in (b"", b"-1", b"+1", b"1k", b"1.0", b"9" * 21):
            self.assertIs(refuse_mail({b"SIZE": size}, LIMIT), answers.BAD_PARAMETER, size)
        for body in (b"", b"BINARYMIME", b"8BIT"):
            self.assertIs(refuse_mail({b"BODY": body}, LIMIT), answers.BAD_PARAMETER, body)

    def test_not_offered(self) -> None:
        """What was not announced is refused, not ignored."""
        for keyword in (b"SMTPUTF8", b"RET", b"ENVID", b"X", b"REQUIRETLS"):
            self.assertIs(refuse_mail({keyword: b""}, LIMIT), answers.UNKNOWN_PARAMETER)


class RcptTests(SynchronousTestCase):
    """RCPT."""

    def test_none_is_offered(self) -> None:
        """No parameter is, so each is refused."""
        self.assertIsNone(refuse_rcpt({}))
        self.assertIs(refuse_rcpt({b"NOTIFY": b"NEVER"}), answers.UNKNOWN_PARAMETER)
