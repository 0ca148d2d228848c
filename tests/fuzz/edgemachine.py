"""Clients of the edge beside the model of what they must hear (``edgemodel.py``).

Any sequence of commands, cut into segments anywhere; the session answers at once, later, or with an
error; time passes; clients vanish. After every step each connection has said what its model says,
and stands in the same phase.
"""

import re
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import ITLSTransport
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from smtpforward.config.settings import ClientTimeouts, Limits, Logins, Settings
from smtpforward.content import Content
from smtpforward.envelope import Client
from smtpforward.interfaces import ISession
from smtpforward.net.tls import ServerContexts
from smtpforward.reply import Reply
from smtpforward.server.conversation import UNREAD_LIMIT
from tests.fuzz.edgemodel import (
    LINE,
    MAIL,
    MAIL_WITH_PARAMETERS,
    RCPT,
    RCPT_UTF8,
    RCPT_WITH_PARAMETERS,
    Ask,
    EdgeModel,
    Rules,
    Waits,
)
from tests.support import Edge, EdgeTransport, settings, split

MOST_CLIENTS = 3
NEXT = (
    b"EHLO client.example.net",
    b"MAIL FROM:<a@example.net>",
    b"RCPT TO:<b@example.com>",
    b"DATA",
)
GOOD_LOGIN = b"AGFubmEAZ2VoZWlt"
MAILS = st.sampled_from(sorted(MAIL) + sorted(MAIL_WITH_PARAMETERS)).map(b"MAIL ".__add__)
RCPTS = st.sampled_from(
    sorted(RCPT) + sorted(RCPT_WITH_PARAMETERS) + sorted(RCPT_UTF8),
).map(b"RCPT ".__add__)
# Their octets are whatever comes next.
BDATS = st.builds(
    b"BDAT %d%b".__mod__,
    st.tuples(
        st.sampled_from([0, 0, 1, 2, 30, 200, 400, 401, 3 * 10**8]) | st.integers(0, 60),
        st.sampled_from([b"", b"", b" LAST", b"  last"]),
    ),
)
ORDINARY = st.sampled_from(
    [
        *(*NEXT, b"HELO client", b"RSET", b"rset x", b"NOOP", b"NOOP x", b"VRFY a", b"VRFY"),
        *(b"EXPN a", b"HELP", b"DATA x", b"QUIT", b"STARTTLS", b"STARTTLS x", b"AUTH PLAIN"),
        *(b"AUTH LOGIN", b"AUTH PLAIN " + GOOD_LOGIN, b"AUTH LOGIN YW5uYQ=="),
    ]
)
ODD = st.sampled_from(
    [
        *(b"EHLO", b"HELO \x01", b"EHLO caf\xe9", b"AUTH", b"AUTH FOO x", b"auth plain ="),
        *(b"AUTH PLAIN AGFubmEAeA==", b"", b" ", b"FOO", b"MAIL\tFROM:<>", b"x" * (LINE - 2)),
        *(b"x" * (LINE - 1), b"NOOP " + b"y" * 9000, b"XCLIENT NAME=x", b".", b".."),
        *(b"GET / HTTP/1.1", b"UNKNOWN", b"BDAT", b"BDAT x", b"BDAT -1", b"BDAT 1 FIRST"),
        b"BDAT 1" + b"0" * 20,
    ]
)
ANYTHING = st.tuples(
    st.sampled_from([b"", b"MAIL FROM:<", b"RCPT TO:<b@example.com> ", b"BDAT "]),
    st.binary(max_size=20),
).map(b"".join)
# Each branch is as likely as the others.
COMMANDS = st.one_of(ORDINARY, ORDINARY, ORDINARY, MAILS, RCPTS, BDATS, ODD, ANYTHING)
# What may be said in place of what is next.
WANDERINGS = (COMMANDS, MAILS, RCPTS, RCPTS | COMMANDS)
SELDOM = st.sampled_from([False, False, False, True])
LOGINS = st.sampled_from(
    [b"AUTH PLAIN " + GOOD_LOGIN, b"AUTH PLAIN", b"AUTH LOGIN", b"AUTH PLAIN AGFubmEAeA=="]
)
LOGIN_LINES = st.sampled_from(
    [GOOD_LOGIN, b"AGFubmEAeA==", b"YW5uYQ==", b"Z2VoZWlt", b"*", b"", b"=", b"!", b"z" * 13000]
) | st.binary(max_size=12)
ENDS = st.sampled_from([b"\r\n"] * 40 + [b"\n", b"\r", b"\0\r\n", b""])
BODIES = st.lists(
    st.sampled_from(
        [
            *(b"Subject: x\r\n", b"\r\n", b"text\r\n", b".\r\n", b"..\r\n", b".", b"\r", b"\n"),
            *(
                b"\n.\r\n",
                b"\r\n.\n",
                b"a" * 90,
                b"MAIL FROM:<evil@example.net>\r\n",
                b"\0\xff\r\n",
            ),
        ]
    )
    | st.binary(max_size=8),
    max_size=8,
).map(b"".join)
# The octets of a chunk, how many more or less are said, and whether it is the last.
CHUNKS = st.tuples(
    BODIES | st.sampled_from([b"a\r\n" * 60, b"\r\n" + b"a" * 390]) | st.binary(max_size=300),
    st.sampled_from([0] * 12 + [-1, 1, 5]),
    st.sampled_from([False, False, True]),
).map(lambda chunk: bdat(*chunk))
CUTS = st.lists(st.integers(0, 2000), max_size=4)
PLANS = st.sampled_from(["yes"] * 8 + ["later"] * 6 + ["no"] * 2 + ["raise", "closing", "deferred"])
OUTCOMES = st.sampled_from(["yes", "yes", "no", "deferred", "raise", "closing"])
_REPLY = re.compile(rb"(?:(\d\d\d)-[^\r\n\0]*\r\n)*(\d\d\d) [^\r\n\0]*\r\n")


