"""TLS towards a backend: each policy, and each certificate that may be shown."""

import ssl
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred

from smtpforward.client import connect
from smtpforward.client.connect import CLEAR_FOR
from smtpforward.client.errors import ConnectFailed
from smtpforward.client.session import BackendSession
from smtpforward.config.settings import Certificate
from smtpforward.job import TLS, Credentials, Event, Server
from smtpforward.net import tls as net_tls
from tests.clientsupport import GREETING, SERVER, Resolver, make_job
from tests.clienttls import (
    CA,
    CLIENT,
    EXPIRED,
    NAME,
    STRICT,
    TRUSTING,
    UNTRUSTED,
    WRONG_NAME,
    TLSCase,
    TLSWire,
    backend_context,
    server,
)

EHLO = b"EHLO gateway.example\r\n"
STARTTLS = b"STARTTLS\r\n"
OFFERS = b"250-backend.example\r\n250-STARTTLS\r\n250 SIZE 7\r\n"
INSIDE = b"250-backend.example\r\n250 PIPELINING\r\n"
READY = b"220 go ahead\r\n"
LOGIN = Credentials("PLAIN", "user", "secret")
BAD = {
    "expired": EXPIRED,
    "untrusted": UNTRUSTED,
    "of another host": WRONG_NAME,
}


class ClientTLSCase(TLSCase):
    """One connection at a time."""

    def connect(self, tls: TLS, **more: Any) -> "Deferred[BackendSession]":
        """Begin."""
        self.connecting = self.connector.connect(server(tls, **more), make_job())
        return self.connecting

    def to_starttls(self, tls: TLS, **more: Any) -> TLSWire:
        """The backend has been asked for TLS."""
        self.connect(tls, **more)
        wire = self.accept()
        self.assertEqual(wire.says(GREETING), EHLO)
        self.assertEqual(wire.says(OFFERS), STARTTLS)
        return wire

    def secured(self, tls: TLS, **more: Any) -> TLSWire:
        """It has said yes, and the client has said EHLO inside."""
        wire = self.to_starttls(tls, **more)
        wire.protocol.dataReceived(READY)
        self.assertEqual(wire.shake(), EHLO)
        return wire

    def shaken(self, tls: TLS) -> TLSWire:
        """It has said yes, and the handshake went as far as it goes, with nothing said inside."""
        wire = self.to_starttls(tls)
        wire.protocol.dataReceived(READY)
        self.assertEqual(wire.shake(), b"")
        return wire

    def in_the_clear(self) -> BackendSession:
        """The newest connection gets ready without TLS."""
        wire = self.accept()
        self.assertEqual(wire.says(GREETING), EHLO)
        self.assertEqual(wire.says(OFFERS), b"")
        self.assertEqual(wire.creators, [])
        return self.successResultOf(self.connecting)

    def why(self, event: Event = Event.TLS) -> ConnectFailed:
        """Why there is no connection."""
        error: Any = self.failureResultOf(self.connecting, ConnectFailed).value
        self.assertIs(error.event, event)
        return error


class NeverTests(ClientTLSCase):
    """``NEVER``."""

    def test_not_asked_for(self) -> None:
        """STARTTLS is offered and not taken."""
        self.connect(TLS.NEVER)
        self.in_the_clear()


