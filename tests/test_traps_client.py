"""Faults of Twisted's own SMTP client, and of what lies around it: none of them is inherited.

Each test is named after the fault; ``tests/guards/client.py`` names the line that keeps it away.
"""

import os
import time
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.testing import MemoryReactorClock
from twisted.mail import smtp
from twisted.python.failure import Failure

from smtpforward.client.connect import BackendFactory
from smtpforward.client.session import CLOSE_DEADLINE, Phase
from smtpforward.content import READ_SIZE, Content, Form
from smtpforward.envelope import Address, Envelope, Recipient
from smtpforward.job import TLS, Credentials, Event
from smtpforward.net.clock import make_monotonic
from tests.clientsupport import (
    GREETING,
    MESSAGE,
    PLAIN_EHLO,
    SERVER,
    TIMEOUTS,
    ReactorCase,
    SessionCase,
    make_job,
)
from tests.clienttls import WRONG_NAME, TLSCase, TLSWire, backend_context
from tests.clienttls import server as tls_server

OK = b"250 ok\r\n"
GO = b"354 go\r\n"
NO = b"550 no\r\n"
CLOSING = b"421 closing\r\n"
INJECTED = b".\r\nMAIL FROM:<evil@example.org>\r\n"


class DataTraps(SessionCase):
    """``transformChunk`` of ``twisted.mail.smtp``."""

    def sent_data(self, content: Content) -> bytes:
        """What stands on the wire between 354 and the reply to the dot."""
        self.opened()
        self.send(make_job(content=content))
        self.wire.protocol.dataReceived(OK + OK + GO)
        return self.wire.drain()

    def test_dot_at_the_seam_of_two_chunks(self) -> None:
        """A line end at the end of one piece and a dot at the start of the next: still stuffed."""
        content = Content("", 100_000, Form.PLAIN)
        first = b"x" * 16382 + b"\r\n"
        content.append(first)
        content.append(INJECTED)
        self.assertFalse(content.spooled)
        self.assertEqual(self.sent_data(content), first + b"." + INJECTED + b".\r\n")

    def test_dot_at_the_seam_of_two_reads(self) -> None:
        """The same where the pieces are those in which a file is read."""
        directory = self.mktemp()
        os.mkdir(directory)
        content = Content(directory, 1000, Form.PLAIN)
        self.addCleanup(content.close)
        before = b"x" * (READ_SIZE - 2) + b"\r\n"
        content.append(before)
        content.append(INJECTED)
        self.assertTrue(content.spooled)
        self.assertEqual(self.sent_data(content), before + b"." + INJECTED + b".\r\n")

    def test_dot_in_the_first_line(self) -> None:
        """A message whose first line begins with a dot keeps that dot."""
        content = Content.from_plain(INJECTED)
        self.assertEqual(self.sent_data(content), b"." + INJECTED + b".\r\n")

    def test_crlf_stays_crlf(self) -> None:
        """CRLF does not become CR CR LF."""
        self.assertEqual(self.sent_data(Content.from_plain(MESSAGE)), MESSAGE + b".\r\n")


