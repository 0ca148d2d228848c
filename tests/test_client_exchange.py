"""One mail transaction with a backend: every transition, and what holds for all of them."""

from collections import deque

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.client.exchange import Exchange, State, Verdict
from smtpforward.envelope import NULL_SENDER, Address, Envelope, Recipient
from smtpforward.job import Event, Stage
from smtpforward.reply import Reply
from tests.clientsupport import SENDER, recipients, reply, run_machine

OK = reply(b"250 ok")
GO = reply(b"354 go")
NO = reply(b"550 no")
LATER = reply(b"450 later")
CLOSING = reply(b"421 closing")
PIPELINING = {b"PIPELINING": b""}
CHUNKING = {b"CHUNKING": b""}


def begun(
    count: int = 1, extensions: dict[bytes, bytes] | None = None, atomic: bool = True
) -> tuple[Exchange, bytes]:
    """A transaction for ``count`` recipients and its first commands."""
    offered = PIPELINING if extensions is None else extensions
    exchange = Exchange(Envelope(SENDER, recipients(count)), 100, offered, atomic)
    return exchange, exchange.begin()


class ExchangeCase(SynchronousTestCase):
    """Replies in, commands out."""

    def start(
        self, count: int = 1, extensions: dict[bytes, bytes] | None = None, atomic: bool = True
    ) -> bytes:
        """Begin; the first commands."""
        self.exchange, commands = begun(count, extensions, atomic)
        return commands

    def take(self, *replies: Reply) -> bytes:
        """Receive ``replies``; all commands that they bring forth."""
        return b"".join(self.exchange.receive(each) for each in replies)

    def assert_over(self, state: State, *verdicts: tuple[Event, Stage, Reply | None]) -> None:
        """The transaction is in ``state`` with ``verdicts``."""
        self.assertIs(self.exchange.state, state)
        assert self.exchange.verdicts is not None
        self.assertEqual([(v.event, v.stage, v.reply) for v in self.exchange.verdicts], [*verdicts])


