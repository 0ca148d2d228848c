"""Who may log in at the edge: Twisted's cred, with the users of ``auth_flat_file.ini``.

Secrets are compared in constant time, and hashes in threads. What a failure's time could tell of a
user is hidden by the delay of its answer (``login.py``). An embedding application can hand in a
``Portal`` of its own, whose realm gives :class:`IAvatar` objects.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernameHashedPassword, IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.threads import deferToThread
from zope.interface import Attribute, Interface, implementer

from smtpforward import passwords
from smtpforward.config.settings import Logins
from smtpforward.facts import Fact
from smtpforward.limits import origin_of
from smtpforward.net.clock import Clock
from smtpforward.server.sasl import NEEDED

MAX_PER_ADDRESS = 20
ADDRESS_WINDOW = 600.0
MAX_ADDRESSES = 10_000
_NONE = "?"


class IAvatar(Interface):
    """Someone who has logged in; what the portal is asked for."""

    user = Attribute("The name, a string.")


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
    :ivar credentialInterfaces: digests only where a secret is there to compare them with.
    """

    def __init__(
        self,
        users: Mapping[str, str],
        in_thread: Callable[..., "Deferred[bool]"] = deferToThread,
    ) -> None:
        self._users = users
        self._in_thread = in_thread
        hashed = [secret for secret in users.values() if passwords.is_hash(secret)]
        # What an unknown user's password is compared with: threads are busied just the same.
        self._decoy = hashed[0] if hashed else _NONE
        digests = (IUsernameHashedPassword,) if len(hashed) < len(users) else ()
        self.credentialInterfaces = (IUsernamePassword, *digests)

    def requestAvatarId(self, credentials: Any) -> "Deferred[bytes | tuple[()]]":
        """See ICredentialsChecker; fails with UnauthorizedLogin."""
        name = credentials.username
        secret = self._users.get(name.decode("utf-8", "surrogateescape"))
        if IUsernameHashedPassword.providedBy(credentials):
            return self._check_digest(credentials, secret)
        known = secret is not None
        checking = self._compare(self._decoy if secret is None else secret, credentials.password)
        return checking.addCallback(self._decide, name, known)

    def _check_digest(self, credentials: Any, secret: str | None) -> Deferred[bytes | tuple[()]]:
        """A challenge can be answered only with a secret that is stored as it is."""
        usable = secret if secret is not None and not passwords.is_hash(secret) else None
        good = credentials.checkPassword((usable or _NONE).encode("utf-8"))
        known = good and usable is not None
        return succeed(credentials.username) if known else fail(UnauthorizedLogin())

    def _compare(self, secret: str, password: bytes) -> "Deferred[bool]":
        if passwords.is_hash(secret):
            return self._in_thread(passwords.verify, secret, password)
        return succeed(passwords.verify(secret, password))

    @staticmethod
    def _decide(good: bool, name: bytes, known: bool) -> bytes | tuple[()]:
        if not (good and known):
            raise UnauthorizedLogin
        return name


def portal_of(logins: Logins) -> Portal:
    """The portal of the settings' users."""
    return Portal(GatewayRealm(), [FlatFileChecker(logins.users)])


def mechanisms_of(portal: Portal, methods: tuple[str, ...]) -> tuple[str, ...]:
    """Of ``methods``, or of all where that is empty, those that ``portal`` can check."""
    checked = set(portal.listCredentialsInterfaces())
    return tuple(method for method in methods or NEEDED if NEEDED[method] in checked)


class FailedLogins(Fact):
    """How often logins from each address have failed of late; bounded: the oldest goes.

    Worker processes tell each other.

    :ivar total: how many failed in this process since its start, from anywhere.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, list[float]] = OrderedDict()
        self.total = 0

    def note(self, ip: str) -> None:
        """One more from ``ip``."""
        key = origin_of(ip)
        self.hear(key)
        self.tell(key)

    def hear(self, key: str) -> None:  # type: ignore[override]
        """One more from a network, at one of the worker processes."""
        recent = [*self._recent(key), self._clock.seconds()]
        self._failures[key] = recent[-MAX_PER_ADDRESS:]
        self._failures.move_to_end(key)
        if len(self._failures) > MAX_ADDRESSES:
            self._failures.popitem(last=False)

    def too_many(self, ip: str) -> bool:
        """Whether ``ip`` is not to be heard for now."""
        return len(self._recent(origin_of(ip))) >= MAX_PER_ADDRESS

    def _recent(self, key: str) -> list[float]:
        since = self._clock.seconds() - ADDRESS_WINDOW
        return [when for when in self._failures.get(key, ()) if when > since]
