"""A connection to a backend, from its greeting to its end, without a socket."""

import errno
import os
from typing import Any
from unittest import mock

from attrs import evolve
from twisted.internet.error import ConnectionLost
from twisted.mail import smtp

from smtpforward.client.session import CLOSE_DEADLINE, MAX_REFUSALS, Phase
from smtpforward.content import Content
from smtpforward.envelope import Envelope, Recipient
from smtpforward.job import Event, Job, PoolBounds, Stage, Timeouts
from tests.clientsupport import (
    GREETING,
    MESSAGE,
    PIPELINING_EHLO,
    PLAIN_EHLO,
    SessionCase,
    make_job,
)

MAIL = b"MAIL FROM:<alice@example.org>\r\n"
RCPT = [b"RCPT TO:<r%d@example.com>\r\n" % i for i in range(3)]
OK = b"250 ok\r\n"
GO = b"354 go\r\n"
NO = b"550 no\r\n"
CLOSING = b"421 closing\r\n"
BOUNDS = PoolBounds()


class OpeningTests(SessionCase):
    """Greeting to readiness: Twisted's part, and where it is corrected."""

    def test_ready(self) -> None:
        """Greeting, EHLO, its reply: ready, and no timer is armed any more."""
        self.connected()
        self.assertTrue(self.wire.no_delay)
        self.assertEqual(self.wire.sent(), b"")
        self.assertEqual(self.wire.says(GREETING), b"EHLO gateway.example\r\n")
        self.assertEqual(self.wire.says(PIPELINING_EHLO), b"")
        self.assertEqual(self.ready, [self.session])
        self.assertIs(self.session.phase, Phase.IDLE)
        self.assertEqual(self.session.peer_name, "192.0.2.1[192.0.2.1]:25")
        self.clock.advance(10000)
        self.assertFalse(self.wire.aborted)

    def test_capabilities(self) -> None:
        """What EHLO offers, keywords in upper case; the first line is no offer."""
        self.connected()
        self.wire.says(GREETING)
        self.wire.says(b"250-SIZE 7\r\n250-Size 100\r\n250-8bitmime\r\n250 AUTH PLAIN LOGIN\r\n")
        self.assertEqual(
            self.session.extensions,
            {b"SIZE": b"100", b"8BITMIME": b"", b"AUTH": b"PLAIN LOGIN"},
        )

    def test_any_split(self) -> None:
        """Byte by byte it is the same."""
        self.connected()
        for data in (GREETING, PIPELINING_EHLO):
            for index in range(len(data)):
                self.wire.protocol.dataReceived(data[index : index + 1])
        self.assertEqual(self.ready, [self.session])
        self.assertEqual(self.session.extensions, {b"SIZE": b"1000000", b"PIPELINING": b""})

    def test_long_greeting(self) -> None:
        """A greeting of several lines is one greeting."""
        self.connected()
        self.assertEqual(
            self.wire.says(b"220-backend.example\r\n220-no spam\r\n220 go on\r\n"),
            b"EHLO gateway.example\r\n",
        )

    def test_helo(self) -> None:
        """EHLO answered 500, 502 or 504: HELO once, and nothing is offered."""
        for code in (b"500", b"502", b"504"):
            self.connected()
            self.wire.says(GREETING)
            self.assertEqual(self.wire.says(code + b" what\r\n"), b"HELO gateway.example\r\n")
            self.wire.says(OK)
            self.assertEqual(self.ready, [self.session])
            self.assertEqual(self.session.extensions, {})

    def test_helo_once(self) -> None:
        """A refused HELO ends it, also with a code that HELO would be the answer to."""
        for code in (b"500", b"502", b"550"):
            self.connected()
            self.wire.says(GREETING)
            self.wire.says(b"502 what\r\n")
            self.assertEqual(self.wire.says(code + b" no\r\n"), b"")
            error = self.opening_failed()
            self.assertIs(error.event, Event.UNREACHABLE)
            self.assertEqual(error.detail, f"HELO: {code.decode()} no")

    def test_ehlo_refused(self) -> None:
        """Another refusal of EHLO is about the server: no connection, its own words kept."""
        self.connected()
        self.wire.says(GREETING)
        self.assertEqual(self.wire.says(b"550-go\r\n550 away\r\n"), b"")
        error = self.opening_failed()
        self.assertIs(error.event, Event.UNREACHABLE)
        self.assertFalse(error.full)
        assert error.reply is not None
        self.assertEqual(error.reply.lines, (b"go", b"away"))

    def test_greeting_refused(self) -> None:
        """554 in place of the greeting: no connection."""
        self.connected()
        self.assertEqual(self.wire.says(b"554 no mail here\r\n"), b"")
        self.assertEqual(self.opening_failed().detail, "greeting: 554 no mail here")

    def test_greeting_with_another_code(self) -> None:
        """A greeting is 220 and nothing else."""
        self.connected()
        self.assertEqual(self.wire.says(b"250 hello\r\n"), b"")
        self.assertIs(self.opening_failed().event, Event.NONSENSE)

    def test_closing(self) -> None:
        """421 at the greeting, at EHLO or at HELO says that the server may be full."""
        for before in ((), (GREETING,), (GREETING, b"502 what\r\n")):
            self.connected()
            for data in before:
                self.wire.says(data)
            self.wire.says(CLOSING)
            error = self.opening_failed()
            self.assertIs(error.event, Event.CLOSING)
            self.assertTrue(error.full)
            assert error.reply is not None
            self.assertEqual(error.reply.code, 421)

    def test_loop(self) -> None:
        """A backend that greets with our own name, in any case, is this gateway."""
        self.connected(own_name="Gateway.Example")
        self.assertEqual(self.wire.says(b"220 gateway.EXAMPLE ESMTP\r\n"), b"")
        self.assertIs(self.opening_failed().event, Event.LOOP)

    def test_no_loop(self) -> None:
        """A name that only begins like ours, or none at all, is another's."""
        for greeting in (b"220 gateway.example.com hi\r\n", b"220\r\n", b"220 \r\n"):
            self.connected(own_name="gateway.example")
            self.assertEqual(self.wire.says(greeting), b"EHLO gateway.example\r\n")

    def test_nonsense(self) -> None:
        """What is no SMTP is no connection."""
        self.connected()
        self.wire.says(b"SSH-2.0-OpenSSH_9.2\r\n")
        self.assertIs(self.opening_failed().event, Event.NONSENSE)

    def test_second_greeting(self) -> None:
        """220 is no reply to EHLO or HELO: the real one would answer MAIL."""
        for before in ((GREETING,), (GREETING, b"502 what\r\n")):
            self.connected()
            for data in before:
                self.wire.says(data)
            self.wire.says(GREETING)
            self.assertIs(self.opening_failed().event, Event.NONSENSE)

    def test_replies_before_commands(self) -> None:
        """Greeting and a reply to the EHLO that is not out yet, in one segment."""
        self.connected()
        self.wire.says(GREETING, OK)
        self.assertIs(self.opening_failed().event, Event.NONSENSE)

    def test_reply_after_ready(self) -> None:
        """More than the reply to EHLO in one segment: failed, and the job hears of it."""
        for more in (OK, b"2"):
            self.connected()
            self.wire.says(GREETING)
            self.wire.says(PLAIN_EHLO, more)
            self.assertIs(self.opening_failed().event, Event.NONSENSE)

    def test_refusal_and_more(self) -> None:
        """A refusal that comes with a good-bye is still that refusal."""
        self.connected()
        self.wire.says(b"554 no mail here\r\n", b"221 bye\r\n")
        self.assertIs(self.opening_failed().event, Event.UNREACHABLE)

    def test_lost(self) -> None:
        """A connection that ends before it is ready fails, once."""
        self.connected()
        self.wire.lose()
        self.assertIs(self.opening_failed().event, Event.UNREACHABLE)
        self.assertIs(self.session.phase, Phase.CLOSED)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_silence(self) -> None:
        """No greeting within the reply timeout: no connection."""
        self.connected()
        self.clock.advance(179)
        self.assertEqual(self.ready, [])
        self.clock.advance(1)
        error = self.opening_failed()
        self.assertIs(error.event, Event.UNREACHABLE)
        self.assertEqual(error.detail, "no reply in time")

    def test_slow(self) -> None:
        """Each reply has its own time."""
        self.connected()
        for data in (GREETING, b"502 what\r\n"):
            self.clock.advance(170)
            self.wire.says(data)
        self.clock.advance(179)
        self.assertEqual(self.ready, [])
        self.clock.advance(1)
        self.opening_failed()

    def test_deadline(self) -> None:
        """When our dot must have been sent by then, a greeting later than that is of no use."""
        self.connected(deadline=50)
        self.clock.advance(40)
        self.wire.says(GREETING)
        self.clock.advance(10)
        self.assertIs(self.opening_failed().event, Event.UNREACHABLE)

    def test_twisted_gives_up(self) -> None:
        """Whatever Twisted's part fails of is a failure to connect, told once."""
        self.connected()
        self.session.sendError(smtp.SMTPConnectError(-1, b"no way"))
        self.session.sendError(smtp.SMTPConnectError(-1, b"again"))
        error = self.opening_failed()
        self.assertIs(error.event, Event.UNREACHABLE)
        self.assertIn("no way", error.detail)


