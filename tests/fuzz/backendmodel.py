"""One connection as its backend sees it: what it was sent, what it answered, what it then holds.

It reads commands by RFC 5321 and believes nothing else; the rules of a hand-over that a backend can
see are asserted here, where the bytes come in: envelope and message belong to one job, no message
after the refusal of a recipient that must be accepted, none for a job that was given up, none
twice. To extend it: a command is a ``_hear_`` method; ``OFFERS`` are the replies to EHLO.
"""

import re
from collections import deque
from collections.abc import Callable
from typing import Any

import attrs

from smtpforward.job import Job
from tests.clientsupport import Wire

OFFERS = (
    b"250-backend.example\r\n250-SIZE 1000000\r\n250 PIPELINING\r\n",
    b"250 backend.example\r\n",
    b"250-backend.example\r\n250-PIPELINING\r\n250-SMTPUTF8\r\n250 CHUNKING\r\n",
    b"250-backend.example\r\n250 CHUNKING\r\n",
    b"250-backend.example\r\n250-PIPELINING\r\n250 SIZE 40\r\n",
)
_MAIL = re.compile(
    rb"MAIL FROM:<j(\d+)(\xc3\xa4)?@(example\.org|b\xc3\xbccher\.example|xn--bcher-kva\.example)>"
    rb"(?: SIZE=\d+)?( SMTPUTF8)?"
)
_CHUNK = re.compile(rb"BDAT (\d+) LAST")
# Which kinds of mail with SMTPUTF8 have no form without it.
NO_OTHER_FORM = frozenset({"local part", "header"})
_RCPT = re.compile(rb"RCPT TO:<j(\d+)r(\d+)@example\.com>")
_END = b"\r\n.\r\n"
NO_REPLIES = {"garbage": b"hello\x00", "short": b"25 ok", "beyond": b"650 ok", "sign": b"+250 ok"}


@attrs.define(eq=False)
class Sent:
    """One job, and what became of it.

    :ivar plain: the message as BDAT sends it, where it is fit for that.
    :ivar utf8: what is outside ASCII in mail with SMTPUTF8, or ``ASCII``; empty without.
    :ivar dots: how often its dot, or last chunk, was sent. ``accepted``: whether a backend said
        yes to that.
    :ivar codes: all that backends answered to its commands.
    :ivar results: what its Deferred gave. ``cancelled``: given up before that.
    :ivar revoked: whether it had lost the leave to be sent before its dot was.
    """

    number: int
    job: Job
    message: bytes
    plain: bytes | None = None
    utf8: str = ""
    dots: int = 0
    accepted: bool = False
    codes: set[int] = attrs.field(factory=set)
    results: list[Any] = attrs.field(factory=list)
    cancelled: bool = False
    revoked: bool = False


@attrs.define
class _Transaction:
    """What one connection holds since MAIL: which recipients were asked for, and which taken."""

    sent: Sent | None = None
    asked: list[int] = attrs.field(factory=list)
    taken: set[int] = attrs.field(factory=set)
    opened: bool = False
    data: bool = False


