"""Logging in at a backend: by which mechanism, when, and what never shows the password."""

import base64
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.client import login
from smtpforward.client.errors import ConnectFailed
from smtpforward.client.session import BackendSession
from smtpforward.job import TLS, Credentials, Event
from tests.clientsupport import GREETING, PLAIN_EHLO, make_job
from tests.clienttls import TLSCase, TLSWire, server

PASSWORD = "s3cret, # ; \" ' % \\ ü"
PLAIN = Credentials("PLAIN", "alice", PASSWORD)
LOGIN = Credentials("LOGIN", "alice", PASSWORD)
EHLO = b"250-backend.example\r\n250 AUTH PLAIN LOGIN CRAM-MD5\r\n"
YES = b"235 welcome\r\n"
NO = b"535 5.7.8 no\r\n"
AUTH_PLAIN = login.lines(PLAIN)[0] + b"\r\n"
SECRETS = [PASSWORD.encode(), *login.lines(LOGIN)[1:], AUTH_PLAIN.split()[2]]


class LinesTests(SynchronousTestCase):
    """What a mechanism sends."""

    def test_plain(self) -> None:
        """The initial response: no other identity, the name, the password."""
        [line] = login.lines(PLAIN)
        verb, mechanism, response = line.split(b" ")
        self.assertEqual((verb, mechanism), (b"AUTH", b"PLAIN"))
        self.assertEqual(base64.b64decode(response), b"\0alice\0" + PASSWORD.encode())

    def test_plain_that_is_long(self) -> None:
        """A response that makes the command too long waits to be asked for."""
        for length, count in ((300, 1), (400, 2)):
            lines = login.lines(Credentials("PLAIN", "alice", "x" * length))
            self.assertEqual(len(lines), count)
            self.assertLessEqual(len(lines[0]) + 2, 512)

    def test_login(self) -> None:
        """Name and password, each when it is asked for."""
        command, *answers = login.lines(LOGIN)
        self.assertEqual(command, b"AUTH LOGIN")
        self.assertEqual(
            [base64.b64decode(answer) for answer in answers], [b"alice", PASSWORD.encode()]
        )

    def test_unknown(self) -> None:
        """There are two mechanisms."""
        self.assertRaises(ValueError, login.lines, Credentials("CRAM-MD5", "a", "b"))

    @given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
    def test_any_password(self, password: str) -> None:
        """Any password arrives, and no line has a line end in it."""
        for mechanism in ("PLAIN", "LOGIN"):
            lines = login.lines(Credentials(mechanism, "alice", password))
            self.assertFalse(any(b"\n" in line or b"\r" in line for line in lines))
            self.assertTrue(
                base64.b64decode(lines[-1].split()[-1]).endswith(password.encode("utf-8"))
            )

    def test_repr(self) -> None:
        """Neither name nor password is in a ``repr``."""
        self.assertEqual(repr(PLAIN), "Credentials(mechanism='PLAIN')")


class AuthCase(TLSCase):
    """One connection at a time."""

    def connect(self, credentials: Credentials, tls: TLS = TLS.NEVER) -> TLSWire:
        """The backend has been told EHLO, in the clear."""
        self.connecting: Deferred[BackendSession] = self.connector.connect(
            server(tls, credentials), make_job()
        )
        wire = self.accept()
        wire.says(GREETING)
        return wire

    def why(self, event: Event = Event.AUTH) -> ConnectFailed:
        """Why there is no connection; no secret is in it."""
        error: Any = self.failureResultOf(self.connecting, ConnectFailed).value
        self.assertIs(error.event, event)
        said = repr((error.detail, error.reply, error)).encode()
        for secret in SECRETS:
            self.assertNotIn(secret, said)
        return error