class OfferedTests(ClientTLSCase):
    """``OFFERED``: opportunistic."""

    def test_taken(self) -> None:
        """STARTTLS, handshake, EHLO again; what was offered in the clear is forgotten."""
        wire = self.secured(TLS.OFFERED)
        self.assertNoResult(self.connecting)
        self.assertEqual(wire.says_inside(INSIDE), b"")
        session = self.successResultOf(self.connecting)
        self.assertEqual(session.extensions, {b"PIPELINING": b""})
        self.assertEqual(wire.inside.version(), "TLSv1.3")

    def test_mail_inside(self) -> None:
        """A message goes inside TLS."""
        job = make_job(servers=[server(TLS.OFFERED)])
        delivery = self.deliver(job)
        wire = self.accept()
        wire.says(GREETING)
        wire.says(OFFERS)
        wire.protocol.dataReceived(READY)
        wire.shake()
        self.assertIn(b"MAIL FROM", wire.says_inside(INSIDE))
        ok = b"250 ok\r\n"
        self.assertIn(b"A line.\r\n.\r\n", wire.says_inside(ok, ok, b"354 go\r\n"))
        wire.says_inside(ok)
        self.assertEqual([o.event for o in self.successResultOf(delivery)], [Event.ACCEPTED])

    def test_not_offered(self) -> None:
        """Without STARTTLS it goes on in the clear."""
        self.connect(TLS.OFFERED)
        wire = self.accept()
        wire.says(GREETING)
        self.assertEqual(wire.says(INSIDE), b"")
        self.successResultOf(self.connecting)

    def test_no_ehlo(self) -> None:
        """Nor is HELO too little."""
        self.connect(TLS.OFFERED)
        wire = self.accept()
        wire.says(GREETING)
        self.assertEqual(wire.says(b"502 what\r\n"), b"HELO gateway.example\r\n")
        wire.says(b"250 hello\r\n")
        self.successResultOf(self.connecting)

    def test_starttls_refused(self) -> None:
        """A refusal of STARTTLS, temporary or not, is no obstacle on the same connection."""
        for reply in (b"454 not now\r\n", b"554 no\r\n"):
            wire = self.to_starttls(TLS.OFFERED)
            self.assertEqual(wire.says(reply), b"")
            session = self.successResultOf(self.connecting)
            self.assertIn(b"SIZE", session.extensions)

    def test_starttls_refused_and_more(self) -> None:
        """What comes with the refusal makes nobody ready."""
        wire = self.to_starttls(TLS.OFFERED)
        wire.says(b"454 not now\r\n", b"250 ok\r\n")
        self.why(Event.NONSENSE)

    def test_any_certificate(self) -> None:
        """The certificate is not looked at."""
        for what, certificate in BAD.items():
            self.backend = backend_context(certificate)
            wire = self.secured(TLS.OFFERED)
            wire.says_inside(INSIDE)
            self.assertIn(b"PIPELINING", self.successResultOf(self.connecting).extensions, what)

    def test_reject_unauthorized(self) -> None:
        """With ``rejectUnauthorized`` it is, and a bad one does not make it go in the clear."""
        for certificate in BAD.values():
            self.use(STRICT)
            self.backend = backend_context(certificate)
            self.shaken(TLS.OFFERED)
            self.why()
        self.assertEqual(len(self.attempts()), len(BAD))


class AddressesTests(ClientTLSCase):
    """A name with several addresses."""

    def setUp(self) -> None:
        """Two of them."""
        super().setUp()
        self.reactor.nameResolver = Resolver("192.0.2.1", "192.0.2.2")

    def begin(self, tls: TLS) -> None:
        """Connect to the name."""
        named = evolve(server(tls), host=NAME)
        self.connecting = self.connector.connect(named, make_job())

    def at_starttls(self) -> TLSWire:
        """The newest connection has said STARTTLS, and the backend has said yes."""
        wire = self.accept()
        wire.says(GREETING)
        self.assertEqual(wire.says(OFFERS), STARTTLS)
        wire.protocol.dataReceived(READY)
        return wire

    def test_wrong_certificate(self) -> None:
        """Where TLS is required it is verified at each address, until one is right."""
        self.begin(TLS.REQUIRED)
        self.backend = backend_context(WRONG_NAME)
        first = self.at_starttls()
        self.assertEqual(first.shake(), b"")
        self.backend = backend_context()
        second = self.at_starttls()
        self.assertEqual(second.shake(), EHLO)
        second.says_inside(INSIDE)
        session = self.successResultOf(self.connecting)
        self.assertIsNot(first.creators[0], second.creators[0])
        self.assertEqual(self.attempts(), ["192.0.2.1", "192.0.2.2"])
        self.assertEqual(self.connector.addresses.resting, [f"{NAME}[192.0.2.1]:25"])
        self.assertEqual(session.security.policy, TLS.REQUIRED)

    def test_offered(self) -> None:
        """TLS that was merely offered and fails is no fault of an address."""
        self.begin(TLS.OFFERED)
        wire = self.at_starttls()
        wire.protocol.dataReceived(b"500 what?\r\n" * 3)
        wire.lose()
        self.in_the_clear()
        self.assertEqual(self.attempts(), ["192.0.2.1", "192.0.2.1"])
        self.assertEqual(self.connector.addresses.resting, [])


