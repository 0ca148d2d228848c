"""``smtpforward send`` as an operator runs it: to scripted backends, and to a real gateway."""

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread

from tests.integration.test_debug_session import CERTIFICATE
from tests.integration.test_queue_command import environ
from tests.peers.backend import ScriptedBackend
from tests.peers.case import PeerTestCase
from tests.peers.gateway import write_config
from tests.peers.ports import free_port
from tests.peers.script import Script, by_recipient

COMMAND = [sys.executable, "-m", "smtpforward.commands.main", "send"]
PASSWORD = "correct horse"
SECRETS = (PASSWORD, base64.b64encode(f"\0gw\0{PASSWORD}".encode()).decode())
REPLIES = by_recipient(nobody=b"550 5.1.1 no such user\r\n", late=b"450 4.2.0 later\r\n")
SCRIPT = Script(
    extensions=("PIPELINING", "8BITMIME", "SIZE 100000", "AUTH PLAIN"),
    replies={"AUTH": b"235 2.7.0 in\r\n", "RCPT": REPLIES},
)


class SendTests(PeerTestCase):
    """One message, and what is shown of it."""

    def directory(self, **ports: int) -> None:
        """Settings: the default route with a login, and sections by name."""
        login = f"auth_type=plain\nauth_user=gw\nauth_pass={PASSWORD}\n"
        sections = "".join(
            f"[{name}.example]\nhost=127.0.0.1\nport={port}\n" for name, port in ports.items()
        )
        forward = f"host=127.0.0.1\nport={self.taken.port}\nenable_tls=false\n{login}{sections}"
        files = {"me": "gateway.example.com\n", "smtp_forward.ini": forward}
        self.config = write_config(self.folder(), files)

    def backend_here(self) -> ScriptedBackend:
        """The default route's, and the settings with it."""
        self.taken = self.backend(SCRIPT)
        self.directory()
        return self.taken

    async def send(self, *words: str, code: int = 0, stdin: bytes = b"") -> str:
        """What the command prints; no secret is among it."""

        def blocking() -> "subprocess.CompletedProcess[bytes]":
            return subprocess.run(
                [*COMMAND, "--config", str(self.config), *words],
                input=stdin, capture_output=True, timeout=60, env=environ(),
            )  # fmt: skip

        done = await deferToThread(blocking)
        self.err = done.stderr.decode()
        self.assertEqual(code, done.returncode, (done.stdout, done.stderr))
        for secret in SECRETS:
            self.assertNotIn(secret.encode(), done.stdout + done.stderr)
        return done.stdout.decode()

    async def sent(self, *words: str, code: int = 0) -> Any:
        """The document."""
        return json.loads(await self.send("--json", *words, code=code))

    async def test_dialogue(self) -> None:
        """Each line of it, the login blanked, and the result."""
        backend = self.backend_here()
        said = (
            await self.send("--from", "ann@example.org", "--to", "bob@example.com")
        ).splitlines()
        peer = f"127.0.0.1[127.0.0.1]:{backend.port}"
        for line in (
            f"{peer} connected",
            "S: 220 backend.example.com ESMTP",
            "C: EHLO gateway.example.com",
            "C: AUTH PLAIN ***",
            "S: 235 2.7.0 in",
            "C: RCPT TO:<bob@example.com>",
            "C: DATA",
            "S: 250 2.0.0 Ok: taken",
            "C: QUIT",
            "route: default",
            "<bob@example.com>: the backend has the message (250 2.0.0 Ok: taken)",
        ):
            self.assertIn(line, said)
        self.assertRegex(said[-1], r"^result: sent in \d+\.\d{3} s: 250 2\.0\.0 Ok: taken$")
        [message] = backend.messages
        self.assertIn(b"\r\nSubject: test ", message.plain)
        self.assertTrue(message.mail.startswith(b"MAIL FROM:<ann@example.org>"), message.mail)

    async def test_answers(self) -> None:
        """The exit code is the answer's: refused 69, deferred 75, nobody there 75."""
        self.backend_here()
        for to, code, reply in (
            ("nobody@example.com", 69, "550 5.1.1 no such user"),
            ("late@example.com", 75, "450 4.2.0 later"),
        ):
            told = await self.sent("--to", to, code=code)
            self.assertEqual(reply, told["reply"])
        both = await self.sent("--to", "bob@example.com", "--to", "nobody@example.com", code=75)
        self.assertEqual(["spared", "refused"], [one["event"] for one in both["recipients"]])
        self.assertEqual([], self.taken.messages)
        self.directory(down=free_port())
        told = await self.sent("--to", "bob@down.example", code=75)
        self.assertEqual("down.example", told["route"])
        self.assertIn("refused", told["recipients"][0]["detail"])

    async def test_route(self) -> None:
        """The recipient's, or the one that is named; another host in its place gets no login."""
        self.backend_here()
        other = self.backend(SCRIPT)
        self.directory(other=other.port)
        self.assertEqual("other.example", (await self.sent("--to", "b@other.example"))["route"])
        named = await self.sent("--to", "b@other.example", "--route", "default")
        self.assertEqual("default", named["route"])
        told = await self.sent("--to", "b@example.com", "--to-host", f"127.0.0.1:{other.port}")
        self.assertEqual("default", told["route"])
        self.assertNotIn("AUTH PLAIN ***", [line["said"] for line in told["dialogue"]])
        self.assertEqual((1, 2), (len(self.taken.messages), len(other.messages)))

    async def test_server(self) -> None:
        """A gateway, as a client: under TLS, with a login of its own, to the end of the way."""
        backend = self.backend_here()
        port = free_port()
        users = {"auth_flat_file.ini": f"[core]\nmethods=PLAIN\n[users]\ngw={PASSWORD}\n"}
        gateway = await self.gateway(backend.port, {**CERTIFICATE, **users, "relay_acl_allow": ""})
        file = self.folder() / "password"
        file.write_text(f"{PASSWORD}\n")
        server = ("--server", f"127.0.0.1:{gateway.port}", "--to", "b@far.example")
        refused = await self.sent(*server, code=69)
        self.assertRegex(refused["reply"], r"^550 5\.7\.1 .*\[[0-9A-F]+\]$")
        told = await self.sent(*server, "--user", "gw", "--password-file", str(file))
        said = [line["said"] for line in told["dialogue"]]
        self.assertIn("TLS: TLSv1.3", said)
        self.assertIn("AUTH PLAIN ***", said)
        self.assertEqual(1, len(backend.messages))
        # Its certificate is nobody's whom this host trusts.
        told = await self.sent(*server, "--tls", "required", code=75)
        self.assertEqual("tls", told["recipients"][0]["event"])
        told = await self.sent("--server", f"127.0.0.1:{port}", "--to", "b@far.example", code=75)
        self.assertEqual("unreachable", told["recipients"][0]["event"])

    async def test_message(self) -> None:
        """Of a size, from a file, from standard input; dots and 8-bit bytes are what they were."""
        backend = self.backend_here()
        for size in (1000, 1001, 4096, 90000):
            await self.send("--to", "b@example.com", "--size", str(size))
            self.assertEqual(size, len(backend.messages[-1].plain))
        text = "Subject: x\n\n.\n..\nbücher\n".encode()
        file = self.folder() / "message"
        file.write_bytes(text)
        await self.send("--to", "b@example.com", "--data", str(file))
        await self.send("--to", "b@example.com", "--data", "-", stdin=text)
        for message in backend.messages[-2:]:
            self.assertEqual(text.replace(b"\n", b"\r\n"), message.plain)
            self.assertIn(b" BODY=8BITMIME", message.mail)
        await self.send("--to", "b@example.com", "--data", "-", stdin=b"a\rb\n", code=65)
        await self.send("--to", "b@example.com", "--data", "/nowhere", code=66)
        too_large = await self.sent("--to", "b@example.com", "--size", "100001", code=69)
        self.assertEqual("too_large", too_large["recipients"][0]["event"])

    async def test_wrong(self) -> None:
        """What cannot be meant is said, and nothing is sent."""
        self.backend_here()
        self.directory(a=free_port(), b=free_port())
        password = str(Path(self.config) / "me")
        for words, code in (
            (("--to", "x@a.example", "--to", "x@b.example"), 65),
            (("--to", "a b@example.com"), 65),
            (("--to", "x@a.example\r\nRSET"), 65),
            (("--to", "b@example.com", "--route", "nowhere.example"), 78),
            (("--to", "b@example.com", "--tls", "required"), 64),
            (("--to", "b@example.com", "--server", "h", "--to-host", "g"), 64),
            (("--to", "b@example.com", "--server", "h", "--password-file", password), 64),
            (("--to", "b@example.com", "--server", "h:99999"), 64),
            (("--to", "b@example.com", "--size", "-1"), 64),
            ((), 64),
        ):
            self.assertEqual("", await self.send(*words, code=code), words)
            self.assertNotEqual("", self.err)
        self.assertEqual([], self.taken.messages)
