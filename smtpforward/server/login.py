"""The logins of one connection: credentials to the portal, failures answered late and counted.

Failure policy: a wrong password is ``535``, late, and later with each one more; the third on a
connection ends it. After too many from one address all logins from there are ``454`` for a while,
those that are being checked too, so that nothing is won by trying many at once. A fault of the
portal is ``454`` with its traceback in the log. A password never gets there.
"""

from collections.abc import Callable
from typing import Any

from twisted.cred.credentials import ICredentials
from twisted.cred.error import LoginDenied, UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from smtpforward import answers
from smtpforward.net.clock import Clock
from smtpforward.record import Facts, printable
from smtpforward.reply import Reply
from smtpforward.server.auth import FailedLogins, IAvatar
from smtpforward.server.ports import is_loopback

DELAY = 1.0
MAX_DELAY = 8.0
MAX_PER_CONNECTION = 3


class Login:
    """What one connection has tried, and who it is.

    :param failed: shared by all connections.
    :ivar user: who has logged in, or empty.
    """

    log = Logger()

    def __init__(self, failed: FailedLogins, clock: Clock, ip: str) -> None:
        self.user = ""
        self._failed = failed
        self._clock: Any = clock
        self._ip = ip
        # Whoever is on this host may speak for all users of a web mailer: not counted together.
        self._counted = not is_loopback(ip)
        self._failures = 0
        self._checking: Deferred[Reply] | None = None
        self._log_out: Callable[[], Any] | None = None

    @property
    def suspended(self) -> bool:
        """Whether no login is taken from this address for now."""
        return self._counted and self._failed.too_many(self._ip)

    def check(self, portal: Portal, credentials: ICredentials, mechanism: str) -> "Deferred[Reply]":
        """The answer: 235 when the client is ``user`` from now on. :meth:`forget` cancels it."""
        checking = Deferred.fromCoroutine(self._check(portal, credentials, mechanism))
        self._checking = checking
        return checking

    async def _check(self, portal: Portal, credentials: Any, mechanism: str) -> Reply:
        began = self._clock.seconds()
        name = printable(credentials.username.decode("utf-8", "backslashreplace"))
        try:
            avatar: Any
            _, avatar, log_out = await portal.login(credentials, None, IAvatar)
        except (UnauthorizedLogin, LoginDenied):
            self._say("login of {user} from {ip} failed", name, mechanism, success=False)
            return await self._refuse(began)
        except CancelledError:
            raise
        except Exception:
            self.log.failure("a fault while checking a login from {ip}", ip=self._ip)
            return answers.LOGIN_FAULT
        if self.suspended:
            log_out()
            return answers.NO_LOGINS_FROM_HERE
        self.user, self._log_out = avatar.user, log_out
        self._say("login of {user} from {ip}", name, mechanism, success=True)
        return answers.LOGGED_IN

    def _say(self, text: str, user: str, mechanism: str, success: bool) -> None:
        facts: Facts = {
            "event": "login",
            "success": success,
            "user": user,
            "mechanism": mechanism,
            "client_ip": self._ip,
        }
        self.log.info(text, user=user, ip=self._ip, facts=facts)

    async def _refuse(self, began: float) -> Reply:
        """Counted at once, answered late: at a time that does not tell how long the check took."""
        late = self.suspended
        self._failures += 1
        self._failed.total += 1
        if self._counted:
            self._failed.note(self._ip)
        due = began + delay_after(self._failures)
        await deferLater(self._clock, max(0.0, due - self._clock.seconds()))
        if self._failures >= MAX_PER_CONNECTION:
            return answers.LOGIN_FAILED_AGAIN
        return answers.NO_LOGINS_FROM_HERE if late else answers.LOGIN_FAILED

    def forget(self) -> None:
        """Nobody is logged in, and nothing is being checked any more."""
        checking, self._checking = self._checking, None
        if checking is not None:
            checking.cancel()
        log_out, self._log_out = self._log_out, None
        self.user = ""
        if log_out is not None:
            log_out()


def delay_after(failures: int) -> float:
    """Seconds before the answer to a connection's failure of that number."""
    return min(MAX_DELAY, DELAY * 2.0 ** (failures - 1))
