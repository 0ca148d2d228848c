"""From the connect to readiness: greeting, EHLO, STARTTLS (RFC 3207), AUTH (RFC 4954).

The states are Twisted's; what they trust too much is corrected:

- what came before the command that it would answer is nonsense: nothing read in the clear is taken
  for a reply inside TLS, and what was offered before TLS is forgotten;
- inside TLS nothing is sent before the certificate is known to be the host's, if it must be;
- a password leaves under TLS, or where the policy is ``NEVER``; it is tried once, by the one
  mechanism that is configured.

Failure policy: every end is a :class:`ConnectFailed`; what speaks of TLS or of the login says so.
"""

import enum
from collections.abc import Mapping
from typing import Any

from attrs import frozen
from twisted.internet.interfaces import IHandshakeListener
from twisted.mail import smtp
from twisted.python.failure import Failure
from zope.interface import implementer

from smtpforward.client import login
from smtpforward.client.errors import ConnectFailed
from smtpforward.client.replies import ReplyReader
from smtpforward.job import TLS, Credentials, Event, Timeouts
from smtpforward.net import peer
from smtpforward.net.clock import Clock, Watch
from smtpforward.net.tls import ConnectionCreator, WrongCertificate
from smtpforward.reply import Reply

POSITIVE = list(range(250, 260))
NO_EHLO = frozenset({500, 502, 504})


class Phase(enum.Enum):
    """What the connection is for at the moment."""

    OPENING = "greeting to readiness"
    IDLE = "ready"
    BUSY = "in a transaction"
    CLOSING = "QUIT is out, or it was aborted"
    CLOSED = "gone"


class Cover(enum.Enum):
    """What lies around the dialogue."""

    NONE = "nothing: it is in the clear"
    HANDSHAKE = "the handshake has begun"
    UNPROVEN = "the handshake is done; the backend may still refuse our certificate"
    TLS = "TLS: a reply has come inside"


@frozen
class Security:
    """What a connection needs before mail goes over it.

    :ivar creator: makes its TLS; ``None`` where none is to be tried.
    """

    policy: TLS = TLS.NEVER
    creator: ConnectionCreator | None = None
    credentials: Credentials | None = None

    @property
    def needs_tls(self) -> bool:
        """Whether nothing goes on without TLS."""
        if self.policy is TLS.OFFERED:
            return self.credentials is not None
        return self.policy is not TLS.NEVER

    @property
    def may_go_clear(self) -> bool:
        """Whether TLS is tried, and where its handshake fails a fresh connection goes without."""
        return self.creator is not None and not (self.needs_tls or self.creator.verifies)


