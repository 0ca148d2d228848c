"""The edge's commands: what each means, what the session is asked, and the message data.

Failure policy: ``conversation.py``. Memory for a message is bounded by what ``spool_after`` lets it
hold, and that for all of them by ``memory``.
"""

import enum
from functools import lru_cache

from twisted.cred.credentials import ICredentials
from twisted.python.failure import Failure

from smtpforward import address, answers
from smtpforward.config.settings import Settings
from smtpforward.envelope import NULL_SENDER, Address, Client, Recipient
from smtpforward.net.clock import Clock
from smtpforward.reply import Reply
from smtpforward.server import parameters, ports
from smtpforward.server.chunking import Chunking
from smtpforward.server.data import Arrival
from smtpforward.server.lines import Breach
from smtpforward.server.login import Login
from smtpforward.server.phase import Phase
from smtpforward.server.sasl import Exchange


class Hello(enum.Enum):
    """How the client has said hello."""

    NOT = "not yet"
    PLAIN = "HELO"
    EXTENDED = "EHLO"


@lru_cache(maxsize=16)
def _greeted(*lines: bytes) -> Reply:
    return Reply(250, lines)


@lru_cache(maxsize=64)
def _greeted_extended(
    host: bytes, most: int, recipients: int, starttls: bool, mechanisms: tuple[str, ...]
) -> Reply:
    """The answer to EHLO, with what is offered. It is the same for nearly everybody.

    :param most: bytes of a message. ``recipients``: of a transaction, at most.
    """
    lines = [
        host,
        b"PIPELINING",
        b"SIZE %d" % most,
        b"8BITMIME",
        b"SMTPUTF8",
        b"ENHANCEDSTATUSCODES",
        b"DSN",
        b"LIMITS RCPTMAX=%d" % recipients,
        b"CHUNKING",
    ]
    if starttls:
        lines.append(b"STARTTLS")
    if mechanisms:
        lines.append(b"AUTH " + " ".join(mechanisms).encode("ascii"))
    return Reply(250, tuple(lines))


