"""A real Postfix behind the gateway."""

import re

from twisted.internet.threads import deferToThread

from tests.peers.case import PeerTestCase
from tests.peers.clients import swaks
from tests.peers.raw import Answer, RawClient
from tests.peers.wait import until

WIRE = b"Subject: filed\r\n\r\n..\r\n..dots\r\n8 bits: \xc3\xbc\r\n.\r\n"
FILED = b"Subject: filed\n\n.\n.dots\n8 bits: \xc3\xbc\n"


def transaction(port: int, *rcpts: str) -> Answer:
    """The answer to one message."""
    with RawClient(port) as client:
        client.hello()
        return client.transaction([WIRE], *rcpts)


class PostfixTests(PeerTestCase):
    """What Postfix takes and says."""

    async def test_filed(self) -> None:
        """A message is filed as it was sent, and Postfix's queue id is in the answer."""
        postfix = await self.postfix("known")
        gateway = await self.gateway(postfix.port)
        answer = await deferToThread(transaction, gateway.port, "known@example.com")
        self.assertEqual(250, answer.code, answer.text)
        queue_id = re.search(r"queued as (\w+)", answer.text)
        assert queue_id is not None, answer.text
        await until(lambda: postfix.messages("known"), postfix.output)
        [filed] = postfix.messages("known")
        self.assertTrue(filed.endswith(FILED), filed)
        self.assertEqual(2, filed.count(b"\nReceived: "), filed)
        self.assertIn(queue_id[1], postfix.log)

    async def test_swaks(self) -> None:
        """swaks's message passes through both."""
        postfix = await self.postfix("known")
        gateway = await self.gateway(postfix.port)
        done = await swaks(gateway.port, "--to", "known@example.com", "--pipeline")
        self.assertEqual(0, done.exit_code, done.output)
        await until(lambda: postfix.messages("known"), postfix.output)

    async def test_refused_recipient(self) -> None:
        """A refusal by Postfix reaches the client in Postfix's own words."""
        postfix = await self.postfix("known")
        gateway = await self.gateway(postfix.port)
        direct = await deferToThread(transaction, postfix.port, "unknown@example.com")
        through = await deferToThread(transaction, gateway.port, "unknown@example.com")
        self.assertEqual(550, direct.code)
        self.assertIn("5.1.1 <unknown@example.com>", direct.text)
        self.assertEqual(direct, through)

    async def test_refused_among_accepted(self) -> None:
        """Where one of two is refused nobody gets the message yet, and at the retry the other."""
        postfix = await self.postfix("known")
        gateway = await self.gateway(postfix.port)
        both = ("known@example.com", "unknown@example.com")
        first = await deferToThread(transaction, gateway.port, *both)
        self.assertEqual(451, first.code, first.text)
        again = await deferToThread(transaction, gateway.port, both[1])
        self.assertEqual(550, again.code, again.text)
        again = await deferToThread(transaction, gateway.port, both[0])
        self.assertEqual(250, again.code, again.text)
        await until(lambda: postfix.messages("known"), postfix.output)
        self.assertEqual(1, len(postfix.messages("known")))
