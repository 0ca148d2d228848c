"""Dialogues that log in, and what one connection's logins come to."""

import base64
import hmac
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword, UsernamePassword
from twisted.cred.error import LoginDenied, UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from smtpforward.config.networks import Networks, network
from smtpforward.config.settings import Logins, Settings
from smtpforward.job import Event
from smtpforward.reply import Reply
from smtpforward.server.auth import MAX_PER_ADDRESS, Avatar
from smtpforward.server.login import MAX_DELAY, delay_after
from tests.support import (
    RECIPIENT,
    SENDER,
    Edge,
    ScriptedSession,
    ScriptedTarget,
    settings,
)
from tests.tlssupport import SecurableTransport, SecureClient, server_tls

EHLO = b"EHLO client.example.net\r\n"
LOGINS = Logins(("PLAIN", "LOGIN", "CRAM-MD5"), {"anna": "geheim"})
GOOD = base64.b64encode(b"\0anna\0geheim")
BAD = base64.b64encode(b"\0anna\0falsch")
AUTH, WRONG = b"AUTH PLAIN " + GOOD + b"\r\n", b"AUTH PLAIN " + BAD + b"\r\n"
STRANGER, LOCAL = "192.0.2.1", "127.0.0.1"


def with_logins(**changes: Any) -> Settings:
    """Settings with one user, who may log in without TLS."""
    return settings(**{"logins": LOGINS, "auth_allow_plaintext": True, **changes})


def edge(session: Any = None, ip: str = STRANGER, **more: Any) -> Edge:
    """An edge that has heard EHLO and may be logged in to."""
    made = Edge(session, ip=ip, **{"settings_": with_logins(), **more})
    made.send(EHLO)
    return made


@implementer(ICredentialsChecker, IRealm)
class ScriptedLogins:
    """The checker and realm of an application.

    :ivar results: what each check gives in turn.
    :ivar logged_out: how many were.
    """

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, *results: Any) -> None:
        self.results = list(results)
        self.logged_out = 0
        self.portal = Portal(self, [self])

    def requestAvatarId(self, credentials: Any) -> Any:
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    def requestAvatar(self, avatarId: Any, mind: Any, *interfaces: Any) -> Any:
        return interfaces[0], Avatar(avatarId), self.log_out

    def log_out(self) -> None:
        self.logged_out += 1

    def edge(self, **more: Any) -> Edge:
        """An edge whose factory was handed this portal."""
        made = edge(**more)
        made.factory.portal = self.portal
        return made


class OfferTests(SynchronousTestCase):
    """Where AUTH is announced and taken."""

    def test_in_the_clear(self) -> None:
        """Without TLS it is for loopback alone, unless the settings allow it for all."""
        for ip, allowed, offered in (
            (STRANGER, False, False),
            (STRANGER, True, True),
            (LOCAL, False, True),
            ("::1", False, True),
        ):
            given = with_logins(auth_allow_plaintext=allowed)
            made = Edge(ip=ip, settings_=given)
            made.heard()
            named = b"250 AUTH PLAIN LOGIN CRAM-MD5\r\n" in made.send(EHLO)
            self.assertEqual(named, offered, ip)
            self.assertEqual(made.codes(AUTH), [235 if offered else 538], ip)

    def test_refused_in_the_clear(self) -> None:
        """Who tries without TLS is told what is missing, whatever else is wrong."""
        made = edge(settings_=with_logins(auth_allow_plaintext=False))
        for line in (AUTH, b"AUTH PLAIN\r\n", b"AUTH\r\n", b"AUTH FOO\r\n"):
            self.assertTrue(made.send(line).startswith(b"538 5.7.11 "), line)

    def test_under_tls(self) -> None:
        """Under TLS it is for everyone."""
        given = with_logins(auth_allow_plaintext=False, tls=server_tls())
        made = edge(settings_=given, transport=SecurableTransport())
        made.send(b"STARTTLS\r\n")
        client = SecureClient(made).handshake()
        self.assertIn(b"AUTH PLAIN LOGIN CRAM-MD5\r\n", client.send(EHLO))
        self.assertEqual(client.codes(AUTH, SENDER), [235, 250])

    def test_without_users(self) -> None:
        """Where nobody can log in there is no such command."""
        made = Edge(ip=LOCAL)
        self.assertNotIn(b"AUTH", made.send(EHLO))
        self.assertEqual(made.codes(AUTH), [502])

    def test_sequence(self) -> None:
        """After EHLO, not within a transaction, and once."""
        made = Edge(settings_=with_logins())
        made.heard()
        self.assertEqual(made.codes(AUTH, b"HELO a\r\n", AUTH), [503, 250, 503])
        self.assertEqual(made.codes(EHLO, SENDER, AUTH, b"RSET\r\n"), [250, 250, 503, 250])
        self.assertEqual(made.codes(AUTH, AUTH), [235, 503])
        self.assertNotIn(b"AUTH", made.send(EHLO))
        self.assertEqual(made.codes(AUTH), [503])

    def test_argument(self) -> None:
        """A mechanism is needed, and one that is offered."""
        made = edge()
        self.assertTrue(made.send(b"AUTH\r\n").startswith(b"501 5.5.4 "))
        for name in (b"FOO", b"DIGEST-MD5", b"\xc3\xa4"):
            self.assertTrue(made.send(b"AUTH " + name + b"\r\n").startswith(b"504 5.5.4 "), name)
        only = with_logins(logins=Logins(("LOGIN",), {"anna": "geheim"}))
        self.assertEqual(edge(settings_=only).codes(AUTH), [504])


