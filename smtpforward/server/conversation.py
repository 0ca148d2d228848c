"""One client's conversation: commands taken in order, one answer each, bounds and timeouts.

Twisted's ESMTP server with its reading made sound. The unread bytes are the queue of commands. A
line is taken only in ``Phase.COMMAND`` or ``LOGIN``; taking it enters ``ANSWERING``, and every
command ends in one reply, which leaves it again. The greeting and the end of data count as
commands. What the commands mean is in ``protocol.py``.

TLS begins before the greeting or after STARTTLS, and then with a new session: nothing that was said
in the clear is left. Clear bytes in place of a handshake end the connection.

Failure policy: whatever fails unforeseen is ``451 4.3.0`` with its traceback in the log; a client
that breaks the rules of line ends is answered and cut off. Memory is bounded by one line, 64 KiB
of unread commands and 64 KiB of answers: while the client does not read them nothing is answered.
One read may bring more commands than that: 64 KiB, and 512 KiB behind the end of a long message.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import attrs
from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IHandshakeListener, INegotiated, ITLSTransport
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.mail import smtp
from twisted.python.failure import Failure
from zope.interface import implementer

from smtpforward import answers
from smtpforward.config.settings import Settings
from smtpforward.envelope import Client
from smtpforward.limits import ErrorBudget
from smtpforward.net import peer
from smtpforward.net.clock import Clock, Watch
from smtpforward.reply import Reply
from smtpforward.server import ports, sasl
from smtpforward.server.hearing import Hearing
from smtpforward.server.lines import Breach, CommandLines
from smtpforward.server.phase import Phase

if TYPE_CHECKING:
    from smtpforward.server.factory import GatewayFactory

UNREAD_LIMIT = 65536
# What SIZE, BODY, AUTH=, SMTPUTF8, RET and ENVID add to a MAIL line (RFC 1870, 6152, 4954, 6531,
# 3461); what NOTIFY and ORCPT add to RCPT is less.
EXTENSION_LENGTH = 543 + 10 + 9 + 107
CLOSE_DEADLINE = 10.0
_BREACHES = {
    Breach.NEWLINE: answers.BARE_NEWLINE_IN_COMMAND,
    Breach.ENDLESS: answers.LINE_TOO_LONG,
}


@lru_cache(maxsize=16)
def _greeting(host: bytes) -> Reply:
    return Reply(220, (host + b" ESMTP smtpforward",))


@lru_cache(maxsize=256)
def _method_name(protocol: Any, command: bytes) -> str | None:
    """The method for a verb, by Twisted's names; its own look-up raises for bytes above 127."""
    if not command.isalpha():
        return None
    verb = command.decode("ascii").upper()
    names = (f"do_{verb}", f"ext_{verb}")
    return next((name for name in names if hasattr(protocol, name)), None)


