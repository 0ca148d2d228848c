"""The peers themselves: what the other integration tests lean on must hold without a gateway."""

import smtplib

import psycopg
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest

from tests.peers.case import PeerTestCase
from tests.peers.clients import smtp_source, swaks
from tests.peers.ports import free_port, is_listening
from tests.peers.postgresql import QUOTED
from tests.peers.raw import Answer, RawClient, bytewise
from tests.peers.require import require
from tests.peers.script import TAKEN, Action, Bytewise, Endless, Held, Script, by_recipient
from tests.peers.wait import until

MESSAGE = b"Subject: x\r\n\r\n..a\r\n"


def deliver(port: int, *segments: bytes) -> int:
    """One message in a connection of its own; the code of the last reply."""
    with RawClient(port) as client:
        client.hello()
        return client.transaction(segments).code


class ScriptedBackendTests(PeerTestCase):
    """The scripted backend."""

    async def test_records(self) -> None:
        """It keeps commands, envelope and both forms of the message."""
        backend = self.backend()
        self.assertEqual(250, await deferToThread(deliver, backend.port, MESSAGE + b".\r\n"))
        [message] = backend.messages
        self.assertEqual(MESSAGE, message.wire)
        self.assertEqual(b"Subject: x\r\n\r\n.a\r\n", message.plain)
        self.assertEqual((b"RCPT TO:<rcpt@example.com>",), message.rcpts)
        self.assertEqual(["EHLO", "MAIL", "RCPT", "DATA"], backend.conversations[0].verbs)

    async def test_end_of_data_across_segments(self) -> None:
        """The end mark is found however it is cut, and no look-alike is taken for it."""
        backend = self.backend()
        body = b"a\n.\nb\r\n.\nc\n.\r\nd\r\n..\r\n"
        await deferToThread(deliver, backend.port, *bytewise(body + b".\r\n"))
        self.assertEqual([body], [message.wire for message in backend.messages])

    async def test_empty_message(self) -> None:
        """A lone dot right after 354 ends an empty message."""
        backend = self.backend()
        await deferToThread(deliver, backend.port, b".\r\n")
        self.assertEqual([b""], [message.wire for message in backend.messages])

    async def test_bdat(self) -> None:
        """Chunks make up a message, byte for byte."""
        backend = self.backend()

        def chunks() -> list[int]:
            with RawClient(backend.port) as client:
                client.hello()
                client.ask("MAIL FROM:<>")
                client.ask("RCPT TO:<rcpt@example.com>")
                client.send(b"BDAT 4\r\n.\r\n.BDAT 2 LAST\r\n\r\n")
                return [client.answer().code, client.answer().code]

        self.assertEqual([250, 250], await deferToThread(chunks))
        self.assertEqual([b".\r\n.\r\n"], [message.plain for message in backend.messages])

    async def test_refused_recipient(self) -> None:
        """Only accepted recipients are in the envelope."""
        refusing = by_recipient(unknown=b"550 5.1.1 No such user\r\n")
        backend = self.backend(Script(replies={"RCPT": refusing}))

        def send() -> dict[str, tuple[int, bytes]]:
            with smtplib.SMTP("127.0.0.1", backend.port, timeout=20) as client:
                rcpts = ["unknown@example.com", "known@example.com"]
                return client.sendmail("sender@example.org", rcpts, MESSAGE)

        refused = await deferToThread(send)
        self.assertEqual({"unknown@example.com": (550, b"5.1.1 No such user")}, refused)
        self.assertEqual((b"rcpt TO:<known@example.com>",), backend.messages[0].rcpts)

    async def test_close_and_reset(self) -> None:
        """A connection can be closed in place of a reply, in order or not."""
        scripts = {1: Script(replies={"MAIL": Action.CLOSE}), 2: Script(greeting=Action.RESET)}
        backend = self.backend(scripts.__getitem__)
        with self.assertRaises(EOFError):
            await deferToThread(deliver, backend.port, MESSAGE)
        with self.assertRaises((ConnectionResetError, EOFError)):
            await deferToThread(deliver, backend.port, MESSAGE)
        self.assertEqual([True, False], [talk.ended_in_order for talk in backend.conversations])

    async def test_held_reply(self) -> None:
        """A held reply comes when the test releases it."""
        hold = Held(TAKEN)
        backend = self.backend(Script(replies={".": hold}))
        sent = deferToThread(deliver, backend.port, MESSAGE + b".\r\n")
        await until(lambda: hold.waiting, "the message")
        self.assertFalse(sent.called)
        hold.release()
        self.assertEqual(250, await sent)

    async def test_reply_bytewise(self) -> None:
        """A reply in single bytes is a reply."""
        backend = self.backend(Script(greeting=Bytewise(b"220-a\r\n220 b\r\n")))

        def greeting() -> str:
            with RawClient(backend.port) as client:
                return client.answer().text

        self.assertEqual("a\nb", await deferToThread(greeting))

    async def test_endless_reply(self) -> None:
        """An endless reply goes on until the client closes."""
        backend = self.backend(Script(greeting=Endless(b"220-more\r\n")))

        def read_a_lot() -> None:
            with RawClient(backend.port) as client:
                for _ in range(100_000):
                    self.assertEqual(b"220-more\r\n", client._file.readline())

        await deferToThread(read_a_lot)
        await until(lambda: backend.conversations[0].ended, "the end")

    async def test_silence(self) -> None:
        """Silence is kept, and what the client says is read all the same."""
        backend = self.backend(Script(greeting=Action.SILENCE))
        client = await deferToThread(RawClient, backend.port)
        self.addCleanup(client.close)
        client.send(b"EHLO client.example.org\r\n")
        await until(lambda: backend.conversations and backend.conversations[0].unread, "EHLO")
        self.assertEqual([], backend.conversations[0].commands)

    async def test_swaks(self) -> None:
        """swaks delivers, with PIPELINING as well."""
        backend = self.backend()
        for options in ([], ["--pipeline"]):
            done = await swaks(backend.port, *options)
            self.assertEqual(0, done.exit_code, done.output)
        self.assertEqual(2, len(backend.messages))