class FallBackTests(ClientTLSCase):
    """``OFFERED``, and a handshake that fails."""

    def fail_handshake(self) -> TLSWire:
        """The backend says yes to STARTTLS and then what is no TLS."""
        wire = self.to_starttls(TLS.OFFERED)
        wire.protocol.dataReceived(READY)
        wire.protocol.dataReceived(b"500 what?\r\n" * 3)
        self.assertTrue(wire.disconnecting)
        wire.lose()
        return wire

    def test_once_in_the_clear(self) -> None:
        """A fresh connection goes without TLS, and is ready."""
        self.fail_handshake()
        self.assertEqual(len(self.attempts()), 2)
        self.in_the_clear()

    def test_remembered(self) -> None:
        """So do those that follow, for ten minutes; then TLS is tried again."""
        self.fail_handshake()
        self.in_the_clear()
        self.reactor.advance(CLEAR_FOR - 1)
        self.connecting = self.connector.connect(server(TLS.OFFERED), make_job(deadline=1e9))
        self.in_the_clear()
        self.reactor.advance(1)
        self.connecting = self.connector.connect(server(TLS.OFFERED), make_job(deadline=1e9))
        wire = self.accept()
        wire.says(GREETING)
        self.assertEqual(wire.says(OFFERS), STARTTLS)

    def test_bounded(self) -> None:
        """So many are remembered; the one that failed the longest ago is forgotten first."""
        self.patch(connect, "MOST_CLEAR", 2)
        clear = self.connector.clear
        for name in ("a", "b", "a", "c"):
            clear.add((name, 25))
        self.assertEqual([name for name in "abc" if (name, 25) in clear], ["a", "c"])

    def test_of_one_server(self) -> None:
        """Another port is another server."""
        self.fail_handshake()
        self.in_the_clear()
        self.to_starttls(TLS.OFFERED, port=2525)

    def test_closed(self) -> None:
        """A connection that ends within the handshake is one that failed."""
        wire = self.to_starttls(TLS.OFFERED)
        wire.protocol.dataReceived(READY)
        wire.lose()
        self.in_the_clear()

    def test_second_failure(self) -> None:
        """The fresh connection's failure is the answer."""
        self.fail_handshake()
        self.accept().lose()
        self.why(Event.UNREACHABLE)
        self.assertEqual(len(self.attempts()), 2)

    def test_after_the_deadline(self) -> None:
        """There is no second one after the job's deadline; what was learned stays."""
        wire = self.to_starttls(TLS.OFFERED)
        wire.protocol.dataReceived(READY)
        self.reactor.advance(240)
        self.assertTrue(wire.aborted)
        self.why()
        self.assertEqual(len(self.attempts()), 1)

    def test_cancelled(self) -> None:
        """Cancelled on the fresh connection, that one is closed."""
        self.fail_handshake()
        wire = self.accept()
        self.connecting.cancel()
        self.assertTrue(wire.aborted)
        self.assert_cancelled(self.connecting)

    def test_never_with_credentials(self) -> None:
        """A login never goes in the clear: there is no second attempt, nor is one remembered."""
        for _ in range(2):
            wire = self.to_starttls(TLS.OFFERED, credentials=LOGIN)
            wire.protocol.dataReceived(READY)
            wire.protocol.dataReceived(b"500 what?\r\n" * 3)
            wire.lose()
            self.why()
        self.assertEqual(len(self.attempts()), 2)

    def test_remembered_means_nothing_to_others(self) -> None:
        """Who needs TLS gets TLS or nothing, whatever another route has learned."""
        self.fail_handshake()
        self.in_the_clear()
        self.to_starttls(TLS.OFFERED, credentials=LOGIN)
        self.to_starttls(TLS.REQUIRED)

    def test_other_failures(self) -> None:
        """Only a handshake leads to it."""
        for says in (b"554 no\r\n", b"421 closing\r\n"):
            self.connect(TLS.OFFERED)
            self.accept().says(says)
            self.failureResultOf(self.connecting, ConnectFailed)
        self.assertEqual(len(self.attempts()), 2)


