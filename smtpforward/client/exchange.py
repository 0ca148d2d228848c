"""One mail transaction with a backend: all its states and transitions, and nothing else.

Replies go in, commands come out; no socket, no clock. The rules: a reply is matched to the command
that it answers and to no other; the final dot is sent only after 354 and only when every recipient
that must be accepted was; a transaction that was opened and not ended is ended by RSET. Success is
a positive reply to the dot and nothing before it.

With PIPELINING (RFC 2920) the envelope goes in one write, DATA with it when there is one recipient.
With several the data waits for their replies, so that a partial refusal ends in RSET and nobody
gets the message twice. With CHUNKING (RFC 3030) the message itself may follow those replies, as one
chunk. It never goes with the envelope: there are servers that run the octets of a chunk as commands
when they have refused what came before it.
"""

import enum
from collections import deque
from collections.abc import Mapping

from attrs import frozen

from smtpforward.envelope import Envelope
from smtpforward.job import Event, Stage
from smtpforward.reply import Reply

ALL_AT_ONCE = ((Stage.MAIL, 0), (Stage.RCPT, 0), (Stage.DATA, 0))


class State(enum.Enum):
    """Where the transaction stands."""

    ENVELOPE = "commands are being answered"
    OVERTAKEN = "more has come than was asked for: the next reply says what it is"
    CHUNK = "who must be is accepted: the caller sends BDAT and calls dot_sent, or calls ask"
    CONTENT = "354 has come: the caller sends the message, then calls dot_sent"
    DOT = "the dot is out, its reply is not in"
    RESET = "the outcome is known, the reply to RSET is not in"
    DONE = "over, and the connection is clean"
    BROKEN = "over, and the connection must be closed at once"


@frozen(slots=True)
class Verdict:
    """What became of one recipient; ``reply`` where the backend's words decided it."""

    event: Event
    stage: Stage
    reply: Reply | None = None
    detail: str = ""


