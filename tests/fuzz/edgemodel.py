"""What a client of the edge must hear: a reference, told as one story from hello to good-bye.

It is written from RFC 5321, 1870, 2920, 3030, 3207, 3461, 4954, 6531 and 9422 and from the
documents, and shares nothing with the gateway but its numbers. No socket and no Deferred: the story
is a generator that stops where it needs bytes, an answer of the session, or time; ``Waits`` says
for what.

To extend it: a keyword of EHLO goes into ``KEYWORDS``, a command becomes a ``do_`` method, an
argument of MAIL or RCPT whose answer is certain goes into one of their tables. Arguments that these
do not hold may be refused or taken: the model follows what it sees, within ``REFUSALS``.
"""

import base64
import enum
import re
from collections.abc import Generator
from typing import Any

import attrs

KEYWORDS = frozenset(
    {b"PIPELINING", b"8BITMIME", b"SMTPUTF8", b"ENHANCEDSTATUSCODES", b"DSN", b"CHUNKING"}
)
# RFC 5321 4.5.3.1.4, and what SIZE, BODY, AUTH, SMTPUTF8, RET and ENVID add to it.
LINE, LOGIN_LINE = 512 + 26 + 17 + 500 + 10 + 9 + 107, 12288 + 2
CLOSE_DEADLINE = 10.0
USER, PASSWORD = b"anna", b"geheim"
REFUSALS = frozenset({501, 552, 553, 555})
TAKEN = 0
MAIL = {
    b"FROM:<a@example.net>": TAKEN,
    b"from: <a@example.net>": TAKEN,
    b"FROM:<>": TAKEN,
    b"": 501,
    b"FROM:": 501,
    b"TO:<a@example.net>": 501,
    b"FROM:<a@example.net": 501,
    b"FROM:<nodomain>": 553,
    b"FROM:<\xc3\xa4@example.net>": 553,
    b"FROM:<a@b\xc3\xbccher.example>": 553,
}
# None of these may come after HELO.
MAIL_WITH_PARAMETERS = {
    b"FROM:<a@example.net> BODY=8BITMIME SIZE=10": TAKEN,
    b"FROM:<a@example.net> AUTH=<>": TAKEN,
    b"FROM:<a@example.net> smtputf8 body=7bit": TAKEN,
    b"FROM:<a@example.net> RET=HDRS ENVID=a+2Bb": TAKEN,
    b"FROM:<\xc3\xa4@example.net> SMTPUTF8": TAKEN,
    b"FROM:<a@b\xc3\xbccher.example> SMTPUTF8": TAKEN,
    b"FROM:<a\xef\xbc\xa0b@example.net> SMTPUTF8": 501,
    b"FROM:<a\xe2\x80\x8b@example.net> SMTPUTF8": 501,
    b"FROM:<a@example.net> SIZE=99999999999": 552,
    b"FROM:<a@example.net> SIZE=x": 501,
    b"FROM:<a@example.net> BODY=BINARYMIME": 501,
    b"FROM:<a@example.net> SMTPUTF8=1": 501,
    b"FROM:<a@example.net> RET=ALL": 501,
    b"FROM:<a@example.net> RET=FULL RET=FULL": 501,
    b"FROM:<a@example.net> ENVID=a+0D": 501,
    b"FROM:<a@example.net> FOO=1": 555,
}
RCPT = {
    b"TO:<b@example.com>": TAKEN,
    b"TO: <c@example.com>": TAKEN,
    b"to:<postmaster>": TAKEN,
    b"": 501,
    b"TO:<>": 501,
    b"FROM:<b@example.com>": 501,
    b'TO:<"a\x01"@example.com>': 501,
    b"TO:<nodomain>": 553,
}
RCPT_WITH_PARAMETERS = {
    b"TO:<b@example.com> NOTIFY=NEVER": TAKEN,
    b"TO:<b@example.com> notify=success,DELAY ORCPT=rfc822;b@example.org": TAKEN,
    b"TO:<b@example.com> NOTIFY=NEVER,SUCCESS": 501,
    b"TO:<b@example.com> NOTIFY=NEVER NOTIFY=NEVER": 501,
    b"TO:<b@example.com> ORCPT=b": 501,
    b"TO:<b@example.com> ORCPT=rfc822;b+00": 501,
    b"TO:<b@example.com> FOO=1": 555,
}
# 553 in a transaction without SMTPUTF8.
RCPT_UTF8 = {
    b"TO:<\xc3\xa4@example.com>": TAKEN,
    b"TO:<b@b\xc3\xbccher.example>": TAKEN,
    b"TO:<b@example.com> ORCPT=utf-8;\xc3\xa4@example.org": TAKEN,
    b"TO:<a\xef\xbc\xa0b@example.com>": 501,
}
_CHUNK = re.compile(rb"([0-9]{1,20})(?: +(LAST))?", re.IGNORECASE)
_END = b"\r\n.\r\n"
_BARE_CR, _BARE_LF = re.compile(rb"\r(?!\n)"), re.compile(rb"(?<!\r)\n")