class TransactionTests(SessionCase):
    """One message."""

    def accepted(self) -> None:
        """It was, and the connection is idle."""
        self.assertEqual(set(self.events()), {Event.ACCEPTED})
        self.assertIs(self.session.phase, Phase.IDLE)
        self.assertEqual(self.owner.heard, ["idle"])

    def test_pipelining(self) -> None:
        """The envelope in one write, then the message with its dot in one."""
        self.opened()
        self.session.send(make_job(), lambda _: None)
        self.assertEqual(
            self.wire.writes, [MAIL[:-2] + b" SIZE=%d\r\n" % len(MESSAGE) + RCPT[0] + b"DATA\r\n"]
        )
        self.wire.writes.clear()
        self.wire.protocol.dataReceived(OK + OK + GO)
        self.assertEqual(self.wire.writes, [MESSAGE + b".\r\n"])

    def test_outcome(self) -> None:
        """An outcome says who, what, where, by whose words, and when the dot left."""
        self.opened()
        self.clock.advance(5)
        self.send()
        self.wire.says(OK, OK, GO)
        self.clock.advance(2)
        self.wire.says(b"250-2.0.0 as\r\n250 2.0.0 1\r\n")
        self.accepted()
        [outcome] = self.outcomes[0]
        self.assertEqual(bytes(outcome.recipient.address), b"r0@example.com")
        assert outcome.reply is not None
        self.assertEqual(outcome.reply.lines, (b"2.0.0 as", b"2.0.0 1"))
        self.assertIs(outcome.stage, Stage.DOT)
        self.assertEqual(outcome.peer, "192.0.2.1[192.0.2.1]:25")
        self.assertEqual(outcome.sent, 5.0)

    def test_without_pipelining(self) -> None:
        """One command at a time."""
        self.opened(PLAIN_EHLO)
        self.assertEqual(self.send(), MAIL)
        self.assertEqual(self.wire.says(OK), RCPT[0])
        self.assertEqual(self.wire.says(OK), b"DATA\r\n")
        self.assertEqual(self.wire.says(GO), MESSAGE + b".\r\n")
        self.wire.says(OK)
        self.accepted()

    def test_three_recipients(self) -> None:
        """All RCPTs in one write; the data waits for their replies."""
        self.opened(b"250-x\r\n250 PIPELINING\r\n")
        self.assertEqual(self.send(make_job(3)), MAIL + b"".join(RCPT))
        self.assertEqual(self.wire.says(OK, OK, OK), b"")
        self.assertEqual(self.wire.says(OK), b"DATA\r\n")
        self.assertEqual(self.wire.says(GO), MESSAGE + b".\r\n")
        self.wire.says(OK)
        self.accepted()

    def test_three_recipients_without_pipelining(self) -> None:
        """The same, one at a time."""
        self.opened(PLAIN_EHLO)
        self.assertEqual(self.send(make_job(3)), MAIL)
        for command in (*RCPT, b"DATA\r\n"):
            self.assertEqual(self.wire.says(OK), command)
        self.assertEqual(self.wire.says(GO), MESSAGE + b".\r\n")
        self.wire.says(OK)
        self.accepted()

    def test_atomic_refusal(self) -> None:
        """One refused of three: RSET, told at once; idle only after the reply to RSET."""
        self.opened()
        self.send(make_job(3))
        self.assertEqual(self.wire.says(OK, OK, NO, OK), b"RSET\r\n")
        self.assertEqual(self.events(), [Event.SPARED, Event.REFUSED, Event.SPARED])
        self.assertEqual(self.owner.heard, [])
        self.assertEqual(self.wire.says(OK), b"")
        self.assertEqual(self.owner.heard, ["idle"])

    def test_refusal_not_atomic(self) -> None:
        """The others get the message."""
        self.opened()
        self.send(make_job(3, atomic=False))
        self.assertEqual(self.wire.says(OK, OK, NO, OK), b"DATA\r\n")
        self.wire.says(GO)
        self.wire.says(OK)
        self.assertEqual(self.events(), [Event.ACCEPTED, Event.REFUSED, Event.ACCEPTED])
        self.assertEqual([o.stage for o in self.outcomes[0]], [Stage.DOT, Stage.RCPT, Stage.DOT])

    def test_data_accepted_after_refused_recipient(self) -> None:
        """354 after the one RCPT was refused: closed, and no dot was sent."""
        self.opened()
        self.send()
        self.assertEqual(self.wire.says(OK, NO, GO), b"")
        self.assertTrue(self.wire.aborted)
        self.assertEqual(self.events(), [Event.REFUSED])
        self.assertEqual(self.owner.heard, ["closing"])

    def test_parameters(self) -> None:
        """SIZE counts the added header lines; BODY goes to a backend with 8BITMIME."""
        self.opened(b"250-x\r\n250-8BITMIME\r\n250 SIZE\r\n")
        content = Content.from_plain(MESSAGE)
        content.prefix = b"Received: here\r\n"
        job = make_job(content=content, parameters={b"BODY": b"8BITMIME", b"SIZE": b"1"})
        size = len(content.prefix) + len(MESSAGE)
        self.assertEqual(self.send(job), MAIL[:-2] + b" SIZE=%d BODY=8BITMIME\r\n" % size)
        self.wire.says(OK)
        self.wire.says(OK)
        self.assertEqual(self.wire.says(GO), content.prefix + MESSAGE + b".\r\n")

    def test_too_large(self) -> None:
        """Above the backend's limit nothing is sent and the connection stays."""
        self.opened(b"250-x\r\n250 SIZE 10\r\n")
        self.assertEqual(self.send(), b"")
        self.assertEqual(self.events(), [Event.TOO_LARGE])
        self.assertEqual(self.owner.heard, ["idle"])

    def test_dots(self) -> None:
        """A plain message goes out stuffed, whatever its pieces are."""
        self.opened()
        self.send(make_job(content=Content.from_plain(b".a\r\n.\r\nb\r\n")))
        self.assertEqual(self.wire.says(OK, OK, GO), b"..a\r\n..\r\nb\r\n.\r\n")

    def test_empty_message(self) -> None:
        """An empty message is its dot."""
        self.opened()
        self.send(make_job(content=Content.from_plain(b"")))
        self.assertEqual(self.wire.says(OK, OK, GO), b".\r\n")

    def test_second_message(self) -> None:
        """A connection is used again, without RSET after a clean end."""
        self.opened()
        for number in (1, 2):
            self.assertTrue(self.send().startswith(b"MAIL"))
            self.wire.says(OK, OK, GO)
            self.assertEqual(self.wire.says(OK), b"")
            self.assertEqual(self.events(), [Event.ACCEPTED])
            self.assertEqual(self.session.messages, number)

    def test_next_message_from_the_owner(self) -> None:
        """The owner may hand over the next message before the first one's outcome is told."""
        self.opened()
        told: list[str] = []

        class Eager:
            """Gives the connection away as soon as it is free."""

            def idle(owner, connection: object) -> None:  # noqa: N805 -- self is the test
                """The next one."""
                self.session.owner = self.owner
                self.session.send(make_job(), lambda _: told.append("second"))

        self.session.owner = Eager()  # type: ignore[assignment]
        self.session.send(make_job(), lambda _: told.append("first"))
        self.wire.says(OK, OK, GO)
        self.wire.sent()
        self.assertTrue(self.wire.says(OK).startswith(b"MAIL"))
        self.assertEqual(told, ["first"])
        self.wire.says(OK, OK, GO)
        self.wire.says(OK)
        self.assertEqual(told, ["first", "second"])


