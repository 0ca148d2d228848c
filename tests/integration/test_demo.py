"""``smtpforward demo``, as someone runs it who has just installed the gateway."""

import re
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.integration.test_smtplib import with_client
from tests.peers.case import PeerTestCase
from tests.peers.clients import Finished, run, swaks
from tests.peers.gateway import environment
from tests.peers.ports import is_listening
from tests.peers.process import Process
from tests.peers.wait import until

DEMO = [sys.executable, "-m", "smtpforward.commands.main", "demo"]
PORT = re.compile(r"^gateway on 127\.0\.0\.1:(\d+),", re.MULTILINE)
FILED = re.compile(r"^it lies in (.*)$", re.MULTILINE)
SAMPLE = "Subject: A first message through smtpforward\n"
EX_USAGE = 64


class DemoCase(PeerTestCase):
    """Runs the demonstration; what it leaves in the system's temporary directory is in a folder."""

    def environ(self) -> Mapping[str, str]:
        """The tree's own modules; a place of its own for what is temporary."""
        self.temporary = self.folder()
        return {**environment(), "TMPDIR": str(self.temporary)}

    async def demo(self, *options: str) -> Finished:
        """It, run to its end."""
        return await run([*DEMO, *options], environ=self.environ(), folder=self.folder())

    async def running(self, *options: str) -> tuple[Process, int]:
        """It, once it says that it waits for more; and its port."""
        demo = Process([*DEMO, *options], self.folder(), self.environ(), "demo")
        self.stop_later(demo.stop)
        await demo.until(lambda: "Ctrl-C ends" in demo.stdout, "the end of the sample")
        match = PORT.search(demo.stdout)
        assert match is not None, demo.output()
        return demo, int(match[1])

    async def interrupt(self, demo: Process) -> None:
        """Ctrl-C ends it in order."""
        demo.signal(signal.SIGINT)
        self.assertEqual(0, await demo.ended(), demo.output())
        self.assertEqual("", demo.stderr)


class OnceTests(DemoCase):
    """The sample, and the end."""

    async def test_sample_is_filed(self) -> None:
        """The sample goes through, lies where it is said to lie, and the program ends with 0."""
        done = await self.demo("--once")
        self.assertEqual(0, done.exit_code, done.output)
        filed = FILED.search(done.output)
        assert filed is not None, done.output
        self.assertTrue(filed[1].startswith(str(self.temporary)), filed[1])
        message = Path(filed[1]).read_text("ascii")
        self.assertTrue(message.startswith("Return-Path: <you@example.com>\nReceived: from "))
        self.assertIn(SAMPLE, message)
        name = Path(filed[1]).name
        self.assertIn(f"  S: 250 2.0.0 filed as {name}\n", done.output)
        self.assertIn(f" status=sent (250 2.0.0 filed as {name})\n", done.output)
        self.assertEqual(1, len(list(Path(filed[1]).parent.iterdir())))

    async def test_directory(self) -> None:
        """A directory of one's own is made, and used again."""
        directory = self.folder() / "new" / "demo"
        for count in (1, 2):
            done = await self.demo("--once", "--dir", str(directory))
            self.assertEqual(0, done.exit_code, done.output)
            self.assertEqual(count, len(list((directory / "Maildir" / "new").iterdir())))
        self.assertIn("port=", (directory / "config" / "smtp_forward.ini").read_text("ascii"))

    async def test_port_is_taken(self) -> None:
        """A port that someone has is one line that names it, and no success."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            done = await self.demo("--once", "--port", port)
        self.assertEqual(1, done.exit_code, done.output)
        self.assertIn(port, done.output)
        self.assertIn("in use", done.output)
        self.assertEqual(1, len(done.output.splitlines()), done.output)

    async def test_no_port(self) -> None:
        """What is no port is a usage error."""
        for text in ("70000", "-1", "many"):
            done = await self.demo("--once", f"--port={text}")
            self.assertEqual(EX_USAGE, done.exit_code, done.output)
            self.assertIn("--port", done.output)
            self.assertNotIn("Traceback", done.output)

    async def test_no_directory(self) -> None:
        """A directory that cannot be made is one line that names it."""
        file = self.folder() / "file"
        file.touch()
        done = await self.demo("--once", "--dir", str(file / "demo"))
        self.assertEqual(1, done.exit_code, done.output)
        self.assertIn(str(file), done.output)
        self.assertEqual(1, len(done.output.splitlines()), done.output)


class StaysTests(DemoCase):
    """Without ``--once`` it waits for more."""

    async def test_second_message(self) -> None:
        """What another client sends to the printed port lies beside the sample; Ctrl-C ends it."""
        demo, port = await self.running()
        body = b"Subject: second\r\n\r\n.hello\r\n"
        to = ["a@example.com", "b@example.net"]
        await with_client(port, lambda client: client.sendmail("me@example.org", to, body))
        filed = self.mail(demo)
        self.assertEqual(2, len(filed), demo.output())
        self.assertTrue(any(SAMPLE in message for message in filed))
        [second] = [message for message in filed if SAMPLE not in message]
        self.assertTrue(second.startswith("Return-Path: <me@example.org>\n"), second)
        self.assertTrue(second.endswith("Subject: second\n\n.hello\n"), second)
        await until(lambda: "to=<a@example.com>,<b@example.net>" in demo.stdout, demo.output)
        await self.interrupt(demo)
        self.assertFalse(is_listening(port))

    async def test_swaks(self) -> None:
        """The command that it prints works."""
        demo, port = await self.running()
        self.assertIn(f"swaks --server 127.0.0.1:{port} --from ", demo.stdout)
        done = await swaks(port, "--body", "hello from swaks")
        self.assertEqual(0, done.exit_code, done.output)
        self.assertTrue(any("\nhello from swaks\n" in message for message in self.mail(demo)))
        await self.interrupt(demo)

    async def test_chosen_port(self) -> None:
        """A chosen port is the one that it listens on."""
        with socket.create_server(("127.0.0.1", 0)) as probe:
            free = int(probe.getsockname()[1])
        demo, port = await self.running("--port", str(free))
        self.assertEqual(free, port)
        self.assertTrue(is_listening(free))
        await self.interrupt(demo)

    def mail(self, demo: Process) -> list[str]:
        """The messages in the directory that it prints."""
        match = re.search(r"^mail: +(.*)$", demo.stdout, re.MULTILINE)
        assert match is not None, demo.output()
        return [file.read_text("utf-8") for file in Path(match[1]).iterdir()]