class Exchange:
    """One transaction.

    :param size: of the message, in bytes, for the SIZE parameter (RFC 1870).
    :param extensions: what the backend offers: upper-case keyword to argument.
    :param atomic: whether one refused recipient means that nothing is sent.
    :ivar verdicts: one per recipient, in order, as soon as they are known.
    """

    __slots__ = (
        *("_accepted", "_atomic", "_data", "_envelope", "_expected", "_extensions", "_mail"),
        *("_refused", "_size", "_to_send", "state", "verdicts"),
    )

    def __init__(
        self, envelope: Envelope, size: int, extensions: Mapping[bytes, bytes], atomic: bool
    ) -> None:
        self.state = State.ENVELOPE
        self.verdicts: list[Verdict] | None = None
        self._envelope = envelope
        self._size = size
        self._extensions = extensions
        self._atomic = atomic
        self._to_send: deque[tuple[Stage, int]] = deque()
        self._expected: deque[tuple[Stage, int]] = deque()
        self._mail: Reply | None = None
        self._data: Reply | None = None
        self._accepted: list[int] = []
        self._refused: dict[int, Reply] = {}

    # -- what goes out

    def begin(self) -> bytes:
        """The first commands; nothing when the backend's SIZE forbids the message."""
        limit = self._extensions.get(b"SIZE", b"")
        if limit.isdigit() and 0 < int(limit) < self._size:
            detail = f"{self._size} bytes, the backend takes {limit.decode()}"
            return self.decline(Event.TOO_LARGE, detail)
        if len(self._envelope.recipients) == 1 and b"PIPELINING" in self._extensions:
            self._expected.extend(ALL_AT_ONCE)
            return self._mail_command() + self._rcpt_command(0) + b"DATA\r\n"
        self._to_send.append((Stage.MAIL, 0))
        recipients = range(len(self._envelope.recipients))
        self._to_send.extend((Stage.RCPT, index) for index in recipients)
        return self._next_commands()

    def begin_in_ascii(self) -> bytes:
        """``begin`` with a backend that has no SMTPUTF8, where each address has an ASCII form."""
        envelope = self._envelope.in_ascii()
        if envelope is None:
            return self.decline(Event.UTF8, "an address outside ASCII, and no SMTPUTF8")
        self._envelope = envelope
        return self.begin()

    def decline(self, event: Event, detail: str) -> bytes:
        """In place of ``begin``: the backend hears nothing of the message."""
        self._settle(Verdict(event, Stage.MAIL, None, detail))
        self.state = State.DONE
        return b""

    def _next_commands(self) -> bytes:
        """All that wait, or without PIPELINING the next one."""
        if b"PIPELINING" not in self._extensions:
            steps = [self._to_send.popleft()]
        else:
            steps = list(self._to_send)
            self._to_send.clear()
        self._expected.extend(steps)
        return b"".join(self._command(stage, index) for stage, index in steps)

    def _command(self, stage: Stage, index: int) -> bytes:
        if stage is Stage.MAIL:
            return self._mail_command()
        return self._rcpt_command(index) if stage is Stage.RCPT else b"DATA\r\n"

    def _rcpt_command(self, index: int) -> bytes:
        recipient = self._envelope.recipients[index]
        words = b""
        if recipient.parameters and b"DSN" in self._extensions:
            words = _given(recipient.parameters, (b"NOTIFY", b"ORCPT"))
        return b"RCPT TO:%b%b\r\n" % (recipient.address.path, words)

    def _mail_command(self) -> bytes:
        words = b" SIZE=%d" % self._size if b"SIZE" in self._extensions else b""
        if self._envelope.parameters:
            words += self._passed_on(self._envelope.parameters)
        return b"MAIL FROM:%b%b\r\n" % (self._envelope.sender.path, words)

    def _passed_on(self, parameters: Mapping[bytes, bytes]) -> bytes:
        """The client's own MAIL parameters, as far as the backend knows them."""
        words, extensions = b"", self._extensions
        if b"8BITMIME" in extensions and parameters.get(b"BODY", b"").upper() == b"8BITMIME":
            words = b" BODY=8BITMIME"
        if b"SMTPUTF8" in parameters and b"SMTPUTF8" in extensions:
            words += b" SMTPUTF8"
        return words + _given(parameters, (b"RET", b"ENVID")) if b"DSN" in extensions else words

    # -- what comes in

    @property
    def stage(self) -> Stage:
        """The stage whose reply, or whose data, is outstanding."""
        if self.state is State.CONTENT or self.state is State.CHUNK:
            return Stage.BODY
        if self.state is State.OVERTAKEN:
            return Stage.RCPT if self._data is None else Stage.BODY
        return self._expected[0][0] if self._expected else Stage.DOT

    def receive(self, reply: Reply) -> bytes:
        """Take a reply; the commands to send now. The caller looks at ``state`` afterwards."""
        if reply.code == 421 or not self._expected:
            return self._receive_apart(reply)
        stage, index = self._expected[0]
        code = reply.code
        good = code == 354 if stage is Stage.DATA else 250 <= code <= 259
        if not good and code < 400:
            return self.fail(Event.NONSENSE, reply, f"{reply.code} to {stage.value}")
        self._expected.popleft()
        if stage is Stage.DOT:
            return self._judged(reply, good)
        if stage is Stage.MAIL:
            self._mail = reply
        elif stage is Stage.DATA:
            self._data = reply
        elif good:
            self._accepted.append(index)
        else:
            self._refused[index] = reply
        return b"" if self._expected else self._decide()

    def _receive_apart(self, reply: Reply) -> bytes:
        """A reply that is none to MAIL, RCPT, DATA or the dot."""
        if reply.code == 421:
            return self.fail(Event.CLOSING, reply)
        if self.state is State.OVERTAKEN:
            return self.fail(Event.NONSENSE, reply, "replies before commands")
        if self.state is State.CONTENT:
            return self._answered_early(reply)
        if self.state is not State.RESET:
            return self.fail(Event.NONSENSE, reply, "a reply that nothing asked for")
        self.state = State.DONE if reply.positive else State.BROKEN
        return b""

    def _judged(self, reply: Reply, good: bool) -> bytes:
        """The reply to the dot is in."""
        self._settle_accepted(Verdict(Event.ACCEPTED if good else Event.REFUSED, Stage.DOT, reply))
        # It went as a chunk where there was no DATA; a refusal leaves it open what is read next.
        self.state = State.DONE if good or self._data is not None else State.BROKEN
        return b""

    def _decide(self) -> bytes:
        """All that was sent is answered: go on, go to the data, or give up."""
        mail = self._mail
        if mail is not None and not mail.positive:
            self._settle(Verdict(Event.REFUSED, Stage.MAIL, mail))
            return self._leave(opened=False)
        if self._to_send:
            return self._next_commands()
        if not self._accepted or (self._atomic and self._refused):
            self._settle_accepted(Verdict(Event.SPARED, Stage.RCPT))
            return self._leave(opened=True)
        if self._data is None:
            if b"CHUNKING" not in self._extensions:
                return self.ask()
            self.state = State.CHUNK
            return b""
        if self._data.code == 354:
            self.state = State.CONTENT
            return b""
        self._settle_accepted(Verdict(Event.REFUSED, Stage.DATA, self._data))
        return self._leave(opened=True)

    def ask(self) -> bytes:
        """The command DATA."""
        self.state = State.ENVELOPE
        self._to_send.append((Stage.DATA, 0))
        return self._next_commands()

    def _leave(self, opened: bool) -> bytes:
        """The outcome is known and no data was sent."""
        if self._data is not None and self._data.code == 354:
            # It waits for data now; the only end of data that delivers nothing is none at all.
            self.state = State.BROKEN
            return b""
        self._to_send.clear()
        self.state = State.RESET if opened else State.DONE
        return b"RSET\r\n" if opened else b""

    def _answered_early(self, reply: Reply) -> bytes:
        """A reply while the message is on its way: a refusal, or out of step."""
        if reply.code < 400:
            return self.fail(Event.NONSENSE, reply, "a reply before the end of data")
        self._settle_accepted(Verdict(Event.REFUSED, Stage.BODY, reply))
        self.state = State.BROKEN
        return b""

    def overtaken(self) -> None:
        """More has come behind the reply that was taken last; nothing more is to be sent.

        It was sent before the command that it would be taken to answer. 421 is the one reply that
        may come at any time (RFC 5321 3.8).
        """
        self.state = State.OVERTAKEN
        self._expected.clear()

    def dot_sent(self) -> None:
        """The message and its final dot, or the last chunk, have been handed to the transport."""
        self.state = State.DOT
        self._expected.append((Stage.DOT, 0))

    def fail(self, event: Event, reply: Reply | None = None, detail: str = "") -> bytes:
        """The connection is of no more use; what was not decided yet is ``event``."""
        if self.verdicts is None:
            self._settle_undecided(Verdict(event, self.stage, reply, detail))
        self.state = State.BROKEN
        return b""

    def _settle_undecided(self, verdict: Verdict) -> None:
        """``verdict`` for all of whom the backend has not said before that it refuses."""
        mail = self._mail
        if verdict.event is Event.NONSENSE:
            self._settle(verdict)  # What it said before may have answered something else.
        elif mail is not None and not mail.positive:
            self._settle(Verdict(Event.REFUSED, Stage.MAIL, mail))
        else:
            self._settle_accepted(verdict)

    def _settle(self, verdict: Verdict) -> None:
        """The same verdict for all."""
        self.verdicts = [verdict] * len(self._envelope.recipients)

    def _settle_accepted(self, verdict: Verdict) -> None:
        """``verdict`` for the accepted recipients, its own refusal for each other one."""
        if not self._refused:
            self._settle(verdict)
            return
        self.verdicts = [
            Verdict(Event.REFUSED, Stage.RCPT, self._refused[index])
            if index in self._refused
            else verdict
            for index in range(len(self._envelope.recipients))
        ]


def _given(parameters: Mapping[bytes, bytes], keywords: tuple[bytes, ...]) -> bytes:
    """Those of ``keywords`` that there are, as words of a command."""
    there = (keyword for keyword in keywords if keyword in parameters)
    return b"".join(b" %b=%b" % (keyword, parameters[keyword]) for keyword in there)