def bdat(octets: bytes, more: int, last: bool) -> bytes:
    """A chunk with its command."""
    size = max(0, len(octets) + more)
    return b"BDAT %d%b\r\n%b" % (size, b" LAST" if last else b"", octets)


class Boom(Exception):  # noqa: N818 -- as loud as it is
    """A fault of the session's."""


@attrs.define(eq=False)
class Question:
    """One thing that the edge asked; ``answer`` is what the model must be told.

    :ivar heard: how many replies the client had heard by then.
    """

    step: str
    heard: int
    deferred: Deferred[Any] | None = None
    answer: Any = None


@implementer(ISession)
class PlannedSession:
    """Answers as the machine has planned; notes what it was asked.

    :ivar questions: those that the model has not been told about.
    """

    def __init__(self, plans: "deque[str]") -> None:
        self.client = Client("192.0.2.1", 4321)
        self.questions: deque[Question] = deque()
        self.pending: list[Question] = []
        self.messages: list[bytes] = []
        self.closes = 0
        self.count: Callable[[], int] = lambda: 0
        self._plans = plans

    def _ask(self, step: str) -> Any:
        assert not self.closes, f"{step} after the end"
        assert not [q for q in self.pending if q.deferred and not q.deferred.called], (
            "one at a time"
        )
        question = Question(step, self.count())
        self.questions.append(question)
        plan = self._plans.popleft() if self._plans else "yes"
        if plan == "later":
            question.deferred = Deferred()
            self.pending.append(question)
            return question.deferred
        question.answer, result = resolve(step, plan)
        if isinstance(result, Exception):
            raise result
        return result

    def fire(self, question: Question, plan: str) -> None:
        """The answer to an earlier question is there."""
        self.pending.remove(question)
        assert question.deferred is not None, "it was to come later"
        question.answer, result = resolve(question.step, plan)
        if isinstance(result, Exception):
            question.deferred.errback(result)
        else:
            question.deferred.callback(result)

    def connected(self) -> Any:
        return self._ask("connected")

    def helo(self, name: bytes, extended: bool) -> Any:
        return self._ask("helo")

    def authenticated(self, user: str) -> Any:
        return self._ask("authenticated")

    def mail(self, sender: Any, parameters: Any) -> Any:
        return self._ask("mail")

    def rcpt(self, recipient: Any) -> Any:
        return self._ask("rcpt")

    def data(self) -> Any:
        return self._ask("data")

    def end_of_data(self, content: Content) -> Any:
        self.messages.append(b"".join(content.wire()))
        return self._ask("end_of_data")

    def discarded(self, reply: Reply) -> Reply:
        return reply

    def reset(self) -> None:
        """Nothing is kept."""

    def closed(self) -> None:
        self.closes += 1