class DialogueTraps(SessionCase):
    """What Twisted's client takes for what, and what it does not notice."""

    def test_data_answered_250(self) -> None:
        """250 to DATA, in place of 354, is not success: nothing was sent."""
        self.opened()
        self.send()
        self.wire.says(OK, OK)
        self.assertEqual(self.wire.says(OK), b"")
        self.assertEqual(self.events(), [Event.NONSENSE])

    def test_250_before_the_dot(self) -> None:
        """250 while the message is on its way is not success: the dot was not sent."""
        directory = self.mktemp()
        os.mkdir(directory)
        content = Content(directory, 10)
        self.addCleanup(content.close)
        content.append(MESSAGE * 20000)
        self.opened(PLAIN_EHLO)
        self.send(make_job(content=content))
        for answer in (OK, OK, GO, OK):
            self.wire.protocol.dataReceived(answer)
        self.assertEqual(self.events(), [Event.NONSENSE])
        self.assertFalse(self.wire.sent().endswith(b".\r\n"))

    def test_250_with_354(self) -> None:
        """Nor is 250 in one segment with 354, nor 550 its refusal: the message was not sent yet."""
        for early in (OK, NO):
            self.opened()
            self.send()
            self.assertEqual(self.wire.says(OK, OK, GO, early), b"")
            self.assertEqual(self.events(), [Event.NONSENSE])

    def test_one_accepted_recipient_is_no_success(self) -> None:
        """One recipient accepted and one refused is not success for the message."""
        self.opened()
        self.send(make_job(2))
        self.assertEqual(self.wire.says(OK, OK, NO), b"RSET\r\n")
        self.assertEqual(self.events(), [Event.SPARED, Event.REFUSED])

    def test_address_becomes_another(self) -> None:
        """Addresses go out octet for octet; ``quoteaddr`` makes other ones of these."""
        odd = [Address(b'"bob\\@evil.example"', b"x.example"), Address(b"bob(x)", b"y.example")]
        for address in odd:
            self.assertNotEqual(smtp.quoteaddr(bytes(address)), address.path)
        self.opened(PLAIN_EHLO)
        envelope = Envelope(odd[0], (Recipient(odd[1]),))
        sent = self.send(make_job(envelope=envelope))
        sent += self.wire.says(OK)
        self.assertEqual(
            sent,
            b'MAIL FROM:<"bob\\@evil.example"@x.example>\r\nRCPT TO:<bob(x)@y.example>\r\n',
        )

    def test_421_to_ehlo(self) -> None:
        """421 to EHLO is 421: the server closes, it may be full; not ``502 no EHLO``."""
        self.connected()
        self.wire.says(GREETING)
        self.assertEqual(self.wire.says(CLOSING), b"")
        error = self.opening_failed()
        self.assertIs(error.event, Event.CLOSING)
        assert error.reply is not None
        self.assertEqual(error.reply.code, 421)

    def test_timeout_after_the_result(self) -> None:
        """A timeout after the connection became ready raises nothing, and closes nothing."""
        self.opened()
        self.session.timeoutConnection()
        self.clock.advance(10000)
        self.assertFalse(self.wire.aborted)
        self.assertIs(self.session.phase, Phase.IDLE)

    def test_endless_line(self) -> None:
        """A reply line without end ends the connection after a few kilobytes."""
        self.connected()
        for _ in range(20):
            if not self.ready:
                self.wire.says(b"220 " + b"x" * 500)
        self.assertIs(self.opening_failed().event, Event.NONSENSE)

    def test_endless_reply(self) -> None:
        """So does a reply of lines without end."""
        self.connected()
        for _ in range(200):
            if not self.ready:
                self.wire.says(b"220-" + b"x" * 500 + b"\r\n")
        self.assertIs(self.opening_failed().event, Event.NONSENSE)

    def test_no_reply_code(self) -> None:
        """What ``int`` takes for a number is not yet a reply code."""
        for line in (b"+25 ok\r\n", b" 25 ok\r\n", b"2_5 ok\r\n", b"650 ok\r\n", b"999 ok\r\n"):
            self.opened()
            self.send()
            self.wire.says(line)
            self.assertEqual(self.events(), [Event.NONSENSE], line)


