"""Dialogues with the edge: a scripted session answers, at once or later."""

import os
from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from smtpforward import answers
from smtpforward.config.networks import Networks, network
from smtpforward.config.settings import ClientTimeouts, Limits
from smtpforward.reply import Reply
from smtpforward.server.conversation import CLOSE_DEADLINE, UNREAD_LIMIT
from smtpforward.server.phase import Phase
from tests.support import (
    GREETING,
    RECIPIENT,
    SENDER,
    TAKEN,
    Edge,
    EdgeTransport,
    ScriptedSession,
    settings,
    split,
)
from tests.test_server_factory import ClosingTransport

REFUSAL = Reply(550, (b"5.7.1 no",))
LATER = Reply(451, (b"4.7.1 later",))
WHOLE = (
    b"EHLO client.example.net\r\n",
    SENDER + RECIPIENT + b"DATA\r\n",
    b"Subject: x\r\n\r\n..text\r\n.\r\n" + SENDER + RECIPIENT + b"DATA\r\n",
    b".\r\nRSET\r\nNOOP\r\nQUIT\r\n",
)
WHOLE_CODES = [250, 250, 250, 354, 250, 250, 250, 354, 250, 250, 250, 221]


class GreetingTests(SynchronousTestCase):
    """From the connection to HELO."""

    def test_greeting(self) -> None:
        """The edge speaks first, with its name."""
        edge = Edge()
        self.assertEqual(edge.heard(), GREETING)
        self.assertEqual(edge.session.asked, ["connected"])

    def test_greeting_waits(self) -> None:
        """While the session has not answered there is no greeting, and no timer runs."""
        greeting: Deferred[Any] = Deferred()
        edge = Edge(ScriptedSession(connected=greeting))
        edge.clock.advance(1000)
        self.assertEqual((edge.heard(), edge.closing), (b"", False))
        greeting.callback(None)
        self.assertEqual(edge.heard(), GREETING)

    def test_client_refused(self) -> None:
        """A session may refuse the client: it hears why and the connection ends."""
        edge = Edge(ScriptedSession(connected=Reply(554, (b"5.7.1 go away",))))
        self.assertEqual(edge.heard(), b"554 5.7.1 go away\r\n")
        self.assertTrue(edge.closing)

    def test_fault_before_the_greeting(self) -> None:
        """When the session fails, its checks are not skipped: the client is sent away for now."""
        for broken in (ZeroDivisionError(), fail(ZeroDivisionError())):
            edge = Edge(ScriptedSession(connected=broken))
            self.assertEqual(edge.heard(), b"451 4.3.0 local error, try again later\r\n")
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
            self.assertTrue(edge.closing)
            self.assertEqual(edge.send(b"EHLO a\r\n", SENDER), b"")

    def test_speaking_before_the_greeting(self) -> None:
        """Who does not wait for the greeting does not get one."""
        greeting: Deferred[Any] = Deferred()
        edge = Edge(ScriptedSession(connected=greeting))
        self.assertEqual(edge.send(b"EHLO a\r\n"), b"")
        greeting.callback(None)
        self.assertEqual((edge.codes(), edge.closing), ([503], True))

    def test_helo(self) -> None:
        """HELO is answered in one line."""
        edge = Edge()
        edge.heard()
        self.assertEqual(edge.send(b"helo client.example.net\r\n"), b"250 mx.example.net\r\n")
        self.assertEqual(edge.session.arguments[-1], (b"client.example.net", False))

    def test_ehlo(self) -> None:
        """EHLO is answered with what is offered, and nothing else."""
        edge = Edge(settings_=settings(limits=Limits(bytes=1000, recipients=7)))
        edge.heard()
        self.assertEqual(
            edge.send(b"EHLO [192.0.2.1]\r\n"),
            b"250-mx.example.net\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n"
            b"250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250-DSN\r\n"
            b"250-LIMITS RCPTMAX=7\r\n250 CHUNKING\r\n",
        )
        self.assertEqual(edge.session.arguments[-1], (b"[192.0.2.1]", True))

    def test_bad_names(self) -> None:
        """A name is needed, of printable ASCII; what it is does not matter."""
        edge = Edge()
        for name in (b"", b" ", b" \xc3\xa4", b" a\x01b", b" a\x7f"):
            self.assertEqual(edge.codes(b"EHLO" + name + b"\r\n")[-1:], [501], name)
        for name in (b"a", b"a b", b"!", b"_x_"):
            self.assertEqual(edge.codes(b"HELO " + name + b"\r\n"), [250], name)

    def test_helo_refused(self) -> None:
        """After a refused HELO there is no MAIL; after a good one there is."""
        for verb in (b"HELO", b"EHLO"):
            edge = Edge(ScriptedSession(helo=REFUSAL))
            edge.heard()
            self.assertEqual(edge.codes(verb + b" a\r\n", SENDER), [550, 503])
            self.assertEqual(edge.codes(verb + b" a\r\n", SENDER)[-1], 250)

    def test_helo_resets(self) -> None:
        """A further HELO ends the transaction."""
        edge = Edge().to_recipient()
        self.assertEqual(edge.codes(b"HELO b\r\n", b"DATA\r\n"), [250, 503])
        self.assertIn("reset", edge.session.asked)