class Strict8BitTests(SessionCase):
    """``strict_8bit``: what a backend without 8BITMIME gets."""

    EIGHT_BIT = b"Subject: caf\xc3\xa9\r\n\r\n"

    def strict(self, message: bytes = EIGHT_BIT, **changes: Any) -> Job:
        """A job of a route that is strict."""
        job = make_job(content=Content.from_plain(message), **changes)
        return evolve(job, next_hop=evolve(job.next_hop, strict_8bit=True))

    def test_refused(self) -> None:
        """8-bit bytes: nothing is sent, each recipient is told, and the connection stays."""
        self.opened(PLAIN_EHLO)
        self.assertEqual(self.send(self.strict(count=2)), b"")
        self.assertEqual(self.events(), [Event.EIGHT_BIT] * 2)
        self.assertEqual([outcome.stage for outcome in self.outcomes[0]], [Stage.MAIL] * 2)
        self.assertEqual(self.owner.heard, ["idle"])
        self.assertEqual(self.send(), MAIL)

    def test_7bit(self) -> None:
        """What is said to be 8-bit and is not passes, without the parameter."""
        self.opened(PLAIN_EHLO)
        self.assertEqual(self.send(self.strict(MESSAGE, parameters={b"BODY": b"8BITMIME"})), MAIL)

    def test_offered(self) -> None:
        """Where 8BITMIME is offered the message is not looked at."""
        self.opened(b"250-x\r\n250 8BITMIME\r\n")
        with mock.patch.object(Content, "is_ascii", side_effect=AssertionError("looked at")):
            self.assertEqual(self.send(self.strict()), MAIL)

    def test_not_strict(self) -> None:
        """Without the flag it passes as it is, and is not looked at."""
        self.opened(PLAIN_EHLO)
        job = make_job(content=Content.from_plain(self.EIGHT_BIT))
        with mock.patch.object(Content, "is_ascii", side_effect=AssertionError("looked at")):
            self.assertEqual(self.send(job), MAIL)

    def test_unreadable(self) -> None:
        """A file that cannot be read is a fault of the gateway's, not of the connection."""
        self.opened(PLAIN_EHLO)
        os.mkdir(directory := self.mktemp())
        content = Content(directory, 0)
        self.addCleanup(content.close)
        content.append(self.EIGHT_BIT)
        with mock.patch("os.pread", side_effect=OSError(errno.EIO, "no")):
            self.assertEqual(self.send(evolve(self.strict(), content=content)), b"")
        self.assertEqual(self.events(), [Event.FAULT])
        self.assertEqual(self.owner.heard, ["idle"])


