"""Faults of Twisted's SMTP server and of Haraka that the edge must not have, one test for each.

``tests/guards/server.py`` says for each of them what in the source keeps it away.
"""

import contextlib
import io
import os
import time
from typing import Any, cast

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from smtpforward import answers, routing
from smtpforward.address import Fault, parse_recipient, parse_sender
from smtpforward.config.listen import listener
from smtpforward.config.settings import Limits, Logins, Route
from smtpforward.dispatch import Dispatcher
from smtpforward.envelope import NULL_SENDER, Client
from smtpforward.gateway import Gateway
from smtpforward.job import Event
from smtpforward.learned import LearnedRefusals
from smtpforward.net.clock import make_monotonic
from smtpforward.reply import Reply
from smtpforward.server.conversation import CLOSE_DEADLINE, UNREAD_LIMIT
from smtpforward.server.delivery import RoutingDelivery
from smtpforward.service import EX_CONFIG, Options, makeService
from tests.support import (
    RECIPIENT,
    SENDER,
    TAKEN,
    Edge,
    ScriptedSession,
    ScriptedTarget,
    address,
    next_hop,
    recipient,
    settings,
    transaction,
)
from tests.tlssupport import SecurableTransport, SecureClient, server_tls

INJECTED = b"MAIL FROM:<injected@example.net>\r\n"