class CommandTests(SynchronousTestCase):
    """One command after the other."""

    def edge(self, **answers_: Any) -> Edge:
        """A greeted client of a scripted session."""
        edge = Edge(ScriptedSession(**answers_))
        edge.send(b"EHLO a\r\n")
        return edge

    def test_a_whole_session(self) -> None:
        """Two messages and good-bye; the session sees each step once, the messages as wire."""
        edge = Edge()
        edge.heard()
        codes = [code for piece in WHOLE for code in edge.codes(piece)]
        self.assertEqual(codes, WHOLE_CODES)
        self.assertEqual(edge.session.messages, [b"Subject: x\r\n\r\n..text\r\n", b""])
        self.assertTrue(edge.closing)

    @given(st.lists(st.integers(0, 500), max_size=10), st.booleans())
    @examples(max_examples=100, deadline=None)
    def test_any_split(self, cuts: list[int], later: bool) -> None:
        """However the bytes arrive, and whether answers come at once or later, all is the same."""
        session = LateSession() if later else ScriptedSession()
        edge = Edge(session)
        heard = b""
        for whole in WHOLE:
            for piece in split(whole, cuts):
                heard += edge.send(piece)
            while later and session.fire():
                heard += edge.heard()
        codes = [int(line[:3]) for line in heard.splitlines() if line[3:4] == b" "]
        self.assertEqual([code for code in codes if code != 220], WHOLE_CODES)
        self.assertEqual(session.messages, [b"Subject: x\r\n\r\n..text\r\n", b""])

    def test_sequence(self) -> None:
        """Each command has its place."""
        edge = Edge()
        edge.heard()
        self.assertEqual(edge.codes(SENDER, RECIPIENT, b"DATA\r\n"), [503, 503, 503])
        self.assertEqual(edge.codes(b"HELO a\r\n", RECIPIENT, b"DATA\r\n"), [250, 503, 503])
        self.assertEqual(edge.codes(SENDER, b"DATA\r\n", SENDER), [250, 503, 503])
        self.assertEqual(edge.codes(RECIPIENT, b"DATA now\r\n", b"DATA\r\n"), [250, 501, 354])

    def test_bad_paths(self) -> None:
        """What is no path, or has no domain, or is not ASCII, is refused with its own words."""
        edge = self.edge()
        for path, code in ((b"FROM:<a", 501), (b"FROM:<a>", 553), (b"FROM:<\xff@b>", 553)):
            self.assertEqual(edge.codes(b"MAIL " + path + b"\r\n"), [code])
        edge.send(SENDER)
        for path, code in (
            (b"TO:<a", 501),
            (b"TO:<a>", 553),
            (b"TO:<\xff@b>", 553),
            (b"TO:<>", 501),
        ):
            self.assertEqual(edge.codes(b"RCPT " + path + b"\r\n"), [code])
        self.assertNotIn("rcpt", edge.session.asked)

    def test_parameters(self) -> None:
        """Parameters are checked before the session is asked, and handed to it."""
        edge = self.edge()
        line = b"MAIL FROM:<a@example.net> "
        codes = edge.codes(*[line + p + b"\r\n" for p in (b"SIZE=9999999999", b"SIZE=x", b"X=1")])
        self.assertEqual(codes, [552, 501, 555])
        self.assertNotIn("mail", edge.session.asked)
        self.assertEqual(edge.codes(line + b"size=10 BODY=8BITMIME\r\n"), [250])
        self.assertEqual(edge.session.arguments[-1][1], {b"SIZE": b"10", b"BODY": b"8BITMIME"})
        line = b"RCPT TO:<b@example.com> "
        codes = edge.codes(*[line + p + b"\r\n" for p in (b"X=1", b"NOTIFY=x", b"NOTIFY=NEVER")])
        self.assertEqual(codes, [555, 501, 250])
        self.assertEqual(edge.session.arguments[-1][0].parameters, {b"NOTIFY": b"NEVER"})

    def test_parameters_after_helo(self) -> None:
        """HELO offers no extension, so there are no parameters."""
        edge = self.edge()
        edge.send(b"HELO a\r\n")
        self.assertEqual(edge.codes(SENDER[:-2] + b" SIZE=1\r\n", SENDER), [555, 250])
        self.assertEqual(edge.codes(RECIPIENT[:-2] + b" NOTIFY=NEVER\r\n", RECIPIENT), [555, 250])

    def test_utf8(self) -> None:
        """Recipients may be outside ASCII where MAIL gave SMTPUTF8, and only there."""
        edge = self.edge()
        to = "RCPT TO:<ü@example.com>\r\n".encode()
        self.assertEqual(edge.codes(SENDER[:-2] + b" SMTPUTF8\r\n", to), [250, 250])
        self.assertEqual(str(edge.session.arguments[-1][0].address), "ü@example.com")
        self.assertEqual(edge.codes("RCPT TO:<a\x85@b.example>\r\n".encode()), [501])
        self.assertEqual(edge.codes(b"RSET\r\n", SENDER, to), [250, 250, 553])
        self.assertEqual(edge.codes(b"RSET\r\n", "MAIL FROM:<ü@b>\r\n".encode()), [250, 553])
        self.assertEqual(edge.codes("MAIL FROM:<ü@b> SMTPUTF8\r\n".encode()), [250])

    def test_long_parameters(self) -> None:
        """A line may be longer by what the extensions add to it (RFC 3461, 4954, 6531)."""
        edge = self.edge()
        path = b"<%b@example.com>" % (b"x" * 240)
        words = b" SIZE=10 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=%b AUTH=%b" % (
            b"x" * 100,
            b"y" * 480,
        )
        self.assertEqual(edge.codes(b"MAIL FROM:%b%b\r\n" % (path, words)), [250])
        words = b" NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;%b" % (b"x" * 490)
        self.assertEqual(edge.codes(b"RCPT TO:%b%b\r\n" % (path, words)), [250])

    def test_refusals(self) -> None:
        """What the session refuses leaves things as they were before the command."""
        edge = self.edge(mail=REFUSAL, rcpt=LATER, data=REFUSAL)
        self.assertEqual(edge.send(SENDER), b"550 5.7.1 no\r\n")
        self.assertEqual(edge.session.asked[-1], "reset")
        self.assertEqual(edge.codes(RECIPIENT, SENDER), [503, 250])
        self.assertEqual(edge.send(RECIPIENT), b"451 4.7.1 later\r\n")
        self.assertEqual(edge.codes(b"DATA\r\n", RECIPIENT), [503, 250])
        self.assertEqual(edge.codes(b"DATA\r\n", b"DATA\r\n"), [550, 354])

    def test_rset(self) -> None:
        """RSET forgets the transaction and not the greeting."""
        edge = self.edge()
        self.assertEqual(
            edge.codes(SENDER, RECIPIENT, b"RSET\r\n", b"DATA\r\n"), [250, 250, 250, 503]
        )
        self.assertEqual(edge.codes(SENDER), [250])

    def test_small_commands(self) -> None:
        """What needs no session is answered as it should be."""
        edge = Edge()
        edge.heard()
        for line, code in (
            (b"NOOP", 250),
            (b"noop whatever", 250),
            (b"VRFY postmaster", 252),
            (b"VRFY", 501),
            (b"HELP", 214),
            (b"EXPN list", 502),
            (b"STARTTLS", 502),
            (b"AUTH PLAIN AGEAYg==", 502),
            (b"  NOOP  ", 250),
        ):
            self.assertEqual(edge.codes(line + b"\r\n"), [code], line)

    def test_unrecognized(self) -> None:
        """What is no command is 500, and at the tenth the connection ends with 521."""
        edge = self.edge()
        lines = (
            b"",
            b"FOO",
            b"UNKNOWN",
            b"GET / HTTP/1.1",
            b"NO-OP",
            b"MAIL\tFROM:<>",
            b"\xff\xfe",
        )
        for line in lines:
            self.assertEqual(edge.codes(line + b"\r\n"), [500], line)
        self.assertEqual(edge.codes(b"A\r\nB\r\nC\r\nNOOP\r\n"), [500, 500, 500, 521])
        self.assertTrue(edge.closing)

    def test_too_many_errors(self) -> None:
        """After so many errors the connection ends with 421, and nothing more is answered."""
        edge = Edge(settings_=settings(limits=Limits(errors=3)))
        edge.heard()
        self.assertEqual(edge.codes(b"DATA\r\n", RECIPIENT + SENDER + SENDER), [503, 503, 503, 421])
        self.assertTrue(edge.closing)

    def test_refused_recipients_count(self) -> None:
        """A recipient that the session refuses is an error; one that it defers is none."""
        session = ScriptedSession()
        session.answers["rcpt"] = [LATER] * 30 + [REFUSAL] * 20
        edge = Edge(session).to_sender()
        self.assertEqual(edge.codes(*[RECIPIENT] * 30), [451] * 30)
        self.assertEqual(edge.codes(*[RECIPIENT] * 20), [550] * 20 + [421])

    def test_a_message_wipes_the_slate(self) -> None:
        """Errors before an accepted message are forgiven; those before a refused one are not."""
        limits = settings(limits=Limits(errors=3))
        for answer, codes in ((TAKEN, [503, 503]), (REFUSAL, [503, 421])):
            edge = Edge(ScriptedSession(end_of_data=answer), settings_=limits)
            edge.heard()
            edge.send(b"EHLO a\r\n", RECIPIENT, RECIPIENT)
            edge.send(SENDER, RECIPIENT, b"DATA\r\n", b".\r\n")
            self.assertEqual(edge.codes(RECIPIENT, RECIPIENT)[:2], codes)

    def test_long_line(self) -> None:
        """A line over the limit is 500 and nothing else happens; extensions may add to it."""
        edge = self.edge()
        self.assertEqual(edge.codes(b"NOOP " + b"x" * 1048 + b"\r\n"), [250])
        self.assertEqual(edge.codes(b"NOOP " + b"x" * 1175 + b"\r\nNOOP\r\n"), [500, 250])

    def test_bare_newline_in_a_command(self) -> None:
        """A bare CR, bare LF or NUL ends the connection: what follows is not run."""
        for line in (b"NOOP\n", b"NO\rOP\r\n", b"NO\0OP\r\n"):
            edge = self.edge()
            self.assertEqual(edge.codes(line + b"NOOP\r\n"), [500], line)
            self.assertTrue(edge.closing)

    def test_after_quit(self) -> None:
        """After QUIT nothing is read."""
        edge = self.edge()
        self.assertEqual(edge.codes(b"QUIT\r\nNOOP\r\n", b"NOOP\r\n"), [221])

    def test_twisteds_way_to_answer(self) -> None:
        """``sendCode`` is the same way out, with several lines or none."""
        edge = self.edge()
        edge.protocol.phase = Phase.ANSWERING
        edge.protocol.sendCode(250, b"a\nb")
        edge.protocol.sendCode(250)
        self.assertEqual(edge.heard(), b"250-a\r\n250 b\r\n250 \r\n")


