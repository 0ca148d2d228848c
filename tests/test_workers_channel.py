"""The control channel: messages arrive as the values that they were."""

import pickle
from typing import Any

from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from smtpforward.server.auth import portal_of
from smtpforward.workers.channel import Channel, factory_of
from smtpforward.workers.messages import Give, Message, Start, Stop, Told
from tests.support import address, next_hop
from tests.test_config_tls import PAIR, TLSCase


class ChannelTests(TLSCase):
    """Two ends."""

    def end(self, *received: Any) -> Channel:
        """One end, connected."""
        channel = Channel(*(received or (lambda _: None, lambda: None)))
        self.assertIs(factory_of(channel).buildProtocol(None), channel)  # type: ignore[arg-type]
        channel.makeConnection(StringTransport())
        return channel

    def wire(self, *messages: Message) -> bytes:
        """What is sent."""
        channel = self.end()
        for message in messages:
            channel.say(message)
        data: bytes = channel.transport.value()
        return data

    def test_in_order(self) -> None:
        """Each message arrives once, in order, however the bytes are cut."""
        messages = [Stop(), Give("k", 2), Told("kind", (next_hop(), address(b"a@example.com")))]
        heard: list[Message] = []
        channel = self.end(heard.append, lambda: None)
        data = self.wire(*messages)
        for at in range(len(data)):
            channel.dataReceived(data[at : at + 1])
        self.assertEqual(heard, messages)

    def test_lost(self) -> None:
        """Who listens hears of the end; what is said after it is lost."""
        lost: list[None] = []
        channel = self.end(lambda _: None, lambda: lost.append(None))
        channel.connected = False
        channel.connectionLost(Failure(ConnectionError()))
        channel.say(Stop())
        self.assertEqual(lost, [None])
        self.assertEqual(channel.transport.value(), b"")

    def test_settings(self) -> None:
        """Settings arrive whole: secrets, keys, networks, expressions, routes as keys."""
        settings = self.load_pem(
            PAIR,
            smtp_forward_ini="host=a.example\n[b.example]\nhost=c.example\n"
            "enable_tls=required\nauth_type=plain\nauth_user=u\nauth_pass=secret\n",
            relay_acl_allow="192.0.2.0/24\n2001:db8::/32\n",
            host_list_regex=".*\\.d\\.example\n",
            auth_flat_file_ini="[core]\nmethods=PLAIN\n[users]\nann=her secret\n",
            tls_ini="[outbound]\nno_tls_hosts=198.51.100.0/24\n",
        )
        self.assertIn("192.0.2.1", settings.access.relays)
        heard: list[Any] = []
        self.end(heard.append, lambda: None).dataReceived(self.wire(Start(1, 2, settings, (4,))))
        [start] = heard
        got = start.settings
        self.assertEqual(got.routes, settings.routes)
        hop = got.routes.sections["b.example"].next_hop
        self.assertEqual({settings.routes.sections["b.example"].next_hop: 1}[hop], 1)
        self.assertEqual(
            (got.tls, got.logins, got.me), (settings.tls, settings.logins, settings.me)
        )
        for ip, known in (("192.0.2.9", True), ("2001:db8::1", True), ("192.0.3.1", False)):
            self.assertEqual(ip in got.access.relays, known, ip)
        self.assertTrue(got.access.host_pattern.fullmatch("x.d.example"))
        self.assertIn("198.51.100.7", got.client_tls.no_tls_hosts)
        self.assertTrue(portal_of(got.logins).listCredentialsInterfaces())

    def test_no_secret_in_a_repr(self) -> None:
        """A message that is logged by mistake tells nothing."""
        settings = self.load_pem(PAIR, auth_flat_file_ini="[users]\nann=hunter2\n")
        for message in (Start(1, 2, settings, ()), Told("kind", ("hunter2",))):
            self.assertNotIn("hunter2", repr(pickle.loads(pickle.dumps(message))))