class CommandTests(ExchangeCase):
    """What goes out first."""

    def test_one_recipient(self) -> None:
        """With PIPELINING and one recipient all three commands go at once."""
        commands = self.start()
        self.assertEqual(
            commands, b"MAIL FROM:<alice@example.org>\r\nRCPT TO:<r0@example.com>\r\nDATA\r\n"
        )

    def test_three_recipients(self) -> None:
        """With several the data waits for their replies."""
        self.assertEqual(
            self.start(3),
            b"MAIL FROM:<alice@example.org>\r\n"
            b"RCPT TO:<r0@example.com>\r\nRCPT TO:<r1@example.com>\r\nRCPT TO:<r2@example.com>\r\n",
        )
        self.assertEqual(self.take(OK, OK, OK, OK), b"DATA\r\n")

    def test_without_pipelining(self) -> None:
        """One command, one reply."""
        self.assertEqual(self.start(2, {}), b"MAIL FROM:<alice@example.org>\r\n")
        self.assertEqual(self.take(OK), b"RCPT TO:<r0@example.com>\r\n")
        self.assertEqual(self.take(OK), b"RCPT TO:<r1@example.com>\r\n")
        self.assertEqual(self.take(OK), b"DATA\r\n")
        self.take(GO)
        self.assertIs(self.exchange.state, State.CONTENT)

    def test_without_pipelining_one_recipient(self) -> None:
        """One recipient changes nothing about that."""
        self.start(1, {})
        self.assertEqual(self.take(OK), b"RCPT TO:<r0@example.com>\r\n")
        self.assertEqual(self.take(OK), b"DATA\r\n")

    def test_addresses(self) -> None:
        """The envelope goes out as it came in: null sender, quoted local part, postmaster."""
        odd = (Recipient(Address(b'"a b"', b"x.example")), Recipient(Address(b"postmaster")))
        exchange = Exchange(Envelope(NULL_SENDER, odd), 1, PIPELINING, True)
        self.assertEqual(
            exchange.begin(),
            b'MAIL FROM:<>\r\nRCPT TO:<"a b"@x.example>\r\nRCPT TO:<postmaster>\r\n',
        )

    def mail(self, parameters: dict[bytes, bytes], extensions: dict[bytes, bytes]) -> bytes:
        """The words after the path of MAIL."""
        envelope = Envelope(SENDER, recipients(1), parameters)
        line = Exchange(envelope, 100, extensions, True).begin().partition(b"\r\n")[0]
        return line.removeprefix(b"MAIL FROM:<alice@example.org>")

    def test_size(self) -> None:
        """SIZE is said to a backend that offers it, with or without a limit."""
        for limit in (b"", b"0", b"100", b"5000", b"lots"):
            self.assertEqual(self.mail({}, {b"SIZE": limit}), b" SIZE=100")
        self.assertEqual(self.mail({b"SIZE": b"7"}, {}), b"")

    def test_body(self) -> None:
        """BODY=8BITMIME is passed on to a backend that offers it; no other value is."""
        eight = {b"8BITMIME": b""}
        self.assertEqual(self.mail({b"BODY": b"8bitmime"}, eight), b" BODY=8BITMIME")
        self.assertEqual(self.mail({b"BODY": b"7BIT"}, eight), b"")
        self.assertEqual(self.mail({b"BODY": b"8BITMIME"}, {}), b"")
        both = {b"SIZE": b"", **eight}
        self.assertEqual(self.mail({b"BODY": b"8BITMIME"}, both), b" SIZE=100 BODY=8BITMIME")

    def test_utf8(self) -> None:
        """SMTPUTF8 goes on to a backend that offers it."""
        self.assertEqual(self.mail({b"SMTPUTF8": b""}, {b"SMTPUTF8": b""}), b" SMTPUTF8")
        self.assertEqual(self.mail({}, {b"SMTPUTF8": b""}), b"")
        self.assertEqual(self.mail({b"SMTPUTF8": b""}, {}), b"")

    def test_dsn(self) -> None:
        """The parameters of RFC 3461 go on to a backend that offers DSN, and to no other."""
        of_mail = {b"ENVID": b"Q+20x", b"AUTH": b"<>", b"RET": b"HDRS", b"SIZE": b"1"}
        self.assertEqual(self.mail(of_mail, {b"DSN": b""}), b" RET=HDRS ENVID=Q+20x")
        self.assertEqual(self.mail(of_mail, {}), b"")
        self.assertEqual(self.mail({b"ENVID": b"Q"}, {b"DSN": b""}), b" ENVID=Q")
        of_rcpt = {b"ORCPT": b"rfc822;b@example.com", b"NOTIFY": b"SUCCESS,DELAY"}
        to = Address(b"b", b"example.com")
        envelope = Envelope(SENDER, (Recipient(to, of_rcpt), Recipient(to)), {})
        for extensions, words in (
            ({b"DSN": b""}, b" NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b@example.com"),
            ({}, b""),
        ):
            exchange = Exchange(envelope, 1, {b"PIPELINING": b"", **extensions}, True)
            self.assertEqual(
                exchange.begin().split(b"\r\n")[1:3],
                [b"RCPT TO:<b@example.com>" + words, b"RCPT TO:<b@example.com>"],
            )

    def test_in_ascii(self) -> None:
        """For a backend without SMTPUTF8 domains are A-labels; a local part has no such form."""
        books = Address(b"a", "bücher.example".encode())
        exchange = Exchange(Envelope(books, (Recipient(books),)), 1, PIPELINING, True)
        path = b"<a@xn--bcher-kva.example>"
        self.assertEqual(
            exchange.begin_in_ascii(), b"MAIL FROM:%b\r\nRCPT TO:%b\r\nDATA\r\n" % (path, path)
        )
        other = Recipient(Address("ü".encode(), b"example.com"))
        exchange = Exchange(Envelope(books, (Recipient(books), other)), 1, PIPELINING, True)
        self.assertEqual(exchange.begin_in_ascii(), b"")
        self.assertIs(exchange.state, State.DONE)
        verdict = Verdict(Event.UTF8, Stage.MAIL, None, "an address outside ASCII, and no SMTPUTF8")
        self.assertEqual(exchange.verdicts, [verdict, verdict])

    def test_too_large(self) -> None:
        """A message above the backend's limit is not begun."""
        exchange = Exchange(Envelope(SENDER, recipients(2)), 100, {b"SIZE": b"99"}, True)
        self.assertEqual(exchange.begin(), b"")
        self.assertIs(exchange.state, State.DONE)
        verdict = Verdict(Event.TOO_LARGE, Stage.MAIL, None, "100 bytes, the backend takes 99")
        self.assertEqual(exchange.verdicts, [verdict, verdict])

    def test_declined(self) -> None:
        """What is declined is not begun either."""
        exchange = Exchange(Envelope(SENDER, recipients(2)), 100, {}, True)
        self.assertEqual(exchange.decline(Event.EIGHT_BIT, "why"), b"")
        self.assertIs(exchange.state, State.DONE)
        verdict = Verdict(Event.EIGHT_BIT, Stage.MAIL, None, "why")
        self.assertEqual(exchange.verdicts, [verdict, verdict])