class Backend:
    """One connection to a backend.

    :ivar owed: the commands that are not answered.
    :ivar lied: whether it has said what nothing had asked for, or what is no reply, or has refused
        a chunk: nobody knows whether it threw that away.
    :ivar offered: the extensions that it has told of.
    :ivar held: the part of a reply that it has not sent yet.
    :ivar session: the gateway's end. ``born``: when it came; ``since``: when it last answered.
    """

    def __init__(self, wire: Wire, jobs: list[Sent], clock: Callable[[], float]) -> None:
        self.wire = wire
        self.owed: deque[bytes] = deque([b"GREETING"])
        self.lied = False
        self.held = b""
        self.ready = False
        self.offered: frozenset[bytes] = frozenset()
        self.session: Any = None
        self.messages = 0
        self._jobs = jobs
        self._now = clock
        self.born = self.since = clock()
        self._unread = b""
        self._content = False
        self._now_in = _Transaction()
        self._promised = ""

    # -- what comes

    def hear(self, data: bytes) -> None:
        """The gateway has written ``data``."""
        self._unread += data
        while self._unread and self._hear_one():
            pass

    def _hear_one(self) -> bool:
        if self._content:
            return self._hear_content()
        assert b"DATA" not in self.owed, f"{self._unread!r} before the reply to DATA"
        line, crlf, rest = self._unread.partition(b"\r\n")
        assert crlf, f"half a command: {self._unread!r}"
        self._unread = rest
        hears: Callable[[bytes], None] | None
        hears = getattr(self, f"_hear_{line[:4].strip().decode('ascii').lower()}", None)
        assert hears is not None, f"a command that the model does not know: {line!r}"
        # HELO may have left before what stands behind the refusal of EHLO was looked at.
        harmless = line == b"QUIT" or (line[:4] == b"HELO" and self.wire.aborted)
        assert not self.lied or harmless, f"{line!r} to a backend out of step"
        hears(line)
        return True

    def _hear_ehlo(self, line: bytes) -> None:
        assert not self.ready
        self.owed.append(b"EHLO")

    def _hear_helo(self, line: bytes) -> None:
        assert not self.ready
        self.owed.append(b"HELO")

    def _hear_quit(self, line: bytes) -> None:
        assert not self.owed, f"QUIT while {self.owed} are owed"
        self.owed.append(b"QUIT")

    def _hear_rset(self, line: bytes) -> None:
        assert self._now_in.sent is not None
        assert not self.owed
        self.owed.append(b"RSET")

    def _hear_mail(self, line: bytes) -> None:
        match = _MAIL.fullmatch(line)
        assert match, line
        assert self.ready
        assert not self.owed
        sent = self._jobs[int(match[1])]
        assert not sent.cancelled
        assert not sent.results
        assert not self._now_in.opened, "a transaction within a transaction"
        self._check_utf8(sent, match)
        self._now_in = _Transaction(sent)
        self.messages += 1
        self.owed.append(b"MAIL")

    def _check_utf8(self, sent: Sent, match: "re.Match[bytes]") -> None:
        """Whether it is asked for what it has, and gets what it can read."""
        local, domain, asked = match[2], match[3], match[4]
        knows = b"SMTPUTF8" in self.offered
        assert bool(asked) == (knows and bool(sent.utf8))
        assert knows or sent.utf8 not in NO_OTHER_FORM
        assert bool(local) == (sent.utf8 == "local part")
        in_ascii = domain.startswith(b"xn--")
        assert (domain == b"example.org") == (sent.utf8 != "domain")
        assert domain == b"example.org" or in_ascii != knows

    def _hear_rcpt(self, line: bytes) -> None:
        match = _RCPT.fullmatch(line)
        assert match, line
        sent, asked = self._now_in.sent, self._now_in.asked
        assert sent is not None
        assert int(match[1]) == sent.number, "a recipient of another job"
        assert int(match[2]) == len(asked), "each recipient once, in order"
        asked.append(len(asked))
        self.owed.append(line)

    def _hear_data(self, line: bytes) -> None:
        sent = self._now_in.sent
        assert sent is not None
        if len(self._now_in.asked) > 1:
            assert not self.owed, "with several the data waits for the answers"
            self._check_taken()
        chunk = b"CHUNKING" in self.offered and sent.plain is not None
        assert self.owed or not chunk, "a chunk would save a round trip"
        self.owed.append(b"DATA")

    def _check_taken(self) -> None:
        """Whether those are accepted who must be, and all were asked for."""
        held = self._now_in
        assert held.sent is not None
        assert len(held.asked) == len(held.sent.job.envelope.recipients)
        assert held.taken, "nobody was accepted"
        assert not held.sent.job.atomic or held.taken == set(held.asked), "one was refused"

    def _hear_bdat(self, line: bytes) -> None:
        match = _CHUNK.fullmatch(line)
        assert match, line
        assert b"CHUNKING" in self.offered
        assert not self.owed, "octets never leave before the answers to the recipients"
        size, sent = int(match[1]), self._now_in.sent
        assert sent is not None
        assert len(self._unread) >= size, "the octets go with their command"
        octets, self._unread = self._unread[:size], self._unread[size:]
        assert octets == sent.plain, "the message of another job"
        self._hear_message(b"BDAT")

    def _hear_content(self) -> bool:
        end = (b"\r\n" + self._unread).find(_END)
        if end < 0:
            return False
        message, self._unread = self._unread[:end], self._unread[end + 3 :]
        self._content = False
        sent = self._now_in.sent
        assert sent is not None
        assert message == sent.message, "the message of another job"
        self._hear_message(b"DOT")
        return True

    def _hear_message(self, end: bytes) -> None:
        """A whole message has come, whichever way."""
        sent = self._now_in.sent
        assert sent is not None
        self._check_taken()
        assert not self.lied
        assert not (sent.cancelled and not sent.dots), "it was given up"
        assert not sent.revoked, "it had lost its leave"
        assert not sent.results or sent.cancelled
        assert self._now() <= sent.job.deadline
        sent.dots += 1
        assert sent.dots == 1, "the message went twice"
        self.owed.append(end)

    # -- what goes

    def answers(self, kind: str) -> bytes:
        """The reply to the next command, or to none."""
        if not self.owed or self.lied:
            if self._content and kind in ("later", "never", "command"):
                # A refusal may come while the message is on its way, and counts.
                self._note(int(_words(b"", kind)[:3]))
            self.lied = True
            if kind not in NO_REPLIES:
                self._note(int(_words(b"", kind)[:3]))
            return _words(b"", kind)
        self.since = self._now()
        command = self.owed.popleft()
        said = self._says(command, kind)
        if kind in ("closing", "odd", *NO_REPLIES):
            self.lied = True
            if kind == "closing":
                self._note(421)
        else:
            self._answered(command, int(said[:3]), kind == "good")
        return said

    def _says(self, command: bytes, kind: str) -> bytes:
        if kind == "good" and command == b"EHLO":
            return self.offer
        return _words(command, kind)

    offer = OFFERS[0]

    def _note(self, code: int) -> None:
        if self._now_in.sent is not None:
            self._now_in.sent.codes.add(code)

    def _answered(self, command: bytes, code: int, good: bool) -> None:
        held = self._now_in
        self._note(code)
        if command in (b"EHLO", b"HELO"):
            self.ready = good
            told = self.offer.splitlines()[1:] if good and command == b"EHLO" else []
            self.offered = frozenset(line[4:].split(b" ")[0] for line in told)
        elif command == b"MAIL":
            held.opened = good
        elif command.startswith(b"RCPT") and good:
            held.taken.add(len(held.asked) - 1 - sum(o.startswith(b"RCPT") for o in self.owed))
        elif command == b"DATA":
            self._content = good
        elif command in (b"DOT", b"BDAT") and held.sent is not None:
            held.sent.accepted = held.sent.accepted or good
            self.lied = command == b"BDAT" and not good
            self._now_in = _Transaction()
        elif command == b"RSET" and good:
            self._now_in = _Transaction()

    @property
    def awaits_dot_reply(self) -> Sent | None:
        """The job whose dot, or last chunk, waits for its reply, and for nothing before it."""
        alone = list(self.owed) in ([b"DOT"], [b"BDAT"]) and not self.lied and not self.held
        return self._now_in.sent if alone else None


def _words(command: bytes, kind: str) -> bytes:
    """A reply of its kind to a command."""
    good = {b"GREETING": b"220 backend.example ESMTP", b"DATA": b"354 go on", b"QUIT": b"221 bye"}
    lines = {
        "good": good.get(command, b"250 2.0.0 ok"),
        "later": b"450 4.2.0 not now",
        "never": b"550-5.1.1 no\r\n550 5.1.1 never",
        "command": b"502 5.5.1 what",
        "closing": b"421 4.3.2 closing",
        **NO_REPLIES,
        "odd": b"250 unexpected" if command == b"DATA" else b"354 unexpected",
    }
    return lines[kind] + b"\r\n"
