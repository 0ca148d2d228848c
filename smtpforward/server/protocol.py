"""The edge's ESMTP: Twisted's server with its reading, its commands' order and DATA made sound.

Commands are answered in the order in which they came, one at a time: the unread bytes are the
queue. A line is taken only in ``Phase.COMMAND``; taking it enters ``ANSWERING``, and every command
ends in one reply, which leaves it again. The greeting and the end of data count as commands.

Failure policy: whatever fails unforeseen is ``451 4.3.0`` with its traceback in the log; a client
that breaks the rules of line ends is answered and cut off. Memory is bounded by one line, 64 KiB
of unread commands, and what ``spool_after`` lets a message hold.
"""

import enum
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.mail import smtp
from twisted.python.failure import Failure

from smtpforward import address, answers
from smtpforward.config.settings import Settings
from smtpforward.content import Content
from smtpforward.envelope import NULL_SENDER, Address, Recipient
from smtpforward.interfaces import ISession
from smtpforward.limits import ErrorBudget
from smtpforward.net import peer
from smtpforward.net.clock import Clock, Watch
from smtpforward.reply import Reply
from smtpforward.server import parameters
from smtpforward.server.data import Arrival
from smtpforward.server.lines import Breach, CommandLines

if TYPE_CHECKING:
    from smtpforward.server.factory import GatewayFactory

UNREAD_LIMIT = 65536
EXTENSION_LENGTH = 543  # what SIZE, BODY and AUTH= add to a MAIL line (RFC 1870, 6152, 4954)
CLOSE_DEADLINE = 10.0
_BREACHES = {
    Breach.NEWLINE: answers.BARE_NEWLINE_IN_COMMAND,
    Breach.ENDLESS: answers.LINE_TOO_LONG,
}


class Phase(enum.Enum):
    """What the next bytes from the client are."""

    ANSWERING = "they wait: an answer is owed"
    COMMAND = "a command line"
    DATA = "message data"
    CLOSING = "of no interest any more"