def resolve(step: str, plan: str) -> tuple[Any, Any]:
    """What the model is told, and what the edge gets."""
    if plan == "yes" and step != "end_of_data":
        return None, None
    if plan == "raise":
        return 451, Boom(step)
    code = {"yes": 250, "no": 550, "deferred": 450, "closing": 421}[plan]
    return code, Reply(code, (b"as planned",))


@implementer(ITLSTransport)
class AnyTransport(EdgeTransport):  # type: ignore[misc]
    """A transport that says it does TLS: what is said after ``startTLS`` counts as said inside."""

    secured = 0
    protocol: Any = None

    def startTLS(self, contexts: Any) -> None:
        """Note it."""
        self.secured += 1


class Speaker:
    """One client, and the model of what it must hear.

    :ivar outbox: what it has said and the edge, which has paused it, has not read.
    """

    def __init__(self, edge: Edge, rules: Rules, sessions: list[PlannedSession], ip: str) -> None:
        self.model = EdgeModel(rules)
        self.model.now = edge.clock.seconds()
        self.model.draining = edge.factory.draining
        self._sessions = sessions
        self._edge = edge
        first = len(sessions)
        self.transport = AnyTransport(
            hostAddress=IPv4Address("TCP", "192.0.2.9", 587 if rules.submission else 25)
        )
        edge.connect(ip, self.transport)
        self.protocol = edge.protocol
        self.mine: list[PlannedSession] = []
        self.owns(sessions[first:])
        self.outbox: deque[bytes] = deque()
        self.heard: list[int] = []
        self.words: list[bytes] = []
        self.lost = False
        self._offered: dict[int, frozenset[bytes]] = {}

    def owns(self, sessions: Sequence[PlannedSession]) -> None:
        """Those are asked about this client."""
        for session in sessions:
            session.count = self._listen
            self.mine.append(session)

    # -- what happens

    def says(self, pieces: Sequence[bytes]) -> None:
        """The client sends ``pieces``, each a segment."""
        self.outbox.extend(pieces)
        self.pour()

    def pour(self) -> None:
        """The edge gets what waits, as far as it reads."""
        while self.outbox and not self.lost and self.transport.producerState == "producing":
            piece = self.outbox.popleft()
            before = len(self._sessions)
            self.protocol.dataReceived(piece)
            self.owns(self._sessions[before:])
            self.model.feed(piece)
            self.follow()
            assert len(self.protocol._unread) <= UNREAD_LIMIT + len(piece)

    def fire(self, session: PlannedSession, question: Question, plan: str) -> None:
        """The session answers what it was asked earlier."""
        before = len(self._sessions)
        session.fire(question, plan)
        self.owns(self._sessions[before:])
        self.follow()
        self.pour()

    def lose(self) -> None:
        """The connection ends."""
        self.lost = True
        self.transport.protocol = None
        self.protocol.connectionLost()

    def follow(self) -> None:
        """The model is told what the session has answered; then both must have said the same."""
        while isinstance(self.model.asked, Ask):
            asked, question = self.model.asked, self._question()
            if question is None or question.heard != len(self.model.said):
                assert asked.optional, f"the edge has not asked {asked.step}, in its order"
                self.model.answer(False)
                continue
            assert question.step == asked.step
            if question.deferred is not None and question in self.session.pending:
                return
            self.session_of(question).questions.popleft()
            self.model.answer(question.answer)

    @property
    def session(self) -> PlannedSession:
        """The one that is asked now."""
        return self.mine[-1]

    def session_of(self, question: Question) -> PlannedSession:
        """The one that was asked."""
        return next(session for session in self.mine if question in session.questions)

    def _question(self) -> Question | None:
        return next((session.questions[0] for session in self.mine if session.questions), None)

    # -- what must hold

    def check(self) -> None:
        """All that was said, and where both stand."""
        self._listen()
        said = self.model.said
        assert len(self.heard) == len(said), (self.heard, said)
        assert all(code in codes for code, codes in zip(self.heard, said, strict=True)), said
        for number, keywords in self.model.hellos:
            assert self._offered[number] == keywords
        assert all(self.words[one] == self.words[other] for one, other in self.model.same)
        if self.lost:
            return
        assert self.protocol.phase.name == self.model.waits.name
        if not isinstance(self.model.asked, Ask):
            assert self._question() is None
        assert [m for s in self.mine for m in s.messages] == self.model.messages
        assert self.protocol.in_transaction == self.model.in_transaction or self._ended
        assert (self.transport.disconnecting or self.transport.disconnected) == self._ended
        assert self.transport.secured == len(self.mine) - 1

    @property
    def _ended(self) -> bool:
        return self.model.waits is Waits.CLOSING

    def _listen(self) -> int:
        """How many replies there were by now."""
        data = self.transport.value()
        self.transport.clear()
        while data:
            match = _REPLY.match(data)
            assert match, data
            lines = match[0].splitlines()
            assert len({line[:3] for line in lines}) == 1, lines
            assert all(len(line) <= 510 for line in lines)
            offered = (line[4:] for line in lines[1:])
            self._offered[len(self.heard)] = frozenset(
                b"AUTH" if line.startswith(b"AUTH ") else line for line in offered
            )
            self.words.append(match[0])
            self.heard.append(int(match[2]))
            data = data[match.end() :]
        return len(self.heard)