class AcceptedTests(ExchangeCase):
    """The way to success."""

    def test_one_recipient(self) -> None:
        """A positive reply to the dot, and nothing before it, is success."""
        self.start()
        self.assertEqual(self.exchange.stage, Stage.MAIL)
        self.take(OK)
        self.assertEqual(self.exchange.stage, Stage.RCPT)
        self.take(OK)
        self.assertEqual(self.exchange.stage, Stage.DATA)
        self.take(GO)
        self.assertEqual(self.exchange.stage, Stage.BODY)
        self.assertIsNone(self.exchange.verdicts)
        self.exchange.dot_sent()
        self.assertIs(self.exchange.state, State.DOT)
        self.assertEqual(self.exchange.stage, Stage.DOT)
        done = reply(b"250 2.0.0 queued as 1")
        self.assertEqual(self.take(done), b"")
        self.assert_over(State.DONE, (Event.ACCEPTED, Stage.DOT, done))

    def test_forwarding_recipients(self) -> None:
        """251 and 252 to RCPT accept, too."""
        self.start(2)
        self.assertEqual(self.take(OK, reply(b"251 x"), reply(b"252 x")), b"DATA\r\n")

    def test_refused_at_the_dot(self) -> None:
        """A refusal of the message is that of each recipient; the connection is clean."""
        self.start(2)
        self.take(OK, OK, OK, GO)
        self.exchange.dot_sent()
        self.take(NO)
        self.assert_over(State.DONE, (Event.REFUSED, Stage.DOT, NO), (Event.REFUSED, Stage.DOT, NO))

    def test_some_accepted_not_atomic(self) -> None:
        """Where recipients stand for themselves, the accepted ones get the message."""
        self.start(3, atomic=False)
        self.assertEqual(self.take(OK, OK, NO, OK), b"DATA\r\n")
        self.take(GO)
        self.exchange.dot_sent()
        self.take(OK)
        self.assert_over(
            State.DONE,
            (Event.ACCEPTED, Stage.DOT, OK),
            (Event.REFUSED, Stage.RCPT, NO),
            (Event.ACCEPTED, Stage.DOT, OK),
        )


