"""The edge's commands: what each means, what the session is asked, and the message data.

Failure policy: ``conversation.py``. Memory for a message is bounded by what ``spool_after`` lets it
hold.
"""

from functools import lru_cache

from smtpforward import address, answers
from smtpforward.config.settings import Settings
from smtpforward.content import Content
from smtpforward.envelope import NULL_SENDER, Address, Recipient
from smtpforward.interfaces import ISession
from smtpforward.net.clock import Clock
from smtpforward.reply import Reply
from smtpforward.server import parameters
from smtpforward.server.conversation import Conversation, Phase
from smtpforward.server.data import Arrival


@lru_cache(maxsize=16)
def _hello(*lines: bytes) -> Reply:
    return Reply(250, lines)


class GatewaySMTP(Conversation):
    """One client's connection."""

    def __init__(self, settings: Settings, session: ISession, clock: Clock) -> None:
        Conversation.__init__(self, settings, session, clock)
        self._greeted = False
        self._proposed = NULL_SENDER
        self._sender: Address | None = None
        self._recipients = 0
        self._arrival: Arrival | None = None

    @property
    def in_transaction(self) -> bool:
        return self._sender is not None

    # -- commands

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
        self._reply(refusal or _hello(self.host))

    def _greet_extended(self, refusal: Reply | None) -> None:
        self._greeted = self._greeted or refusal is None
        self._reply(refusal or _hello(self.host, *self.listExtensions().split(b"\n")))

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
            self._cut_off(self._session.discarded(arrival.refusal))

    def _data_ended(self, arrival: Arrival) -> None:
        if arrival.refusal is None:
            self._ask(self._session.end_of_data, self._message_answered, arrival.content)
            return
        reply = self._session.discarded(arrival.refusal)
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
        self._session.reset()
        self._close_content()

    def _close_content(self) -> None:
        if self._arrival is not None:
            content: Content = self._arrival.content
            self._arrival = None
            content.close()