class MechanismTests(AuthCase):
    """Which one, and in which steps."""

    def test_plain(self) -> None:
        """One command, one reply."""
        wire = self.connect(PLAIN)
        self.assertEqual(wire.says(EHLO), AUTH_PLAIN)
        self.assertEqual(wire.says(YES), b"")
        self.successResultOf(self.connecting)

    def test_long_plain(self) -> None:
        """A long one is asked for."""
        wire = self.connect(Credentials("PLAIN", "alice", "x" * 400))
        self.assertEqual(wire.says(EHLO), b"AUTH PLAIN\r\n")
        self.assertEqual(base64.b64decode(wire.says(b"334 \r\n")), b"\0alice\0" + b"x" * 400)
        wire.says(YES)
        self.successResultOf(self.connecting)

    def test_login(self) -> None:
        """Command, name, password; whatever the backend asks for in words."""
        for first, second in ((b"VXNlcm5hbWU6", b"UGFzc3dvcmQ6"), (b"", b"what"), (b"Bla", b"")):
            wire = self.connect(LOGIN)
            self.assertEqual(wire.says(EHLO), b"AUTH LOGIN\r\n")
            self.assertEqual(wire.says(b"334 %b\r\n" % first), b"YWxpY2U=\r\n")
            answer = wire.says(b"334 %b\r\n" % second)
            self.assertEqual(base64.b64decode(answer), PASSWORD.encode())
            wire.says(YES)
            self.successResultOf(self.connecting)

    def test_not_offered(self) -> None:
        """A backend without the mechanism hears nothing of the login."""
        for ehlo in (
            PLAIN_EHLO,
            b"250-x\r\n250 AUTH CRAM-MD5 PLAINER\r\n",
            b"250-x\r\n250 AUTH\r\n",
        ):
            for credentials in (PLAIN, LOGIN):
                wire = self.connect(credentials)
                self.assertEqual(wire.says(ehlo), b"")
                self.assertTrue(wire.aborted)
                self.assertIn("is not offered", self.why().detail)

    def test_case(self) -> None:
        """Mechanisms are offered in any case."""
        wire = self.connect(PLAIN)
        self.assertEqual(wire.says(b"250-x\r\n250 auth plain\r\n"), AUTH_PLAIN)

    def test_no_ehlo(self) -> None:
        """A backend that knows no EHLO knows no AUTH: it is not asked for HELO."""
        wire = self.connect(PLAIN)
        self.assertEqual(wire.says(b"502 what\r\n"), b"")
        self.why()

    def test_without_credentials(self) -> None:
        """Nobody logs in unasked."""
        self.connecting = self.connector.connect(server(TLS.NEVER), make_job())
        wire = self.accept()
        wire.says(GREETING)
        self.assertEqual(wire.says(EHLO), b"")
        self.successResultOf(self.connecting)