class GatewaySMTP(smtp.ESMTP):
    """One client's connection.

    :param session: an :class:`smtpforward.interfaces.ISession`.
    """

    log = Logger()
    noisy = False
    factory: "GatewayFactory"
    transport: Any

    def __init__(self, settings: Settings, session: ISession, clock: Clock) -> None:
        smtp.ESMTP.__init__(self)
        self.host = settings.me
        self.phase = Phase.ANSWERING
        self._settings = settings
        self._session: Any = session
        self._watch = Watch(clock, self._silent_too_long)
        self._errors = ErrorBudget(settings.limits)
        self._unread = CommandLines(settings.limits.line_length + EXTENSION_LENGTH)
        self._pumping = False
        self._paused = False
        self._greeted = False
        self._proposed = NULL_SENDER
        self._sender: Address | None = None
        self._recipients = 0
        self._arrival: Arrival | None = None

    # -- the connection

    def connectionMade(self) -> None:
        peer.set_no_delay(self.transport)
        self.factory.opened(self)
        self._ask(self._session.connected, self._welcome)

    def _welcome(self, refusal: Reply | None) -> None:
        if refusal is not None:
            self._send_and_close(refusal)
        elif not self._pipelined():
            self._send(Reply(220, (self.host + b" ESMTP smtpforward",)))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.phase = Phase.CLOSING
        self._watch.stop()
        self._unread.clear()
        self.factory.closed(self)
        try:
            self._session.closed()
        finally:
            self._close_content()

    def timeoutConnection(self) -> None:
        self._send_and_close(answers.IDLE_TOO_LONG)

    def _silent_too_long(self) -> None:
        if self.phase is Phase.CLOSING:
            peer.abort(self.transport)
        elif self.phase is Phase.ANSWERING:
            # It is we who owe something; the client's time does not run.
            self._watch.arm(self._settings.inactivity_timeout)
        else:
            self.timeoutConnection()

    def shut_down(self) -> None:
        """Close as soon as no transaction is in progress."""
        if self.phase is Phase.COMMAND and self._sender is None:
            self._send_and_close(answers.SHUTTING_DOWN)

    def _close(self) -> None:
        if self.phase is Phase.CLOSING:
            return
        self.phase = Phase.CLOSING
        self._unread.clear()
        # A peer that does not read would hold the socket for ever.
        self._watch.arm(CLOSE_DEADLINE)
        self.transport.loseConnection()

    # -- reading

    def dataReceived(self, data: bytes) -> None:
        if self.phase is Phase.DATA:
            self._watch.arm(self._settings.inactivity_timeout)
            self._data_received(data)
            return
        if self.phase is Phase.CLOSING:
            return
        self._unread.append(data)
        self._pump()

    def _pump(self) -> None:
        """Take commands while none is being answered."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while self._unread:
                if self.phase is Phase.COMMAND:
                    if not self._take_line():
                        break
                elif self.phase is Phase.DATA:
                    self._data_received(self._unread.take_all())
                else:
                    break
        finally:
            self._pumping = False
        if self._unread or self._paused:
            self._bound_unread()

    def _bound_unread(self) -> None:
        """Pause the transport only above the bound: a paused one notices no end."""
        waiting = len(self._unread)
        if waiting > UNREAD_LIMIT and not self._paused:
            self._paused = True
            self.transport.pauseProducing()
        elif self._paused and waiting <= UNREAD_LIMIT and self.phase is not Phase.CLOSING:
            self._paused = False
            self.transport.resumeProducing()

    def _take_line(self) -> bool:
        """Answer one command; whether there was a whole line."""
        line = self._unread.take()
        if line is None:
            return False
        self.phase = Phase.ANSWERING
        if line is Breach.LENGTH:
            self._reply(answers.LINE_TOO_LONG)
        elif isinstance(line, Breach):
            self._send_and_close(_BREACHES[line])
        else:
            self.state_COMMAND(line)
        return True

    def state_COMMAND(self, line: bytes) -> None:
        verb, _, rest = line.strip().partition(b" ")
        method = self.lookupMethod(verb) or self.do_UNKNOWN
        method(rest.strip())

    def lookupMethod(self, command: bytes) -> Callable[[bytes], None] | None:
        # A byte above 127 in a verb is no command; Twisted's look-up raises for it.
        if not command.isalpha():
            return None
        return smtp.ESMTP.lookupMethod(self, command)

    # -- answering

    def _ask(self, step: Callable[..., Any], then: Callable[[Any], None], *args: Any) -> None:
        """Ask the session; ``then`` gets its answer, at once where there is no need to wait."""
        try:
            answer = step(*args)
        except Exception:
            self._failed(Failure(), then)
            return
        if isinstance(answer, Deferred):
            answer.addCallbacks(
                self._answered, self._failed, callbackArgs=(then,), errbackArgs=(then,)
            ).addErrback(self._broken)
        else:
            then(answer)

    def _answered(self, answer: Any, then: Callable[[Any], None]) -> None:
        if self.phase is not Phase.CLOSING:
            then(answer)

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
        last = self._errors.spend(reply)
        if last is not None:
            self._send(reply, Phase.ANSWERING)
            self._send_and_close(last)
        else:
            self._send(reply)

    def _send(self, reply: Reply, phase: Phase = Phase.COMMAND) -> None:
        """The one way out of ANSWERING."""
        self.transport.write(reply.wire())
        self.phase = phase
        if phase is not Phase.ANSWERING:
            self._watch.arm(self._settings.inactivity_timeout)
            if phase is Phase.COMMAND and self.factory.draining:
                self.shut_down()
            self._pump()

    def _send_and_close(self, reply: Reply) -> None:
        self.transport.write(reply.wire())
        self._close()

    # -- commands

    def do_UNKNOWN(self, rest: bytes) -> None:
        self._reply(answers.UNRECOGNIZED)

    def do_HELO(self, rest: bytes) -> None:
        self._hello(rest, extended=False)

    def do_EHLO(self, rest: bytes) -> None:
        self._hello(rest, extended=True)

    def _hello(self, name: bytes, extended: bool) -> None:
        if self._pipelined():
            return
        if not name or not name.isascii() or not name.decode("ascii").isprintable():
            self._reply(answers.BAD_HELO)
            return
        self._end_transaction()
        greet = self._greet_extended if extended else self._greet_plainly
        self._ask(self._session.helo, greet, name, extended)

    def _greet_plainly(self, refusal: Reply | None) -> None:
        self._greeted = self._greeted or refusal is None
        self._reply(refusal or Reply(250, (self.host,)))

    def _greet_extended(self, refusal: Reply | None) -> None:
        self._greeted = self._greeted or refusal is None
        self._reply(refusal or Reply(250, (self.host, *self.listExtensions().split(b"\n"))))

    def extensions(self) -> dict[bytes, list[bytes] | None]:
        return {
            b"PIPELINING": None,
            b"SIZE": [b"%d" % self._settings.limits.bytes],
            b"8BITMIME": None,
            b"ENHANCEDSTATUSCODES": None,
        }

    def do_MAIL(self, rest: bytes) -> None:
        if not self._greeted:
            self._reply(answers.HELO_FIRST)
            return
        if self._sender is not None:
            self._reply(answers.NESTED_MAIL)
            return
        path = address.parse_sender(rest)
        if isinstance(path, address.Fault):
            self._reply(answers.SENDER_FAULTS[path])
            return
        refusal = parameters.refuse_mail(path.parameters, self._settings.limits.bytes)
        if refusal is not None:
            self._reply(refusal)
            return
        self._proposed = path.address
        self._ask(self._session.mail, self._mail_answered, path.address, path.parameters)

    def _mail_answered(self, refusal: Reply | None) -> None:
        if refusal is None:
            self._sender = self._proposed
        else:
            self._session.reset()
        self._reply(refusal or answers.SENDER_OK)

    def do_RCPT(self, rest: bytes) -> None:
        if self._sender is None:
            self._reply(answers.MAIL_FIRST)
            return
        path = address.parse_recipient(rest)
        if isinstance(path, address.Fault):
            self._reply(answers.RECIPIENT_FAULTS[path])
            return
        refusal = parameters.refuse_rcpt(path.parameters)
        if refusal is not None:
            self._reply(refusal)
            return
        recipient = Recipient(path.address, path.parameters)
        self._ask(self._session.rcpt, self._rcpt_answered, recipient)

    def _rcpt_answered(self, refusal: Reply | None) -> None:
        if refusal is None:
            self._recipients += 1
        self._reply(refusal or answers.RECIPIENT_OK)

    def do_DATA(self, rest: bytes) -> None:
        if self._pipelined():
            return
        if rest:
            self._reply(answers.NO_PARAMETERS)
        elif self._sender is None:
            self._reply(answers.MAIL_FIRST)
        elif not self._recipients:
            self._reply(answers.RCPT_FIRST)
        else:
            self._ask(self._session.data, self._data_answered)

    def _data_answered(self, refusal: Reply | None) -> None:
        if self._pipelined():
            return
        if refusal is not None:
            self._reply(refusal)
            return
        self._arrival = Arrival(self._settings.spool_dir, self._settings.limits)
        self._send(answers.GO_AHEAD, Phase.DATA)

    def do_RSET(self, rest: bytes) -> None:
        self._end_transaction()
        self._reply(answers.OK)

    def do_NOOP(self, rest: bytes) -> None:
        self._reply(answers.OK)

    def do_VRFY(self, rest: bytes) -> None:
        self._reply(answers.CANNOT_VERIFY if rest else answers.BAD_PARAMETER)

    def do_HELP(self, rest: bytes) -> None:
        self._reply(answers.HELP)

    def do_EXPN(self, rest: bytes) -> None:
        self._reply(answers.NOT_OFFERED)

    def do_QUIT(self, rest: bytes) -> None:
        self._send_and_close(answers.BYE)

    def ext_STARTTLS(self, rest: bytes) -> None:
        self._reply(answers.NOT_OFFERED)

    def ext_AUTH(self, rest: bytes) -> None:
        self._reply(answers.NOT_OFFERED)

    def _pipelined(self) -> bool:
        """Cut off a client that sent on where it must wait (RFC 2920 3.1), as for the greeting.

        What it sent may be message data: as commands it would be smuggled mail.
        """
        if not self._unread:
            return False
        self._send_and_close(answers.IMPROPER_PIPELINING)
        return True

    # -- message data

    def _data_received(self, data: bytes) -> None:
        arrival = self._arrival
        assert arrival is not None, "data comes after DATA"
        rest = arrival.feed(data)
        if rest is not None:
            self._unread.append(rest)
            self.phase = Phase.ANSWERING
            self._data_ended(arrival)
        elif arrival.hopeless and arrival.refusal is not None:
            self._session.discarded(arrival.refusal)
            self._send_and_close(arrival.refusal)

    def _data_ended(self, arrival: Arrival) -> None:
        if arrival.refusal is None:
            self._ask(self._session.end_of_data, self._message_answered, arrival.content)
            return
        self._session.discarded(arrival.refusal)
        if arrival.breach:
            self._send_and_close(arrival.refusal)
        else:
            self._message_answered(arrival.refusal)

    def _message_answered(self, reply: Reply) -> None:
        self._end_transaction()
        if reply.positive:
            self._errors.restore()
        self._send(reply)

    def _end_transaction(self) -> None:
        self._sender = None
        self._recipients = 0
        self._session.reset()
        self._close_content()

    def _close_content(self) -> None:
        if self._arrival is not None:
            content: Content = self._arrival.content
            self._arrival = None
            content.close()