class Waits(enum.Enum):
    """What the story needs to go on; the names are those of the edge's phases."""

    COMMAND = "a command"
    LOGIN = "a line of a login"
    DATA = "message data"
    CHUNK = "the octets of a chunk"
    ANSWERING = "an answer of the session, or time"
    CLOSING = "nothing: it has ended"


@attrs.frozen
class Ask:
    """A question to the session; its answer is what the generator is sent.

    :ivar optional: the edge may refuse by itself: then ``False`` is sent.
    """

    step: str
    optional: bool = False


@attrs.frozen
class Sleep:
    """The answer comes late."""

    seconds: float


@attrs.frozen
class Rules:
    """The settings that the story depends on; sizes in bytes, times in seconds."""

    errors: int = 20
    unrecognized: int = 10
    recipients: int = 100
    bytes: int = 26214400
    header_bytes: int = 1048576
    normalize: bool = False
    starttls: bool = False
    logins: bool = False
    clear_logins: bool = False
    submission: bool = False
    first_command: float = 30.0
    command: float = 60.0
    data: float = 90.0


@attrs.define
class Chunked:
    """The chunks of one transaction (RFC 3030).

    :ivar count: how many octets have come. ``octets``: they, where they are looked at.
    :ivar refusal: of which the answer to all further chunks is one; ``first``: its number.
    """

    collected: bool = False
    octets: bytes = b""
    count: int = 0
    refusal: frozenset[int] = frozenset()
    first: int | None = None


class _HungUp(Exception):  # noqa: N818 -- it says what happened
    """The end of the story."""


Story = Generator[Any, Any, Any]


