"""A client that ends its half of the connection while the backend has not answered yet."""

from twisted.internet.threads import deferToThread

from tests.peers.case import PeerTestCase
from tests.peers.raw import RawClient
from tests.peers.script import Held, Script
from tests.peers.wait import until

ENVELOPE = b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\n"
MESSAGE = b"Subject: x\r\n\r\nbody\r\n"
BY_BDAT = (ENVELOPE + b"BDAT %d LAST\r\n" % len(MESSAGE) + MESSAGE,)
BY_DATA = (ENVELOPE + b"DATA\r\n", MESSAGE + b".\r\n")


class HalfClosedTests(PeerTestCase):
    """With a QUIT it waits for its answer; without one it has gone."""

    async def assert_answered(self, *wire: bytes) -> None:
        """Who sends ``wire`` and QUIT and then no more is told that its message was taken."""
        hold = Held(b"250 2.1.5 Ok\r\n")
        backend = self.backend(Script(extensions=(), replies={"RCPT": hold}))
        gateway = await self.gateway(backend.port)
        with RawClient(gateway.port) as client:
            await deferToThread(begin, client, *wire[:-1], wire[-1] + b"QUIT\r\n")
            await until(lambda: hold.waiting, gateway.output)
            client.end()
            hold.release()
            answers = [await deferToThread(client.answer) for _ in range(2)]
            self.assertEqual([250, 221], [answer.code for answer in answers], answers)
            self.assertTrue(await deferToThread(client.at_end))
        self.assertEqual([MESSAGE], [m.plain[-len(MESSAGE) :] for m in backend.messages])

    async def test_by_data(self) -> None:
        """After DATA."""
        await self.assert_answered(*BY_DATA)

    async def test_by_bdat(self) -> None:
        """After BDAT."""
        await self.assert_answered(*BY_BDAT)

    async def test_without_quit(self) -> None:
        """The connection to the backend is closed, and nothing is delivered."""
        hold = Held(b"250 2.1.5 Ok\r\n")
        backend = self.backend(Script(extensions=(), replies={"RCPT": hold}))
        gateway = await self.gateway(backend.port)
        with RawClient(gateway.port) as client:
            await deferToThread(begin, client, *BY_DATA)
            await until(lambda: hold.waiting, gateway.output)
            client.end()
            self.assertTrue(await deferToThread(client.at_end))
        await until(lambda: backend.connections.unclosed == 0, gateway.output)
        hold.release()
        self.assertEqual([], backend.messages)
        self.assertIn("[the client went away]", gateway.output())


def begin(client: RawClient, envelope: bytes, *message: bytes) -> None:
    """Say hello and send; the answers to the envelope are read before the message goes."""
    client.hello()
    client.send(envelope)
    codes = [client.answer().code for _ in range(2 + len(message))]
    assert codes == [250, 250, 354][: len(codes)], codes
    client.send(*message)