class LateSession(ScriptedSession):
    """Answers every step later: when the test lets it."""

    def __init__(self) -> None:
        ScriptedSession.__init__(self)
        self.late: list[tuple[Deferred[Any], Any]] = []

    def _answer(self, step: str, *arguments: Any) -> Any:
        answer = ScriptedSession._answer(self, step, *arguments)
        if step in ("connected", "reset", "closed", "discarded"):
            return answer
        deferred: Deferred[Any] = Deferred()
        self.late.append((deferred, answer))
        return deferred

    def fire(self) -> bool:
        """Give the one answer that is owed; whether there was one."""
        if not self.late:
            return False
        [(deferred, answer)] = self.late
        self.late.clear()
        deferred.callback(answer)
        return True


class OrderTests(SynchronousTestCase):
    """Answers that come later."""

    def test_one_at_a_time(self) -> None:
        """The session is asked nothing while it owes an answer, and answers keep their order."""
        session = LateSession()
        edge = Edge(session)
        edge.send(b"EHLO a\r\n")
        session.fire()
        edge.heard()
        edge.send(SENDER + RECIPIENT + RECIPIENT + b"NOOP\r\nDATA\r\n")
        steps = []
        while session.late:
            self.assertEqual(len(session.late), 1)
            steps.append(session.asked[-1])
            self.assertTrue(session.fire())
        self.assertEqual(steps, ["mail", "rcpt", "rcpt", "data"])
        self.assertEqual(edge.codes(), [250, 250, 250, 250, 354])

    def test_deep_pipelining_does_not_recurse(self) -> None:
        """Thousands of pipelined commands, answered at once or by ready Deferreds, are a loop."""
        for answer in (lambda: None, lambda: succeed(None)):
            session = ScriptedSession()
            session.answers["rcpt"] = [answer() for _ in range(2000)]
            edge = Edge(session).to_sender()
            self.assertEqual(edge.codes(RECIPIENT * 2000), [250] * 2000)

    def test_commands_behind_the_message(self) -> None:
        """What follows the dot waits for the answer to it."""
        answer: Deferred[Any] = Deferred()
        edge = Edge(ScriptedSession(end_of_data=answer)).to_data()
        self.assertEqual(edge.send(b"a\r\n.\r\nRSET\r\nQUIT\r\n"), b"")
        answer.callback(TAKEN)
        self.assertEqual(edge.codes(), [250, 250, 221])

    def test_pausing(self) -> None:
        """Above the bound the transport is paused; it goes on when the answer has been given."""
        answer: Deferred[Any] = Deferred()
        session = ScriptedSession(mail=answer)
        edge = Edge(session)
        edge.send(b"EHLO a\r\n", SENDER)
        noops = b"NOOP\r\n" * (UNREAD_LIMIT // 6)
        edge.send(noops)
        self.assertEqual(edge.transport.producerState, "producing")
        edge.send(b"NOOP\r\n")
        self.assertEqual(edge.transport.producerState, "paused")
        edge.send(b"NOOP\r\n")
        answer.callback(None)
        self.assertEqual(edge.transport.producerState, "producing")
        self.assertEqual(edge.codes(), [250] * (UNREAD_LIMIT // 6 + 3))

    def test_takes_much(self) -> None:
        """Message data may be read in large pieces, commands may not."""
        edge = Edge(ScriptedSession())
        edge.send(b"EHLO a\r\n", SENDER)
        self.assertFalse(edge.protocol.takes_much)
        edge.send(RECIPIENT + b"BDAT 2\r\na")
        self.assertTrue(edge.protocol.takes_much)
        edge.send(b"b")
        self.assertFalse(edge.protocol.takes_much)
        edge.send(b"RSET\r\n" + SENDER + RECIPIENT + b"DATA\r\n")
        self.assertTrue(edge.protocol.takes_much)
        edge.send(b".\r\n")
        self.assertFalse(edge.protocol.takes_much)

    def test_paused_until_below_the_bound(self) -> None:
        """One answer among many waiting commands does not let more in."""
        session = LateSession()
        edge = Edge(session)
        edge.send(b"EHLO a\r\n")
        session.fire()
        edge.send(SENDER + RECIPIENT * (UNREAD_LIMIT // len(RECIPIENT) + 2))
        self.assertEqual(edge.transport.producerState, "paused")
        session.fire()
        self.assertEqual(edge.transport.producerState, "paused")
        session.fire()
        session.fire()
        self.assertEqual(edge.transport.producerState, "producing")

    def test_closing_while_paused(self) -> None:
        """A paused connection that is closed is not asked to go on."""
        answer: Deferred[Any] = Deferred()
        edge = Edge(ScriptedSession(mail=answer))
        edge.send(b"EHLO a\r\n", SENDER)
        edge.send(b"QUIT\r\n" + b"NOOP\r\n" * UNREAD_LIMIT)
        answer.callback(None)
        self.assertEqual(edge.codes(), [250, 221])
        self.assertEqual(edge.transport.producerState, "paused")

    def test_answers_that_nobody_reads(self) -> None:
        """Once too many wait to be sent no command is answered; then all are, in their order."""
        edge = Edge().to_sender()
        edge.protocol.pauseProducing()
        self.assertEqual(edge.codes(RECIPIENT + b"FOO\r\n", b"NOOP\r\n"), [250])
        edge.send(b"NOOP\r\n" * (UNREAD_LIMIT // 6))
        self.assertEqual(edge.transport.producerState, "paused")
        edge.protocol.resumeProducing()
        self.assertEqual(edge.codes()[:3], [500, 250, 250])
        self.assertEqual(edge.transport.producerState, "producing")
        self.assertEqual(edge.codes(b"DATA\r\n"), [354])

    def test_data_behind_answers_that_nobody_reads(self) -> None:
        """Message data is taken, and the command behind it is not."""
        answer: Deferred[Any] = Deferred()
        edge = Edge(ScriptedSession(data=answer)).to_recipient()
        edge.send(b"DATA\r\n")
        edge.protocol.pauseProducing()
        answer.callback(None)
        self.assertEqual(edge.codes(b"a\r\n.\r\nNOOP\r\n"), [354, 250])
        edge.protocol.resumeProducing()
        self.assertEqual(edge.codes(), [250])

    def test_end_of_who_reads_no_answers(self) -> None:
        """Silence and the end of the service end such a connection too, and nothing resumes it."""
        for idle in (True, False):
            edge = Edge()
            edge.protocol.pauseProducing()
            self.assertEqual(edge.codes(b"EHLO a\r\n", b"NOOP\r\n"), [220, 250])
            if idle:
                edge.clock.advance(300)
            else:
                edge.factory.drain()
            self.assertEqual((edge.codes(), edge.closing), ([421], True))
            self.assertIsNone(edge.transport.producer)
            edge.protocol.resumeProducing()
            self.assertEqual(edge.codes(), [])
            edge.clock.advance(CLOSE_DEADLINE)
            self.assertTrue(edge.aborted)

    def test_improper_pipelining(self) -> None:
        """Behind EHLO, HELO or DATA nothing may follow unanswered: it could be message data."""
        for line in (b"EHLO a\r\n", b"HELO a\r\n", b"DATA\r\n"):
            edge = Edge().to_recipient()
            asked = list(edge.session.asked)
            self.assertEqual(edge.codes(line + b"MAIL FROM:<x@example.net>\r\n"), [503])
            self.assertTrue(edge.closing)
            self.assertEqual(edge.session.asked, asked)

    def test_data_before_354(self) -> None:
        """Message data that comes while DATA is being answered never runs as commands."""
        for late in (None, REFUSAL, ZeroDivisionError()):
            answer: Deferred[Any] = Deferred()
            edge = Edge(ScriptedSession(data=answer)).to_recipient()
            self.assertEqual(edge.send(b"DATA\r\n", b"NOOP\r\nRSET\r\n"), b"")
            (answer.errback if isinstance(late, Exception) else answer.callback)(late)
            self.flushLoggedErrors(ZeroDivisionError)
            self.assertEqual((edge.codes(), edge.closing), ([503], True))


class DataTests(SynchronousTestCase):
    """Messages."""

    def test_refused_at_the_end(self) -> None:
        """The session's reply is the answer, and the connection goes on."""
        edge = Edge(ScriptedSession(end_of_data=REFUSAL)).to_data()
        self.assertEqual(edge.send(b".\r\n"), b"550 5.7.1 no\r\n")
        self.assertEqual(edge.codes(SENDER), [250])

    def test_content_is_closed_after_the_answer(self) -> None:
        """The message is there until the session has answered, and gone afterwards."""
        answer: Deferred[Any] = Deferred()
        edge = Edge(
            ScriptedSession(end_of_data=answer), settings_=settings(limits=Limits(spool_after=1))
        ).to_data()
        edge.send(b"abc\r\n.\r\n")
        [content] = edge.session.contents
        self.assertTrue(content.spooled)
        answer.callback(TAKEN)
        self.assertFalse(content.spooled)

    def test_too_large(self) -> None:
        """A message over the limit is read to its end and then refused; the session is told."""
        edge = Edge(settings_=settings(limits=Limits(bytes=10))).to_data()
        self.assertEqual(edge.send(b"123456\r\n", b"789\r\n"), b"")
        self.assertEqual(edge.codes(b".\r\nMAIL FROM:<>\r\n"), [552, 250])
        self.assertNotIn("end_of_data", edge.session.asked)
        self.assertIn((answers.TOO_LARGE,), edge.session.arguments)

    def test_far_too_large(self) -> None:
        """Beyond twice the limit the end is not waited for."""
        edge = Edge(settings_=settings(limits=Limits(bytes=10))).to_data()
        self.assertEqual(edge.send(b"1234567890", b"1234567890"), b"")
        self.assertEqual(edge.codes(b"1"), [552])
        self.assertTrue(edge.closing)
        self.assertIn("discarded", edge.session.asked)

    def test_bare_newline(self) -> None:
        """A message with a bare newline is refused at its end, and the connection closed."""
        edge = Edge().to_data()
        self.assertEqual(edge.send(b"a\nb\r\n"), b"")
        self.assertEqual(edge.codes(b".\r\n" + SENDER), [554])
        self.assertTrue(edge.closing)
        self.assertIn((answers.BARE_NEWLINE,), edge.session.arguments)

    def test_bare_newline_normalized(self) -> None:
        """From clients that are exempt, or from all, a bare LF is taken for a line end."""
        exempt = Networks([network("192.0.2.0/24")])
        for those in (settings(bare_newline="normalize"), settings(bare_newline_exempt=exempt)):
            edge = Edge(settings_=those).to_data()
            self.assertEqual(edge.codes(b"a\n.\nb\r\n.\r\n" + SENDER), [250, 250])
            self.assertEqual(edge.session.messages, [b"a\r\n..\r\nb\r\n"])
        edge.connect("198.51.100.1")
        edge.to_data()
        self.assertEqual(edge.codes(b"a\nb\r\n.\r\n"), [554])
        self.assertTrue(edge.closing)

    def test_commands_are_never_normalized(self) -> None:
        """A command with a bare LF is refused all the same."""
        edge = Edge(settings_=settings(bare_newline="normalize")).to_recipient()
        self.assertEqual(edge.codes(b"NOOP\nRSET\r\n"), [500])
        self.assertTrue(edge.closing)

    def test_header_too_large(self) -> None:
        """A header over the limit is refused at the end of the message; the session is told."""
        edge = Edge(settings_=settings(limits=Limits(header_bytes=20))).to_data()
        self.assertEqual(edge.send(b"Subject: too long for it\r\n", b"\r\nbody\r\n"), b"")
        self.assertEqual(edge.send(b".\r\n"), answers.HEADER_TOO_LARGE.wire())
        self.assertEqual(edge.codes(SENDER), [250])
        self.assertNotIn("end_of_data", edge.session.asked)
        self.assertIn((answers.HEADER_TOO_LARGE,), edge.session.arguments)

    def test_new_limits(self) -> None:
        """Settings that are put in place hold for the connection's next transaction."""
        edge = Edge().to_data()
        edge.factory.settings = settings(
            limits=Limits(bytes=5), bare_newline="normalize", timeouts=ClientTimeouts(data=7)
        )
        self.assertEqual(edge.codes(b"123456\r\n.\r\n"), [250])
        edge.send(SENDER, RECIPIENT, b"DATA\r\n")
        self.assertEqual(edge.codes(b"123456\r\n.\r\n"), [552])
        edge.send(SENDER, RECIPIENT, b"DATA\r\n")
        self.assertEqual(edge.codes(b"1\n\r\n.\r\n"), [250])
        edge.send(SENDER, RECIPIENT, b"DATA\r\n")
        edge.clock.advance(7)
        self.assertEqual(edge.codes(), [421])

    def test_disk_full(self) -> None:
        """A message that cannot be kept gets 452, and the connection goes on."""
        edge = Edge(settings_=settings(limits=Limits(spool_after=1), spool_dir="/nonexistent"))
        edge.to_data()
        self.assertEqual(edge.codes(b"abc\r\n", b".\r\n", SENDER), [452, 250])

    def test_pipelined_message(self) -> None:
        """Data that comes behind an end of data, in one piece with commands, is taken apart."""
        edge = Edge().to_data()
        self.assertEqual(
            edge.codes(b".\r\n" + SENDER + RECIPIENT + b"DATA\r\n"), [250, 250, 250, 354]
        )


class MemoryTests(SynchronousTestCase):
    """The account of all messages in memory, at each end that a message can come to."""

    def edge(self, session: Any = None, **limits: int) -> Edge:
        """An edge that has a part of a message."""
        given = settings(limits=Limits(**limits), spool_dir=self.directory)
        edge = Edge(session, settings_=given).to_data()
        edge.send(b"12345")
        return edge

    def setUp(self) -> None:
        self.directory = self.mktemp()
        os.mkdir(self.directory)

    def assert_held(self, edge: Edge, held: int) -> None:
        """So many bytes are in memory."""
        self.assertEqual(edge.factory.memory.held, held)

    def test_delivered(self) -> None:
        """It counts until the answer."""
        answer: Deferred[Any] = Deferred()
        edge = self.edge(ScriptedSession(end_of_data=answer))
        self.assert_held(edge, 5)
        edge.send(b"\r\n.\r\n")
        self.assert_held(edge, 7)
        answer.callback(TAKEN)
        self.assert_held(edge, 0)

    def test_refused(self) -> None:
        """By the session, or by a limit."""
        edge = self.edge(ScriptedSession(end_of_data=REFUSAL))
        edge.send(b"\r\n.\r\n")
        self.assert_held(edge, 0)
        edge = self.edge(bytes=6)
        edge.send(b"67")
        self.assert_held(edge, 0)

    def test_fault(self) -> None:
        """A session that fails."""
        edge = self.edge(ScriptedSession(end_of_data=ZeroDivisionError()))
        edge.send(b"\r\n.\r\n")
        self.flushLoggedErrors(ZeroDivisionError)
        self.assert_held(edge, 0)

    def test_client_gone(self) -> None:
        """In the middle of its message, and while it waits for the answer."""
        edge = self.edge()
        edge.lose()
        self.assert_held(edge, 0)
        edge = self.edge(ScriptedSession(end_of_data=Deferred()))
        edge.send(b"\r\n.\r\n")
        self.assert_held(edge, 7)
        edge.lose()
        self.assert_held(edge, 0)

    def test_client_silent(self) -> None:
        """Until the connection has gone."""
        edge = self.edge()
        edge.clock.advance(300)
        edge.lose()
        self.assert_held(edge, 0)

    def test_several(self) -> None:
        """All clients share it: who comes when it is full goes to the spool."""
        edge = self.edge(memory=8)
        self.assert_held(edge, 5)
        first = edge.protocol
        edge.connect()
        edge.to_data().send(b"6789\r\n.\r\n")
        self.assert_held(edge, 5)
        self.assertEqual(edge.session.messages, [b"6789\r\n"])
        first.connectionLost()
        self.assert_held(edge, 0)

    def test_nowhere_to_go(self) -> None:
        """When it is full and there is no spool, the message is told to come later."""
        self.directory = os.path.join(self.directory, "none")
        edge = self.edge(memory=4)
        self.assertEqual(edge.send(b"\r\n.\r\n"), b"452 4.3.1 cannot store the message now\r\n")
        self.assert_held(edge, 0)


class FaultTests(SynchronousTestCase):
    """What nobody foresaw."""

    def test_each_step(self) -> None:
        """A step that fails, at once or later, is 451 4.3.0 with its traceback in the log."""
        for step in ("helo", "mail", "rcpt", "data", "end_of_data"):
            for broken in (ZeroDivisionError(), fail(ZeroDivisionError())):
                edge = Edge(ScriptedSession(**{step: broken}))
                edge.heard()
                lines = (b"EHLO a\r\n", SENDER, RECIPIENT, b"DATA\r\n", b"a\r\n.\r\n")
                at = ("helo", "mail", "rcpt", "data", "end_of_data").index(step)
                edge.send(*lines[:at])
                heard = edge.send(lines[at])
                self.assertEqual(heard, b"451 4.3.0 local error, try again later\r\n", step)
                self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
                self.assertEqual(edge.codes(b"RSET\r\n"), [250])

    def test_after_each_step(self) -> None:
        """The failed step has not happened."""
        edge = Edge(ScriptedSession(mail=ZeroDivisionError(), rcpt=ZeroDivisionError()))
        edge.send(b"EHLO a\r\n")
        self.assertEqual(edge.codes(SENDER, RECIPIENT, SENDER, RECIPIENT), [451, 503, 250, 451])
        self.assertEqual(edge.codes(b"DATA\r\n"), [503])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.assertEqual(edge.session.asked[4], "reset")

    def test_content_is_closed(self) -> None:
        """A failed end of data gives the message's file back."""
        small = settings(limits=Limits(spool_after=1))
        edge = Edge(ScriptedSession(end_of_data=ZeroDivisionError()), settings_=small).to_data()
        edge.send(b"abc\r\n.\r\n")
        self.flushLoggedErrors(ZeroDivisionError)
        self.assertFalse(edge.session.contents[0].spooled)

    def test_while_answering(self) -> None:
        """When the answer itself cannot be given, no second one is: the connection is cut off."""
        answer: Deferred[Any] = Deferred()
        edge = Edge(ScriptedSession(end_of_data=answer)).to_data()
        edge.send(b".\r\n")
        answer.callback("no reply")
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)
        self.assertEqual((edge.heard(), edge.aborted), (b"", True))

    def test_where_nobody_waits(self) -> None:
        """A session that cannot forget costs no answer, and the message's file is given back."""
        answer: Deferred[Any] = Deferred()
        session = ScriptedSession(end_of_data=answer, reset=None)
        edge = Edge(session, settings_=settings(limits=Limits(spool_after=1))).to_data()
        session.answers["reset"] = [ZeroDivisionError()]
        edge.send(b"abc\r\n.\r\n")
        answer.callback(TAKEN)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual((edge.heard(), edge.aborted), (TAKEN.wire(), False))
        self.assertFalse(session.contents[0].spooled)

    def test_closed_fails(self) -> None:
        """A session that fails at the end does not keep the message's file open."""
        small = settings(limits=Limits(spool_after=1))
        edge = Edge(ScriptedSession(closed=ZeroDivisionError()), settings_=small).to_data()
        edge.send(b"abcdef")
        content = edge.protocol._arrival.content
        self.assertTrue(content.spooled)
        self.assertRaises(ZeroDivisionError, edge.lose)
        self.assertFalse(content.spooled)


class TimeTests(SynchronousTestCase):
    """Silence."""

    def test_silent_client(self) -> None:
        """A client that says nothing is told and closed."""
        edge = Edge()
        edge.heard()
        edge.clock.advance(299)
        self.assertEqual(edge.heard(), b"")
        edge.clock.advance(1)
        self.assertEqual(edge.heard(), b"421 4.4.2 idle for too long\r\n")
        self.assertTrue(edge.closing)

    def test_each_command_counts(self) -> None:
        """Every command gives it the whole time again."""
        edge = Edge()
        for _ in range(5):
            edge.clock.advance(200)
            self.assertEqual(edge.codes(b"NOOP\r\n")[-1], 250)
        edge.clock.advance(300)
        self.assertEqual(edge.codes(), [421])

    def test_each_kind_of_silence(self) -> None:
        """The first command, a command and a block of data each have a time of their own."""
        timeouts = settings(timeouts=ClientTimeouts(first_command=10, command=20, data=30))
        for least, said in (
            (10, b""),
            (10, b"EHL"),
            (20, b"EHLO x\r\n"),
            (20, b"EHLO x\r\n|" + SENDER + RECIPIENT),
            (30, b"EHLO x\r\n|" + SENDER + RECIPIENT + b"DATA\r\n"),
            (30, b"EHLO x\r\n|" + SENDER + RECIPIENT + b"DATA\r\n|a"),
            (20, b"EHLO x\r\n|" + SENDER + RECIPIENT + b"DATA\r\n|.\r\n"),
        ):
            edge = Edge(settings_=timeouts)
            edge.send(*said.split(b"|"))
            edge.clock.advance(least - 1)
            self.assertEqual((edge.heard(), edge.closing), (b"", False), said)
            edge.clock.advance(1)
            self.assertEqual((edge.codes(), edge.closing), ([421], True), said)

    def test_half_a_command_does_not_count(self) -> None:
        """A command that comes byte by byte has the time of one command."""
        edge = Edge()
        edge.heard()
        for byte in (b"N", b"O", b"O"):
            edge.clock.advance(99)
            edge.send(byte)
        edge.clock.advance(3)
        self.assertEqual(edge.codes(), [421])

    def test_each_block_of_data_counts(self) -> None:
        """Each piece of a message gives the whole time again; then it is over."""
        edge = Edge().to_data()
        for _ in range(5):
            edge.clock.advance(200)
            self.assertEqual(edge.send(b"x"), b"")
        edge.clock.advance(300)
        self.assertEqual((edge.codes(), edge.closing), ([421], True))

    def test_while_we_owe_a_reply_its_timer_stands(self) -> None:
        """However long the answer takes, the client is not blamed; afterwards it has its time."""
        answer: Deferred[Any] = Deferred()
        edge = Edge(ScriptedSession(end_of_data=answer)).to_data()
        edge.send(b".\r\n")
        for _ in range(10):
            edge.clock.advance(299)
        self.assertEqual((edge.heard(), edge.closing), (b"", False))
        answer.callback(TAKEN)
        self.assertEqual(edge.codes(), [250])
        edge.clock.advance(299)
        self.assertFalse(edge.closing)
        edge.clock.advance(1)
        self.assertEqual(edge.codes(), [421])

    def test_close_deadline(self) -> None:
        """A peer that holds the socket after good-bye is cut off."""
        edge = Edge()
        edge.send(b"QUIT\r\n")
        edge.clock.advance(CLOSE_DEADLINE - 1)
        self.assertFalse(edge.aborted)
        edge.clock.advance(1)
        self.assertTrue(edge.aborted)

    def test_nothing_is_left_in_the_clock(self) -> None:
        """A connection that has gone leaves no timer, also when it ends at once."""
        edge = Edge().to_data()
        edge.lose()
        self.assertEqual(edge.clock.getDelayedCalls(), [])
        edge = Edge(transport=ClosingTransport())
        edge.send(b"QUIT\r\n")
        self.assertEqual(edge.clock.getDelayedCalls(), [])

    def test_one_timer_for_all(self) -> None:
        """However much is said, there is one call in the clock, and it is not moved."""
        edge = Edge()
        [call] = edge.clock.getDelayedCalls()
        with mock.patch.object(call, "reset") as reset:
            edge.clock.advance(1)
            edge.to_data().send(*[b"x"] * 50)
        reset.assert_not_called()
        self.assertEqual(edge.clock.getDelayedCalls(), [call])


class EndTests(SynchronousTestCase):
    """The client goes, or is sent."""

    def test_quit_with_the_dot_and_no_more(self) -> None:
        """A client that sends QUIT behind its message and closes its side gets both answers."""
        for bye, codes in ((b"QUIT\r\n", [250, 221]), (b"noop\r\nquit\r\n", [250, 250, 221])):
            answer: Deferred[Any] = Deferred()
            edge = Edge(ScriptedSession(end_of_data=answer)).to_data()
            edge.send(b"a\r\n.\r\n" + bye)
            edge.protocol.readConnectionLost()
            self.assertFalse(edge.closing)
            answer.callback(TAKEN)
            self.assertEqual((edge.codes(), edge.closing), (codes, True))

    def test_no_more_without_quit(self) -> None:
        """One that has not said QUIT, or not to its end, has gone."""
        for behind in (b"", b"NOOP\r\n", b"QUIT", b"FOOQUIT\r\n", b"QUIT\r\nNOOP\r\n"):
            edge = Edge(ScriptedSession(end_of_data=Deferred())).to_data()
            edge.send(b"a\r\n.\r\n" + behind)
            edge.protocol.readConnectionLost()
            self.assertEqual((edge.heard(), edge.closing), (b"", True), behind)
        for edge in (Edge(), Edge().to_sender(), Edge().to_data()):
            edge.heard()
            edge.protocol.readConnectionLost()
            self.assertEqual((edge.heard(), edge.closing), (b"", True))

    def test_client_goes(self) -> None:
        """The session hears of it once, and nothing after that."""
        edge = Edge().to_data()
        edge.lose()
        self.assertEqual(edge.session.asked[-1], "closed")
        self.assertEqual(edge.session.asked.count("closed"), 1)
        self.assertEqual(repr(edge.factory), "<GatewayFactory clients=0 draining=False>")

    def test_last_words_of_the_session(self) -> None:
        """A 421 by which the session refuses a command ends the connection."""
        last_words = Reply(421, (b"4.7.0 not you",))
        edge = Edge(ScriptedSession(mail=last_words))
        edge.send(b"EHLO a\r\n")
        self.assertEqual(edge.codes(SENDER + RECIPIENT), [421])
        self.assertTrue(edge.transport.disconnecting)

    def test_client_goes_while_it_waits(self) -> None:
        """An answer that comes when nobody is there any more goes nowhere."""
        for step in ("connected", "helo", "mail", "rcpt", "data", "end_of_data"):
            answer: Deferred[Any] = Deferred()
            edge = Edge(ScriptedSession(**{step: answer}))
            for line in (b"EHLO a\r\n", SENDER, RECIPIENT, b"DATA\r\n", b".\r\n"):
                if not answer.called and edge.session.asked[-1] != step:
                    edge.send(line)
            self.assertEqual(edge.session.asked[-1], step)
            edge.heard()
            edge.lose()
            asked = list(edge.session.asked)
            answer.callback(REFUSAL if step == "end_of_data" else None)
            self.assertEqual((edge.heard(), edge.session.asked), (b"", asked))

    def test_session_gives_up(self) -> None:
        """A session that cancels what waits, when the client goes, makes no noise in the log."""
        answer: Deferred[Any] = Deferred()
        edge = Edge(ScriptedSession(end_of_data=answer)).to_data()
        edge.send(b".\r\n")
        edge.lose()
        answer.cancel()
        self.assertEqual(self.flushLoggedErrors(CancelledError), [])

    def test_cancelled_while_the_client_waits(self) -> None:
        """Cancelled by anyone else it is a fault like others."""
        answer: Deferred[Any] = Deferred()
        edge = Edge(ScriptedSession(end_of_data=answer)).to_data()
        edge.send(b".\r\n")
        answer.cancel()
        self.assertEqual(len(self.flushLoggedErrors(CancelledError)), 1)
        self.assertEqual(edge.codes(), [451])

    def test_message_is_given_up(self) -> None:
        """A message that never ended is closed, and the session not asked about it."""
        edge = Edge(settings_=settings(limits=Limits(spool_after=1))).to_data()
        edge.send(b"abcdef\r\n")
        content = edge.protocol._arrival.content
        self.assertTrue(content.spooled)
        edge.lose()
        self.assertFalse(content.spooled)
        self.assertNotIn("end_of_data", edge.session.asked)

    def test_late_data(self) -> None:
        """What still comes after good-bye, in any phase, is thrown away."""
        edge = Edge()
        edge.send(b"QUIT\r\n")
        self.assertEqual(edge.send(b"EHLO a\r\n" + b"x" * 100_000), b"")
        self.assertEqual(len(edge.protocol._unread), 0)

    def test_shut_down_twice(self) -> None:
        """Saying good-bye twice is saying it once."""
        edge = Edge()
        edge.heard()
        edge.protocol.shut_down()
        edge.protocol.shut_down()
        self.assertEqual(edge.codes(), [421])
        edge.protocol._close()
        self.assertTrue(edge.closing)

    def test_no_delay(self) -> None:
        """A transport without Nagle is no harm."""
        transport = EdgeTransport()
        transport.setTcpNoDelay = None  # type: ignore[method-assign,assignment]
        self.assertEqual(Edge(transport=transport).heard(), GREETING)