class RequiredTests(ClientTLSCase):
    """``REQUIRED``."""

    def test_right(self) -> None:
        """A certificate that is right."""
        wire = self.secured(TLS.REQUIRED)
        wire.says_inside(INSIDE)
        self.successResultOf(self.connecting)

    def test_by_name(self) -> None:
        """A host that has a name is verified by it, and asked for by it, looked up or not."""
        asked: list[str] = []
        self.backend.sni_callback = lambda _, name, __: asked.append(name)
        for ip in (None, "192.0.2.9"):
            server = Server(NAME, 25, SERVER.helo, tls=TLS.REQUIRED, address=ip)
            self.connecting = self.connector.connect(server, make_job())
            self.reactor.advance(1)
            wire = self.accept()
            wire.says(GREETING)
            wire.says(OFFERS)
            wire.protocol.dataReceived(READY)
            self.assertEqual(wire.shake(), EHLO)
            wire.says_inside(INSIDE)
            self.successResultOf(self.connecting)
        self.assertEqual(asked, [NAME, NAME])
        self.assertEqual(self.attempts()[-1], "192.0.2.9")

    def test_wrong(self) -> None:
        """Each bad certificate: nothing is said inside, and the log gets to know why."""
        for word, certificate in zip(
            ("certificate has expired", "unable to get issuer", "not for 192.0.2.1"),
            BAD.values(),
            strict=True,
        ):
            self.backend = backend_context(certificate)
            self.shaken(TLS.REQUIRED)
            self.assertIn(word, self.why().detail)

    def test_not_trusted_by_the_system(self) -> None:
        """Without ``ca`` the tests' authority is nobody."""
        self.use(evolve(TRUSTING, ca=b""))
        self.shaken(TLS.REQUIRED)
        self.why()

    def test_not_offered(self) -> None:
        """A backend without STARTTLS."""
        self.connect(TLS.REQUIRED)
        wire = self.accept()
        wire.says(GREETING)
        self.assertEqual(wire.says(INSIDE), b"")
        self.assertTrue(wire.aborted)
        self.why()

    def test_no_ehlo(self) -> None:
        """A backend that knows no EHLO is not asked for HELO."""
        self.connect(TLS.REQUIRED)
        wire = self.accept()
        wire.says(GREETING)
        self.assertEqual(wire.says(b"500 what\r\n"), b"")
        self.why()

    def test_refused(self) -> None:
        """A backend that refuses STARTTLS; its words are in the log."""
        wire = self.to_starttls(TLS.REQUIRED)
        wire.says(b"454 4.7.0 no certificate\r\n")
        self.assertIn("454 4.7.0 no certificate", self.why().detail)

    def test_no_helo_in_tls(self) -> None:
        """Inside TLS, HELO will do."""
        wire = self.secured(TLS.REQUIRED)
        self.assertEqual(wire.says_inside(b"502 what\r\n"), b"HELO gateway.example\r\n")
        wire.says_inside(b"250 hello\r\n")
        self.successResultOf(self.connecting)

    def test_starttls_again(self) -> None:
        """Offered inside TLS once more, it is not asked for."""
        wire = self.secured(TLS.REQUIRED)
        self.assertEqual(wire.says_inside(OFFERS), b"")
        self.successResultOf(self.connecting)

    def test_without_contexts(self) -> None:
        """A connector without TLS cannot meet the demand, and does not go on without."""
        for tls in (TLS.REQUIRED, TLS.IMPLICIT):
            self.connector._contexts = None
            self.connect(tls)
            wire = self.accept()
            wire.says(GREETING)
            wire.says(OFFERS)
            self.assertTrue(wire.aborted)
            self.why()

    def test_silent(self) -> None:
        """A handshake that does not end."""
        wire = self.to_starttls(TLS.REQUIRED)
        wire.protocol.dataReceived(READY)
        self.reactor.advance(180)
        self.assertTrue(wire.aborted)
        self.assertIn("no reply in time", self.why().detail)

    def test_client_certificate(self) -> None:
        """A backend that demands a certificate gets the one of the settings."""
        self.backend.verify_mode = ssl.CERT_REQUIRED
        CA.configure_trust(self.backend)
        pair = CLIENT.private_key_pem.bytes(), CLIENT.cert_chain_pems[0].bytes()
        self.use(evolve(TRUSTING, certificate=Certificate(*pair)))
        wire = self.secured(TLS.REQUIRED)
        wire.says_inside(INSIDE)
        self.successResultOf(self.connecting)
        shown = wire.inside.getpeercert()
        assert shown is not None
        self.assertIn(("DNS", "gateway.example"), shown["subjectAltName"])

    def test_client_certificate_missed(self) -> None:
        """In TLS 1.3 the backend misses it only after our side of the handshake is done."""
        self.backend.verify_mode = ssl.CERT_REQUIRED
        wire = self.to_starttls(TLS.REQUIRED)
        wire.protocol.dataReceived(READY)
        wire.shake()
        self.assertIn("certificate required", self.why().detail)


