"""swaks, a real client, through the gateway."""

from tests.peers.case import PeerTestCase
from tests.peers.clients import swaks

REFUSED = 24  # swaks: no recipient was accepted


class SwaksTests(PeerTestCase):
    """What swaks sends arrives, and it sees what was answered."""

    async def test_delivers(self) -> None:
        """A message arrives with its envelope, and the backend's answer comes back."""
        backend = self.backend()
        gateway = await self.gateway(backend.port)
        done = await swaks(gateway.port, "--body", "hello from swaks")
        self.assertEqual(0, done.exit_code, done.output)
        self.assertIn("250 2.0.0 Ok: taken", done.output)
        [message] = backend.messages
        self.assertTrue(message.mail.startswith(b"MAIL FROM:<sender@example.org>"), message)
        self.assertEqual((b"RCPT TO:<rcpt@example.com>",), message.rcpts)
        self.assertIn(b"\r\nhello from swaks\r\n", message.plain)

    async def test_pipelining(self) -> None:
        """A client that sends its envelope in one go is served in order."""
        backend = self.backend()
        gateway = await self.gateway(backend.port)
        to = "a@example.com,b@example.com,c@example.com"
        done = await swaks(gateway.port, "--pipeline", "--to", to)
        self.assertEqual(0, done.exit_code, done.output)
        [message] = backend.messages
        expected = tuple(b"RCPT TO:<%b@example.com>" % name for name in (b"a", b"b", b"c"))
        self.assertEqual(expected, message.rcpts)

    async def test_no_relaying(self) -> None:
        """Who may not relay is refused, except for the domains of the gateway."""
        backend = self.backend()
        files = {"relay_acl_allow": "192.0.2.0/24\n", "host_list": "example.com\n"}
        gateway = await self.gateway(backend.port, files)
        done = await swaks(gateway.port, "--to", "rcpt@elsewhere.example")
        self.assertEqual(REFUSED, done.exit_code, done.output)
        self.assertIn("550 5.7.1", done.output)
        self.assertEqual([], backend.messages)
        done = await swaks(gateway.port, "--to", "rcpt@example.com")
        self.assertEqual(0, done.exit_code, done.output)
        self.assertEqual(1, len(backend.messages))