class RefusedTests(ExchangeCase):
    """The ways that end with nothing sent."""

    def test_sender(self) -> None:
        """MAIL refused: that is the answer, and no transaction is open."""
        self.start(2)
        self.assertEqual(self.take(NO, LATER, LATER), b"")
        self.assert_over(
            State.DONE, (Event.REFUSED, Stage.MAIL, NO), (Event.REFUSED, Stage.MAIL, NO)
        )

    def test_sender_without_pipelining(self) -> None:
        """Nothing follows a refused MAIL."""
        self.start(1, {})
        self.assertEqual(self.take(NO), b"")
        self.assert_over(State.DONE, (Event.REFUSED, Stage.MAIL, NO))

    def test_sender_refused_but_data_accepted(self) -> None:
        """354 after a refused MAIL: the connection is closed, no dot is ever sent."""
        self.start()
        self.assertEqual(self.take(NO, NO, GO), b"")
        self.assert_over(State.BROKEN, (Event.REFUSED, Stage.MAIL, NO))

    def test_the_one_recipient(self) -> None:
        """RCPT refused, then DATA as well: RSET, and the refusal of RCPT."""
        self.start()
        self.assertEqual(self.take(OK, NO, reply(b"554 no valid recipients")), b"RSET\r\n")
        self.assert_over(State.RESET, (Event.REFUSED, Stage.RCPT, NO))
        self.assertEqual(self.take(OK), b"")
        self.assertIs(self.exchange.state, State.DONE)

    def test_data_accepted_after_refused_recipient(self) -> None:
        """354 after a refused RCPT: the connection is closed, no dot is ever sent."""
        self.start()
        self.assertEqual(self.take(OK, NO, GO), b"")
        self.assert_over(State.BROKEN, (Event.REFUSED, Stage.RCPT, NO))

    def test_no_data_after_refused_recipient_without_pipelining(self) -> None:
        """DATA is not sent where the one recipient is known to be refused."""
        self.start(1, {})
        self.assertEqual(self.take(OK, NO), b"RCPT TO:<r0@example.com>\r\nRSET\r\n")
        self.assert_over(State.RESET, (Event.REFUSED, Stage.RCPT, NO))

    def test_some_recipients_atomic(self) -> None:
        """One of three refused: RSET, nobody gets the mail, and each refusal is known."""
        self.start(3)
        self.assertEqual(self.take(OK, OK, NO, LATER), b"RSET\r\n")
        self.assert_over(
            State.RESET,
            (Event.SPARED, Stage.RCPT, None),
            (Event.REFUSED, Stage.RCPT, NO),
            (Event.REFUSED, Stage.RCPT, LATER),
        )

    def test_some_recipients_atomic_without_pipelining(self) -> None:
        """All recipients are asked about before the transaction is given up."""
        self.start(2, {})
        self.assertEqual(
            self.take(OK, NO, OK),
            b"RCPT TO:<r0@example.com>\r\nRCPT TO:<r1@example.com>\r\nRSET\r\n",
        )

    def test_all_recipients_not_atomic(self) -> None:
        """Where all are refused nothing is sent, atomic or not."""
        self.start(2, atomic=False)
        self.assertEqual(self.take(OK, NO, LATER), b"RSET\r\n")

    def test_data(self) -> None:
        """DATA refused: the answer for the accepted ones, their own for the others."""
        self.start(2, atomic=False)
        self.take(OK, NO, OK)
        self.assertEqual(self.take(LATER), b"RSET\r\n")
        self.assert_over(
            State.RESET, (Event.REFUSED, Stage.RCPT, NO), (Event.REFUSED, Stage.DATA, LATER)
        )

    def test_while_the_message_is_sent(self) -> None:
        """A refusal during the message counts, and closes: the rest cannot be taken back."""
        self.start()
        self.take(OK, OK, GO)
        self.assertEqual(self.take(NO), b"")
        self.assert_over(State.BROKEN, (Event.REFUSED, Stage.BODY, NO))

    def test_reset_refused(self) -> None:
        """A backend that refuses RSET is not used again; the verdict stands."""
        self.start()
        self.take(OK, NO, NO)
        self.take(NO)
        self.assert_over(State.BROKEN, (Event.REFUSED, Stage.RCPT, NO))