class ExchangeTests(SynchronousTestCase):
    """The lines of a login."""

    def test_plain(self) -> None:
        """With an initial response and without; the mechanism in any case."""
        session = ScriptedSession()
        made = edge(session)
        self.assertEqual(made.send(b"auth plain " + GOOD + b"\r\n"), b"235 2.7.0 logged in\r\n")
        self.assertEqual((session.asked[-1], session.arguments[-1]), ("authenticated", ("anna",)))
        self.assertEqual(edge().codes(b"AUTH PLAIN\r\n", GOOD + b"\r\n"), [334, 235])

    def test_login(self) -> None:
        """Name, then password."""
        name, password = base64.b64encode(b"anna"), base64.b64encode(b"geheim")
        lines = (b"AUTH LOGIN\r\n", name + b"\r\n", password + b"\r\n")
        self.assertEqual(edge().codes(*lines), [334, 334, 235])
        self.assertEqual(edge().codes(b"".join(lines)), [334, 334, 235])

    def test_cram_md5(self) -> None:
        """A digest of the challenge."""
        made = edge()
        challenge = base64.b64decode(made.send(b"AUTH CRAM-MD5\r\n")[4:])
        digest = hmac.new(b"geheim", challenge, "md5").hexdigest().encode()
        self.assertEqual(made.codes(base64.b64encode(b"anna " + digest) + b"\r\n"), [235])

    def test_given_up(self) -> None:
        """``*`` is 501, and commands are commands again."""
        self.assertEqual(edge().codes(b"AUTH PLAIN\r\n", b"*\r\n", b"NOOP\r\n"), [334, 501, 250])

    def test_malformed(self) -> None:
        """Bad base64 is 501 5.5.2, with the command and after it."""
        made = edge()
        self.assertTrue(made.send(b"AUTH PLAIN !!!\r\n").startswith(b"501 5.5.2 "))
        self.assertEqual(made.codes(b"AUTH PLAIN =\r\n"), [501])
        self.assertEqual(made.codes(b"AUTH PLAIN\r\n", b"QUIT\r\n", b"NOOP\r\n"), [334, 501, 250])

    def test_long_lines(self) -> None:
        """A response may be much longer than a command, and not endless."""
        made = edge()
        long = base64.b64encode(b"\0anna\0" + b"x" * 9200)
        self.assertTrue(12000 < len(long) <= 12288)
        self.assertEqual(made.codes(b"AUTH PLAIN\r\n", long + b"\r\n"), [334])
        made.clock.advance(1)
        self.assertEqual(made.codes(), [535])
        self.assertEqual(made.codes(b"AUTH PLAIN\r\n", b"A" * 12288 + b"\r\n"), [334, 501])
        self.assertEqual(
            made.codes(b"AUTH PLAIN\r\n", b"A" * 12289 + b"\r\nNOOP\r\n"), [334, 500, 250]
        )
        self.assertEqual(made.codes(b"AUTH PLAIN\r\n", b"A" * 12291), [334, 500])
        self.assertTrue(made.closing)
        self.assertEqual(edge().codes(b"AUTH PLAIN " + b"A" * 2000 + b"\r\n"), [500])

    def test_bare_newline(self) -> None:
        """Line ends are those of SMTP here too."""
        made = edge()
        self.assertEqual(made.codes(b"AUTH PLAIN\r\n", GOOD + b"\n"), [334, 500])
        self.assertTrue(made.closing)

    def test_silence(self) -> None:
        """A client that is silent within a login is told and closed; so is one at the end."""
        made = edge()
        made.send(b"AUTH PLAIN\r\n")
        made.clock.advance(300)
        self.assertEqual(made.codes(), [421])
        made = edge()
        made.send(b"AUTH PLAIN\r\n")
        made.factory.drain()
        self.assertEqual(made.codes(), [421])