@implementer(IHandshakeListener)
class Conversation(Hearing, smtp.ESMTP):
    """Reads commands and sends answers; a subclass knows the commands.

    :param client: who it is, as far as its address tells.
    """

    log = Logger()
    noisy = False
    factory: "GatewayFactory"
    transport: Any

    def __init__(self, settings: Settings, client: Client, clock: Clock) -> None:
        smtp.ESMTP.__init__(self)
        self.host = settings.me
        self.phase = Phase.ANSWERING
        self._settings = settings
        self._client = client
        self._port = ports.NO_RULES
        self._session: Any = None
        self._watch = Watch(clock, self._silent_too_long)
        self._errors = ErrorBudget(settings.limits)
        self._unread = CommandLines(settings.limits.line_length + EXTENSION_LENGTH)
        self._patience = settings.first_command_timeout
        self._data_patience = settings.data_timeout
        self._pumping = False
        self._paused = False

    # -- what a subclass adds

    @property
    def in_transaction(self) -> bool:
        """Whether MAIL has been accepted and its transaction not ended."""
        return False

    def _data_received(self, data: bytes) -> None:
        """Message data has come; no command of this class asks for any."""

    def _chunk_received(self, data: bytes) -> None:
        """Octets of a chunk have come; no command of this class asks for any."""

    def _close_content(self) -> None:
        """The connection has gone: give up what was collected."""

    def _log_out(self) -> None:
        """The connection has gone: so has whoever had logged in."""

    def _login_line(self, line: bytes | Breach) -> None:
        """A line in answer to a challenge; no command of this class asks for any."""

    def do_UNKNOWN(self, rest: bytes) -> None:
        self._reply(answers.UNRECOGNIZED)

    # -- the connection

    def connectionMade(self) -> None:
        peer.set_no_delay(self.transport)
        self.transport.registerProducer(self, True)
        self.factory.opened(self, self._client.ip)
        self._port = ports.rules_of(self._settings, peer.own_port(self.transport))
        secure = INegotiated.providedBy(self.transport)  # an embedding application's TLS
        if secure or self._port.tls_at_once:
            self._client = attrs.evolve(self._client, tls=True)
        self._session = self.factory.session(self._client)
        if self._port.tls_at_once and not secure and not self._begin_tls():
            self.log.error("there is no certificate for the port of {ip}", ip=self._client.ip)
            self._close(peer.abort)
            return
        self._ask(self._session.connected, self._welcome)

    @property
    def _can_start_tls(self) -> bool:
        """Whether STARTTLS is offered."""
        return (
            self.factory.contexts is not None
            and self._port.starttls
            and not self._client.tls
            and ITLSTransport.providedBy(self.transport)
        )

    def _begin_tls(self) -> bool:
        """The next bytes belong to a handshake; whether that can be."""
        if self.factory.contexts is None:
            return False
        self.transport.startTLS(self.factory.contexts)
        return True

    def handshakeCompleted(self) -> None:
        """See IHandshakeListener."""
        version: str = self.transport.getHandle().get_protocol_version_name()
        self.factory.counts.handshakes[version] += 1
        self._session.client = attrs.evolve(self._session.client, tls_version=version)

    def _start_tls(self) -> None:
        """Answer STARTTLS, and begin anew under TLS."""
        self._send(answers.START_TLS, Phase.ANSWERING)
        self._session.closed()
        # The client's name is not what it said, but what was found out about its address.
        told = self._session.client
        self._client = attrs.evolve(self._client, name=told.name, tls=True)
        self._session = self.factory.session(self._client)
        self._unheard = False  # the producer is registered anew
        self._begin_tls()
        self._await(Phase.COMMAND)

    def _welcome(self, refusal: Reply | None) -> None:
        if refusal is not None:
            self._send_and_close(refusal)
        elif not self._pipelined():
            self._send(_greeting(self.host))
            # The greeting has set the time of the first command.
            self._patience = self._settings.command_timeout

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.phase = Phase.CLOSING
        self._watch.end()
        self._unread.clear()
        self.factory.closed(self)
        if reason.check(SSL.Error):
            why = repr(reason.value)
            self.log.info("TLS with {ip} failed: {why}", ip=self._client.ip, why=why)
        try:
            self._session.closed()
        finally:
            self._close_content()
            self._log_out()

    def timeoutConnection(self) -> None:
        self._send_and_close(answers.IDLE_TOO_LONG)

    def _silent_too_long(self) -> None:
        if self.phase is Phase.CLOSING:
            peer.abort(self.transport)
        elif self.phase is Phase.ANSWERING:
            # It is we who owe something; the client's time does not run.
            self._watch.arm(self._patience)
        else:
            self.timeoutConnection()

    def shut_down(self) -> None:
        """Close as soon as no transaction is in progress."""
        between = self.phase in (Phase.COMMAND, Phase.LOGIN, Phase.UNHEARD)
        if between and not self.in_transaction:
            self._send_and_close(answers.SHUTTING_DOWN)

    def _close(self, closing: Callable[[Any], None] = peer.close) -> None:
        if self.phase is Phase.CLOSING:
            return
        self.phase = Phase.CLOSING
        self._unread.clear()
        self.transport.unregisterProducer()
        if not (closing is peer.close and peer.closes_at_once(self.transport)):
            # A peer that does not read would hold the socket for ever.
            self._watch.arm(CLOSE_DEADLINE)
        closing(self.transport)

    # -- reading

    @property
    def takes_much(self) -> bool:
        """Whether it is a message that comes: what is more than a command may be read at once."""
        return self.phase is Phase.DATA or self.phase is Phase.CHUNK

    def dataReceived(self, data: bytes) -> None:
        if self.phase is Phase.DATA:
            self._watch.arm(self._data_patience)
            self._data_received(data)
            return
        if self.phase is Phase.CLOSING:
            return
        if self.phase is Phase.COMMAND and not self._pumping:
            line = self._unread.only(data)
            if line is not None:
                self.phase = Phase.ANSWERING
                self.state_COMMAND(line)
                return
        elif self.phase is Phase.CHUNK:
            self._watch.arm(self._data_patience)
            self._chunk_received(data)
            return
        self._unread.append(data)
        if not self._pumping:
            self._pump()

    def _pump(self) -> None:
        """Take commands while none is being answered."""
        self._pumping = True
        try:
            # Message data never waits here: what came before 354 was cut off.
            while self.phase is Phase.COMMAND or self.phase is Phase.LOGIN:
                login = self.phase is Phase.LOGIN
                line = self._unread.take(sasl.MAX_LINE if login else 0)
                if line is None:
                    break
                self._take_line(line, login)
        finally:
            self._pumping = False
        waiting = len(self._unread)
        if self._paused or waiting > UNREAD_LIMIT:
            self._bound_unread(waiting)

    def _bound_unread(self, waiting: int) -> None:
        """Pause the transport only above the bound: a paused one notices no end."""
        if waiting > UNREAD_LIMIT and not self._paused:
            self._paused = True
            self.transport.pauseProducing()
        elif self._paused and waiting <= UNREAD_LIMIT and self.phase is not Phase.CLOSING:
            self._paused = False
            self.transport.resumeProducing()

    def _take_line(self, line: bytes | Breach, login: bool) -> None:
        """Answer one command, or one line of a login."""
        self.phase = Phase.ANSWERING
        if isinstance(line, Breach) and line is not Breach.LENGTH:
            self._cut_off(_BREACHES[line])
        elif login:
            self._login_line(line)
        elif isinstance(line, Breach):
            self._reply(answers.LINE_TOO_LONG)
        else:
            self.state_COMMAND(line)

    def state_COMMAND(self, line: bytes) -> None:
        verb, _, rest = line.strip().partition(b" ")
        kind: Any = type(self)
        name = _method_name(kind, verb)
        method = getattr(self, name) if name else self.do_UNKNOWN
        method(rest.strip())

    # -- answering

    def _ask(self, step: Callable[..., Any], then: Callable[[Any], None], *args: Any) -> None:
        """Ask the session; ``then`` gets its answer, at once where there is no need to wait."""
        try:
            answer = step(*args)
        except Exception:
            self._failed(Failure(), then)
            return
        if answer is not None and isinstance(answer, Deferred):
            answer.addCallbacks(
                self._answered, self._failed, callbackArgs=(then,), errbackArgs=(then,)
            )
        else:
            then(answer)

    def _answered(self, answer: Any, then: Callable[[Any], None]) -> None:
        if self.phase is Phase.CLOSING:
            return
        try:
            then(answer)
        except Exception:
            self._broken(Failure())

    def _failed(self, failure: Failure, then: Callable[[Any], None]) -> None:
        """The unforeseen refuses the step, for now."""
        if self.phase is Phase.CLOSING and failure.check(CancelledError):
            return
        self.log.failure("a fault while answering {ip}", failure, ip=self._session.client.ip)
        self._answered(answers.LOCAL_FAULT, then)

    def _broken(self, failure: Failure) -> None:
        """An answer could not be given: a second try might answer another command."""
        self.log.failure("a fault after answering {ip}", failure, ip=self._session.client.ip)
        peer.abort(self.transport)

    def sendCode(self, code: int, message: bytes = b"") -> None:
        """Twisted's way to answer a command."""
        self._reply(Reply(code, tuple(message.splitlines()) or (b"",)))

    def _reply(self, reply: Reply) -> None:
        """Answer a command, and count it where it was wrong."""
        last = self._errors.spend(reply) if reply.code >= 500 else None
        if reply.code >= 500 and (most := self._settings.limits.errors_per_ip) is not None:
            self.factory.connections.strikes.note(self._client.ip, most)
        if last is None:
            self._send(reply)
        else:
            self._send(reply, Phase.ANSWERING)
            self._send_and_close(last)

    def _send(self, reply: Reply, phase: Phase = Phase.COMMAND) -> None:
        """The one way out of ANSWERING."""
        if reply.code == 421:
            self._send_and_close(reply)
            return
        self.transport.write(reply.wire())
        if phase is not Phase.ANSWERING:
            self._await(phase)

    def _await(self, phase: Phase) -> None:
        """The client's turn; where it has answers to read, that comes first."""
        if self._unheard and phase is not Phase.DATA:
            self._turn, phase = phase, Phase.UNHEARD
        self.phase = phase
        self._watch.arm(self._data_patience if phase is Phase.DATA else self._patience)
        if phase is Phase.COMMAND and self.factory.draining:
            self.shut_down()
        if self._unread.octets and not self._pumping:
            self._pump()

    def _send_and_close(self, reply: Reply) -> None:
        self.transport.write(reply.wire())
        self._close()

    def _cut_off(self, reply: Reply) -> None:
        """Answer a client that goes on sending, and read no more of it."""
        self.transport.write(reply.wire())
        # The end of TLS is said on one side and awaited from the other: it lingers by itself.
        self._close(peer.close if self._client.tls else peer.close_lingering)

    def _pipelined(self) -> bool:
        """Cut off a client that sent on where it must wait (RFC 2920 3.1), as for the greeting.

        What it sent may be message data: as commands it would be smuggled mail.
        """
        if not self._unread.octets:
            return False
        self._cut_off(answers.IMPROPER_PIPELINING)
        return True
