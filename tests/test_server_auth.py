"""Who may log in: the users of the settings, other portals, and addresses that fail too often."""

import hmac
from typing import Any

from twisted.cred.credentials import CramMD5Credentials, UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smtpforward import passwords
from smtpforward.config.settings import Logins
from smtpforward.server import auth
from smtpforward.server.auth import (
    ADDRESS_WINDOW,
    MAX_PER_ADDRESS,
    FailedLogins,
    FlatFileChecker,
    GatewayRealm,
    IAvatar,
    mechanisms_of,
    portal_of,
)

HASHED = str(passwords._Scrypt(4, 1, 1, b"0123456789abcdef").of(b"geheim"))
USERS = {"anna": "geheim", "bert": HASHED, "äöü": "ß"}


def digest(name: bytes, password: bytes) -> CramMD5Credentials:
    """A response made with ``password``."""
    made = CramMD5Credentials(b"mx.example.net")
    made.getChallenge()
    made.username = name
    made.response = hmac.new(password, made.challenge, "md5").hexdigest().encode()
    return made


class FlatFileCheckerTests(SynchronousTestCase):
    """The users of ``auth_flat_file.ini``."""

    def setUp(self) -> None:
        self.threads: list[tuple[Deferred[Any], Any]] = []
        self.checker = FlatFileChecker(USERS, self.in_thread)

    def in_thread(self, function: Any, *arguments: Any) -> "Deferred[Any]":
        """A thread that ends when the test says so."""
        done: Deferred[Any] = Deferred()
        self.threads.append((done, function(*arguments)))
        return done

    def check(self, credentials: Any) -> bool:
        """Whether they are good."""
        result = self.checker.requestAvatarId(credentials)
        while self.threads:
            done, good = self.threads.pop()
            done.callback(good)
        if isinstance(getattr(result, "result", None), bytes):
            self.assertEqual(self.successResultOf(result), credentials.username)
            return True
        self.failureResultOf(result, UnauthorizedLogin)
        return False

    def test_passwords(self) -> None:
        """A name with its password is good, whether that is hashed or not; all else is not."""
        for name, password, good in (
            (b"anna", b"geheim", True),
            (b"bert", b"geheim", True),
            ("äöü".encode(), "ß".encode(), True),
            (b"anna", b"Geheim", False),
            (b"bert", b"", False),
            (b"bert", HASHED.encode(), False),
            (b"Anna", b"geheim", False),
            (b"carl", b"geheim", False),
            (b"carl", b"?", False),
            (b"", b"", False),
            (b"\xff", b"x", False),
        ):
            self.assertEqual(self.check(UsernamePassword(name, password)), good, (name, password))

    def test_threads(self) -> None:
        """Hashes are checked in threads, and so is a user that there is not."""
        for name, threads in ((b"anna", 0), (b"bert", 1), (b"nobody", 1)):
            self.checker.requestAvatarId(UsernamePassword(name, b"x")).addErrback(lambda _: None)
            self.assertEqual(len(self.threads), threads, name)
            while self.threads:
                self.threads.pop()[0].callback(False)

    def test_digests(self) -> None:
        """A challenge is met by who knows a password that is stored as it is."""
        self.assertTrue(self.check(digest(b"anna", b"geheim")))
        for name, password in (
            (b"anna", b"x"),
            (b"bert", b"geheim"),
            (b"bert", HASHED.encode()),
            (b"carl", b"?"),
            (b"carl", b""),
        ):
            self.assertFalse(self.check(digest(name, password)), (name, password))


class PortalTests(SynchronousTestCase):
    """Portals and what they can check."""

    def test_avatar(self) -> None:
        """A login is a name, and nothing that has to be logged out."""
        portal = portal_of(Logins(("PLAIN",), {"äöü": "x"}))
        login = portal.login(UsernamePassword("äöü".encode(), b"x"), None, IAvatar)
        interface, avatar, log_out = self.successResultOf(login)
        self.assertEqual((interface, avatar.user, log_out()), (IAvatar, "äöü", None))

    def test_other_interfaces(self) -> None:
        """The realm gives nothing else."""
        self.assertRaises(NotImplementedError, GatewayRealm().requestAvatar, b"a", None)
        self.assertEqual(GatewayRealm().requestAvatar("a", None, IAvatar)[1].user, "a")

    def test_mechanisms(self) -> None:
        """What is announced can be checked: digests only where a secret is stored as it is."""
        for users, offered in (
            ({"a": "x"}, ("CRAM-MD5", "PLAIN")),
            ({"a": HASHED}, ("PLAIN",)),
            ({"a": HASHED, "b": "x"}, ("CRAM-MD5", "PLAIN")),
        ):
            portal = portal_of(Logins((), users))
            self.assertEqual(mechanisms_of(portal, ("CRAM-MD5", "PLAIN")), offered)
        self.assertEqual(mechanisms_of(portal, ()), ("PLAIN", "LOGIN", "CRAM-MD5"))
        self.assertEqual(mechanisms_of(Portal(GatewayRealm()), ()), ())


class FailedLoginsTests(SynchronousTestCase):
    """What is remembered of addresses."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.failed = FailedLogins(self.clock)

    def fail_often(self, *ips: str) -> None:
        """As often as it takes."""
        for number in range(MAX_PER_ADDRESS):
            self.failed.note(ips[number % len(ips)])

    def test_too_many(self) -> None:
        """So many are too many, from that address alone."""
        self.fail_often("192.0.2.1")
        self.assertTrue(self.failed.too_many("192.0.2.1"))
        self.assertFalse(self.failed.too_many("192.0.2.2"))

    def test_forgotten(self) -> None:
        """Each counts for so long."""
        self.failed.note("192.0.2.1")
        self.clock.advance(1)
        self.fail_often("192.0.2.1")
        self.clock.advance(ADDRESS_WINDOW - 0.5)
        self.assertTrue(self.failed.too_many("192.0.2.1"))
        self.clock.advance(0.5)
        self.assertFalse(self.failed.too_many("192.0.2.1"))

    def test_ipv6_networks(self) -> None:
        """One who has a network has one count."""
        self.fail_often("2001:db8:0:1::1", "2001:db8:0:1:2::3")
        self.assertTrue(self.failed.too_many("2001:db8:0:1:ffff::"))
        self.assertFalse(self.failed.too_many("2001:db8:0:2::1"))
        self.assertFalse(self.failed.too_many("fe80::1%eth0"))

    def test_bounded(self) -> None:
        """However many addresses fail, memory is bounded: the one longest ago is forgotten."""
        self.patch(auth, "MAX_ADDRESSES", 2)
        self.fail_often("192.0.2.1")
        self.failed.note("192.0.2.2")
        self.failed.note("192.0.2.1")
        self.failed.note("192.0.2.3")
        self.assertEqual(len(self.failed._failures), 2)
        self.assertTrue(self.failed.too_many("192.0.2.1"))