class DsnTests(SessionCase):
    """Whether a backend was told what the sender wants to hear of (RFC 3461)."""

    DSN_EHLO = b"250-backend.example\r\n250-PIPELINING\r\n250 DSN\r\n"

    def told(self, ehlo: bytes, *parameters: dict[bytes, bytes]) -> list[bool]:
        """Per recipient, after the message was taken."""
        self.opened(ehlo)
        job = make_job(len(parameters))
        pairs = zip(job.envelope.recipients, parameters, strict=True)
        asking = tuple(Recipient(recipient.address, given) for recipient, given in pairs)
        self.send(evolve(job, envelope=Envelope(job.envelope.sender, asking)))
        self.wire.says(OK, *(OK for _ in parameters))
        self.wire.says(GO)
        self.wire.says(OK)
        self.assertEqual(self.events(), [Event.ACCEPTED] * len(parameters))
        return [outcome.dsn for outcome in self.outcomes[0]]

    def test_told(self) -> None:
        """A backend with DSN, for those recipients for whom something was asked."""
        asked = {b"NOTIFY": b"SUCCESS"}
        self.assertEqual(self.told(self.DSN_EHLO, asked, {}, asked), [True, False, True])

    def test_not_told(self) -> None:
        """One without DSN."""
        asked = {b"NOTIFY": b"SUCCESS"}
        self.assertEqual(self.told(PIPELINING_EHLO, asked, {}), [False, False])


