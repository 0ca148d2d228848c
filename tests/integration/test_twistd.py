"""The gateway as ``twistd`` runs it: start, refusal to start, end."""

import signal
import socket

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from tests.peers.case import PeerTestCase
from tests.peers.clients import run
from tests.peers.conversation import Conversation
from tests.peers.gateway import Gateway, environment, three_files, twistd_command
from tests.peers.ports import free_port, is_listening
from tests.peers.raw import Answer, RawClient
from tests.peers.script import TAKEN, Held, Script, Step
from tests.peers.wait import until

EX_CONFIG = 78
WIRE = b"Subject: x\r\n\r\nhello\r\n.\r\n"


def transaction(port: int, rcpt: str) -> Answer:
    """The answer to one message."""
    with RawClient(port) as client:
        client.hello()
        return client.transaction([WIRE], rcpt)


class StartTests(PeerTestCase):
    """How it starts, or does not."""

    async def test_help(self) -> None:
        """twistd knows the gateway."""
        command = [*twistd_command(), "--help"]
        done = await run(command, environ=environment(), folder=self.folder())
        self.assertEqual(0, done.exit_code, done.output)
        self.assertIn("smtpforward", done.output)

    async def test_three_files(self) -> None:
        """Who listens, where mail goes and who may relay is all that it must be told."""
        backend = self.backend()
        port = free_port()
        gateway = Gateway(self.folder(), three_files(port, backend.port), port)
        self.stop_later(gateway.stop)
        await gateway.ready()
        answer = await deferToThread(transaction, port, "rcpt@example.com")
        self.assertEqual(250, answer.code, answer.text)
        self.assertEqual(1, len(backend.messages))

    async def test_listen_option(self) -> None:
        """An endpoint on the command line is listened on."""
        backend = self.backend()
        port = free_port()
        option = ["--listen", f"tcp:{port}:interface=127.0.0.1"]
        gateway = Gateway(self.folder(), three_files(free_port(), backend.port), port, *option)
        self.stop_later(gateway.stop)
        await gateway.ready()
        answer = await deferToThread(transaction, port, "rcpt@example.com")
        self.assertEqual(250, answer.code, answer.text)

    async def test_wrong_configuration(self) -> None:
        """Every error of every file is told at once, and nothing is listened on before.

        The port is taken: a gateway that tried to listen first would speak of that.
        """
        taken = self.taken_port()
        files = {
            "smtp.ini": f"listen=127.0.0.1:{taken}\ninactivity_timeout=soon\n",
            "smtp_forward.ini": "host=127.0.0.1\nport=many\nmax_conections=3\n",
            "relay_acl_allow": "127.0.0.0/99\n",
        }
        gateway = Gateway(self.folder(), files, taken)
        self.stop_later(gateway.stop)
        self.assertEqual(EX_CONFIG, await gateway.ended(), gateway.output())
        for told in (*files, "inactivity_timeout", "port", "max_conections", "127.0.0.0/99"):
            self.assertIn(told, gateway.stderr)
        self.assertNotIn("Traceback", gateway.output())
        self.assertNotIn("in use", gateway.output())

    async def test_missing_directory(self) -> None:
        """A configuration directory that is not there is an error with its name."""
        folder = self.folder()
        absent = str(folder / "absent")
        command = [*twistd_command(), "-n", "--pidfile=", "smtpforward", "--config", absent]
        done = await run(command, environ=environment(), folder=folder)
        self.assertNotEqual(0, done.exit_code, done.output)
        self.assertIn(absent, done.output)
        self.assertNotIn("Traceback", done.output)

    async def test_port_taken(self) -> None:
        """A port that another program has is an error that names it."""
        taken = self.taken_port()
        gateway = Gateway(self.folder(), three_files(taken, free_port()), taken)
        self.stop_later(gateway.stop)
        self.assertNotEqual(0, await gateway.ended())
        self.assertIn(f"cannot listen on 127.0.0.1:{taken}: Address already", gateway.output())
        self.assertNotIn("Traceback", gateway.output())

    def taken_port(self) -> int:
        """A port of 127.0.0.1 on which this test listens."""
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        return int(taken.getsockname()[1])


# twistd, when it has stopped in order, ends by the signal that it was sent.
STOPPED = -signal.SIGTERM


class StopTests(PeerTestCase):
    """How it ends."""

    files: dict[str, str] = {}

    async def test_idle(self) -> None:
        """With nothing in flight TERM ends it at once."""
        gateway = await self.gateway(self.backend().port, self.files)
        self.assertEqual(STOPPED, await gateway.terminate(timeout=10), gateway.output())

    async def test_transaction_in_flight(self) -> None:
        """TERM lets a transaction finish, takes no new client and ends idle connections."""
        hold = Held(TAKEN)
        backend = self.backend(Script(replies={".": slow(hold), "BDAT": slow(hold)}))
        gateway = await self.gateway(backend.port, self.files)
        in_flight = deferToThread(transaction, gateway.port, "slow@example.com")
        await until(lambda: hold.waiting, gateway.output)
        await deferToThread(transaction, gateway.port, "quick@example.com")
        busy, idle = backend.conversations
        ended = Deferred.fromCoroutine(gateway.terminate())
        await until(lambda: not is_listening(gateway.port), gateway.output)
        with self.assertRaises(ConnectionRefusedError):
            await deferToThread(RawClient, gateway.port)
        await until(lambda: idle.verbs[-1] == "QUIT", "QUIT on the idle connection", timeout=8)
        await until(lambda: idle.ended_in_order, gateway.output, timeout=8)
        self.assertIsNone(busy.ended)
        self.assertIsNone(gateway.exit_code)
        hold.release()
        answer = await in_flight
        self.assertEqual(250, answer.code, answer.text)
        self.assertEqual(STOPPED, await ended, gateway.output())

    async def test_message_arriving(self) -> None:
        """A message that has come in half at TERM is taken to its end and handed over."""
        backend = self.backend()
        gateway = await self.gateway(backend.port, self.files)
        client = await deferToThread(RawClient, gateway.port)
        self.addCleanup(client.close)
        await deferToThread(client.hello)
        for command in ("MAIL FROM:<sender@example.org>", "RCPT TO:<rcpt@example.com>", "DATA"):
            await deferToThread(client.ask, command)
        client.send(WIRE[:10])
        ended = Deferred.fromCoroutine(gateway.terminate())
        await until(lambda: not is_listening(gateway.port), gateway.output)
        client.send(WIRE[10:])
        answer = await deferToThread(client.answer)
        self.assertEqual(250, answer.code, answer.text)
        client.close()
        self.assertEqual(STOPPED, await ended, gateway.output())
        self.assertEqual(1, len(backend.messages))
        self.assertEqual("QUIT", backend.conversations[0].verbs[-1])


class StopWorkersTests(StopTests):
    """How several processes end."""

    files = {"connection.ini": "nodes=2\n"}


def slow(hold: Held) -> Step:
    """Hold the answer to the messages for slow@example.com."""

    def step(conversation: Conversation, command: bytes) -> Step:
        return hold if b"<slow@" in conversation.messages[-1].rcpts[0] else TAKEN

    return step