class FailureTests(SynchronousTestCase):
    """Wrong passwords and other faults."""

    def test_late(self) -> None:
        """A wrong password is answered late, later the second time, and the third is the last."""
        made = edge()
        self.assertEqual(made.codes(WRONG + b"NOOP\r\n"), [])
        made.clock.advance(0.9)
        self.assertEqual(made.codes(), [])
        made.clock.advance(0.1)
        self.assertEqual(made.codes(), [535, 250])
        made.send(WRONG)
        made.clock.advance(1.9)
        self.assertEqual(made.codes(), [])
        made.clock.advance(0.1)
        self.assertTrue(made.heard().startswith(b"535 5.7.8 "))
        made.send(WRONG)
        made.clock.advance(4)
        self.assertEqual(made.heard(), b"421 4.7.0 too many failed logins\r\n")
        self.assertTrue(made.closing)

    def test_delays(self) -> None:
        """They double, up to a bound."""
        self.assertEqual([delay_after(n) for n in (1, 2, 3, 4)], [1, 2, 4, 8])
        self.assertEqual(delay_after(50), MAX_DELAY)

    def test_time_tells_nothing(self) -> None:
        """However long the check took, the answer comes at the same time."""
        checked: Deferred[Any] = Deferred()
        made = ScriptedLogins(checked).edge()
        made.send(AUTH)
        made.clock.advance(0.75)
        checked.errback(UnauthorizedLogin())
        made.clock.advance(0.125)
        self.assertEqual(made.codes(), [])
        made.clock.advance(0.125)
        self.assertEqual(made.codes(), [535])

    def test_good_after_bad(self) -> None:
        """A failure is no obstacle to the right password, and that comes at once."""
        made = edge()
        made.send(WRONG)
        made.clock.advance(1)
        self.assertEqual(made.codes(AUTH), [535, 235])

    def test_address(self) -> None:
        """After too many from one address, on however many connections, it has to wait."""
        made = edge()
        for _ in range(MAX_PER_ADDRESS):
            made.connect(STRANGER)
            made.send(EHLO, WRONG)
            made.clock.advance(1)
            self.assertEqual(made.codes(), [535])
        made.connect(STRANGER)
        made.send(EHLO)
        self.assertTrue(made.send(AUTH).startswith(b"454 4.7.0 "))
        made.connect("192.0.2.2")
        self.assertEqual(made.codes(EHLO, AUTH)[-1], 235)
        made.connect(STRANGER)
        made.clock.advance(600)
        made.heard()
        made.connect(STRANGER)
        self.assertEqual(made.codes(EHLO, AUTH)[-1], 235)

    def test_many_at_once(self) -> None:
        """Nothing is won by trying many at once: what is being checked by then is not told."""
        checks: list[Deferred[Any]] = [Deferred() for _ in range(MAX_PER_ADDRESS + 2)]
        logins = ScriptedLogins(*checks)
        made = logins.edge()
        transports = []
        for _ in checks:
            made.connect(STRANGER)
            made.send(EHLO, AUTH)
            transports.append(made.transport)
        for check in checks[:-1]:
            check.errback(UnauthorizedLogin())
        checks[-1].callback("anna")
        made.clock.advance(1)
        codes = [int(transport.value()[:3]) for transport in transports]
        self.assertEqual(codes, [535] * MAX_PER_ADDRESS + [454, 454])
        self.assertEqual(logins.logged_out, 1)

    def test_loopback_is_not_counted_together(self) -> None:
        """One user of a web mailer on this host does not lock out the others."""
        made = edge(ip=LOCAL)
        for _ in range(MAX_PER_ADDRESS + 1):
            made.connect(LOCAL)
            made.send(EHLO, WRONG)
            made.clock.advance(1)
            self.assertEqual(made.codes(), [535])
        self.assertEqual(made.codes(AUTH), [235])

    def test_fault(self) -> None:
        """A fault of the checker is temporary, with its traceback in the log and no password."""
        for broken in (ZeroDivisionError(), fail(ZeroDivisionError())):
            made = ScriptedLogins(broken).edge()
            self.assertTrue(made.send(AUTH).startswith(b"454 4.7.0 "))
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
            self.assertEqual(made.codes(b"NOOP\r\n"), [250])

    def test_denied(self) -> None:
        """A portal may say no in other words."""
        made = ScriptedLogins(fail(LoginDenied())).edge()
        made.send(AUTH)
        made.clock.advance(1)
        self.assertEqual(made.codes(), [535])

    def test_log(self) -> None:
        """The log has name and address, both made harmless, and never a password."""
        events: list[Any] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        made = edge()
        made.send(b"AUTH PLAIN " + base64.b64encode(b"\0a\nb\xff\0geheim") + b"\r\n")
        made.clock.advance(1)
        made.send(AUTH)
        self.assertEqual([(e["user"], e["ip"]) for e in events if "user" in e],
                         [("a\\nb\\xff", STRANGER), ("anna", STRANGER)])  # fmt: skip
        self.assertNotIn("geheim", repr(events))

    def test_session_refuses(self) -> None:
        """The session may refuse a user whose password is right: then nobody is logged in."""
        logins = ScriptedLogins(succeed("anna"), succeed("anna"))
        refusal = Reply(535, (b"5.7.1 not at this time",))
        made = logins.edge(session=ScriptedSession(authenticated=refusal))
        self.assertEqual(made.send(AUTH), b"535 5.7.1 not at this time\r\n")
        self.assertEqual(logins.logged_out, 1)
        self.assertEqual(made.codes(AUTH), [235])

    def test_session_fails(self) -> None:
        """A fault of the session logs nobody in."""
        made = edge(ScriptedSession(authenticated=ZeroDivisionError()))
        self.assertEqual(made.codes(AUTH), [451])
        self.assertEqual(made.protocol._user, "")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class EndTests(SynchronousTestCase):
    """What is left behind: nothing."""

    def test_client_goes_during_the_check(self) -> None:
        """The check is given up; its late result logs nobody in, and makes no noise."""
        cancelled: list[Any] = []
        for canceller in (cancelled.append, None):
            checked: Deferred[Any] = Deferred(canceller)
            session = ScriptedSession()
            made = ScriptedLogins(checked).edge(session=session)
            made.send(AUTH)
            made.lose()
            if not checked.called:
                checked.callback("anna")
            self.assertNotIn("authenticated", session.asked)
            self.assertEqual(made.clock.getDelayedCalls(), [])
            self.assertEqual(made.heard(), b"")
            self.assertEqual(self.flushLoggedErrors(CancelledError), [])
        self.assertEqual(len(cancelled), 1)

    def test_client_goes_during_the_delay(self) -> None:
        """The answer that is due is not kept."""
        made = edge()
        made.send(WRONG)
        made.lose()
        self.assertEqual(made.clock.getDelayedCalls(), [])
        self.assertTrue(made.factory.failed_logins._failures)

    def test_logged_out(self) -> None:
        """Who has logged in is logged out when the connection ends."""
        logins = ScriptedLogins(succeed("anna"))
        made = logins.edge()
        made.send(AUTH)
        self.assertEqual(logins.logged_out, 0)
        made.lose()
        self.assertEqual(logins.logged_out, 1)

    def test_starttls_forgets(self) -> None:
        """A login in the clear does not outlive STARTTLS."""
        given = with_logins(tls=server_tls())
        target = ScriptedTarget()
        made = edge(ip=LOCAL, target=target, settings_=given, transport=SecurableTransport())
        made.send(AUTH)
        self.assertTrue(made.protocol._session.client.relaying)
        made.send(b"STARTTLS\r\n")
        client = SecureClient(made).handshake()
        elsewhere = b"RCPT TO:<b@elsewhere.example>\r\n"
        self.assertEqual(client.codes(EHLO, SENDER, elsewhere), [250, 250, 550])
        self.assertEqual(client.codes(b"RSET\r\n", AUTH, SENDER, elsewhere), [250, 235, 250, 250])


