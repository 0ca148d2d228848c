"""SMTPUTF8, DSN and LIMITS through the gateway, to backends with and without them."""

import smtplib
from email.message import EmailMessage
from email.policy import SMTPUTF8

from twisted.internet.threads import deferToThread

from tests.integration.forwarding import FIRST, PIPELINING, ForwardingCase
from tests.integration.test_smtplib import with_client
from tests.peers.backend import ScriptedBackend
from tests.peers.clients import swaks
from tests.peers.raw import Answer, RawClient
from tests.peers.script import Script
from tests.peers.wait import until

WITH = Script(extensions=(*PIPELINING, "SMTPUTF8", "DSN"))
HEADER = "Subject: grüße\r\n\r\n.\r\n".encode()
BODY = b"Subject: x\r\n\r\ngr\xc3\xbc\xc3\x9fe\r\n.\r\n"
PARTS = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + BODY
BOOKS = "<a@xn--bcher-kva.example>"


class ExtensionsTests(ForwardingCase):
    """What is announced, taken, and passed on."""

    async def say(self, client: RawClient, mail: str, *rcpts: str, wire: bytes = FIRST) -> Answer:
        """The last reply to a message with these MAIL and RCPT arguments."""
        for command in (f"MAIL FROM:{mail}", *(f"RCPT TO:{rcpt}" for rcpt in rcpts)):
            answer = await self.ask(client, command)
            self.assertEqual(250, answer.code, (command, answer))
        await self.ask(client, "DATA")
        await deferToThread(client.send, wire)
        return await deferToThread(client.answer)

    async def client_of(self, script: Script) -> tuple[RawClient, ScriptedBackend]:
        """A client of a gateway in front of one backend."""
        backend = self.backend(script)
        return await self.client(self.forward(backend.port)), backend

    async def test_announced(self) -> None:
        """EHLO names them; HELO offers nothing, and takes no parameter."""
        backend = self.backend()
        gateway = self.forward(backend.port, {"connection.ini": "[max]\nrecipients=7\n"})
        client = await self.client(gateway)
        lines = (await self.ask(client, "EHLO a")).text.split("\n")
        for line in ("SMTPUTF8", "DSN", "LIMITS RCPTMAX=7"):
            self.assertIn(line, lines)
        await self.ask(client, "HELO a")
        for parameter in ("SIZE=1", "BODY=8BITMIME", "SMTPUTF8", "RET=HDRS"):
            answer = await self.ask(client, f"MAIL FROM:<sender@example.org> {parameter}")
            self.assertEqual((555, "5.5.4"), (answer.code, answer.text[:5]), parameter)
        self.assertEqual(250, (await self.ask(client, "MAIL FROM:<sender@example.org>")).code)
        answer = await self.ask(client, "RCPT TO:<b@example.com> NOTIFY=NEVER")
        self.assertEqual((555, "5.5.4"), (answer.code, answer.text[:5]))

    async def test_limit_is_the_one_that_holds(self) -> None:
        """The recipient beyond the announced number is deferred."""
        backend = self.backend()
        gateway = self.forward(backend.port, {"connection.ini": "[max]\nrecipients=2\n"})
        client = await self.client(gateway)
        answer = await self.send(client, "a@example.com", "b@example.com", "c@example.com")
        self.assertEqual((452, "4.5.3"), (answer.code, answer.text[:5]))

    async def test_utf8(self) -> None:
        """Addresses outside ASCII reach a backend with SMTPUTF8 as they are."""
        client, backend = await self.client_of(WITH)
        answer = await self.say(
            client, "<jürgen@bücher.example> SMTPUTF8", "<用户@例子.测试>", wire=HEADER
        )
        self.assert_said(answer, "250 2.0.0 Ok: taken")
        [message] = backend.messages
        self.assertEqual("MAIL FROM:<jürgen@bücher.example> SMTPUTF8".encode(), message.mail)
        self.assertEqual(("RCPT TO:<用户@例子.测试>".encode(),), message.rcpts)
        self.assertIn(b" with UTF8SMTP id ", message.plain)
        self.assertTrue(message.plain.endswith(HEADER[:-3]))
        self.assertNotIn(b"\r\n\tfor ", message.plain)
        [line] = [line for line in self.log_lines() if " status=sent " in line]
        self.assertIn(" from=<jürgen@bücher.example> to=<用户@例子.测试> ", line)

    async def test_utf8_refused(self) -> None:
        """One without SMTPUTF8 hears nothing of what needs it, and gets the next message."""
        client, backend = await self.client_of(Script())
        ascii_to = "<b@example.com>"
        for mail, rcpt, wire in (
            ("<jürgen@example.org>", ascii_to, FIRST),
            ("<a@example.org>", "<用户@example.com>", FIRST),
            ("<a@example.org>", ascii_to, HEADER),
            ("<a@example.org>", ascii_to, PARTS),
        ):
            answer = await self.say(client, f"{mail} SMTPUTF8", ascii_to, rcpt, wire=wire)
            self.assert_own(answer, "553 5.6.7", (mail, rcpt, wire))
        self.assertEqual(["EHLO"], backend.conversations[0].verbs)
        await self.assert_next(client, backend)

    async def test_utf8_not_needed(self) -> None:
        """What is ASCII but for the body, or a domain, passes to one without SMTPUTF8."""
        for wire in (FIRST, BODY):
            client, backend = await self.client_of(Script())
            mail, rcpt = "<a@bücher.example>", "<a@BÜCHER.example>"
            answer = await self.say(client, f"{mail} SMTPUTF8", rcpt, wire=wire)
            self.assert_said(answer, "250 2.0.0 Ok: taken")
            [message] = backend.messages
            self.assertEqual(f"MAIL FROM:{BOOKS}".encode(), message.mail)
            self.assertEqual((f"RCPT TO:{BOOKS}".encode(),), message.rcpts)
            self.assertTrue(message.wire.endswith(wire[:-3]))

    async def test_utf8_not_given(self) -> None:
        """Without the parameter an address outside ASCII is 553 5.6.7."""
        client, _ = await self.client_of(WITH)
        answer = await self.ask(client, "MAIL FROM:<jürgen@example.org>")
        self.assertEqual((553, "5.6.7"), (answer.code, answer.text[:5]))
        await self.ask(client, "MAIL FROM:<a@example.org>")
        answer = await self.ask(client, "RCPT TO:<用户@example.com>")
        self.assertEqual((553, "5.6.7"), (answer.code, answer.text[:5]))

    async def test_host_list(self) -> None:
        """A domain of ``host_list`` is the same one as U-label and as A-label."""
        files = {"relay_acl_allow": "192.0.2.0/24\n", "host_list": "xn--bcher-kva.example\n"}
        client = await self.client(self.forward(self.backend(WITH).port, files))
        await self.ask(client, "MAIL FROM:<a@example.org> SMTPUTF8")
        for rcpt, code in (
            ("<ü@bücher.example>", 250),
            ("<ü@XN--BCHER-KVA.example>", 250),
            ("<ü@büchér.example>", 550),
            ("<ü%elsewhere.example@bücher.example>", 550),
            ("<ü\uff05elsewhere.example@bücher.example>", 501),
        ):
            self.assertEqual(code, (await self.ask(client, f"RCPT TO:{rcpt}")).code, rcpt)

    async def test_dsn(self) -> None:
        """The parameters of a notification reach a backend that offers DSN, and no other."""
        mail = "<a@example.org> RET=HDRS ENVID=QQ+2B1 AUTH=<>"
        rcpts = (
            "<b@example.com> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;B+2Bx@example.com",
            "<c@example.com> NOTIFY=NEVER",
            "<d@example.com>",
        )
        for script, said, to in (
            (WITH, " RET=HDRS ENVID=QQ+2B1", [rcpt.partition(">")[2] for rcpt in rcpts]),
            (Script(), "", ["", "", ""]),
        ):
            client, backend = await self.client_of(script)
            self.assert_said(await self.say(client, mail, *rcpts), "250 2.0.0 Ok: taken")
            [message] = backend.messages
            self.assertEqual(f"MAIL FROM:<a@example.org>{said}".encode(), message.mail)
            self.assertEqual(
                [
                    f"RCPT TO:<{name}@example.com>{words}"
                    for name, words in zip("bcd", to, strict=True)
                ],
                [rcpt.decode() for rcpt in message.rcpts],
            )

    async def test_bad_parameters(self) -> None:
        """A value that is none, or a word twice, is 501 5.5.4; a word that is none 555 5.5.4."""
        client, _ = await self.client_of(WITH)
        for words, code in (
            ("RET=NONE", 501),
            ("RET=FULL RET=HDRS", 501),
            ("ENVID=a=b", 501),
            ("ENVID=a+0D+0AX", 501),
            ("AUTH=+", 501),
            ("SMTPUTF8=1", 501),
            ("NOTIFY=NEVER", 555),
            ("REQUIRETLS", 555),
        ):
            answer = await self.ask(client, f"MAIL FROM:<a@example.org> {words}")
            self.assertEqual((code, "5.5.4"), (answer.code, answer.text[:5]), words)
        await self.ask(client, "MAIL FROM:<a@example.org>")
        for words, code in (
            ("NOTIFY=NEVER,DELAY", 501),
            ("NOTIFY=NEVER NOTIFY=NEVER", 501),
            ("ORCPT=b@example.com", 501),
            ("ORCPT=rfc822;b+0A", 501),
            ("RET=FULL", 555),
        ):
            answer = await self.ask(client, f"RCPT TO:<b@example.com> {words}")
            self.assertEqual((code, "5.5.4"), (answer.code, answer.text[:5]), words)

    async def test_one_mailbox(self) -> None:
        """A refusal that was learned holds for the mailbox, however it is quoted."""
        script = Script(
            replies={
                "RCPT": lambda _, command: (
                    b"550 5.1.1 No such user\r\n" if b"bad" in command else b"250 2.1.5 Ok\r\n"
                )
            }
        )
        client, _ = await self.client_of(script)
        answer = await self.send(client, "good@example.com", "bad@example.com")
        self.assertEqual(451, answer.code)
        await self.ask(client, "RSET")
        await self.ask(client, 'MAIL FROM:<"sender"@Example.ORG>')
        answer = await self.ask(client, 'RCPT TO:<"b\\ad"@EXAMPLE.com>')
        self.assert_said(answer, "550 5.1.1 No such user")

    async def test_smtplib(self) -> None:
        """The standard library's client asks for SMTPUTF8 where a message needs it."""
        message = EmailMessage(policy=SMTPUTF8)
        message["From"], message["To"] = "jürgen@bücher.example", "用户@example.com"
        message["Subject"] = "grüße"
        message.set_content("ein Satz\n", cte="8bit")
        backend = self.backend(WITH)
        gateway = self.forward(backend.port)
        port: int = gateway.ports()[0].getHost().port
        await with_client(port, lambda client: client.send_message(message))
        [taken] = backend.messages
        self.assertIn("<jürgen@".encode(), taken.mail)
        self.assertIn(b" SMTPUTF8", taken.mail)
        self.assertEqual(("RCPT TO:<用户@example.com>".encode(),), taken.rcpts)
        self.assertTrue(taken.plain.endswith(message.as_bytes()))
        gateway = self.forward(self.backend().port)
        port = gateway.ports()[0].getHost().port
        with self.assertRaises(smtplib.SMTPDataError) as caught:
            await with_client(port, lambda client: client.send_message(message))
        self.assertEqual(553, caught.exception.smtp_code)

    async def test_swaks(self) -> None:
        """swaks asks for no SMTPUTF8: an address outside ASCII is refused, a quoted one passes."""
        backend = self.backend(WITH)
        port: int = self.forward(backend.port).ports()[0].getHost().port
        done = await swaks(port, "--to", "用户@example.com")
        self.assertNotEqual(0, done.exit_code, done.output)
        self.assertIn("553 5.6.7", done.output)
        done = await swaks(port, "--from", '"a b"@example.org', "--to", "b@[IPv6:2001:db8::1]")
        self.assertEqual(0, done.exit_code, done.output)
        [message] = backend.messages
        self.assertTrue(message.mail.startswith(b'MAIL FROM:<"a b"@example.org>'), message.mail)
        self.assertEqual((b"RCPT TO:<b@[IPv6:2001:db8::1]>",), message.rcpts)

    async def test_postfix(self) -> None:
        """Postfix takes what is passed on to it, SMTPUTF8 and DSN."""
        postfix = await self.postfix("known", smtputf8_enable="yes")
        client = await self.client(self.forward(postfix.port))
        answer = await self.say(
            client,
            "<jürgen@bücher.example> SMTPUTF8 RET=HDRS ENVID=Q+2B1",
            "<known@example.com> NOTIFY=NEVER ORCPT=rfc822;known@example.com",
            wire=HEADER,
        )
        self.assertEqual(250, answer.code, answer)
        await until(lambda: postfix.messages("known"), postfix.output)
        [filed] = postfix.messages("known")
        self.assertIn("jürgen@bücher.example".encode(), filed)
        self.assertEqual(2, filed.count(b" with UTF8SMTP id "), filed)
        self.assertIn(b"Subject: gr\xc3\xbc\xc3\x9fe\n", filed)
