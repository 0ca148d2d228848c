"""Which parameters of MAIL and RCPT are taken."""

from twisted.trial.unittest import SynchronousTestCase

from smtpforward import answers
from smtpforward.server.parameters import refuse_mail, refuse_rcpt

LIMIT = 1000
NO_XTEXT = (
    *(b"", b"a=b", b"a+", b"a+2", b"a+zz", b"+0A", b"+0d", b"+7F", b"+80", b"a b", b"a\x7f"),
    *(b"\xc3\xbc", b"+00"),
)


class MailTests(SynchronousTestCase):
    """MAIL."""

    def test_taken(self) -> None:
        """All that is offered, with its good values."""
        for parameters in (
            {},
            {b"SIZE": b"0"},
            {b"SIZE": b"1000"},
            {b"BODY": b"7bit"},
            {b"BODY": b"8BITMIME"},
            {b"AUTH": b"<>"},
            {b"AUTH": b"a+2Bb+20c+3D@example.com"},
            {b"SMTPUTF8": b""},
            {b"RET": b"full"},
            {b"RET": b"HDRS", b"ENVID": b"QQ314159+20x"},
            {b"ENVID": b"x" * 100},
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
        for keyword, value in (
            (b"SMTPUTF8", b"1"),
            (b"RET", b""),
            (b"RET", b"HDR"),
            (b"ENVID", b"x" * 101),
            (b"AUTH", b"x" * 501),
        ):
            self.assertIs(refuse_mail({keyword: value}, LIMIT), answers.BAD_PARAMETER, value)
        for keyword in (b"ENVID", b"AUTH"):
            for value in NO_XTEXT:
                self.assertIs(refuse_mail({keyword: value}, LIMIT), answers.BAD_PARAMETER, value)

    def test_not_offered(self) -> None:
        """What was not announced is refused, not ignored."""
        for keyword in (b"NOTIFY", b"ORCPT", b"X", b"REQUIRETLS", b"BY"):
            self.assertIs(refuse_mail({keyword: b""}, LIMIT), answers.UNKNOWN_PARAMETER)

    def test_after_helo(self) -> None:
        """HELO offers nothing, so nothing is taken."""
        for parameters in ({b"SIZE": b"1"}, {b"BODY": b"7BIT"}, {b"SMTPUTF8": b""}):
            self.assertIs(refuse_mail(parameters, LIMIT, False), answers.UNKNOWN_PARAMETER)
        self.assertIsNone(refuse_mail({}, LIMIT, False))


class RcptTests(SynchronousTestCase):
    """RCPT."""

    def test_taken(self) -> None:
        """NOTIFY and ORCPT, with their good values."""
        for notify in (b"NEVER", b"never", b"SUCCESS", b"Delay,failure,SUCCESS"):
            self.assertIsNone(refuse_rcpt({b"NOTIFY": notify}), notify)
        for original in (
            b"rfc822;Bob@Example.COM",
            b"RFC822;a+2Bb+3Dc+40d@example.com",
            b"x-other;!#$%",
            b"utf-8;\\x{FC}ser@example.com",
            "utf-8;üser@bücher.example".encode(),
            b"rfc822;" + b"x" * 493,
        ):
            self.assertIsNone(refuse_rcpt({b"ORCPT": original, b"NOTIFY": b"NEVER"}), original)
        self.assertIsNone(refuse_rcpt({}))

    def test_bad_values(self) -> None:
        """What RFC 3461 does not know, or says twice, is a bad value."""
        for notify in (
            *(b"", b"NEVER,SUCCESS", b"SUCCESS,NEVER", b"SUCCESS,", b",DELAY", b"FAILURE,FAILURE"),
            *(b"SUCCESS,failure,success", b"NONE", b"SUCCESS;DELAY", b"NEVER,NEVER"),
        ):
            self.assertIs(refuse_rcpt({b"NOTIFY": notify}), answers.BAD_PARAMETER, notify)
        for value in NO_XTEXT:
            original = b"rfc822;" + value
            self.assertIs(refuse_rcpt({b"ORCPT": original}), answers.BAD_PARAMETER, original)
        for original in (b"", b"rfc822", b";a@b", b"rfc 822;a@b", b"rfc822;" + b"x" * 494):
            self.assertIs(refuse_rcpt({b"ORCPT": original}), answers.BAD_PARAMETER, original)

    def test_not_offered(self) -> None:
        """The parameters of MAIL are none of RCPT; after HELO there are none at all."""
        for keyword in (b"SIZE", b"SMTPUTF8", b"RET", b"ENVID", b"X"):
            self.assertIs(refuse_rcpt({keyword: b""}), answers.UNKNOWN_PARAMETER)
        self.assertIs(refuse_rcpt({b"NOTIFY": b"NEVER"}, False), answers.UNKNOWN_PARAMETER)