class TwistedServerTraps(SynchronousTestCase):
    """Faults of ``twisted.mail.smtp`` as a server."""

    def offered(self) -> bytes:
        """The answer to EHLO."""
        edge = Edge()
        edge.heard()
        return edge.send(b"EHLO a\r\n")

    # -- commands return through Deferreds, and the next line is handled before they are answered

    def test_rcpt_does_not_overtake_mail(self) -> None:
        """A pipelined RCPT waits until the MAIL before it has been answered."""
        answer: Deferred[Any] = Deferred()
        edge = Edge(ScriptedSession(mail=answer))
        edge.send(b"EHLO a\r\n")
        self.assertEqual(edge.send(SENDER + RECIPIENT), b"")
        self.assertNotIn("rcpt", edge.session.asked)
        answer.callback(None)
        self.assertEqual(edge.codes(), [250, 250])

    def test_answers_keep_their_order(self) -> None:
        """A command that is answered at once does not pass one that takes its time."""
        answer: Deferred[Any] = Deferred()
        edge = Edge(ScriptedSession(rcpt=answer)).to_sender()
        self.assertEqual(edge.send(RECIPIENT + b"NOOP\r\n", b"FOO\r\n"), b"")
        answer.callback(Reply(451, (b"4.7.1 later",)))
        self.assertEqual(edge.codes(), [451, 250, 500])

    def test_the_queue_is_bounded(self) -> None:
        """What a client sends while it is owed an answer pauses the transport above a bound."""
        edge = Edge(ScriptedSession(mail=Deferred()))
        edge.send(b"EHLO a\r\n", SENDER)
        edge.send(b"NOOP\r\n" * (UNREAD_LIMIT // 6 + 1))
        self.assertEqual(edge.transport.producerState, "paused")

    # -- STARTTLS, AUTH

    def securable(self, ip: str = "192.0.2.1") -> Edge:
        """An edge with a certificate and a user, that has heard EHLO."""
        logins = Logins(("PLAIN",), {"anna": "geheim"})
        given = settings(tls=server_tls(), logins=logins)
        edge = Edge(settings_=given, ip=ip, transport=SecurableTransport())
        edge.send(b"EHLO a\r\n")
        return edge

    def test_starttls_runs_nothing_that_came_with_it(self) -> None:
        """What was pipelined behind STARTTLS is not run inside TLS: the connection ends."""
        edge = self.securable()
        self.assertEqual(edge.codes(b"STARTTLS\r\n" + INJECTED), [503])
        self.assertNotIn("mail", edge.session.asked)
        self.assertTrue(edge.closing)

    def test_starttls_runs_nothing_that_came_before_the_handshake(self) -> None:
        """What comes in the clear after STARTTLS is no handshake: the connection ends."""
        edge = self.securable()
        edge.send(b"STARTTLS\r\n")
        for line in (b"EHLO b\r\n", INJECTED):
            edge.transport.protocol.dataReceived(line)
        self.assertNotIn("mail", edge.session.asked)
        self.assertTrue(edge.closing)

    def test_starttls_forgets_helo(self) -> None:
        """The name said in the clear does not count any more."""
        edge = self.securable()
        edge.send(b"STARTTLS\r\n")
        self.assertEqual(SecureClient(edge).handshake().codes(SENDER), [503])

    def test_starttls_forgets_the_transaction(self) -> None:
        """Neither do sender and recipients."""
        edge = self.securable()
        edge.send(SENDER, RECIPIENT, b"STARTTLS\r\n")
        client = SecureClient(edge).handshake()
        self.assertEqual(client.codes(RECIPIENT, b"DATA\r\n"), [503, 503])

    def test_starttls_forgets_the_login(self) -> None:
        """Neither does a login."""
        edge = self.securable("127.0.0.1")
        login = b"AUTH PLAIN AGFubmEAZ2VoZWlt\r\n"
        self.assertEqual(edge.codes(login, b"STARTTLS\r\n"), [235, 220])
        client = SecureClient(edge).handshake()
        self.assertEqual(client.codes(b"EHLO a\r\n", login), [250, 235])

    def test_auth_without_an_argument(self) -> None:
        """AUTH alone is answered and raises nothing."""
        edge = self.securable("127.0.0.1")
        self.assertEqual(edge.codes(b"AUTH\r\n", b"NOOP\r\n"), [501, 250])

    def test_auth_is_not_announced_in_the_clear(self) -> None:
        """Without TLS there is no AUTH for who is not on this host, announced or not."""
        edge = self.securable()
        self.assertNotIn(b"AUTH", edge.send(b"EHLO a\r\n"))
        self.assertEqual(edge.codes(b"AUTH PLAIN AGFubmEAZ2VoZWlt\r\n"), [538])

    # -- the end of data

    def test_a_refusal_at_the_end_of_data_says_its_reason(self) -> None:
        """Whatever refuses the message is what the sender hears, not ``550 Could not send``."""
        edge = Edge(ScriptedSession(end_of_data=Reply(452, (b"4.2.2 full",)))).to_data()
        self.assertEqual(edge.send(b".\r\n"), b"452 4.2.2 full\r\n")

    def test_a_failure_at_the_end_of_data_is_temporary(self) -> None:
        """A fault of ours does not bounce the mail."""
        edge = Edge(ScriptedSession(end_of_data=fail(ZeroDivisionError()))).to_data()
        self.assertEqual(edge.codes(b".\r\n"), [451])
        self.flushLoggedErrors(ZeroDivisionError)

    def test_all_recipients_share_one_message(self) -> None:
        """One message object, fed once, serves all recipients of a transaction."""
        clock = Clock()
        dispatcher = Dispatcher(ScriptedTarget(), LearnedRefusals(clock), clock)
        delivery = RoutingDelivery(settings(), dispatcher, transaction())
        messages = {
            id(delivery.validateTo(recipient(to))()) for to in (b"b@example.com", b"c@example.com")
        }
        self.assertEqual(len(messages), 1)
        target = ScriptedTarget(Event.ACCEPTED)
        edge = Edge(target=target).to_recipient()
        edge.send(b"RCPT TO:<c@example.com>\r\n", b"DATA\r\n", b"Subject: x\r\n.\r\n")
        [message] = target.messages
        self.assertEqual(message.count(b"Subject: x\r\n"), 1)

    def test_answers_behind_the_dot_do_not_overtake_it(self) -> None:
        """What follows the final dot is answered after it (twisted#8126)."""
        answer: Deferred[Any] = Deferred()
        edge = Edge(ScriptedSession(end_of_data=answer)).to_data()
        self.assertEqual(edge.send(b".\r\nNOOP\r\n", b"QUIT\r\n"), b"")
        answer.callback(TAKEN)
        self.assertEqual(edge.codes(), [250, 250, 221])

    # -- extensions and small commands

    def test_size_is_announced_and_heeded(self) -> None:
        """SIZE is offered, and a message that says it is larger is refused at MAIL."""
        self.assertIn(b"-SIZE %d\r\n" % Limits().bytes, self.offered())
        edge = Edge()
        edge.send(b"EHLO a\r\n")
        self.assertEqual(edge.codes(b"MAIL FROM:<> SIZE=%d\r\n" % (Limits().bytes + 1)), [552])

    def test_pipelining_is_announced(self) -> None:
        """PIPELINING is offered."""
        self.assertIn(b"-PIPELINING\r\n", self.offered())

    def test_8bitmime_is_announced(self) -> None:
        """8BITMIME is offered."""
        self.assertIn(b"-8BITMIME\r\n", self.offered())

    def test_enhanced_status_codes_are_announced(self) -> None:
        """ENHANCEDSTATUSCODES is offered."""
        self.assertIn(b"-ENHANCEDSTATUSCODES\r\n", self.offered())

    def test_smtputf8_is_announced(self) -> None:
        """SMTPUTF8 is offered, and an address outside ASCII reaches whoever decides."""
        self.assertIn(b"-SMTPUTF8\r\n", self.offered())
        edge = Edge()
        edge.send(b"EHLO a\r\n")
        self.assertEqual(edge.codes("MAIL FROM:<ü@example.net> SMTPUTF8\r\n".encode()), [250])
        self.assertEqual(str(edge.session.arguments[-1][0]), "ü@example.net")

    def test_chunking_is_announced(self) -> None:
        """CHUNKING is offered."""
        self.assertIn(b" CHUNKING\r\n", self.offered())

    def test_mail_parameters_are_not_dropped(self) -> None:
        """What MAIL says beside the path reaches whoever decides."""
        edge = Edge()
        edge.send(b"EHLO a\r\n", b"MAIL FROM:<a@example.net> BODY=8BITMIME\r\n")
        self.assertEqual(edge.session.arguments[-1][1], {b"BODY": b"8BITMIME"})

    def test_mail_parameters_that_are_not_offered_are_refused(self) -> None:
        """A parameter of an extension that was not announced is refused, not ignored."""
        edge = Edge()
        edge.send(b"EHLO a\r\n")
        self.assertEqual(edge.codes(b"MAIL FROM:<a@example.net> REQUIRETLS\r\n"), [555])
        self.assertEqual(edge.codes(b"HELO a\r\n", SENDER[:-2] + b" SIZE=1\r\n"), [250, 555])

    def test_the_helo_argument_is_checked(self) -> None:
        """HELO and EHLO need a name, and one that can be printed."""
        edge = Edge()
        edge.heard()
        for line in (b"HELO\r\n", b"EHLO\r\n", b"EHLO a\x07b\r\n", b"EHLO \xff\r\n"):
            self.assertEqual(edge.codes(line), [501], line)

    def test_noop_is_there(self) -> None:
        """NOOP is answered."""
        edge = Edge()
        edge.heard()
        self.assertEqual(edge.codes(b"NOOP\r\n"), [250])

    def test_a_byte_over_127_in_a_verb_is_no_command(self) -> None:
        """A verb outside ASCII is an unrecognized command, and the session goes on."""
        edge = Edge()
        edge.heard()
        self.assertEqual(edge.codes(b"N\xd6\xd6P x\r\n", b"NOOP\r\n"), [500, 250])

    # -- long lines

    def test_a_long_line_does_not_leave_data_mode(self) -> None:
        """However long a line of the message is, what follows it is message, not commands."""
        edge = Edge().to_data()
        self.assertEqual(edge.send(b"x" * 20000, b"x" * 20000 + b"\r\n", INJECTED), b"")
        self.assertEqual(edge.codes(b".\r\n"), [250])
        self.assertEqual(edge.session.messages, [b"x" * 40000 + b"\r\n" + INJECTED])

    def test_a_command_without_an_end_is_cut_off(self) -> None:
        """A line whose end does not come fills no memory."""
        edge = Edge()
        edge.heard()
        self.assertEqual(edge.codes(b"x" * 2000), [500])
        self.assertTrue(edge.closing)
        self.assertEqual(len(edge.protocol._unread), 0)

    # -- what must not get through

    def test_no_control_character_in_a_quoted_local_part(self) -> None:
        """CR, LF and NUL in a quoted local part, escaped or not, make no address."""
        for byte in (b"\r", b"\n", b"\0", b"\r\n", b"\x7f"):
            for form in (b'%b:<"a%bb"@example.com>', b'%b:<"a\\%bb"@example.com>'):
                self.assertIs(parse_sender(form % (b"FROM", byte)), Fault.SYNTAX)
                self.assertIs(parse_recipient(form % (b"TO", byte)), Fault.SYNTAX)

    def test_no_bare_cr_or_nul_in_a_command(self) -> None:
        """A command that holds one is not run, and ends the connection."""
        for line in (b'MAIL FROM:<"a\rb"@example.net>\r\n', b'MAIL FROM:<"a\0b"@example.net>\r\n'):
            edge = Edge()
            edge.send(b"EHLO a\r\n")
            self.assertEqual(edge.codes(line + b"NOOP\r\n"), [500])
            self.assertTrue(edge.closing)

    def test_no_bare_lf_reaches_the_message(self) -> None:
        """A message with a bare LF goes nowhere: the next server might end it there."""
        edge = Edge().to_data()
        self.assertEqual(edge.codes(b"a\nb\r\n.\r\n"), [554])
        self.assertEqual(edge.session.messages, [])

    def test_no_bare_cr_reaches_the_message(self) -> None:
        """A message with a bare CR goes nowhere either."""
        edge = Edge().to_data()
        self.assertEqual(edge.codes(b"a\rb\r\n.\r\n"), [554])
        self.assertEqual(edge.session.messages, [])

    def test_nothing_goes_through_the_legacy_log(self) -> None:
        """A whole session leaves one event in the log, the line of its message."""
        events: list[LogEvent] = []
        observer = cast(ILogObserver, events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        edge = Edge(target=ScriptedTarget(Event.ACCEPTED))
        edge.factory.doStart()
        edge.to_data().send(b"Subject: x\r\n.\r\n", b"QUIT\r\n")
        edge.lose()
        edge.factory.doStop()
        self.assertEqual([event.get("log_system") for event in events], ["mail"])


class AroundTwistedTraps(SynchronousTestCase):
    """Faults of what Twisted has around its SMTP server."""

    def test_the_factory_speaks_esmtp(self) -> None:
        """The factory, of which Twisted has none for ESMTP, makes connections that do."""
        edge = Edge()
        self.assertTrue(edge.heard().startswith(b"220 mx.example.net ESMTP"))
        self.assertIn(b"250-PIPELINING", edge.send(b"EHLO a\r\n"))

    def test_the_timeout_of_the_settings_holds(self) -> None:
        """A client's silence lasts as long as the settings say."""
        edge = Edge(settings_=settings(inactivity_timeout=7.0))
        edge.heard()
        edge.clock.advance(6.5)
        self.assertFalse(edge.closing)
        edge.clock.advance(0.5)
        self.assertEqual(edge.codes(), [421])

    def test_a_close_ends(self) -> None:
        """A peer that does not read, or is silent under TLS, is cut off after a deadline."""
        edge = Edge()
        edge.send(b"QUIT\r\n")
        edge.clock.advance(CLOSE_DEADLINE)
        self.assertTrue(edge.aborted)

    def test_timers_do_not_follow_the_wall_clock(self) -> None:
        """A clock that is set back an hour delays no timer: the reactor counts monotonic time."""
        reactor = MemoryReactorClock()
        make_monotonic(reactor)
        self.assertIs(reactor.seconds, time.monotonic)

    def test_a_taken_port_stops_the_start(self) -> None:
        """A service that cannot listen does not run on without."""

        class Taken(MemoryReactorClock):
            def listenTCP(self, port: int, *arguments: Any, **named: Any) -> Any:
                raise CannotListenError("127.0.0.1", port, OSError())

        gateway = Gateway(settings(listen=("tcp:2525:interface=127.0.0.1",)), Taken())
        self.assertRaises(CannotListenError, gateway.privilegedStartService)

    def test_wrong_settings_exit_with_78(self) -> None:
        """Wrong settings stop the start before there is a service, with the code for that."""
        directory = self.mktemp()
        os.mkdir(directory)
        options = Options()
        options["config"] = directory
        with contextlib.redirect_stderr(io.StringIO()) as said:
            error = self.assertRaises(SystemExit, makeService, options)
        self.assertEqual((error.code, EX_CONFIG), (78, 78))
        self.assertIn("smtp_forward.ini", said.getvalue())

    def test_haproxy_endpoints_are_not_taken(self) -> None:
        """Twisted's PROXY wrapper shows the balancer as the peer (twisted#12501), who then might
        relay, and drops split headers (twisted#8287): such an endpoint is refused."""
        self.assertRaises(ValueError, listener, "haproxy:tcp")


class HarakaTraps(SynchronousTestCase):
    """Faults of Haraka as it is today."""

    def test_lf_dot_crlf_is_no_end_of_data(self) -> None:
        """``<LF>.<CR><LF>`` does not end the data."""
        edge = Edge().to_data()
        self.assertEqual(edge.send(b"a\n.\r\n", INJECTED), b"")
        self.assertNotIn("mail", edge.session.asked[4:])

    def test_the_rest_of_a_refused_body_does_not_run(self) -> None:
        """After a bare line end the rest of the body is discarded: none of it is a command."""
        edge = Edge().to_data()
        self.assertEqual(edge.session.asked.count("mail"), 1)
        self.assertEqual(edge.send(b"a\nb\r\n", INJECTED), b"")
        self.assertEqual(edge.codes(b".\r\n" + INJECTED), [554])
        self.assertEqual((edge.session.asked.count("mail"), edge.closing), (1, True))

    def test_two_ports_of_one_host_are_two_routes(self) -> None:
        """Recipients of two backends on one host do not travel together."""
        given = settings(
            sections={"example.org": Route("example.org", next_hop(port=2525))},
        )
        client, to = Client("192.0.2.1", 4321), address(b"b@example.org")
        taken = routing.way_of(Route("", next_hop(port=25)), relaying=False)
        decision = routing.decide(given, client, NULL_SENDER, to, taken)
        assert isinstance(decision, routing.Refuse)
        self.assertIs(decision.reply, answers.OTHER_ROUTE)

    def test_a_backend_that_drops_is_answered_at_once(self) -> None:
        """The sender hears of a dropped backend when it drops, not after a timeout."""
        target = ScriptedTarget()
        edge = Edge(target=target).to_data()
        edge.send(b"Subject: x\r\n.\r\n")
        target.answer(Event.DROPPED)
        self.assertTrue(edge.heard().startswith(b"451 4.4.1 "))
        self.assertEqual(edge.clock.seconds(), 0)

    def test_a_535_of_the_backend_bounces_nothing(self) -> None:
        """That the backend refuses our credentials is no fault of the mail."""
        target = ScriptedTarget(Event.REFUSED, Reply(535, (b"5.7.8 authentication failed",)))
        edge = Edge(target=target).to_data()
        self.assertTrue(edge.send(b"Subject: x\r\n.\r\n").startswith(b"451 4.3.5 "))
