"""Logins at the edge: Twisted's cred, with the users of ``auth_flat_file.ini``.

Secrets are compared in constant time and hashes checked in threads; a user that does not exist
costs as much as one that does. Failures are answered late, and later with each one more; too many
on a connection end it, too many from an address are refused for a while. An embedding application
can hand in a ``Portal`` of its own, whose realm gives :class:`Avatar` objects.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import (
    CramMD5Credentials,
    ICredentials,
    IUsernameHashedPassword,
    IUsernamePassword,
)
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.threads import deferToThread
from twisted.mail.imap4 import PLAINCredentials
from twisted.mail.smtp import LOGINCredentials
from zope.interface import Interface, implementer

from smtpforward import passwords
from smtpforward.config.settings import Logins
from smtpforward.net.clock import Clock

DELAY = 1.0
MAX_DELAY = 8.0
MAX_PER_CONNECTION = 3
MAX_PER_ADDRESS = 20
ADDRESS_WINDOW = 600.0
MAX_ADDRESSES = 10_000


class IAvatar(Interface):
    """Someone who has logged in; what the portal is asked for."""


@implementer(IAvatar)
@frozen(slots=True)
class Avatar:
    """Someone who has logged in.

    :ivar user: the name, as it was given.
    """

    user: str


@implementer(IRealm)
class GatewayRealm:
    """Every user is just that."""

    def requestAvatar(self, avatarId: Any, mind: Any, *interfaces: Any) -> Any:
        """See IRealm."""
        if IAvatar not in interfaces:
            raise NotImplementedError("this realm gives IAvatar only")
        name = avatarId.decode("utf-8") if isinstance(avatarId, bytes) else str(avatarId)
        return IAvatar, Avatar(name), _nothing_to_log_out


def _nothing_to_log_out() -> None:
    """A login lasts as long as its connection and holds nothing."""


@implementer(ICredentialsChecker)
class FlatFileChecker:
    """The users of the settings.

    :param in_thread: runs a slow check elsewhere; a Deferred of its result.
    """

    credentialInterfaces = (IUsernamePassword, IUsernameHashedPassword)

    def __init__(
        self,
        users: Mapping[str, str],
        in_thread: Callable[..., "Deferred[bool]"] = deferToThread,
    ) -> None:
        self._users = users
        self._in_thread = in_thread
        # What an unknown user's password is compared with: as slow as a known user's.
        hashed = (secret for secret in users.values() if passwords.is_hash(secret))
        self._decoy = next(hashed, "")

    def requestAvatarId(self, credentials: Any) -> "Deferred[bytes]":
        """See ICredentialsChecker; fails with UnauthorizedLogin."""
        name = credentials.username
        secret = self._users.get(name.decode("utf-8", "replace"))
        if IUsernameHashedPassword.providedBy(credentials):
            return self._check_response(credentials, secret)
        checking = self._compare(
            secret if secret is not None else self._decoy, credentials.password
        )
        return checking.addCallback(self._decide, name, known=secret is not None)

    def _check_response(self, credentials: Any, secret: str | None) -> "Deferred[bytes]":
        """A challenge can be answered only with a secret that is stored as it is."""
        usable = secret is not None and not passwords.is_hash(secret)
        good = credentials.checkPassword((secret if usable and secret else "").encode("utf-8"))
        return succeed(credentials.username) if good and usable else fail(UnauthorizedLogin())

    def _compare(self, secret: str, password: bytes) -> "Deferred[bool]":
        if passwords.is_hash(secret):
            return self._in_thread(passwords.verify, secret, password)
        return succeed(passwords.verify(secret, password))

    @staticmethod
    def _decide(good: bool, name: bytes, known: bool) -> bytes:
        if not (good and known):
            raise UnauthorizedLogin
        return name


def portal_of(logins: Logins) -> Portal:
    """The portal of the settings' users."""
    return Portal(GatewayRealm(), [FlatFileChecker(logins.users)])


def challenger(method: str, host: bytes) -> ICredentials:
    """What leads one login by ``method`` through its challenges."""
    if method == "CRAM-MD5":
        return CramMD5Credentials(host)
    return PLAINCredentials() if method == "PLAIN" else LOGINCredentials()


class FailedLogins:
    """How often logins from each address have failed of late; bounded: the oldest goes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, list[float]] = OrderedDict()

    def note(self, ip: str) -> None:
        """One more from ``ip``."""
        recent = self._recent(ip)
        recent.append(self._clock.seconds())
        self._failures[ip] = recent[-MAX_PER_ADDRESS:]
        self._failures.move_to_end(ip)
        if len(self._failures) > MAX_ADDRESSES:
            self._failures.popitem(last=False)

    def too_many(self, ip: str) -> bool:
        """Whether ``ip`` is not to be heard for now."""
        return len(self._recent(ip)) >= MAX_PER_ADDRESS

    def _recent(self, ip: str) -> list[float]:
        since = self._clock.seconds() - ADDRESS_WINDOW
        return [when for when in self._failures.get(ip, ()) if when > since]


def delay_after(failures: int) -> float:
    """Seconds before the answer to a connection's failure of that number."""
    return min(MAX_DELAY, DELAY * 2 ** (failures - 1))