class SubmissionTests(SynchronousTestCase):
    """What a login is good for, and where it is demanded."""

    def test_relays(self) -> None:
        """Who has logged in may send to every domain, and the message says so."""
        target = ScriptedTarget(Event.ACCEPTED)
        made = edge(target=target)
        elsewhere = b"RCPT TO:<b@elsewhere.example>\r\n"
        self.assertEqual(made.codes(SENDER, elsewhere, b"RSET\r\n"), [250, 550, 250])
        codes = made.codes(AUTH, EHLO, SENDER, elsewhere, b"DATA\r\n", b"Subject: x\r\n\r\n.\r\n")
        self.assertEqual(codes, [235, 250, 250, 250, 354, 250])
        self.assertIn(b" with ESMTPA id ", target.messages[0])
        self.assertEqual((target.jobs[0].client.user), "anna")

    def test_ports(self) -> None:
        """On the ports of submission MAIL is for those alone who have logged in."""
        given = with_logins(tls=server_tls(), smtps_port=2465)
        for port, demanded in ((25, False), (587, True), (465, False)):
            made = edge(settings_=given, transport=SecurableTransport(port))
            self.assertEqual(made.codes(SENDER), [530 if demanded else 250], port)
        made = edge(settings_=given, transport=SecurableTransport(587))
        self.assertEqual(made.codes(AUTH, SENDER), [235, 250])
        made = Edge(settings_=given, transport=SecurableTransport(2465))
        client = SecureClient(made).handshake()
        self.assertEqual(client.codes(EHLO, SENDER, AUTH, SENDER), [220, 250, 530, 235, 250])

    def test_who_relays_by_address(self) -> None:
        """A client of ``relay_acl_allow`` logs in there like everyone else, and only there."""
        given = with_logins(relays=Networks([network("192.0.2.0/24")]))
        elsewhere = b"RCPT TO:<b@elsewhere.example>\r\n"
        target = ScriptedTarget(Event.ACCEPTED)
        made = edge(target=target, settings_=given, transport=SecurableTransport(587))
        self.assertEqual(made.send(SENDER), b"530 5.7.0 log in first\r\n")
        self.assertEqual(made.codes(RECIPIENT), [503])
        self.assertEqual(made.codes(AUTH, SENDER, elsewhere), [235, 250, 250])
        made = edge(target=target, settings_=given, transport=SecurableTransport(25))
        self.assertEqual(made.codes(SENDER, elsewhere), [250, 250])

    def test_portal_of_an_application(self) -> None:
        """A portal that is handed in takes the place of the settings' users."""
        logins = ScriptedLogins(succeed("carl"))
        made = Edge(ip=LOCAL, portal=logins.portal)
        made.heard()
        self.assertIn(b"250 AUTH PLAIN LOGIN\r\n", made.send(EHLO))
        self.assertEqual(made.codes(AUTH), [235])
        self.assertEqual(made.session.arguments[-1], ("carl",))
        made.factory.settings = with_logins()
        self.assertIs(made.factory.portal, logins.portal)
        self.assertEqual(made.factory.mechanisms, ("PLAIN", "LOGIN"))

    def test_no_password_in_a_repr(self) -> None:
        """Settings show no secret."""
        self.assertNotIn("geheim", repr(with_logins()))
        self.assertTrue(UsernamePassword(b"", b""))