class TLSTraps(TLSCase):
    """STARTTLS of ``twisted.mail.smtp``."""

    def to_starttls(self) -> TLSWire:
        """The backend has been asked for TLS."""
        self.connecting = self.connector.connect(tls_server(TLS.REQUIRED), make_job())
        wire = self.accept()
        wire.says(GREETING)
        self.assertEqual(wire.says(b"250-x\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n"), b"STARTTLS\r\n")
        return wire

    def test_response_injection(self) -> None:
        """What comes with the reply to STARTTLS is no reply to the EHLO inside it."""
        wire = self.to_starttls()
        wire.says(b"220 go ahead\r\n", b"250 x\r\n")
        self.assertTrue(wire.aborted)
        self.assertEqual(wire.creators, [])
        error: Any = self.failureResultOf(self.connecting).value
        self.assertIs(error.event, Event.NONSENSE)

    def test_half_a_line_injected(self) -> None:
        """Nor does a line that would be completed inside."""
        wire = self.to_starttls()
        wire.says(b"220 go ahead\r\n", b"250 x")
        self.assertEqual(wire.creators, [])
        self.failureResultOf(self.connecting)

    def test_offers_from_before_tls(self) -> None:
        """What was offered before TLS is forgotten: inside, only what is offered there counts."""
        wire = self.to_starttls()
        wire.protocol.dataReceived(b"220 go ahead\r\n")
        wire.shake()
        wire.says_inside(PLAIN_EHLO)
        self.assertEqual(self.successResultOf(self.connecting).extensions, {})

    def test_speaks_before_it_knows_to_whom(self) -> None:
        """Nothing is said inside TLS to a host whose certificate is another's."""
        self.backend = backend_context(WRONG_NAME)
        wire = self.to_starttls()
        wire.protocol.dataReceived(b"220 go ahead\r\n")
        self.assertEqual(wire.shake(), b"")
        self.failureResultOf(self.connecting)


class LoginTraps(TLSCase):
    """AUTH of ``twisted.mail.smtp``."""

    def log_in(self, mechanism: str, offers: bytes, tls: TLS = TLS.NEVER) -> bytes:
        """What the backend gets to hear after it has offered these."""
        credentials = Credentials(mechanism, "user", "secret")
        self.connecting = self.connector.connect(tls_server(tls, credentials), make_job())
        self.wire = self.accept()
        self.wire.says(GREETING)
        return self.wire.says(b"250-x\r\n250 AUTH %b\r\n" % offers)

    def why(self) -> Event:
        """Why there is no connection."""
        error: Any = self.failureResultOf(self.connecting).value
        event: Event = error.event
        return event

    def test_fixed_order(self) -> None:
        """The configured mechanism is used, not the first of CRAM-MD5, LOGIN and PLAIN."""
        offers = b"CRAM-MD5 LOGIN PLAIN"
        self.assertTrue(self.log_in("PLAIN", offers).startswith(b"AUTH PLAIN "))
        self.assertEqual(self.log_in("LOGIN", offers), b"AUTH LOGIN\r\n")

    def test_missing_mechanism(self) -> None:
        """A mechanism that is not offered is said to be so, and no other one is tried."""
        for mechanism, offers in (("PLAIN", b"LOGIN CRAM-MD5"), ("LOGIN", b"PLAIN")):
            self.assertEqual(self.log_in(mechanism, offers), b"")
            self.assertIs(self.why(), Event.AUTH)

    def test_refused_plain_is_tried_twice(self) -> None:
        """A refused login is not tried again in another form: it would lock accounts sooner."""
        self.log_in("PLAIN", b"PLAIN")
        self.assertEqual(self.wire.says(b"535 no\r\n"), b"")
        self.assertTrue(self.wire.aborted)
        self.assertIs(self.why(), Event.AUTH)

    def test_login_without_end(self) -> None:
        """A backend that goes on asking gets each answer once."""
        self.log_in("LOGIN", b"LOGIN")
        answers = [self.wire.says(b"334 VXNlcm5hbWU6\r\n") for _ in range(4)]
        self.assertEqual(answers, [b"dXNlcg==\r\n", b"c2VjcmV0\r\n", b"", b""])
        self.assertIs(self.why(), Event.AUTH)

    def test_password_in_the_clear(self) -> None:
        """A backend without STARTTLS gets no password where TLS is wanted."""
        self.assertEqual(self.log_in("PLAIN", b"PLAIN", TLS.OFFERED), b"")
        self.assertIs(self.why(), Event.TLS)