class ImplicitTests(ClientTLSCase):
    """``IMPLICIT``."""

    def test_right(self) -> None:
        """TLS before the greeting."""
        self.connect(TLS.IMPLICIT)
        wire = self.accept()
        self.assertEqual(wire.shake(), b"")
        self.assertNoResult(self.connecting)
        self.assertEqual(wire.says_inside(GREETING), EHLO)
        self.assertEqual(wire.says_inside(OFFERS), b"")
        self.successResultOf(self.connecting)

    def test_wrong(self) -> None:
        """Each bad certificate."""
        for certificate in BAD.values():
            self.backend = backend_context(certificate)
            self.connect(TLS.IMPLICIT)
            self.assertEqual(self.accept().shake(), b"")
            self.why()

    def test_no_tls(self) -> None:
        """A backend that speaks in the clear."""
        self.connect(TLS.IMPLICIT)
        wire = self.accept()
        wire.protocol.dataReceived(GREETING)
        wire.lose()
        self.why()
        self.assertEqual(len(self.attempts()), 1)


class SessionReuseTests(ClientTLSCase):
    """What a later connection takes up."""

    def reused(self, first: TLS, second: TLS, **more: Any) -> bool:
        """Whether the second connection's handshake was short."""
        self.takes_up(first, **more)
        return self.takes_up(second, **more)

    def takes_up(self, policy: TLS, **more: Any) -> bool:
        """Whether the next connection's handshake is short."""
        self.connecting = self.connector.connect(server(policy, **more), make_job())
        wire = self.accept()
        wire.says(GREETING)
        wire.says(OFFERS)
        wire.protocol.dataReceived(READY)
        self.assertEqual(wire.shake(), EHLO)
        wire.says_inside(INSIDE)
        self.successResultOf(self.connecting)
        return bool(wire.inside.session_reused)

    def test_reused(self) -> None:
        """The next connection to the same backend takes up the session, in both versions."""
        self.assertTrue(self.reused(TLS.REQUIRED, TLS.REQUIRED))
        self.backend.maximum_version = ssl.TLSVersion.TLSv1_2
        self.use(TRUSTING)
        self.assertTrue(self.reused(TLS.REQUIRED, TLS.REQUIRED))

    def test_bounded(self) -> None:
        """So many are kept; the one of the backend that was used longest ago goes first."""
        self.patch(net_tls, "MOST_SESSIONS", 2)
        for port in (25, 26, 25, 27):
            self.takes_up(TLS.REQUIRED, port=port)
        # Asked for in this order: what is not known is added, and takes another's place.
        known = [port for port in (25, 27, 26) if self.takes_up(TLS.REQUIRED, port=port)]
        self.assertEqual(known, [25, 27])

    def test_not_from_unverified(self) -> None:
        """One that was not verified is not taken up where it must be."""
        self.assertFalse(self.reused(TLS.OFFERED, TLS.REQUIRED))
