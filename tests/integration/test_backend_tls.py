"""TLS and logins between the gateway and a real Postfix, and a real Exim."""

from tests.integration import tlsmatrix
from tests.integration.forwarding import ForwardingCase
from tests.integration.tlsservers import EximKind, PostfixKind
from tests.peers.script import Script


class PostfixTests(tlsmatrix.MatrixTests):
    """The matrix with Postfix."""

    kind = PostfixKind()


class EximTests(tlsmatrix.MatrixTests):
    """The matrix with Exim."""

    kind = EximKind()


class PostfixLoginTests(tlsmatrix.LoginTests):
    """Logins to Postfix, which asks Dovecot."""

    kind = PostfixKind()


class EximLoginTests(tlsmatrix.LoginTests):
    """Logins to Exim."""

    kind = EximKind()


class CredentialsTests(ForwardingCase):
    """Whose login is used."""

    async def test_two_domains_on_one_host(self) -> None:
        """Two credentials, two connections: who logged in is whose mail it is."""
        backend = self.backend(
            Script(extensions=("AUTH PLAIN LOGIN",), replies={"AUTH": b"235 2.7.0 in\r\n"})
        )
        forward = f"host=127.0.0.1\nport={backend.port}\nenable_tls=false\ncheck_recipient=true\n"
        for name in ("a", "b"):
            forward += f"[{name}.example]\nauth_type=plain\nauth_user={name}\nauth_pass={name}pw\n"
        gateway = self.forward(backend.port, {"smtp_forward.ini": forward})
        for _ in range(3):
            for name in ("a", "b"):
                self.assertEqual(250, (await tlsmatrix.answer(gateway, f"u@{name}.example")).code)
        self.assertEqual(2, len(backend.conversations))
        logins = {b"AUTH PLAIN AGEAYXB3": b"a", b"AUTH PLAIN AGIAYnB3": b"b"}
        for talk in backend.conversations:
            who = logins[talk.commands[1]]
            rcpts = [rcpt for message in talk.messages for rcpt in message.rcpts]
            self.assertEqual([b"RCPT TO:<u@%b.example>" % who] * 3, rcpts)