@implementer(IHandshakeListener)
class Opening(smtp.ESMTPSender):
    """A connection until it is ready.

    :ivar extensions: what the backend offers, upper-case keyword to argument.
    :ivar greeting: the backend's, once it has come. ``steps``: what was reached when, in order.
    """

    debug = False
    transport: Any
    # Twisted's looks at every assignment for a name that it once deprecated.
    __setattr__ = object.__setattr__

    def prepare_opening(
        self,
        name: str,
        own_name: str | None,
        timeouts: Timeouts,
        deadline: float,
        clock: Clock,
        security: Security,
    ) -> None:
        """Everything that Twisted's constructor has no room for."""
        self.phase = Phase.OPENING
        self.extensions: Mapping[bytes, bytes] = {}
        self.greeting: Reply | None = None
        self.steps: list[tuple[str, float]] = []
        self.security = security
        self.context = security.creator
        # Where only a password needs it, ``authenticate`` looks: nothing is nearer to the password.
        self.requireTransportSecurity = security.policy in (TLS.REQUIRED, TLS.IMPLICIT)
        self._cover = Cover.NONE
        self._to_log_in: list[bytes] = []
        self._name = name
        self._peer_name = ""
        self._own_name = own_name
        self._timeouts = timeouts
        self._deadline = deadline
        self._clock = clock
        self._watch = Watch(clock, self._silent_too_long)
        self._reader = ReplyReader()
        self._last = True

    @property
    def peer_name(self) -> str:
        """``host[ip]:port``, for the log."""
        if not self._peer_name:
            ip, port = peer.textual(self.transport.getPeer())
            self._peer_name = f"{self._name}[{ip}]:{port}"
        return self._peer_name

    def abort(self) -> None:
        """Close at once."""
        peer.abort(self.transport)

    def _silent_too_long(self) -> None:
        self.abort()

    def _await_reply(self) -> None:
        due = self._clock.seconds() + self._timeouts.reply
        self._watch.arm_until(min(due, self._deadline))

    # -- greeting and EHLO

    def connectionMade(self) -> None:
        peer.set_no_delay(self.transport)
        self._reached("connected")
        self._await_reply()
        smtp.ESMTPSender.connectionMade(self)
        if self.security.policy is TLS.IMPLICIT:
            self._start_tls()

    def _take_while_opening(self, reply: Reply) -> None:
        if self._cover is Cover.UNPROVEN:
            self._cover = Cover.TLS
        self.greeting = self.greeting or reply
        if reply.code == 421:
            error = ConnectFailed(Event.CLOSING, reply.text, reply, full=True)
            self._fail_opening(error)
            return
        expected = reply.code in self._expected
        step = self._okresponse if expected else self._failresponse
        self._await_reply()
        # What is left over answers nothing that was asked. It must not get into TLS.
        if self._last or not expected:
            step(reply.code, b"\n".join(reply.lines))
        if not self._last:
            self._fail_opening(ConnectFailed(Event.NONSENSE, "replies before commands"))

    def esmtpState_ehlo(self, code: int, resp: bytes) -> None:
        self._reached("greeting" if resp else "TLS")
        name = resp.split(None, 1)[:1]
        if self._own_name and name and name[0].lower() == self._own_name.lower().encode("ascii"):
            self._fail_opening(ConnectFailed(Event.LOOP, f"{self.peer_name} greets as we do"))
            return
        smtp.ESMTPSender.esmtpState_ehlo(self, code, resp)
        self._expected = POSITIVE
        self._failresponse = self._ehlo_refused

    def _ehlo_refused(self, code: int, resp: bytes) -> None:
        if code not in NO_EHLO:
            self._refuse_opening("EHLO", code, resp)
        elif self.security.needs_tls and self._cover is not Cover.TLS:
            self.esmtpTLSRequired(code, resp)
        elif self.security.credentials is not None:
            self.esmtpAUTHRequired(code, resp)
        else:
            self.smtpState_helo(code, resp)

    def smtpState_helo(self, code: int, resp: bytes) -> None:
        smtp.ESMTPSender.smtpState_helo(self, code, resp)
        self._expected = POSITIVE
        # Once: Twisted would leave this state as the answer to its own failure.
        self._failresponse = self._helo_refused

    def _helo_refused(self, code: int, resp: bytes) -> None:
        self._refuse_opening("HELO", code, resp)

    def smtpConnectionFailed(self, code: int, resp: bytes) -> None:
        self._refuse_opening("greeting", code, resp)

    def _refuse_opening(self, step: str, code: int, resp: bytes) -> None:
        reply = Reply(code, tuple(resp.split(b"\n")))
        event = Event.UNREACHABLE if code >= 400 else Event.NONSENSE
        self._fail_opening(ConnectFailed(event, f"{step}: {reply.text}", reply))

    def esmtpState_serverConfig(self, code: int, resp: bytes) -> None:
        self._reached("EHLO")
        self.extensions = _offers(resp)
        if self._cover is Cover.TLS and self.security.creator is not None:
            # By now TLS 1.3 has sent what a session is taken up with.
            self.security.creator.keep_session()
        self.tryTLS(code, resp, dict(self.extensions))

    # -- TLS

    def esmtpState_starttls(self, code: int, resp: bytes) -> None:
        """Twisted's says EHLO at once; here the certificate comes first."""
        self._reached("STARTTLS")
        self._start_tls()

    def _start_tls(self) -> None:
        self._cover = Cover.HANDSHAKE
        self._tlsMode = True
        self.extensions = {}
        if self.security.creator is None:
            self.esmtpTLSRequired()
        else:
            self.transport.startTLS(self.security.creator)

    def handshakeCompleted(self) -> None:
        """See IHandshakeListener: the chain has been verified, if it must be."""
        creator = self.security.creator
        if self._cover is not Cover.HANDSHAKE or self.phase is not Phase.OPENING or not creator:
            return
        try:
            creator.check_identity()
        except WrongCertificate as error:
            self._fail_opening(ConnectFailed(Event.TLS, f"TLS: {error}"))
            return
        self._cover = Cover.UNPROVEN
        self._await_reply()
        if self.security.policy is TLS.IMPLICIT:
            self._reached("TLS")
        else:
            self.esmtpState_ehlo(220, b"")

    def esmtpTLSRequired(self, code: int = -1, resp: bytes | None = None) -> None:
        self._fail_opening(ConnectFailed(Event.TLS, "TLS is required, and the backend has none"))

    def esmtpTLSFailed(self, code: int = -1, resp: bytes | None = None) -> None:
        """STARTTLS was refused."""
        if self.security.needs_tls:
            reply = Reply(code, tuple((resp or b"").split(b"\n")))
            detail = f"TLS is required, and STARTTLS refused: {reply.text}"
            self._fail_opening(ConnectFailed(Event.TLS, detail, reply))
        else:
            self.authenticate(code, resp or b"", dict(self.extensions))

    # -- AUTH

    def authenticate(self, code: int, resp: bytes, items: Mapping[bytes, bytes]) -> None:
        """Log in by the configured mechanism and no other, once; Twisted's tries what it likes."""
        credentials = self.security.credentials
        if credentials is None:
            self.smtpState_from(code, resp)
        elif self.security.policy is not TLS.NEVER and self._cover is not Cover.TLS:
            self.esmtpTLSRequired()
        elif credentials.mechanism.encode("ascii") not in items.get(b"AUTH", b"").split():
            self.esmtpAUTHRequired(code, resp)
        else:
            self._to_log_in = login.lines(credentials)
            self._log_in(code, resp)

    def _log_in(self, code: int, resp: bytes) -> None:
        line = self._to_log_in.pop(0)
        self._expected = [334] if self._to_log_in else [235]
        self._okresponse = self._log_in if self._to_log_in else self._logged_in
        self._failresponse = self.esmtpAUTHDeclined
        self.sendLine(line)

    def _logged_in(self, code: int, resp: bytes) -> None:
        self._reached("AUTH")
        self.smtpState_from(code, resp)

    def esmtpAUTHDeclined(self, code: int = -1, resp: bytes | None = None) -> None:
        credentials = self.security.credentials
        assert credentials is not None, "there was a login"
        self._to_log_in = []
        reply = login.refusal(credentials, code, resp or b"")
        detail = f"AUTH {credentials.mechanism}: {reply.text}"
        self._fail_opening(ConnectFailed(Event.AUTH, detail, reply))

    def esmtpAUTHRequired(self, code: int = -1, resp: bytes | None = None) -> None:
        credentials = self.security.credentials
        mechanism = credentials.mechanism if credentials else ""
        offered = self.extensions.get(b"AUTH", b"").decode("ascii", "backslashreplace") or "nothing"
        detail = f"AUTH {mechanism} is not offered, but {offered}"
        self._fail_opening(ConnectFailed(Event.AUTH, detail))

    # -- ends

    def sendError(self, exc: Any) -> None:
        self._fail_opening(ConnectFailed(Event.UNREACHABLE, str(exc)))

    def smtpState_from(self, code: int, resp: bytes) -> None:
        """Twisted has done its part: the connection is ready, if no more has come."""
        if not self._last:
            return
        self._reached("ready")
        self.phase = Phase.IDLE
        self._watch.disarm()
        self.factory.sendFinished = True
        self.factory.result.callback(self)

    def _reached(self, step: str) -> None:
        self.steps.append((step, self._clock.seconds()))

    def _broken(self, detail: str) -> ConnectFailed:
        """Why a connection that has ended, or is silent, will never be ready."""
        if self._cover in (Cover.HANDSHAKE, Cover.UNPROVEN):
            creator = self.security.creator
            problem = creator.problem if creator is not None and creator.verifies else ""
            return ConnectFailed(Event.TLS, f"TLS: {problem or detail}")
        return ConnectFailed(Event.UNREACHABLE, detail)

    def _closed_early(self, reason: Failure) -> ConnectFailed:
        if self._cover in (Cover.HANDSHAKE, Cover.UNPROVEN):
            return self._broken(_in_words(reason))
        return self._broken("closed before it was ready")

    def _fail_opening(self, error: ConnectFailed) -> None:
        if self.phase is Phase.OPENING:
            self.abort()
            self.factory.sendFinished = True
            self.factory.result.errback(error)


def _offers(ehlo: bytes) -> dict[bytes, bytes]:
    """What the lines of a reply to EHLO offer, after the first."""
    lines = (line.upper().partition(b" ") for line in ehlo.split(b"\n")[1:])
    return {keyword: argument.strip() for keyword, _, argument in lines}


def _in_words(reason: Failure) -> str:
    """What a lost connection says; OpenSSL says it in threes."""
    args = reason.value.args if reason.value is not None else ()
    said = args[0] if args else None
    if isinstance(said, list) and said:
        return ", ".join(str(part[-1]) for part in said)
    return f"the handshake failed: {reason.getErrorMessage()}"