class BrokenTests(ExchangeCase):
    """What makes a connection useless."""

    def test_closing(self) -> None:
        """421 in place of each reply up to that of the dot ends the transaction."""
        steps = [(Stage.MAIL, ()), (Stage.RCPT, (OK,)), (Stage.DATA, (OK, OK))]
        for stage, before in [*steps, (Stage.BODY, (OK, OK, GO))]:
            self.start()
            self.take(*before)
            self.assertEqual(self.take(CLOSING), b"")
            self.assert_over(State.BROKEN, (Event.CLOSING, stage, CLOSING))

    def test_closing_at_the_dot(self) -> None:
        """421 to the dot is an answer: not accepted."""
        self.start()
        self.take(OK, OK, GO)
        self.exchange.dot_sent()
        self.take(CLOSING)
        self.assert_over(State.BROKEN, (Event.CLOSING, Stage.DOT, CLOSING))

    def test_closing_at_reset(self) -> None:
        """421 to RSET changes nothing about the verdict."""
        self.start()
        self.take(OK, NO, NO, CLOSING)
        self.assert_over(State.BROKEN, (Event.REFUSED, Stage.RCPT, NO))

    def test_wrong_class(self) -> None:
        """A reply that its command cannot have is nonsense."""
        for stage, before, wrong in (
            (Stage.MAIL, (), GO),
            (Stage.MAIL, (), reply(b"220 hello")),
            (Stage.RCPT, (OK,), GO),
            (Stage.RCPT, (OK,), reply(b"221 bye")),
            (Stage.DATA, (OK, OK), OK),
            (Stage.DATA, (OK, OK), reply(b"334 x")),
        ):
            self.start()
            self.take(*before)
            self.take(wrong)
            self.assert_over(State.BROKEN, (Event.NONSENSE, stage, wrong))

    def test_wrong_class_at_the_dot(self) -> None:
        """354 or 220 to the dot is not success."""
        for wrong in (GO, reply(b"220 hello")):
            self.start()
            self.take(OK, OK, GO)
            self.exchange.dot_sent()
            self.take(wrong)
            self.assert_over(State.BROKEN, (Event.NONSENSE, Stage.DOT, wrong))

    def test_success_before_the_dot(self) -> None:
        """250 while the message is on its way is not success."""
        self.start()
        self.take(OK, OK, GO, OK)
        self.assert_over(State.BROKEN, (Event.NONSENSE, Stage.BODY, OK))

    def test_reply_to_nothing(self) -> None:
        """A reply when no command is out is nonsense; what was decided stands."""
        self.start()
        self.take(OK, OK, GO)
        self.exchange.dot_sent()
        self.take(OK, OK)
        self.assert_over(State.BROKEN, (Event.ACCEPTED, Stage.DOT, OK))

    def test_nonsense_takes_refusals_back(self) -> None:
        """Where replies are out of step, no refusal is believed either."""
        self.start(2)
        self.take(OK, NO, GO)
        nonsense = (Event.NONSENSE, Stage.RCPT, GO)
        self.assert_over(State.BROKEN, nonsense, nonsense)

    def test_fail(self) -> None:
        """What ends from outside ends at the stage where it stood."""
        self.start(2)
        self.take(OK)
        self.exchange.fail(Event.DROPPED, None, "gone")
        dropped = Verdict(Event.DROPPED, Stage.RCPT, None, "gone")
        self.assertEqual(self.exchange.verdicts, [dropped, dropped])

    def test_refused_sender_then_dropped(self) -> None:
        """A backend that refuses MAIL and hangs up on the rest has refused."""
        self.start()
        self.take(NO)
        self.exchange.fail(Event.DROPPED)
        self.assert_over(State.BROKEN, (Event.REFUSED, Stage.MAIL, NO))

    def test_refused_recipient_then_dropped(self) -> None:
        """A backend that refuses the one RCPT and hangs up on DATA has refused."""
        self.start()
        self.take(OK, NO)
        self.exchange.fail(Event.DROPPED)
        self.assert_over(State.BROKEN, (Event.REFUSED, Stage.RCPT, NO))

    def test_refused_recipient_is_not_in_doubt(self) -> None:
        """After the dot, only they are in doubt who were accepted."""
        self.start(2, atomic=False)
        self.take(OK, NO, OK, GO)
        self.exchange.dot_sent()
        self.exchange.fail(Event.IN_DOUBT)
        self.assert_over(
            State.BROKEN, (Event.REFUSED, Stage.RCPT, NO), (Event.IN_DOUBT, Stage.DOT, None)
        )


ANY_REPLY = st.sampled_from(
    [reply(b"%d x" % code) for code in (220, 221, 250, 251, 354, 421, 450, 500, 550, 554)]
)
LIKELY = st.sampled_from([OK, OK, OK, GO, NO])