class Utf8Tests(SessionCase):
    """A client that gave SMTPUTF8, and a backend that does not have it."""

    SINGLE = b"Subject: x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\ncaf\xc3\xa9\r\n"
    PARTS = SINGLE.replace(b"text/plain", b"Multipart/mixed")
    NESTED = SINGLE.replace(b"text/plain", b"message/rfc822")
    HEADER = b"Subject: caf\xc3\xa9\r\n\r\n"

    def job(self, message: bytes, **changes: Any) -> Job:
        """A job of such a client."""
        content = Content.from_plain(message)
        return make_job(content=content, parameters={b"SMTPUTF8": b""}, **changes)

    def test_ascii(self) -> None:
        """Envelope and all headers in ASCII: nothing needs SMTPUTF8, and the mail passes."""
        self.opened(PLAIN_EHLO)
        for message in (MESSAGE, self.SINGLE):
            self.assertEqual(self.send(self.job(message)), MAIL)
            self.wire.says(NO)

    def test_refused(self) -> None:
        """A header outside ASCII, or one that could be: nothing is sent, the connection stays."""
        self.opened(PLAIN_EHLO)
        for message in (self.HEADER, self.PARTS, self.NESTED):
            self.assertEqual(self.send(self.job(message, count=2)), b"")
            self.assertEqual(self.events(), [Event.UTF8] * 2)
            self.outcomes.clear()
        self.assertEqual(self.send(), MAIL)

    def test_strict(self) -> None:
        """``strict_8bit`` holds all the same."""
        self.opened(PLAIN_EHLO)
        job = self.job(self.SINGLE)
        strict = evolve(job, next_hop=evolve(job.next_hop, strict_8bit=True))
        self.assertEqual(self.send(strict), b"")
        self.assertEqual(self.events(), [Event.UTF8])

    def test_offered(self) -> None:
        """Where it is offered the message is not looked at, and the parameter goes on."""
        self.opened(b"250-x\r\n250 SMTPUTF8\r\n")
        with mock.patch.object(Content, "is_ascii", side_effect=AssertionError("looked at")):
            self.assertEqual(self.send(self.job(self.HEADER)), MAIL[:-2] + b" SMTPUTF8\r\n")

    def test_not_given(self) -> None:
        """A client that did not give it has its message passed as it is."""
        self.opened(PLAIN_EHLO)
        content = Content.from_plain(self.HEADER)
        self.assertEqual(self.send(make_job(content=content)), MAIL)

    def test_unreadable(self) -> None:
        """A file that cannot be read is a fault of the gateway's."""
        self.opened(PLAIN_EHLO)
        os.mkdir(directory := self.mktemp())
        content = Content(directory, 0)
        self.addCleanup(content.close)
        content.append(self.SINGLE)
        with mock.patch("os.pread", side_effect=OSError(errno.EIO, "no")):
            self.assertEqual(self.send(evolve(self.job(b""), content=content)), b"")
        self.assertEqual(self.events(), [Event.FAULT])