RULES = st.builds(
    Rules,
    errors=st.sampled_from([20, 5]),
    unrecognized=st.sampled_from([10, 3]),
    starttls=st.booleans(),
    logins=st.booleans(),
    clear_logins=st.sampled_from([False, True, True]),
    submission=st.sampled_from([False, False, False, True]),
).flatmap(
    lambda rules: st.sampled_from(
        [
            rules,
            attrs.evolve(rules, bytes=200, header_bytes=50),
            attrs.evolve(rules, normalize=True),
        ]
    )
)


def settings_of(rules: Rules) -> Settings:
    """The gateway's settings for ``rules``."""
    return settings(
        limits=Limits(
            bytes=rules.bytes,
            header_bytes=rules.header_bytes,
            recipients=rules.recipients,
            errors=rules.errors,
            unrecognized_commands=rules.unrecognized,
        ),
        timeouts=ClientTimeouts(rules.first_command, rules.command, rules.data),
        bare_newline="normalize" if rules.normalize else "reject",
        auth_allow_plaintext=rules.clear_logins,
        logins=Logins(("PLAIN", "LOGIN"), {"anna": "geheim"}) if rules.logins else Logins(),
    )


class EdgeMachine(RuleBasedStateMachine):
    """Any clients, any session."""

    @initialize(rules=RULES, drains=st.sampled_from([False] * 7 + [True]))
    def begin(self, rules: Rules, drains: bool) -> None:
        """An edge with its first client."""
        self.given = rules
        self.drains = drains
        self.plans: deque[str] = deque()
        self.sessions: list[PlannedSession] = []
        self.faults: list[LogEvent] = []
        globalLogPublisher.addObserver(cast(ILogObserver, self._observe))
        self.clock = Clock()
        self.edge = Edge(settings_=settings_of(rules), clock=self.clock)
        self.edge.lose()
        self.edge.factory._sessions = self._session
        if rules.starttls:
            self.edge.factory.contexts = cast(ServerContexts, object())
        self.speakers: list[Speaker] = []
        self.came = 0
        self.come()

    def _observe(self, event: LogEvent) -> None:
        failure = event.get("log_failure")
        if failure is not None and not failure.check(Boom):
            self.faults.append(event)

    def _session(self, client: Client) -> PlannedSession:
        session = PlannedSession(self.plans)
        session.client = client
        self.sessions.append(session)
        return session

    @property
    def here(self) -> list[Speaker]:
        """The clients that have not gone."""
        return [speaker for speaker in self.speakers if not speaker.lost]

    @property
    def open(self) -> list[Speaker]:
        """The clients that are listened to."""
        return [speaker for speaker in self.here if speaker.model.waits is not Waits.CLOSING]

    def _anyone(self, data: st.DataObject) -> Speaker:
        """One of the clients that have not gone, most often one that is listened to."""
        return data.draw(st.sampled_from(self.open * 4 + self.here))

    @precondition(lambda self: not self.open or self.came < MOST_CLIENTS)
    @rule()
    def come(self) -> None:
        """A client connects."""
        self.came += 1
        speaker = Speaker(self.edge, self.given, self.sessions, f"192.0.2.{self.came}")
        self.speakers.append(speaker)
        speaker.follow()

    @rule(plans=st.lists(PLANS, min_size=1, max_size=3))
    def plan(self, plans: list[str]) -> None:
        """The next answers of the session."""
        self.plans.extend(plans)

    # -- clients speak

    @precondition(lambda self: self.here)
    @rule(data=st.data(), steps=st.integers(1, 6), cuts=CUTS)
    def go_on(self, data: st.DataObject, steps: int, cuts: list[int]) -> None:
        """A client does what it should do next."""
        speaker = self._anyone(data)
        for _ in range(steps):
            speaker.says(split(self._next(speaker.model, data), cuts))

    @precondition(lambda self: self.here)
    @rule(data=st.data(), body=BODIES, behind=COMMANDS, cuts=CUTS)
    def send(self, data: st.DataObject, body: bytes, behind: bytes, cuts: list[int]) -> None:
        """A client goes on to a message, as quickly as it can, and says something behind it."""
        speaker = self._anyone(data)
        while speaker.model.waits in (Waits.COMMAND, Waits.LOGIN):
            said = len(speaker.heard)
            speaker.says([self._next(speaker.model, data)])
            speaker.check()
            if speaker.heard[said:] and speaker.heard[-1] >= 400:
                break
        else:
            speaker.says(split(body + b"\r\n.\r\n" + behind + b"\r\n", cuts))

    @precondition(lambda self: self.here)
    @rule(
        data=st.data(),
        envelope=st.sampled_from([0, 1, 2, 3, 3, 3, 3, 3]),
        chunks=st.lists(CHUNKS, min_size=1, max_size=4),
        behind=COMMANDS,
        cuts=CUTS,
    )
    def send_chunks(
        self,
        data: st.DataObject,
        envelope: int,
        chunks: list[bytes],
        behind: bytes,
        cuts: list[int],
    ) -> None:
        """A client sends a message in chunks, all of them before it hears an answer."""
        speaker = self._anyone(data)
        stage = self._stage(speaker.model)
        if stage == 0 and envelope:
            speaker.says([NEXT[0] + b"\r\n"])
            stage = self._stage(speaker.model)
        commands = b"".join(line + b"\r\n" for line in NEXT[max(1, stage) : envelope])
        speaker.says(split(commands + b"".join(chunks) + behind + b"\r\n", cuts))

    def _next(self, model: EdgeModel, data: st.DataObject) -> bytes:
        if model.waits is Waits.CHUNK:
            return data.draw(BODIES)
        if model.waits is Waits.DATA:
            return data.draw(BODIES) + data.draw(st.sampled_from([b"\r\n.\r\n", b""]))
        if model.waits is Waits.LOGIN:
            return data.draw(LOGIN_LINES) + b"\r\n"
        if model.rules.submission and model.hello and not model.user and model.rules.logins:
            return b"AUTH PLAIN " + GOOD_LOGIN + b"\r\n"
        if model.chunks is not None and data.draw(st.booleans()):
            return data.draw(CHUNKS)
        stage = self._stage(model)
        line: bytes = data.draw(WANDERINGS[stage]) if data.draw(SELDOM) else NEXT[stage]
        return line + b"\r\n"

    def _stage(self, model: EdgeModel) -> int:
        return 0 if not model.hello else 1 + model.sender + bool(model.recipients)

    @precondition(lambda self: self.here)
    @rule(
        data=st.data(), lines=st.lists(st.tuples(COMMANDS, ENDS), min_size=1, max_size=5), cuts=CUTS
    )
    def speak(self, data: st.DataObject, lines: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
        """A client says anything, pipelined or not."""
        speaker = self._anyone(data)
        speaker.says(split(b"".join(map(b"".join, lines)), cuts))

    @precondition(lambda self: any(s.model.waits is Waits.ANSWERING for s in self.here))
    @rule(data=st.data(), line=st.sampled_from([b"NOOP %b\r\n" % (b"x" * 900), b"x" * 900]))
    def flood(self, data: st.DataObject, line: bytes) -> None:
        """A client does not wait for answers."""
        waiting = [s for s in self.here if s.model.waits is Waits.ANSWERING]
        data.draw(st.sampled_from(waiting)).says([line * 20] * 5)

    @property
    def clear(self) -> list[Speaker]:
        """Who may begin TLS."""
        offered = [s for s in self.here if s.model.rules.starttls and not s.model.tls]
        return [s for s in offered if s.model.waits is Waits.COMMAND]

    @precondition(lambda self: self.clear)
    @rule(data=st.data(), behind=st.sampled_from([b""] * 3 + [b"NOOP\r\n", b"x"]), cuts=CUTS)
    def start_tls(self, data: st.DataObject, behind: bytes, cuts: list[int]) -> None:
        """A client asks for TLS; what stands behind it is said in the clear."""
        speaker = data.draw(st.sampled_from(self.clear))
        speaker.says(split(b"STARTTLS\r\n" + behind, cuts))

    @precondition(lambda self: self.given.logins and self.here)
    @rule(data=st.data(), lines=st.lists(LOGINS | LOGIN_LINES, max_size=4))
    def log_in(self, data: st.DataObject, lines: list[bytes]) -> None:
        """A client says hello, then tries to log in."""
        speaker = self._anyone(data)
        if not speaker.model.hello:
            speaker.says([NEXT[0] + b"\r\n"])
        speaker.says([line + b"\r\n" for line in lines])

    @precondition(lambda self: len(self.here) > 1)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        """A client goes, wherever it stands."""
        ended = [speaker for speaker in self.here if speaker not in self.open]
        data.draw(st.sampled_from(ended * 4 + self.here)).lose()

    # -- the session, time, the end

    @property
    def pending(self) -> list[tuple[PlannedSession, Question]]:
        """Questions that wait for their answers, those of clients that have gone too."""
        return [(session, question) for session in self.sessions for question in session.pending]

    @precondition(lambda self: self.pending)
    @rule(data=st.data(), plan=OUTCOMES)
    def answer(self, data: st.DataObject, plan: str) -> None:
        """The session answers what it was asked earlier."""
        self._answer(*data.draw(st.sampled_from(self.pending)), plan)

    @precondition(lambda self: self.pending)
    @rule(data=st.data())
    def answer_all(self, data: st.DataObject) -> None:
        """All that wait hear yes, in any order."""
        for session, question in data.draw(st.permutations(self.pending)):
            self._answer(session, question, "yes")

    def _answer(self, session: PlannedSession, question: Question, plan: str) -> None:
        speaker = next((s for s in self.here if session in s.mine), None)
        if speaker is None:
            session.fire(question, plan)
        else:
            speaker.fire(session, question, plan)

    @rule(seconds=st.sampled_from([1, 1, 2, 5, 9, 10, 29, 30, 61, 300]))
    def wait(self, seconds: int) -> None:
        """Time passes, from one timer to the next."""
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end:
            calls = [call.getTime() for call in self.clock.getDelayedCalls()]
            now = min([end, *(due for due in calls if due > self.clock.seconds())])
            before = len(self.sessions)
            self.clock.advance(now - self.clock.seconds())
            assert len(self.sessions) == before or not self.here
            for speaker in self.here:
                self._tick(speaker, now)

    def _tick(self, speaker: Speaker, now: float) -> None:
        model = speaker.model
        over = model.waits is Waits.CLOSING and model.due is not None and now >= model.due
        model.tick(now)
        speaker.follow()
        if over:
            assert speaker.transport.disconnected, "a peer that does not close is cut off"
        speaker.pour()

    @precondition(lambda self: self.drains and not self.edge.factory.draining)
    @rule()
    def drain(self) -> None:
        """The gateway is to end."""
        self.edge.factory.drain()
        for speaker in self.here:
            speaker.model.drain()

    # -- what must hold

    @invariant()
    def the_story_is_the_same(self) -> None:
        """Each client has heard what it must, and nothing else."""
        for speaker in getattr(self, "speakers", ()):
            speaker.check()

    @invariant()
    def no_fault(self) -> None:
        """Nothing failed but what the session was told to fail."""
        assert not getattr(self, "faults", ())

    @invariant()
    def bounded(self) -> None:
        """What is held is held for clients that are there."""
        if not hasattr(self, "speakers"):
            return
        factory = self.edge.factory
        assert factory.connections.total == len(self.here)
        collecting = [s for s in self.here if s.protocol._arrival is not None]
        held = sum(s.protocol._arrival.content.size for s in collecting)
        assert factory.memory.held <= held
        if not collecting:
            assert factory.memory.held == 0

    def teardown(self) -> None:
        """When all have gone nothing is left."""
        if not hasattr(self, "speakers"):
            return
        try:
            for speaker in self.here:
                speaker.lose()
            for session, question in self.pending:
                session.fire(question, "raise")
            for speaker in self.speakers:
                speaker.check()
            assert [s.closes for s in self.sessions] == [1] * len(self.sessions)
            assert self.clock.getDelayedCalls() == []
            assert self.edge.factory.memory.held == 0
            assert self.edge.factory.connections.total == 0
            assert not self.faults
        finally:
            globalLogPublisher.removeObserver(cast(ILogObserver, self._observe))