class EdgeModel:
    """One connection.

    :ivar said: for each reply owed so far, the codes of which it must have one.
    :ivar same: pairs of numbers of replies that must be the same, word by word.
    :ivar hellos: for each 250 to EHLO, its number in ``said`` and what it offers, without the
        methods of AUTH.
    :ivar messages: what the session must get, in wire form, by the end of data.
    :ivar lingers: whether input is still read, and dropped, after the end.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.now = 0.0
        self.buffer = b""
        self.said: list[frozenset[int]] = []
        self.same: list[tuple[int, int]] = []
        self.hellos: list[tuple[int, frozenset[bytes]]] = []
        self.messages: list[bytes] = []
        self.waits = Waits.ANSWERING
        self.asked: Ask | Sleep | None = None
        self.due: float | None = None
        self.draining = False
        self.tls = False
        self.sender = False
        self.recipients = 0
        self.utf8: bool | None = False
        self.chunks: Chunked | None = None
        self.hello = b""
        self.user = False
        self._failures = self._errors = self._unrecognized = 0
        self._patience = rules.first_command
        self._story = self._whole()
        self._step(None)

    # -- the driver's side

    @property
    def in_transaction(self) -> bool:
        """Whether MAIL has been taken, and its transaction not ended."""
        return self.sender

    @property
    def sleeps(self) -> bool:
        """Whether an answer waits for its time."""
        return isinstance(self.asked, Sleep)

    def feed(self, data: bytes) -> None:
        """The client has said ``data`` in one segment."""
        if self.waits is Waits.CLOSING:
            return
        self.buffer += data
        if self.waits in (Waits.DATA, Waits.CHUNK):
            self.due = self.now + self.rules.data
        if self.waits is not Waits.ANSWERING:
            self._step(None)

    def answer(self, answer: Any) -> None:
        """The session's answer to ``asked``, or ``False`` where it was not asked."""
        assert self.waits is Waits.ANSWERING, "it is asked"
        self._step(answer)

    def tick(self, now: float) -> None:
        """It is ``now``."""
        self.now = now
        if isinstance(self.asked, Sleep) and self.due is not None and now >= self.due:
            self._step(None)
        elif self._listening and self.due is not None and now >= self.due:
            self._end_by(421)

    @property
    def _listening(self) -> bool:
        return self.waits not in (Waits.ANSWERING, Waits.CLOSING)

    def drain(self) -> None:
        """The edge is to close."""
        self.draining = True
        if self.waits in (Waits.COMMAND, Waits.LOGIN) and not self.sender:
            self._end_by(421)

    def _step(self, sent: Any) -> None:
        try:
            wanted = self._story.send(sent)
        except (_HungUp, StopIteration):
            self._ended()
            return
        self.asked = None if isinstance(wanted, Waits) else wanted
        self.waits = wanted if isinstance(wanted, Waits) else Waits.ANSWERING
        if isinstance(wanted, Sleep):
            self.due = self.now + wanted.seconds

    def _ended(self) -> None:
        self.waits, self.asked, self.buffer = Waits.CLOSING, None, b""
        self.due = self.now + CLOSE_DEADLINE

    def _end_by(self, code: int) -> None:
        self._say(code)
        self._story.close()
        self._ended()

    # -- saying

    def _say(self, *codes: int) -> None:
        self.said.append(frozenset(codes))

    def _hang_up(self, *codes: int) -> None:
        self._say(*codes)
        raise _HungUp

    def _reply(self, *codes: int, unknown: bool = False) -> None:
        """The answer to a command: only 5yz counts as an error, and too many end it."""
        self._say(*codes)
        if 421 in codes:
            raise _HungUp
        if min(codes) < 500:
            return
        self._errors += 1
        self._unrecognized += unknown
        if unknown and self._unrecognized >= self.rules.unrecognized:
            self._hang_up(521)
        if self._errors >= self.rules.errors:
            self._hang_up(421)

    def _must_be_last(self) -> None:
        """RFC 2920 3.1: nothing may follow before the answer."""
        if self.buffer:
            self._hang_up(503)

    # -- the story

    def _whole(self) -> Story:
        refusal = yield Ask("connected")
        if refusal is not None:
            self._hang_up(refusal)
        self._must_be_last()
        self._say(220)
        while True:
            line = yield from self._line(Waits.COMMAND, LINE)
            if line is None:
                self._reply(500)
            else:
                yield from self._command(line)

    def _line(self, kind: Waits, limit: int) -> Story:
        """A line without its CRLF; ``None`` for one that is too long."""
        self.due = self.now + self._patience
        if len(self.said) == 1:
            self._patience = self.rules.command
        if kind is Waits.COMMAND and self.draining and not self.sender:
            self._hang_up(421)
        while b"\n" not in self.buffer:
            if len(self.buffer) > limit:
                self._hang_up(500)
            yield kind
        line, _, self.buffer = self.buffer.partition(b"\n")
        if not line.endswith(b"\r") or b"\r" in line[:-1] or b"\0" in line:
            self._hang_up(500)
        return line[:-1] if len(line) < limit else None

    def _command(self, line: bytes) -> Story:
        words = line.strip().split(b" ", 1)
        verb, rest = words[0].upper(), words[1].strip() if len(words) > 1 else b""
        known = re.fullmatch(rb"[A-Z]+", verb)
        does = getattr(self, f"do_{verb.decode()}", None) if known else None
        if does is None:
            self._reply(500, unknown=True)
            return
        telling: Story | None = does(rest)
        if telling is not None:
            yield from telling

    def _no_transaction(self) -> None:
        self.sender, self.recipients, self.chunks = False, 0, None

    def do_EHLO(self, name: bytes) -> Story:
        return self._hello(b"EHLO", name)

    def do_HELO(self, name: bytes) -> Story:
        return self._hello(b"HELO", name)

    def _hello(self, how: bytes, name: bytes) -> Story:
        self._must_be_last()
        if not re.fullmatch(rb"[ -~]+", name):
            self._reply(501)
            return
        self._no_transaction()
        refusal = yield Ask("helo")
        if refusal is None:
            self.hello = how
            if how == b"EHLO":
                self.hellos.append((len(self.said), self._keywords()))
        self._reply(refusal or 250)

    def _keywords(self) -> frozenset[bytes]:
        more = {b"SIZE %d" % self.rules.bytes, b"LIMITS RCPTMAX=%d" % self.rules.recipients}
        if self.rules.starttls and not self.tls:
            more.add(b"STARTTLS")
        if self.rules.logins and not self.user and (self.tls or self.rules.clear_logins):
            more.add(b"AUTH")
        return KEYWORDS | more

    def do_MAIL(self, rest: bytes) -> Story:
        if not self.hello or (self.sender and (self.user or not self.rules.submission)):
            self._reply(503)
        elif self.rules.submission and not self.user:
            self._reply(530)
        elif (yield from self._takes("mail", self._certain_mail(rest), rest)):
            self.sender = True
            self.utf8 = None if b'"' in rest else b"SMTPUTF8" in re.split(rb"[ \t]+", rest.upper())
            self._reply(250)

    def do_RCPT(self, rest: bytes) -> Story:
        if not self.sender or self.chunks is not None:
            self._reply(503)
        elif (yield from self._takes("rcpt", self._certain_rcpt(rest), rest)):
            self.recipients += 1
            self._reply(250)

    def _certain_mail(self, rest: bytes) -> frozenset[int] | None:
        return self._looked_up(MAIL, MAIL_WITH_PARAMETERS, rest)

    def _certain_rcpt(self, rest: bytes) -> frozenset[int] | None:
        if rest not in RCPT_UTF8:
            return self._looked_up(RCPT, RCPT_WITH_PARAMETERS, rest)
        if self.utf8 is None:
            return None
        return frozenset({RCPT_UTF8[rest] if self.utf8 else 553})

    def _looked_up(
        self, plain: dict[bytes, int], others: dict[bytes, int], rest: bytes
    ) -> frozenset[int] | None:
        """The codes of a certain answer, ``TAKEN`` for none; ``None`` where it is not certain."""
        if rest in plain:
            return frozenset({plain[rest]})
        if rest not in others:
            return None
        if self.hello == b"EHLO":
            return frozenset({others[rest]})
        # What breaks the grammar may be noticed before what is not offered.
        return frozenset({555, 501} if others[rest] == 501 else {555})

    def _takes(self, step: str, certain: frozenset[int] | None, rest: bytes) -> Story:
        """Whether both the edge and the session take the argument; a refusal is said."""
        if certain is not None and TAKEN not in certain:
            self._reply(*certain)
            return False
        refusal = yield Ask(step, optional=certain is None)
        if refusal is False:
            self._reply(*REFUSALS)
        elif refusal is not None:
            self._reply(refusal)
        return refusal is None

    def do_DATA(self, rest: bytes) -> Story:
        self._must_be_last()
        if rest:
            self._reply(501)
        elif not self.recipients or self.chunks is not None:
            self._reply(503)
        else:
            yield from self._data()

    def _data(self) -> Story:
        refusal = yield Ask("data")
        self._must_be_last()
        if refusal is not None:
            self._reply(refusal)
            return
        self._say(354)
        self.due = self.now + self.rules.data
        message = yield from self._message()
        codes, breach = self._flaws(message)
        if not codes:
            codes = yield from self._deliver(self._stored(message))
        self._say(*codes)
        self._no_transaction()
        if breach or 421 in codes:
            raise _HungUp

    def _deliver(self, message: bytes) -> Story:
        """The answer to a whole message, as a set."""
        self.messages.append(message)
        answered = yield Ask("end_of_data")
        if 250 <= answered <= 259:
            self._errors = self._unrecognized = 0
        return {answered}

    def _message(self) -> Story:
        while True:
            end = (b"\r\n" + self.buffer).find(_END)
            if end >= 0:
                message, self.buffer = self.buffer[:end], self.buffer[end + 3 :]
                return message
            certain = self._certain()
            if len(self._stored(certain)) > 2 * self.rules.bytes:
                codes, _ = self._flaws(certain)
                self._hang_up(552, *codes)
            yield Waits.DATA

    def _certain(self) -> bytes:
        """What has come without what may be the beginning of the end."""
        beginning = (b"\r\n.", b"\r\n.\r")
        for held in beginning:
            if (b"\r\n" + self.buffer).endswith(held):
                return self.buffer[: len(self.buffer) + 2 - len(held)]
        return self.buffer

    def _flaws(self, message: bytes) -> tuple[set[int], bool]:
        """What it may be refused with, if anything; whether that ends the connection."""
        codes = set()
        breach = bool(_BARE_CR.search(message))
        breach = breach or (not self.rules.normalize and bool(_BARE_LF.search(message)))
        if breach:
            codes.add(554)
        if self._too_large(self._stored(message)):
            codes.add(552)
        return codes, breach

    def _too_large(self, stored: bytes, final: bool = True) -> bool:
        """Whether it, or its header, is; of what is not final two bytes may end the header."""
        header = (b"\r\n" + stored).find(b"\r\n\r\n")
        length = header if header >= 0 else len(stored) - (0 if final else 2)
        return len(stored) > self.rules.bytes or length > self.rules.header_bytes

    def _stored(self, message: bytes) -> bytes:
        """Where bare LFs are taken for line ends: line by line what a backend must get."""
        if not self.rules.normalize or _BARE_CR.search(message):
            return message
        lines = []
        for line in message.split(b"\r\n"):
            first, *others = line.split(b"\n")
            lines.append(b".." if first == b"." and others else first)
            lines += [b"." + other if other.startswith(b".") else other for other in others]
        return b"\r\n".join(lines)

    def do_BDAT(self, rest: bytes) -> Story:
        match = _CHUNK.fullmatch(rest)
        if match is None:
            # Nobody knows where the next command is.
            self._hang_up(501)
            return
        size, last = int(match[1]), match[2] is not None
        if size > 2 * self.rules.bytes:
            self._hang_up(552)
        if self.chunks is None:
            self.chunks = yield from self._first_chunk()
        chunks = self.chunks
        yield from self._octets(chunks, size)
        codes, breach = self._chunk_flaws(chunks, final=last and chunks.first is None)
        if codes:
            self._refuse_chunk(chunks, codes, breach, last)
        elif last:
            codes = yield from self._deliver(self._from_chunks(chunks.octets))
            self._no_transaction()
            self._say(*codes)
        else:
            self._say(250)
        if 421 in codes:
            raise _HungUp

    def _first_chunk(self) -> Story:
        """Whether there may be any; the octets of one that may not be are read all the same."""
        if not self.recipients:
            return Chunked(refusal=frozenset({503}))
        refusal = yield Ask("data")
        return Chunked(refusal=frozenset({refusal} if refusal else ()), collected=refusal is None)

    def _octets(self, chunks: Chunked, size: int) -> Story:
        """All octets of a chunk, whatever they look like."""
        self.due = self.now + self.rules.data
        while True:
            taken, self.buffer = self.buffer[:size], self.buffer[size:]
            size -= len(taken)
            chunks.count += len(taken)
            if chunks.collected:
                chunks.octets += taken
            codes, _ = self._chunk_flaws(chunks, final=False)
            if codes and chunks.count > 2 * self.rules.bytes:
                self._say_of_chunks(chunks, codes)
                raise _HungUp
            if not size:
                return
            yield Waits.CHUNK

    def _chunk_flaws(self, chunks: Chunked, final: bool) -> tuple[frozenset[int], bool]:
        """As ``_flaws``, of what has come so far; the answer stays that which was given first."""
        octets, codes = chunks.octets, set()
        certain = octets if final else octets.removesuffix(b"\r")
        breach = bool(_BARE_CR.search(certain))
        breach = breach or (not self.rules.normalize and bool(_BARE_LF.search(certain)))
        if breach:
            codes.add(554)
        if self._too_large(self._plain(octets), final):
            codes.add(552)
        return chunks.refusal or frozenset(codes), breach

    def _refuse_chunk(
        self, chunks: Chunked, codes: frozenset[int], breach: bool, last: bool
    ) -> None:
        if not self.sender:
            # No transaction that it could spoil: a command out of order, like others.
            self.chunks = None
            self._reply(*codes)
            return
        self._say_of_chunks(chunks, codes)
        if breach:
            raise _HungUp
        if last:
            self._no_transaction()

    def _say_of_chunks(self, chunks: Chunked, codes: frozenset[int]) -> None:
        if chunks.first is None:
            chunks.first, chunks.refusal = len(self.said), codes
        else:
            self.same.append((len(self.said), chunks.first))
        self._say(*codes)

    def _plain(self, octets: bytes) -> bytes:
        return _BARE_LF.sub(b"\r\n", octets) if self.rules.normalize else octets

    def _from_chunks(self, octets: bytes) -> bytes:
        """In wire form, its last line ended."""
        plain = self._plain(octets)
        if plain and not plain.endswith(b"\r\n"):
            plain += b"\r\n"
        lines = plain.split(b"\r\n")
        return b"\r\n".join(b"." + line if line.startswith(b".") else line for line in lines)

    def do_RSET(self, rest: bytes) -> None:
        self._no_transaction()
        self._reply(250)

    def do_NOOP(self, rest: bytes) -> None:
        self._reply(250)

    def do_VRFY(self, rest: bytes) -> None:
        self._reply(252 if rest else 501)

    def do_HELP(self, rest: bytes) -> None:
        self._reply(214)

    def do_EXPN(self, rest: bytes) -> None:
        self._reply(502)

    def do_QUIT(self, rest: bytes) -> None:
        self._hang_up(221)

    def do_STARTTLS(self, rest: bytes) -> None:
        if self.tls or not self.rules.starttls:
            self._reply(503 if self.tls else 502)
        elif rest:
            self._reply(501)
        else:
            self._must_be_last()
            self._no_transaction()
            self.tls, self.hello, self.user = True, b"", False
            self._say(220)

    def do_AUTH(self, rest: bytes) -> Story:
        refusal = self._no_login()
        method, _, initial = rest.partition(b" ")
        if refusal:
            self._reply(refusal)
        elif method.upper() not in (b"PLAIN", b"LOGIN"):
            self._reply(504 if method else 501)
        else:
            good = yield from self._login(method.upper(), initial.strip())
            if good is not None:
                yield from self._check(good)

    def _no_login(self) -> int:
        if not self.rules.logins:
            return 502
        if self.hello != b"EHLO" or self.user or self.sender:
            return 503
        return 0 if self.tls or self.rules.clear_logins else 538

    def _login(self, method: bytes, initial: bytes) -> Story:
        """Whether the credentials are right; ``None`` when there are none."""
        lines: list[bytes] = []
        given = b"" if initial == b"=" else initial
        for number in range(1 if method == b"PLAIN" else 2):
            if number or not initial:
                self._say(334)
                given = yield from self._line(Waits.LOGIN, LOGIN_LINE)
            if given is None:
                self._reply(500)
                return None
            try:
                lines.append(base64.b64decode(given, validate=True))
            except ValueError:
                self._reply(501)
                return None
        if method == b"PLAIN":
            lines = lines[0].split(b"\0")
            if len(lines) != 3 or lines[0] not in (b"", lines[1]):
                self._reply(501)
                return None
        return lines[-2:] == [USER, PASSWORD]

    def _check(self, good: bool) -> Story:
        if not good:
            self._failures += 1
            yield Sleep(min(8.0, 2.0 ** (self._failures - 1)))
            self._reply(421 if self._failures >= 3 else 535)
            return
        self.user = True
        refusal = yield Ask("authenticated")
        if refusal is not None:
            self.user = False
        self._reply(refusal or 235)