class SpooledTests(SessionCase):
    """A message that is read from a file while it is sent."""

    def spooled(self, size: int = 600_000) -> Content:
        """A message of several pieces in a file, without a prefix."""
        directory = self.mktemp()
        os.mkdir(directory)
        content = Content(directory, 10)
        self.addCleanup(content.close)
        for _ in range(size // 100):
            content.append(b"x" * 98 + b"\r\n")
        return content

    def begin(self) -> Content:
        """A transaction up to 354; the first piece is out."""
        self.opened(b"250-x\r\n250 PIPELINING\r\n")
        content = self.spooled()
        self.send(make_job(content=content))
        self.wire.protocol.dataReceived(OK + OK + GO)
        return content

    def test_sent(self) -> None:
        """Piece by piece, and the dot after the last one."""
        content = self.begin()
        self.assertFalse(self.session.past_dot)
        data = self.wire.drain()
        self.assertTrue(self.session.past_dot)
        self.assertEqual(data, b"".join(content.wire()) + b".\r\n")
        self.wire.says(OK)
        self.assertEqual(self.events(), [Event.ACCEPTED])

    def test_dot_is_out_when_it_is_written(self) -> None:
        """From the write that holds the dot on, nothing is kept back or tried again."""
        self.begin()
        data = b""
        while not data.endswith(b"\n.\r\n"):
            self.assertFalse(self.session.past_dot)
            data += self.wire.sent()
            assert self.wire.producer is not None
            self.wire.producer.resumeProducing()
            data += self.wire.sent()
        self.assertTrue(self.session.past_dot)
        self.wire.lose()
        self.assertEqual(self.events(), [Event.IN_DOUBT])

    def test_a_reply_that_begins_before_the_dot(self) -> None:
        """It is none to the dot, which stays unsaid: a success is nonsense, a refusal counts."""
        for reply, event in ((OK, Event.NONSENSE), (NO, Event.REFUSED)):
            self.begin()
            self.wire.protocol.dataReceived(reply[:-1])
            self.assertFalse(self.wire.drain().endswith(b"\n.\r\n"))
            self.assertFalse(self.session.past_dot)
            self.wire.protocol.dataReceived(reply[-1:])
            self.assertTrue(self.wire.aborted)
            self.assertEqual(self.events(), [event])
            self.assertIs(self.outcomes[0][0].stage, Stage.BODY)

    def test_progress(self) -> None:
        """A backend that takes pieces slowly is waited for; one that takes none is not."""
        self.opened()
        job = make_job(content=self.spooled(), deadline=1e9)
        self.send(job)
        self.wire.protocol.dataReceived(OK + OK + GO)
        assert self.wire.producer is not None
        self.clock.advance(170)
        self.wire.producer.resumeProducing()
        self.clock.advance(170)
        self.assertFalse(self.wire.aborted)
        self.clock.advance(10)
        self.assertTrue(self.wire.aborted)
        self.assertEqual(self.events(), [Event.DROPPED])
        self.assertIs(self.outcomes[0][0].stage, Stage.BODY)

    def test_deadline(self) -> None:
        """The dot must be out by the deadline, whatever the progress."""
        self.begin()
        assert self.wire.producer is not None
        for _ in range(2):
            self.clock.advance(100)
            self.wire.producer.resumeProducing()
        self.assertFalse(self.wire.aborted)
        self.clock.advance(40)
        self.assertTrue(self.wire.aborted)
        self.assertEqual(self.events(), [Event.DROPPED])

    def test_refused_early(self) -> None:
        """A refusal in the middle ends it: closed, no dot, the refusal is the answer."""
        self.begin()
        self.wire.says(b"552 too much\r\n")
        self.assertTrue(self.wire.aborted)
        self.assertEqual(self.events(), [Event.REFUSED])
        self.assertEqual(self.wire.drain(), b"")

    def test_no_dot_after_the_end(self) -> None:
        """A transport that still asks for pieces after the refusal gets no dot."""
        self.begin()
        self.wire.says(b"552 too much\r\n")
        data = b""
        for _ in range(10):
            if self.wire.producer is not None:
                self.wire.producer.resumeProducing()
                data += self.wire.sent()
        self.assertFalse(data.endswith(b".\r\n"))

    def test_success_early(self) -> None:
        """250 in the middle is no success."""
        self.begin()
        self.wire.says(OK)
        self.assertTrue(self.wire.aborted)
        self.assertEqual(self.events(), [Event.NONSENSE])

    def test_unreadable(self) -> None:
        """A file that cannot be read is a fault of ours; the connection is closed, no dot sent."""
        self.begin().close()
        self.assertFalse(self.wire.drain().endswith(b".\r\n"))
        self.assertTrue(self.wire.aborted)
        self.assertEqual(self.events(), [Event.FAULT])

    def test_lost(self) -> None:
        """Dropped in the middle."""
        self.begin()
        self.wire.lose(ConnectionLost())
        self.assertEqual(self.events(), [Event.DROPPED])
        self.assertIsNone(self.outcomes[0][0].sent)


class BrokenTests(SessionCase):
    """What ends a connection in the middle of a transaction."""

    STEPS = ((Stage.MAIL, ()), (Stage.RCPT, (OK,)), (Stage.DATA, (OK, OK)))

    def at(self, before: tuple[bytes, ...], job: Job | None = None) -> None:
        """A transaction to which the backend has said ``before``."""
        self.opened()
        self.send(job)
        for answer in before:
            self.wire.says(answer)

    def ended(self, event: Event, stage: Stage) -> None:
        """Closed, and told once."""
        self.assertEqual(self.events(), [event])
        self.assertIs(self.outcomes[0][0].stage, stage)
        self.assertEqual(self.owner.heard, ["closing"])
        self.assertTrue(self.wire.aborted)
        self.wire.lose()
        self.assertEqual(len(self.outcomes), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_closing(self) -> None:
        """421 everywhere retires the connection; what was before the dot's reply is not sent."""
        for stage, before in (*self.STEPS, (Stage.DOT, (OK, OK, GO))):
            self.at(before)
            self.wire.says(CLOSING)
            self.ended(Event.CLOSING, stage)

    def test_closing_at_reset(self) -> None:
        """421 to RSET: the outcome stands, the connection does not."""
        self.at((OK, NO, NO))
        self.wire.says(CLOSING)
        self.ended(Event.REFUSED, Stage.RCPT)

    def test_closing_after_success(self) -> None:
        """421 in one segment with the reply to the dot: accepted, and not used again."""
        self.at((OK, OK, GO))
        self.wire.says(OK, CLOSING)
        self.ended(Event.ACCEPTED, Stage.DOT)

    def test_rubbish_after_success(self) -> None:
        """Rubbish in one segment with the reply to the dot takes nothing back."""
        for rubbish in (b"rubbish\r\n", b"x" * 5000, b"25"):
            self.at((OK, OK, GO))
            self.wire.says(OK, rubbish)
            self.ended(Event.ACCEPTED, Stage.DOT)

    def test_nonsense(self) -> None:
        """No SMTP reply, at each stage."""
        for stage, before in (*self.STEPS, (Stage.DOT, (OK, OK, GO))):
            self.at(before)
            self.wire.says(b"rubbish\r\n")
            self.ended(Event.NONSENSE, stage)

    def test_replies_before_commands(self) -> None:
        """More replies than commands: what comes too early is never matched to a later command."""
        self.at((), make_job(2))
        self.assertEqual(self.wire.says(OK, OK, OK, GO), b"")
        self.assertEqual(self.events(), [Event.NONSENSE] * 2)
        self.assertTrue(self.wire.aborted)

    def test_success_before_the_message(self) -> None:
        """354 and 250 in one segment: the message is not sent, and this is not success."""
        self.at(())
        self.assertEqual(self.wire.says(OK, OK, GO, OK), b"")
        self.ended(Event.NONSENSE, Stage.BODY)

    def test_part_of_a_reply_before_the_message(self) -> None:
        """Nor is it with the beginning of a reply, whatever that will be."""
        for rest, event in ((b"0 ok\r\n", Event.NONSENSE), (b"", Event.DROPPED)):
            self.at(())
            self.assertEqual(self.wire.says(OK, OK, GO, b"25"), b"")
            self.assertEqual(self.wire.says(rest) if rest else b"", b"")
            self.clock.advance(0 if rest else 180)
            self.ended(event, Stage.BODY)

    def test_closing_before_the_next_command(self) -> None:
        """421 in one segment with the reply before it is what it says."""
        for two in ((OK, OK, GO, CLOSING), (OK, OK, GO, CLOSING, CLOSING)):
            self.at(())
            self.assertEqual(self.wire.says(*two), b"")
            self.ended(Event.CLOSING, Stage.BODY)
        self.at((), make_job(2))
        self.assertEqual(self.wire.says(OK, OK, OK, CLOSING), b"")
        self.assertEqual(self.events(), [Event.CLOSING] * 2)

    def test_reply_before_reset(self) -> None:
        """A reply too many with the refusal: the outcome stands, the connection does not."""
        self.at(())
        self.assertEqual(self.wire.says(OK, NO, NO, OK), b"")
        self.ended(Event.REFUSED, Stage.RCPT)

    def test_pipelined_replies(self) -> None:
        """Replies to commands that are out may come in one segment, or in any pieces."""
        self.at((b"25", b"0 ok\r\n250", b" ok\r\n354 go\r\n"))
        self.wire.says(OK)
        self.assertEqual(self.events(), [Event.ACCEPTED])

    def test_lost(self) -> None:
        """Dropped before the dot at each stage; after it, in doubt."""
        for stage, before in self.STEPS:
            self.at(before)
            self.wire.lose(ConnectionLost())
            self.assertEqual(self.events(), [Event.DROPPED])
            self.assertIs(self.outcomes[0][0].stage, stage)
            self.assertEqual(self.owner.heard, ["gone"])
            self.assertEqual(self.clock.getDelayedCalls(), [])
        self.at((OK, OK, GO))
        self.wire.lose()
        self.assertEqual(self.events(), [Event.IN_DOUBT])

    def test_refused_and_lost(self) -> None:
        """521 to RCPT and a FIN: that is a refusal, not a lost connection."""
        self.at((OK, b"521 5.3.2 go away\r\n"))
        self.wire.lose()
        self.assertEqual(self.events(), [Event.REFUSED])
        self.assertIs(self.outcomes[0][0].stage, Stage.RCPT)

    def test_lost_at_reset(self) -> None:
        """A connection that ends at RSET changes nothing about the outcome."""
        self.at((OK, NO, NO))
        self.wire.lose()
        self.assertEqual(self.events(), [Event.REFUSED])

    def test_given_up(self) -> None:
        """A job that is given up hears nothing, and nothing more is sent."""
        self.at((OK, OK))
        self.session.give_up()
        self.assertTrue(self.wire.aborted)
        self.wire.lose()
        self.assertEqual(self.outcomes, [])
        self.assertEqual(self.owner.heard, ["closing", "gone"])


class TimeoutTests(SessionCase):
    """Silence, in each phase."""

    def test_reply(self) -> None:
        """Silence before each reply up to 354 is a dropped connection."""
        for before in ((), (OK,), (OK, OK)):
            self.opened()
            self.send(make_job(deadline=1e9))
            for answer in before:
                self.clock.advance(100)
                self.wire.says(answer)
            self.clock.advance(179)
            self.assertEqual(self.outcomes, [])
            self.clock.advance(1)
            self.assertEqual(self.events(), [Event.DROPPED])
            self.assertEqual(self.outcomes[0][0].detail, "no reply in time")
            self.assertTrue(self.wire.aborted)

    def test_deadline(self) -> None:
        """However lively the backend, our dot is out by the deadline or not at all."""
        self.opened(PLAIN_EHLO)
        self.send(make_job(deadline=100.0))
        self.clock.advance(60)
        self.wire.says(OK)
        self.clock.advance(39)
        self.assertEqual(self.outcomes, [])
        self.clock.advance(1)
        self.assertEqual(self.events(), [Event.DROPPED])

    def test_dot(self) -> None:
        """The reply to the dot has its own, long time; the deadline does not count any more."""
        self.opened()
        self.send(make_job(deadline=1.0))
        self.wire.says(OK, OK, GO)
        self.clock.advance(569)
        self.assertEqual(self.outcomes, [])
        self.clock.advance(1)
        self.assertEqual(self.events(), [Event.IN_DOUBT])
        self.assertTrue(self.wire.aborted)

    def test_reset(self) -> None:
        """A backend that does not answer RSET is closed; the outcome has long been told."""
        self.opened()
        self.send(make_job(deadline=1e9))
        self.wire.says(OK, NO, NO)
        self.assertEqual(self.events(), [Event.REFUSED])
        self.clock.advance(180)
        self.assertTrue(self.wire.aborted)
        self.assertEqual(len(self.outcomes), 1)

    def test_job_brings_its_own(self) -> None:
        """The timeouts are those of the message, not of the connection's first one."""
        self.opened()
        self.send(make_job(timeouts=Timeouts(reply=7.0)))
        self.clock.advance(7)
        self.assertEqual(self.events(), [Event.DROPPED])


class IdleTests(SessionCase):
    """Between transactions, and the end."""

    def test_data(self) -> None:
        """Any byte while idle retires the connection: it answers nothing."""
        for data in (CLOSING, OK, b"2", b"\r\n"):
            self.opened()
            self.wire.says(data)
            self.assertTrue(self.wire.aborted)
            self.assertEqual(self.owner.heard, ["closing"])

    def test_lost(self) -> None:
        """A FIN while idle retires it, too, and leaves no timer."""
        self.opened()
        self.wire.lose()
        self.assertEqual(self.owner.heard, ["gone"])
        self.assertIs(self.session.phase, Phase.CLOSED)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_quit(self) -> None:
        """QUIT, its reply, the end."""
        self.opened()
        self.session.quit()
        self.assertEqual(self.wire.sent(), b"QUIT\r\n")
        self.assertEqual(self.owner.heard, ["closing"])
        self.wire.says(b"221 bye\r\n")
        self.assertTrue(self.wire.disconnecting)
        self.assertFalse(self.wire.aborted)
        self.wire.lose()
        self.assertEqual(self.owner.heard, ["closing", "gone"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_quit_unanswered(self) -> None:
        """A backend that does not answer QUIT is aborted after the deadline."""
        self.opened()
        self.session.quit()
        self.clock.advance(CLOSE_DEADLINE)
        self.assertTrue(self.wire.aborted)

    def test_quit_and_not_closed(self) -> None:
        """So is one that answers it, but does not let the connection end."""
        self.opened()
        self.session.quit()
        self.wire.says(b"221 bye\r\n")
        self.assertFalse(self.wire.aborted)
        self.clock.advance(CLOSE_DEADLINE)
        self.assertTrue(self.wire.aborted)

    def test_quit_answered_with_rubbish(self) -> None:
        """Rubbish in answer to QUIT ends it at once."""
        self.opened()
        self.session.quit()
        self.wire.says(b"rubbish\r\n")
        self.assertTrue(self.wire.aborted)

    def test_quit_while_busy(self) -> None:
        """A transaction is not interrupted by it."""
        self.opened()
        self.send()
        self.session.quit()
        self.assertEqual(self.wire.sent(), b"")
        self.assertEqual(self.owner.heard, [])

    def test_abort(self) -> None:
        """At once, told once; after the end it does nothing."""
        self.opened()
        self.session.abort()
        self.session.abort()
        self.wire.lose()
        self.session.abort()
        self.assertEqual(self.owner.heard, ["closing", "gone"])
        self.assertIs(self.session.phase, Phase.CLOSED)

    def test_without_owner(self) -> None:
        """A session that nobody owns works as well."""
        self.opened()
        self.session.owner = None
        self.send()
        self.wire.says(OK, OK, GO)
        self.wire.says(OK)
        self.assertEqual(self.events(), [Event.ACCEPTED])
        self.session.quit()
        self.wire.lose()
        self.assertIs(self.session.phase, Phase.CLOSED)

    def test_age(self) -> None:
        """A connection is worn when it is old enough."""
        self.clock.advance(100)
        self.opened()
        self.assertEqual(self.session.worn_at(BOUNDS), 100 + BOUNDS.max_age)
        self.assertFalse(self.session.is_worn(BOUNDS, 99 + BOUNDS.max_age))
        self.assertTrue(self.session.is_worn(BOUNDS, 100 + BOUNDS.max_age))

    def test_messages(self) -> None:
        """Or when it has carried enough messages."""
        self.opened()
        two = PoolBounds(max_messages=2)
        for worn in (False, True):
            self.send()
            self.wire.says(OK, OK, GO)
            self.wire.says(OK)
            self.assertIs(self.session.is_worn(two, 0), worn)

    def test_refusals(self) -> None:
        """Or after three transactions with refusals: some backends hang up on the next."""
        self.opened()
        for number in range(1, MAX_REFUSALS + 1):
            self.assertFalse(self.session.is_worn(BOUNDS, 0))
            self.send(make_job(2))
            self.wire.says(OK, NO, NO)
            self.wire.says(OK)
            self.assertIs(self.session.is_worn(BOUNDS, 0), number == MAX_REFUSALS)