class ProgramTests(PeerTestCase):
    """smtp-source, smtp-sink, Postfix, Exim, and the relay that counts."""

    async def test_relay_counts(self) -> None:
        """The relay sees each connection, and how many there are at once."""
        sink = await self.sink()
        relay = self.relay(sink.port)
        done = await smtp_source(relay.port, "-s", "4", "-m", "40", "-l", "100")
        self.assertEqual(0, done.exit_code, done.output)
        await until(lambda: sink.messages == 40, lambda: f"40 messages: {sink.stdout}")
        self.assertEqual(40, relay.connections.total)
        self.assertLessEqual(relay.connections.most, 4)

    async def test_relay_counts_sessions_that_stay(self) -> None:
        """Sessions that are kept are counted once."""
        sink = await self.sink()
        relay = self.relay(sink.port)
        await smtp_source(relay.port, "-d", "-s", "4", "-m", "40")
        await until(lambda: sink.messages == 40, lambda: f"40 messages: {sink.stdout}")
        self.assertEqual((4, 4), (relay.connections.most, relay.connections.total))

    async def test_sink_keeps_messages(self) -> None:
        """The sink can keep what it takes."""
        sink = await self.sink(dump=True)
        await deferToThread(deliver, sink.port, MESSAGE + b".\r\n")
        await until(lambda: sink.messages == 1, "the message")
        [dump] = sink.dumps()
        self.assertIn(b"Subject: x\n\n.a\n", dump)

    async def test_postfix_files_mail(self) -> None:
        """Postfix files mail for the mailboxes it has, and refuses others at RCPT."""
        postfix = await self.postfix("known")
        done = await swaks(postfix.port, "--to", "known@example.com", "--body", "filed")
        self.assertEqual(0, done.exit_code, done.output)
        await until(lambda: postfix.messages("known"), postfix.output)
        self.assertIn(b"\nfiled\n", postfix.messages("known")[0])
        done = await swaks(postfix.port, "--to", "unknown@example.com")
        self.assertEqual(24, done.exit_code, done.output)
        self.assertIn("550 5.1.1 <unknown@example.com>", done.output)

    async def test_exim_files_mail(self) -> None:
        """So does Exim, for each of many in one session; what it files is what was sent."""
        exim = await self.exim("known", "other")

        def send() -> tuple[list[int], Answer]:
            with RawClient(exim.port) as client:
                client.hello()
                sent = [MESSAGE + b".\r\n"]
                rcpts = ("known@example.com", "other@example.com")
                codes = [client.transaction(sent, *rcpts).code for _ in range(12)]
                return codes, client.transaction(sent, "unknown@example.com")

        codes, refusal = await deferToThread(send)
        self.assertEqual([250] * 12, codes)
        self.assertEqual(Answer(550, "Unknown user"), refusal)
        filed = ("known", "other")
        await until(lambda: all(len(exim.messages(name)) == 12 for name in filed), exim.output)
        for name in filed:
            self.assertTrue(exim.messages(name)[0].endswith(b"Subject: x\n\n.a\n"))
        self.assertEqual(12, exim.log.count(" P=esmtp S="), exim.log)

    async def test_postgresql_keeps_what_it_committed(self) -> None:
        """What PostgreSQL has committed is there after a crash, at the same address."""
        server = await self.postgresql()
        server.sql("CREATE TABLE kept (word text)")
        server.sql("INSERT INTO kept VALUES ('this')")
        self.assertEqual([("on",)], server.sql("SHOW fsync"))
        await server.crash()
        self.assertRaises(psycopg.OperationalError, server.sql, "SELECT 1")
        again = await server.again()
        self.stop_later(again.stop)
        self.assertEqual([("this",)], again.sql("SELECT word FROM kept"))
        self.assertEqual(server.address, again.address)

    async def test_postgresql_asks_for_the_password(self) -> None:
        """Over TCP nobody gets in without the password."""
        server = await self.postgresql()
        with psycopg.connect(server.address) as connection:
            self.assertEqual([("queue",)], connection.execute("SELECT current_user").fetchall())
        wrong = server.address.replace(QUOTED, "wrong")
        refused = self.assertRaises(psycopg.OperationalError, psycopg.connect, wrong)
        self.assertIn("password authentication failed", str(refused))

    async def test_processes_are_stopped(self) -> None:
        """A stopped program listens no more, and its time of work was seen."""
        sink = await self.sink()
        await smtp_source(sink.port, "-s", "10", "-m", "500")
        self.assertGreater(sink.cpu_seconds(), 0)
        await sink.stop()
        self.assertFalse(is_listening(sink.port))
        self.assertEqual(0.0, sink.cpu_seconds())

    def test_missing_program(self) -> None:
        """A missing program skips the test, or fails it where it has to be there."""
        with self.assertRaises(SkipTest) as skipped:
            require("no-such-program", environ={})
        self.assertIn("no-such-program", str(skipped.exception))
        with self.assertRaises(AssertionError):
            require("no-such-program", environ={"SMTPFORWARD_REQUIRE_PEERS": "1"})

    def test_free_port(self) -> None:
        """A free port has no listener."""
        self.assertFalse(is_listening(free_port()))