class RefusedTests(AuthCase):
    """What the backend says to it."""

    def test_refused(self) -> None:
        """Any refusal ends the connection; nothing is tried again."""
        for reply in (NO, b"454 4.7.0 later\r\n", b"504 what\r\n", b"534 weak\r\n"):
            wire = self.connect(PLAIN)
            wire.says(EHLO)
            self.assertEqual(wire.says(reply), b"")
            self.assertTrue(wire.aborted)
            self.assertIn(reply[:3].decode(), self.why().detail)

    def test_at_each_step(self) -> None:
        """So it is at each step of LOGIN."""
        for steps in range(3):
            wire = self.connect(LOGIN)
            wire.says(EHLO)
            for _ in range(steps):
                wire.says(b"334 \r\n")
            self.assertEqual(wire.says(NO), b"")
            self.why()

    def test_never_enough(self) -> None:
        """A backend that asks a third time gets no third answer."""
        wire = self.connect(LOGIN)
        wire.says(EHLO)
        wire.says(b"334 \r\n")
        wire.says(b"334 \r\n")
        self.assertEqual(wire.says(b"334 \r\n"), b"")
        self.why()

    def test_too_soon(self) -> None:
        """235 before the password was sent is nothing to go on with."""
        wire = self.connect(LOGIN)
        wire.says(EHLO)
        self.assertEqual(wire.says(YES), b"")
        self.why()

    def test_more_than_asked(self) -> None:
        """A reply that came before its command is no reply to it: the password is not sent."""
        wire = self.connect(LOGIN)
        wire.says(EHLO)
        self.assertEqual(wire.says(b"334 \r\n334 \r\n"), b"")
        self.why(Event.NONSENSE)

    def test_closing(self) -> None:
        """421 is 421, here too."""
        wire = self.connect(PLAIN)
        wire.says(EHLO)
        wire.says(b"421 too many\r\n")
        self.why(Event.CLOSING)

    def test_echo(self) -> None:
        """A backend that repeats what it was told is not quoted."""
        for credentials in (PLAIN, LOGIN):
            wire = self.connect(credentials)
            command = wire.says(EHLO).strip()
            if credentials is LOGIN:
                wire.says(b"334 \r\n")
                command = wire.says(b"334 \r\n").strip()
            wire.says(b'500 unknown: "%b"\r\n' % command)
            self.assertIn("***", self.why().detail)

    def test_log(self) -> None:
        """Nothing of it is in the log."""
        events: list[LogEvent] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        for credentials, asked in ((PLAIN, 0), (LOGIN, 2)):
            for reply in (YES, NO):
                wire = self.connect(credentials)
                wire.says(EHLO)
                for _ in range(asked):
                    wire.says(b"334 \r\n")
                wire.says(reply)
                self.assertTrue(self.connecting.called)
                self.connecting.addErrback(lambda _: None)
        said = "".join(formatEvent(event) + repr(event) for event in events).encode()
        for secret in SECRETS:
            self.assertNotIn(secret, said)


class ClearTests(AuthCase):
    """The password in the clear: where the policy is ``NEVER``, and nowhere else."""

    def test_without_starttls(self) -> None:
        """A backend that offers AUTH and no STARTTLS gets no password."""
        for tls in (TLS.OFFERED, TLS.REQUIRED):
            wire = self.connect(PLAIN, tls)
            self.assertEqual(wire.says(EHLO), b"")
            self.assertTrue(wire.aborted)
            self.why(Event.TLS)

    def test_starttls_refused(self) -> None:
        """Nor does one that refuses STARTTLS."""
        for tls in (TLS.OFFERED, TLS.REQUIRED):
            wire = self.connect(PLAIN, tls)
            self.assertEqual(
                wire.says(b"250-x\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n"), b"STARTTLS\r\n"
            )
            self.assertEqual(wire.says(b"454 no\r\n"), b"")
            self.why(Event.TLS)

    def test_no_ehlo(self) -> None:
        """Nor one that knows no EHLO."""
        wire = self.connect(PLAIN, TLS.OFFERED)
        self.assertEqual(wire.says(b"502 what\r\n"), b"")
        self.why(Event.TLS)

    def test_inside(self) -> None:
        """Under TLS the offer counts that was made inside."""
        for tls in (TLS.OFFERED, TLS.REQUIRED):
            wire = self.connect(PLAIN, tls)
            wire.says(b"250-x\r\n250-AUTH CRAM-MD5\r\n250 STARTTLS\r\n")
            wire.protocol.dataReceived(b"220 go\r\n")
            wire.shake()
            self.assertEqual(wire.says_inside(EHLO), AUTH_PLAIN)
            wire.says_inside(YES)
            self.successResultOf(self.connecting)

    def test_offered_in_the_clear_only(self) -> None:
        """One that was made before does not."""
        wire = self.connect(PLAIN, TLS.REQUIRED)
        wire.says(b"250-x\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n")
        wire.protocol.dataReceived(b"220 go\r\n")
        wire.shake()
        self.assertEqual(wire.says_inside(PLAIN_EHLO), b"")
        self.why()

    def test_implicit(self) -> None:
        """TLS from the first byte."""
        self.connecting = self.connector.connect(server(TLS.IMPLICIT, LOGIN), make_job())
        wire = self.accept()
        wire.shake()
        wire.says_inside(GREETING)
        self.assertEqual(wire.says_inside(EHLO), b"AUTH LOGIN\r\n")
