"""The examples of the documents, run as they stand."""

import os
import re
import sys
from pathlib import Path

from twisted.internet.threads import deferToThread

from tests.integration.test_twistd import STOPPED, transaction
from tests.peers.case import PeerTestCase
from tests.peers.clients import Finished, run
from tests.peers.gateway import TREE, environment, three_files, twistd_command, write_config
from tests.peers.ports import free_port
from tests.peers.process import Process
from tests.peers.script import TAKEN, Held, Script
from tests.peers.wait import until

EXAMPLES = TREE / "docs" / "examples"
TESTED_BY = {
    "embedded_gateway.py": "test_embedded_gateway",
    "send_through_pool.py": "test_send_through_pool",
    "gateway.tac": "test_application_file",
    "queue_mail.py": "test_queue_mail",
}


class ExamplesTests(PeerTestCase):
    """Each does what it promises."""

    def test_every_example_is_run(self) -> None:
        """No file of the folder is without a test here, and the document names each."""
        files = {path.name for path in EXAMPLES.iterdir() if path.is_file()}
        self.assertEqual(set(TESTED_BY), files)
        document = (TREE / "docs" / "embedding.md").read_text("utf-8")
        for name, test in TESTED_BY.items():
            self.assertTrue(callable(getattr(self, test, None)), test)
            self.assertIn(f"(examples/{name})", document)

    def config(self, backend: int) -> Path:
        """A directory of settings."""
        return write_config(self.folder(), three_files(free_port(), backend))

    async def test_embedded_gateway(self) -> None:
        """The edge and the pool of a program of one's own take mail, and it sees the outcomes."""
        backend = self.backend()
        command = [sys.executable, str(EXAMPLES / "embedded_gateway.py")]
        arguments = [str(self.config(backend.port)), "tcp:0:interface=127.0.0.1"]
        program = Process([*command, *arguments], self.folder(), environment(), "embedded")
        self.stop_later(program.stop)
        await program.until(lambda: "listening on " in program.stdout, "listening")
        port = int(program.stdout.split()[2])
        for rcpt in ("a@example.com", "b@example.com"):
            answer = await deferToThread(transaction, port, rcpt)
            self.assertEqual((250, "2.0.0 Ok: taken"), (answer.code, answer.text))
        told = (
            rf"listening on {port}\n"
            rf"(?:ACCEPTED, pools: \[<Pool 127\.0\.0\.1:{backend.port} connecting=0 "
            rf"idle=1 busy=0 closing=0 waiting=0>\]\n){{2}}"
        )
        await until(lambda: program.stdout.count("ACCEPTED") == 2, program.output)
        self.assertTrue(re.fullmatch(told, program.stdout), program.stdout)
        self.assertEqual("", program.stderr)
        rcpts = [message.rcpts for message in backend.messages]
        self.assertEqual([(b"RCPT TO:<a@example.com>",), (b"RCPT TO:<b@example.com>",)], rcpts)
        self.assertEqual(1, backend.connections.total)

    async def test_send_through_pool(self) -> None:
        """Ten messages arrive over at most two connections at once, and each result is printed."""
        backend = self.backend()
        done = await self.send_through_pool(backend.port)
        self.assertEqual(0, done.exit_code, done.output)
        expected = [f"{number} ACCEPTED 250 2.0.0 Ok: taken" for number in range(10)]
        self.assertEqual(expected, done.output.splitlines())
        self.assertEqual(10, len(backend.messages))
        subjects = {re.findall(rb"Subject: (\d)", m.plain)[0] for m in backend.messages}
        self.assertEqual(10, len(subjects))
        self.assertEqual({(b"RCPT TO:<you@example.com>",)}, {m.rcpts for m in backend.messages})
        self.assertLessEqual(backend.connections.most, 2)
        self.assertLessEqual(backend.connections.total, 2)
        await until(lambda: backend.connections.open == 0, lambda: repr(backend))
        self.assertEqual({"QUIT"}, {talk.verbs[-1] for talk in backend.conversations})

    async def send_through_pool(self, port: int) -> Finished:
        command = [sys.executable, str(EXAMPLES / "send_through_pool.py"), "127.0.0.1", str(port)]
        addresses = ["me@example.org", "you@example.com"]
        return await run([*command, *addresses], environ=environment(), folder=self.folder())

    async def test_send_through_pool_to_nobody(self) -> None:
        """Where nobody listens each message has its own result, and the program ends."""
        done = await self.send_through_pool(free_port())
        self.assertEqual(0, done.exit_code, done.output)
        self.assertEqual(10, len(re.findall(r"^\d UNREACHABLE .*refused", done.output, re.M)))

    async def test_queue_mail(self) -> None:
        """What was queued when the program was killed is delivered by its next run, once."""
        hold = Held(TAKEN)
        backend = self.backend(Script(replies={".": hold, "BDAT": hold}))
        folder, file = self.folder(), "queue.sqlite3"
        command = [sys.executable, str(EXAMPLES / "queue_mail.py"), file, "127.0.0.1"]
        rcpts = [f"{name}@example.com" for name in "abc"]
        arguments = [str(backend.port), "me@example.org", *rcpts]
        program = Process([*command, *arguments], folder, environment(), "first")
        self.stop_later(program.stop)
        await program.until(lambda: all(f"{r} ACCEPTED" in program.stdout for r in rcpts), "all")
        await until(lambda: hold.waiting, program.output)
        program.kill()
        other = self.backend()
        arguments = [str(other.port), "me@example.org"]
        done = await run([*command, *arguments], environ=environment(), folder=folder)
        self.assertEqual(0, done.exit_code, done.output)
        found = [message.rcpts[0].decode() for message in other.messages]
        self.assertEqual([f"RCPT TO:<{rcpt}>" for rcpt in rcpts], sorted(found))
        self.assertEqual(3, done.output.count("status=sent"), done.output)
        await until(lambda: other.connections.open == 0, lambda: repr(other))
        self.assertEqual({"QUIT"}, {talk.verbs[-1] for talk in other.conversations})
        # A third run finds nothing to do.
        done = await run([*command, *arguments], environ=environment(), folder=folder)
        self.assertEqual((0, 3), (done.exit_code, len(other.messages)), done.output)

    async def test_application_file(self) -> None:
        """``twistd -ny gateway.tac`` runs the gateway of the directory that the variable names."""
        backend = self.backend()
        port = free_port()
        config = write_config(self.folder(), three_files(port, backend.port))
        command = [*twistd_command(), "-n", "--pidfile=", "-y", str(EXAMPLES / "gateway.tac")]
        environ = {**environment(), "SMTPFORWARD_CONFIG": os.fspath(config)}
        gateway = Process(command, self.folder(), environ, "application")
        self.stop_later(gateway.stop)
        await gateway.until_listening(port)
        answer = await deferToThread(transaction, port, "rcpt@example.com")
        self.assertEqual((250, "2.0.0 Ok: taken"), (answer.code, answer.text))
        self.assertEqual(1, len(backend.messages))
        self.assertEqual(STOPPED, await gateway.terminate(), gateway.output())
        await until(lambda: backend.conversations[0].ended_in_order, "the end of the connection")
        self.assertEqual("QUIT", backend.conversations[0].verbs[-1])