class ExchangeMachine(RuleBasedStateMachine):
    """Any backend at all, beside a model of what has been asked and answered."""

    @initialize(
        count=st.integers(1, 4),
        atomic=st.booleans(),
        extensions=st.sampled_from(
            [
                *({}, PIPELINING, {**PIPELINING, b"SIZE": b"50"}),
                *(CHUNKING, {**PIPELINING, **CHUNKING}),
            ]
        ),
    )
    def begin(self, count: int, atomic: bool, extensions: dict[bytes, bytes]) -> None:
        """A transaction begins."""
        self.count = count
        self.atomic = atomic
        self.pipelining = b"PIPELINING" in extensions
        self.unanswered: deque[bytes] = deque()
        self.accepted = 0
        self.refused = 0
        self.dot: bool | None = None
        self.settled: list[Verdict] | None = None
        self.exchange, commands = begun(count, extensions, atomic)
        self.note(commands)

    def note(self, commands: bytes) -> None:
        """The model learns what was sent."""
        for line in commands.splitlines():
            self.unanswered.append(line[:4])
        if not self.pipelining:
            assert len(self.unanswered) <= 1

    @property
    def open(self) -> bool:
        """Whether the connection is of use for this transaction."""
        return self.exchange.state not in (State.DONE, State.BROKEN)

    @precondition(lambda self: self.open)
    @rule(answer=LIKELY | ANY_REPLY)
    def reply(self, answer: Reply) -> None:
        """The backend says something."""
        command = self.unanswered.popleft() if self.unanswered else b""
        if command == b"RCPT" and answer.code != 421:
            self.accepted += answer.positive
            self.refused += not answer.positive
        if self.exchange.state is State.DOT:
            self.dot = answer.positive
        self.note(self.exchange.receive(answer))

    @precondition(lambda self: self.exchange.state is State.CHUNK)
    @rule()
    def ask(self) -> None:
        """It is no message for a chunk."""
        self.note(self.exchange.ask())
        assert self.exchange.state is State.ENVELOPE

    @precondition(lambda self: self.exchange.state in (State.CONTENT, State.CHUNK))
    @rule()
    def send_content(self) -> None:
        """The message goes out: never without 354, or CHUNKING, and the recipients it needs."""
        assert self.accepted
        assert not self.unanswered
        assert not (self.atomic and self.refused)
        self.exchange.dot_sent()

    @precondition(lambda self: self.open)
    @rule(event=st.sampled_from([Event.DROPPED, Event.NONSENSE, Event.FAULT]))
    def end(self, event: Event) -> None:
        """The connection ends, or the transaction must."""
        in_doubt = event is Event.DROPPED and self.exchange.state is State.DOT
        assert self.exchange.fail(Event.IN_DOUBT if in_doubt else event) == b""

    @precondition(lambda self: not self.open)
    @rule()
    def rest(self) -> None:
        """Nothing more happens."""

    @invariant()
    def one_verdict(self) -> None:
        """Each recipient has at most one verdict, and exactly one in the end."""
        verdicts = self.exchange.verdicts
        assert verdicts is None or len(verdicts) == self.count
        assert verdicts is not None or self.open
        if self.settled is not None:
            assert verdicts == self.settled
        self.settled = None if verdicts is None else list(verdicts)

    @invariant()
    def success_is_the_reply_to_the_dot(self) -> None:
        """ACCEPTED is said after a positive reply to the dot, and never otherwise."""
        events = [verdict.event for verdict in self.exchange.verdicts or ()]
        assert (Event.ACCEPTED in events) == (self.dot is True)
        if self.dot is None:
            assert Event.IN_DOUBT not in events or self.exchange.state is State.BROKEN

    @invariant()
    def words_fit_events(self) -> None:
        """A refusal has a negative reply, success a positive one."""
        for verdict in self.exchange.verdicts or ():
            if verdict.event is Event.REFUSED:
                assert verdict.reply is not None
                assert verdict.reply.code >= 400
            if verdict.event is Event.ACCEPTED:
                assert verdict.reply is not None
                assert verdict.reply.positive

    @invariant()
    def clean_when_done(self) -> None:
        """A connection that stays in use owes no reply, and no transaction is open on it."""
        if self.exchange.state is State.DONE:
            assert not self.unanswered

    @invariant()
    def reset_is_out(self) -> None:
        """In RESET exactly RSET is unanswered."""
        if self.exchange.state is State.RESET:
            assert list(self.unanswered) == [b"RSET"]


class AnyBackendTests(SynchronousTestCase):
    """What holds whatever a backend says."""

    def test_any_sequence(self) -> None:
        """Any sequence of replies gives one verdict per recipient, and success only if it is."""
        run_machine(ExchangeMachine, examples=200, steps=20)
