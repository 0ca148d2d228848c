"""The login of ``http.ini``: HTTP basic authentication (RFC 7617) in front of a resource."""

from collections.abc import Callable
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred
from twisted.web.guard import BasicCredentialFactory, HTTPAuthSessionWrapper
from twisted.web.resource import IResource, Resource
from zope.interface import implementer

from smtpforward import passwords
from smtpforward.config.settings import HTTP

InThread = Callable[..., "Deferred[Any]"]
REALM = b"smtpforward"


def behind_login(resource: Resource, http: HTTP, in_thread: InThread) -> Any:
    """``resource`` for who has logged in, where the settings ask for that."""
    if not http.user:
        return resource
    portal = Portal(_Realm(resource), [_OneUser(http, in_thread)])
    guarded: Any = HTTPAuthSessionWrapper(portal, [BasicCredentialFactory(REALM)])
    return guarded


@implementer(ICredentialsChecker)
class _OneUser:
    """The user of ``http.ini``."""

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, http: HTTP, in_thread: InThread) -> None:
        self._http = http
        self._in_thread = in_thread

    def requestAvatarId(self, credentials: Any) -> "Deferred[bytes | tuple[()]]":
        """See ICredentialsChecker; as slow for another name as for a wrong password."""
        checking = self._in_thread(passwords.verify, self._http.password, credentials.password)
        return checking.addCallback(self._decide, credentials.username)

    def _decide(self, good: bool, name: bytes) -> bytes:
        if not (good and name == self._http.user.encode()):
            raise UnauthorizedLogin
        return name


@implementer(IRealm)
class _Realm:
    """Whoever has logged in sees the one resource."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource

    def requestAvatar(self, avatarId: Any, mind: Any, *interfaces: Any) -> Any:
        """See IRealm."""
        if IResource not in interfaces:
            raise NotImplementedError("this realm gives IResource only")
        return IResource, self._resource, lambda: None