class ReuseTraps(SessionCase):
    """``smtpState_from`` as the hook for reuse: what an idle connection needs of its own."""

    def test_one_message_per_connection(self) -> None:
        """A connection takes a second message: the first one's end is no QUIT."""
        self.opened()
        for _ in range(2):
            self.assertTrue(self.send().startswith(b"MAIL"))
            self.wire.says(OK, OK, GO)
            self.assertEqual(self.wire.says(OK), b"")
            self.assertEqual(self.events(), [Event.ACCEPTED])

    def test_idle_connection_is_lost(self) -> None:
        """A connection that ends while idle is reported, though no one waits for a result."""
        self.opened()
        self.wire.lose(ConnectionLost())
        self.assertEqual(self.owner.heard, ["gone"])

    def test_idle_connection_speaks(self) -> None:
        """What comes while idle is nobody's reply: not that of the message before, nor of the next.

        The connection is closed.
        """
        self.opened()
        self.wire.says(OK)
        self.assertTrue(self.wire.aborted)
        self.assertEqual(self.owner.heard, ["closing"])

    def test_idle_has_its_own_timer(self) -> None:
        """The timer of the last reply does not end a connection that is idle."""
        self.opened()
        self.send()
        self.wire.says(OK, OK, GO)
        self.wire.says(OK)
        self.clock.advance(TIMEOUTS.dot + TIMEOUTS.reply)
        self.assertFalse(self.wire.aborted)


class FactoryTraps(ReactorCase):
    """``ESMTPSenderFactory`` behind an endpoint."""

    def test_lost_connection_fires_nothing(self) -> None:
        """A connection that is lost before it is ready fails its Deferred, at each step."""
        for says in ((), (GREETING,)):
            connecting = self.connector.connect(SERVER, make_job())
            wire = self.accept()
            for data in says:
                wire.says(data)
            wire.lose(ConnectionLost())
            self.failureResultOf(connecting)

    def test_silent_server_fires_nothing(self) -> None:
        """Nor is one that says nothing waited for without end."""
        connecting = self.connector.connect(SERVER, make_job())
        self.accept()
        self.reactor.advance(TIMEOUTS.reply)
        self.failureResultOf(connecting)

    def test_redials_at_once(self) -> None:
        """A refused connect is not tried again, though the default of ``retries`` is 5."""
        redialled: list[str] = []

        class Redialler:
            """An IConnector that notes it."""

            def connect(self) -> None:
                """Note it."""
                redialled.append("redialled")

        connector = self.connector.connect(SERVER, make_job())
        self.refuse(Refused())
        self.failureResultOf(connector)
        self.reactor.advance(1000)
        self.assertEqual(len(self.attempts()), 1)
        factory = BackendFactory(SERVER, None, TIMEOUTS, 1e9, self.reactor)
        result: Deferred[Any] = factory.result
        factory.file = _Nothing()
        factory.clientConnectionFailed(Redialler(), Failure(Refused()))
        self.assertEqual(redialled, [])
        self.failureResultOf(result)


class _Nothing:
    """A file without content."""

    def seek(self, *args: int) -> None:
        """At the beginning."""


class AroundTraps(SessionCase):
    """Of the transports and the reactor."""

    def test_lose_connection_never_ends(self) -> None:
        """A backend that holds the connection after QUIT is aborted when the deadline comes."""
        self.opened()
        self.session.quit()
        self.wire.says(b"221 bye\r\n")
        self.assertTrue(self.wire.disconnecting)
        self.assertFalse(self.wire.aborted)
        self.clock.advance(CLOSE_DEADLINE)
        self.assertTrue(self.wire.aborted)

    def test_reactor_counts_wall_time(self) -> None:
        """The reactor is made to count time that is never set back."""
        reactor = MemoryReactorClock()
        make_monotonic(reactor)
        self.assertIs(reactor.seconds, time.monotonic)
