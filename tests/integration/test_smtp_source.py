"""Load: smtp-source through the gateway to smtp-sink, the gateway's connections counted between.

500 messages; 5000 with ``SMTPFORWARD_FULL=1`` (``make load``).
"""

from tests.peers.case import PeerTestCase, full_size
from tests.peers.clients import smtp_source
from tests.peers.counting import ConnectionCount
from tests.peers.wait import until

MESSAGES = 5000 if full_size() else 500
SESSIONS = 50


class LoadTests(PeerTestCase):
    """Every message arrives once, over no more connections than the backend is to have."""

    timeout = 240

    async def load(
        self, *options: str, max_connections: int, served: int = 1000
    ) -> ConnectionCount:
        """Send the messages, see that all of them arrived; the connections that it took.

        :param served: connections that the sink serves at once; it does not answer more.
        """
        sink = await self.sink("-m", str(served))
        relay = self.relay(sink.port)
        # Longer than a test may take: what is left without an answer is never given up.
        keys = {"max_connections": max_connections, "connect_timeout": 1000}
        gateway = await self.gateway(relay.port, None, **keys)
        size = ["-s", str(SESSIONS), "-m", str(MESSAGES), "-l", "4096"]
        done = await smtp_source(gateway.port, *size, *options, timeout=180)
        self.assertEqual(0, done.exit_code, done.output + gateway.output()[-4000:])
        await until(lambda: sink.messages >= MESSAGES, lambda: f"{MESSAGES}: {sink.stdout[-80:]}")
        self.assertEqual(MESSAGES, sink.messages)
        return relay.connections

    async def test_as_many_connections_as_sessions(self) -> None:
        """With room for each session, connections are reused and stay within their bound."""
        connections = await self.load(max_connections=50)
        self.assertLessEqual(connections.most, 50)
        self.assertLess(connections.total, 200)

    async def test_two_connections_for_fifty_sessions(self) -> None:
        """Two connections carry it all, and there is never a third."""
        connections = await self.load(max_connections=2)
        self.assertLessEqual(connections.most, 2)

    async def test_a_backend_that_serves_two(self) -> None:
        """Nobody waits for a connection that it leaves unanswered while others come free."""
        await self.load(max_connections=50, served=2)

    async def test_many_messages_in_a_session(self) -> None:
        """Clients that keep their sessions are served the same."""
        connections = await self.load("-d", max_connections=50)
        self.assertLessEqual(connections.most, 50)
        self.assertLess(connections.total, 200)
