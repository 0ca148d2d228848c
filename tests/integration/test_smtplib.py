"""The standard library's client through the gateway."""

import smtplib
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

from twisted.internet.threads import deferToThread

from tests.peers.case import PeerTestCase
from tests.peers.script import Script

SENDER = "sender@example.org"
BODY = b"Subject: x\r\n\r\nhello\r\n"


async def with_client(port: int, use: Callable[[smtplib.SMTP], Any]) -> Any:
    """What ``use`` returns, called in a thread with a client of the server at ``port``."""

    def blocking() -> Any:
        name = "client.example.org"
        with smtplib.SMTP("127.0.0.1", port, local_hostname=name, timeout=30) as client:
            return use(client)

    return await deferToThread(blocking)


class SmtplibTests(PeerTestCase):
    """What smtplib sends arrives, and it sees what was answered."""

    async def test_several_recipients(self) -> None:
        """One message to several recipients is one transaction."""
        backend = self.backend()
        gateway = await self.gateway(backend.port)
        rcpts = [f"{name}@example.com" for name in "abcde"]
        refused = await with_client(gateway.port, lambda to: to.sendmail(SENDER, rcpts, BODY))
        self.assertEqual({}, refused)
        [message] = backend.messages
        self.assertEqual(tuple(f"RCPT TO:<{rcpt}>".encode() for rcpt in rcpts), message.rcpts)
        self.assertTrue(message.plain.endswith(BODY))

    async def test_eight_bits(self) -> None:
        """An 8-bit body passes as it is, and the backend is told of it."""
        backend = self.backend()
        gateway = await self.gateway(backend.port)
        body = BODY + "naïve façade\r\n".encode()
        options = ["BODY=8BITMIME"]
        to = ["rcpt@example.com"]
        await with_client(gateway.port, lambda it: it.sendmail(SENDER, to, body, options))
        [message] = backend.messages
        self.assertTrue(message.plain.endswith(body))
        self.assertIn(b" BODY=8BITMIME", message.mail)

    async def test_send_message(self) -> None:
        """A message made by the email package arrives."""
        backend = self.backend()
        gateway = await self.gateway(backend.port)
        message = EmailMessage()
        message["From"], message["To"] = SENDER, "rcpt@example.com"
        message["Subject"] = "grüße"
        message.set_content("ein Satz, der über die Zeile geht\n.\n..\n" * 20)
        await with_client(gateway.port, lambda client: client.send_message(message))
        [taken] = backend.messages
        self.assertTrue(taken.plain.endswith(message.as_bytes().replace(b"\n", b"\r\n")))

    async def test_two_messages_in_a_session(self) -> None:
        """A session carries one message after the other, over one backend connection."""
        backend = self.backend()
        gateway = await self.gateway(backend.port)

        def send_two(client: smtplib.SMTP) -> None:
            client.sendmail(SENDER, ["a@example.com"], BODY)
            client.sendmail(SENDER, ["b@example.com"], BODY)

        await with_client(gateway.port, send_two)
        self.assertEqual(2, len(backend.messages))
        self.assertEqual(1, backend.connections.total)

    async def test_refused_by_the_backend(self) -> None:
        """The backend's refusal of the message is what the client gets."""
        backend = self.backend(Script(replies={".": b"554 5.6.0 Not this one\r\n"}))
        gateway = await self.gateway(backend.port)
        to = ["rcpt@example.com"]
        with self.assertRaises(smtplib.SMTPDataError) as caught:
            await with_client(gateway.port, lambda client: client.sendmail(SENDER, to, BODY))
        error = caught.exception
        self.assertEqual((554, b"5.6.0 Not this one"), (error.smtp_code, error.smtp_error))