class GatewaySMTP(Chunking):
    """One client's connection."""

    def __init__(self, settings: Settings, client: Client, clock: Clock) -> None:
        Chunking.__init__(self, settings, client, clock)
        self._clock = clock
        self._hello = Hello.NOT
        self._login: Login | None = None
        self._exchange: Exchange | None = None
        self._proposed = NULL_SENDER
        self._utf8 = False
        self._sender: Address | None = None
        self._recipients = 0

    @property
    def in_transaction(self) -> bool:
        return self._sender is not None

    # -- commands

    def do_HELO(self, rest: bytes) -> None:
        self._say_hello(rest, extended=False)

    def do_EHLO(self, rest: bytes) -> None:
        self._say_hello(rest, extended=True)

    def _say_hello(self, name: bytes, extended: bool) -> None:
        if self._pipelined():
            return
        if not name or not name.isascii() or not name.decode("ascii").isprintable():
            self._reply(answers.BAD_HELO)
            return
        self._settings = self.factory.settings
        self._end_transaction()
        greet = self._greet_extended if extended else self._greet_plainly
        self._ask(self._session.helo, greet, name, extended)

    def _greet_plainly(self, refusal: Reply | None) -> None:
        if refusal is None:
            self._hello = Hello.PLAIN
        self._reply(refusal or _greeted(self.host))

    def _greet_extended(self, refusal: Reply | None) -> None:
        if refusal is None:
            self._hello = Hello.EXTENDED
        limits, may_log_in = self._settings.limits, self._may_log_in and not self._user
        offered = _greeted_extended(
            self.host,
            limits.bytes,
            limits.recipients,
            self._can_start_tls,
            self.factory.mechanisms if may_log_in else (),
        )
        self._reply(refusal or offered)

    def do_MAIL(self, rest: bytes) -> None:
        refusal = self._refuse_mail_now()
        if refusal is not None:
            self._reply(refusal)
            return
        self._settings = self.factory.settings  # for this transaction, whatever is read meanwhile
        path = address.parse_sender(rest)
        if isinstance(path, address.Fault):
            self._reply(answers.SENDER_FAULTS[path])
            return
        extended = self._hello is Hello.EXTENDED
        most = self._settings.limits.bytes
        refusal = parameters.refuse_mail(path.parameters, most, extended)
        if refusal is not None:
            self._reply(refusal)
            return
        self._proposed = path.address
        self._utf8 = b"SMTPUTF8" in path.parameters
        self._ask(self._session.mail, self._mail_answered, path.address, path.parameters)

    def _refuse_mail_now(self) -> Reply | None:
        if self._hello is Hello.NOT:
            return answers.HELO_FIRST
        if self._port.login and not self._user:
            return answers.LOGIN_FIRST
        return None if self._sender is None else answers.NESTED_MAIL

    def _mail_answered(self, refusal: Reply | None) -> None:
        if refusal is None:
            self._sender = self._proposed
        else:
            self._end_transaction()
        self._reply(refusal or answers.SENDER_OK)

    def do_RCPT(self, rest: bytes) -> None:
        if self._sender is None:
            self._reply(answers.MAIL_FIRST)
            return
        if self._chunks is not None:
            self._reply(answers.CHUNKS_BEGUN)
            return
        path = address.parse_recipient(rest)
        if path is address.Fault.NON_ASCII and self._utf8:
            path = address.parse_utf8_recipient(rest)
        if isinstance(path, address.Fault):
            self._reply(answers.RECIPIENT_FAULTS[path])
            return
        refusal = parameters.refuse_rcpt(path.parameters, self._hello is Hello.EXTENDED)
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
        elif self._chunks is not None:
            self._reply(answers.CHUNKS_BEGUN)
        elif not self._recipients:
            self._reply(answers.RCPT_FIRST)
        else:
            self._ask(self._session.data, self._data_answered)

    def _refuse_chunks_now(self) -> Reply | None:
        if self._sender is None:
            return answers.MAIL_FIRST
        return None if self._recipients else answers.RCPT_FIRST

    def _data_answered(self, refusal: Reply | None) -> None:
        if self._pipelined():
            return
        if refusal is not None:
            self._reply(refusal)
            return
        self._arrival = self._new_arrival(Arrival)
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
        if self._client.tls:
            self._reply(answers.TLS_ALREADY)
        elif not self._can_start_tls:
            self._reply(answers.NOT_OFFERED)
        elif rest:
            self._reply(answers.NO_PARAMETERS)
        elif not self._pipelined():
            self._hello = Hello.NOT
            self._end_transaction()
            self._log_out()
            self._start_tls()

    # -- logins

    @property
    def _user(self) -> str:
        return self._login.user if self._login is not None else ""

    @property
    def _may_log_in(self) -> bool:
        """Whether nobody else hears a password."""
        return (
            self._client.tls
            or self._settings.auth_allow_plaintext
            or ports.is_loopback(self._client.ip)
        )

    def ext_AUTH(self, rest: bytes) -> None:
        name, _, initial = rest.partition(b" ")
        method = name.decode("ascii", "replace").upper()
        refusal = self._refuse_auth(method)
        if refusal is not None:
            self._reply(refusal)
            return
        self._exchange = Exchange(method, self.host)
        self._go_on(self._exchange, self._exchange.begin(initial.strip()))

    def _refuse_auth(self, method: str) -> Reply | None:
        if not self.factory.mechanisms:
            return answers.NOT_OFFERED
        refusal = self._refuse_auth_now()
        if refusal is not None:
            return refusal
        if not method:
            return answers.MECHANISM_NEEDED
        return None if method in self.factory.mechanisms else answers.UNKNOWN_MECHANISM

    def _refuse_auth_now(self) -> Reply | None:
        if self._hello is not Hello.EXTENDED:
            return answers.EHLO_FIRST
        if self._user:
            return answers.LOGIN_ALREADY
        if self._sender is not None:
            return answers.NO_LOGIN_NOW
        if not self._may_log_in:
            return answers.TLS_FIRST
        if self._login is None:
            self._login = Login(self.factory.failed_logins, self._clock, self._client.ip)
        return answers.NO_LOGINS_FROM_HERE if self._login.suspended else None

    def _login_line(self, line: bytes | Breach) -> None:
        exchange = self._exchange
        assert exchange is not None, "a line of a login comes after AUTH"
        if isinstance(line, Breach):
            self._go_on(exchange, answers.LOGIN_LINE_TOO_LONG)
        else:
            self._go_on(exchange, exchange.respond(line))

    def _go_on(self, exchange: Exchange, step: Reply | ICredentials) -> None:
        """Send the next challenge, or have the credentials checked, or give up."""
        if isinstance(step, Reply) and step.code == 334:
            self._send(step, Phase.LOGIN)
            return
        self._exchange = None
        if isinstance(step, Reply):
            self._reply(step)
        else:
            assert self._login is not None, "it is there when a login begins"
            check = self._login.check
            self._ask(check, self._checked, self.factory.portal, step, exchange.method)

    def _checked(self, reply: Reply) -> None:
        if reply is answers.LOGGED_IN:
            self._ask(self._session.authenticated, self._authenticated, self._user)
        else:
            self._reply(reply)

    def _authenticated(self, refusal: Reply | None) -> None:
        if refusal is not None:
            self._log_out()
        self._reply(refusal or answers.LOGGED_IN)

    def _log_out(self) -> None:
        if self._login is not None:
            self._login.forget()

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
            self._cut_off(self._discarded(arrival.refusal))

    def _data_ended(self, arrival: Arrival) -> None:
        if arrival.refusal is None:
            self._ask(self._session.end_of_data, self._message_answered, arrival.content)
            return
        reply = self._discarded(arrival.refusal)
        if arrival.breach:
            self._cut_off(reply)
        else:
            self._message_answered(reply)

    def _message_answered(self, reply: Reply) -> None:
        self._end_transaction()
        if reply.positive:
            self._errors.restore()
        self._send(reply)

    def _end_transaction(self) -> None:
        self._sender = None
        self._recipients = 0
        try:
            self._session.reset()
        except Exception:
            # What is owed to the client is owed all the same: a 250 most of all.
            self._session_failed(Failure())
        self._close_content()
