"""AUTH exchanges, without a socket or users."""

import base64
import hmac
from typing import Any

from twisted.cred.credentials import IUsernameHashedPassword, IUsernamePassword
from twisted.trial.unittest import SynchronousTestCase

from smtpforward import answers
from smtpforward.reply import Reply
from smtpforward.server.sasl import CRAM_MD5, LOGIN, PLAIN, Exchange

HOST = b"mx.example.net"


def b64(text: bytes) -> bytes:
    """``text`` as it goes over the wire."""
    return base64.b64encode(text)


def challenge(step: Any) -> bytes:
    """What a step asks for."""
    assert isinstance(step, Reply)
    assert step.code == 334
    return base64.b64decode(step.lines[0])


class PlainTests(SynchronousTestCase):
    """PLAIN, RFC 4616."""

    def test_initial_response(self) -> None:
        """Name and password come with the command."""
        credentials: Any = Exchange(PLAIN, HOST).begin(b64(b"\0anna\0geheim"))
        self.assertTrue(IUsernamePassword.providedBy(credentials))
        self.assertEqual((credentials.username, credentials.password), (b"anna", b"geheim"))

    def test_asked(self) -> None:
        """Or they are asked for, with an empty challenge."""
        exchange = Exchange(PLAIN, HOST)
        step: Any = exchange.begin(b"")
        self.assertEqual(step.wire(), b"334 \r\n")
        self.assertEqual(exchange.respond(b64(b"anna\0anna\0x")).username, b"anna")  # type: ignore[union-attr]

    def test_acting_for_another(self) -> None:
        """Nobody may act for another user."""
        step = Exchange(PLAIN, HOST).begin(b64(b"boss\0anna\0geheim"))
        self.assertIs(step, answers.BAD_LOGIN)

    def test_malformed(self) -> None:
        """What is no base64, or has not three parts, is refused; ``=`` is nothing at all."""
        for line in (b"!", b"AGEAY", b64(b"a"), b64(b"a\0b"), b64(b"a\0b\0c\0d"), b"=", b"\xff"):
            self.assertIs(Exchange(PLAIN, HOST).begin(line), answers.BAD_LOGIN, line)

    def test_given_up(self) -> None:
        """``*`` ends the exchange."""
        for method in (PLAIN, LOGIN, CRAM_MD5):
            exchange = Exchange(method, HOST)
            exchange.begin(b"")
            self.assertIs(exchange.respond(b"*"), answers.LOGIN_ABORTED)


class LoginTests(SynchronousTestCase):
    """LOGIN, which no RFC has."""

    def test_two_questions(self) -> None:
        """The name is asked for, then the password."""
        exchange = Exchange(LOGIN, HOST)
        self.assertEqual(challenge(exchange.begin(b"")), b"Username:")
        self.assertEqual(challenge(exchange.respond(b64(b"anna"))), b"Password:")
        credentials: Any = exchange.respond(b64(b"geheim"))
        self.assertEqual((credentials.username, credentials.password), (b"anna", b"geheim"))

    def test_initial_response(self) -> None:
        """The name may come with the command."""
        exchange = Exchange(LOGIN, HOST)
        self.assertEqual(challenge(exchange.begin(b64(b"anna"))), b"Password:")
        self.assertEqual(exchange.respond(b64(b"x")).username, b"anna")  # type: ignore[union-attr]


class CramTests(SynchronousTestCase):
    """CRAM-MD5, RFC 2195."""

    def test_digest(self) -> None:
        """The password is proved, and not sent."""
        exchange = Exchange(CRAM_MD5, HOST)
        asked = challenge(exchange.begin(b""))
        self.assertTrue(asked.startswith(b"<") and asked.endswith(b"@mx.example.net>"))
        digest = hmac.new(b"geheim", asked, "md5").hexdigest().encode()
        credentials: Any = exchange.respond(b64(b"anna b " + digest))
        self.assertTrue(IUsernameHashedPassword.providedBy(credentials))
        self.assertEqual(credentials.username, b"anna b")
        self.assertTrue(credentials.checkPassword(b"geheim"))
        self.assertFalse(credentials.checkPassword(b"Geheim"))

    def test_challenges_differ(self) -> None:
        """No two are the same."""
        first, second = (challenge(Exchange(CRAM_MD5, HOST).begin(b"")) for _ in range(2))
        self.assertNotEqual(first, second)

    def test_malformed(self) -> None:
        """A response without a digest is none; here the server speaks first."""
        exchange = Exchange(CRAM_MD5, HOST)
        exchange.begin(b"")
        self.assertIs(exchange.respond(b64(b"anna")), answers.BAD_LOGIN)
        step = Exchange(CRAM_MD5, HOST).begin(b64(b"anna 00"))
        self.assertIs(step, answers.NO_INITIAL_RESPONSE)
