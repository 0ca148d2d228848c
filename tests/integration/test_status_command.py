"""``smtpforward status`` as an operator runs it, beside a real gateway."""

import json
import os
import pty
import signal
import subprocess
import sys

from twisted.internet.threads import deferToThread

from smtpforward import passwords
from tests.integration.test_logs import deliver
from tests.integration.test_metrics import MetricsCase
from tests.peers.gateway import Gateway, environment
from tests.peers.ports import free_port
from tests.peers.wait import until

COMMAND = [sys.executable, "-m", "smtpforward.commands.main"]
DEADLINE = 60.0


class CommandProcessCase(MetricsCase):
    """Runs the command in a process of its own."""

    async def command(
        self, gateway: Gateway, name: str, *words: str, **environ: str
    ) -> tuple[int, str, str]:
        """Exit code and both streams of ``smtpforward NAME --config ...``."""
        config = str(gateway.folder / "config")

        def blocking() -> tuple[int, str, str]:
            done = subprocess.run(
                [*COMMAND, name, "--config", config, *words],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, encoding="utf-8",
                timeout=DEADLINE, env={**os.environ, **environment(), **environ},
            )  # fmt: skip
            return done.returncode, done.stdout, done.stderr

        return await deferToThread(blocking)


class StatusTests(CommandProcessCase):
    """Once, and again and again."""

    async def test_ready(self) -> None:
        """The facts, as text without colours and as the API's document."""
        gateway = await self.shown()
        await deferToThread(deliver, gateway.port)
        code, out, err = await self.command(gateway, "status")
        self.assertEqual((0, ""), (code, err))
        lines = out.splitlines()
        self.assertRegex(
            lines[0], r"^gateway\.example\.com  ready  smtpforward .*, one process, up "
        )
        self.assertIn("mail           1 sent, 0 queued, 1 deferred, 2 bounced; 21B taken", lines)
        self.assertIn("refused        bare_newline 1, relaying 1", lines)
        self.assertIn("logins failed  2", lines)
        backend = next(line for line in lines if line.startswith("127.0.0.1:"))
        self.assertEqual(
            [f"127.0.0.1:{self.taken.port}", "up"], backend.split()[:2],
        )  # fmt: skip
        self.assertNotIn("\x1b", out)
        code, out, err = await self.command(gateway, "status", "--json")
        self.assertEqual((0, ""), (code, err))
        told = json.loads(out)
        self.assertEqual({"bare_newline": 1, "relaying": 1}, told["refusals"])

    async def test_not_ready(self) -> None:
        """75 where it is not ready, with the reason; 69 where it is not there."""
        nobody = f"host=127.0.0.1\nport={free_port()}\nenable_tls=false\n"
        gateway = await self.shown({"smtp_forward.ini": nobody})
        await deferToThread(self.in_vain, gateway.port)
        code, out, _ = await self.command(gateway, "status")
        self.assertEqual(75, code)
        self.assertIn("NOT READY", out.splitlines()[0])
        self.assertIn("unreachable", out)
        self.assertEqual(75, (await self.command(gateway, "status", "--json"))[0])
        await gateway.stop()
        code, out, err = await self.command(gateway, "status")
        self.assertEqual((69, ""), (code, out))
        self.assertRegex(err, rf"^no gateway answers: 127\.0\.0\.1:{self.page}: .*refused\n$")

    async def test_login(self) -> None:
        """Name and password of http.ini; where that holds a hash, the password is given."""
        gateway = await self.shown(more="user=ann\npassword=geheim\n")
        self.assertEqual(0, (await self.command(gateway, "status"))[0])
        hashed = passwords.hash_secret("geheim", "scrypt")
        ini = gateway.folder / "config" / "http.ini"
        ini.write_text(f"listen=127.0.0.1:{self.page}\nuser=ann\npassword={hashed}\n")
        code, _, err = await self.command(gateway, "status")
        self.assertEqual(77, code)
        self.assertIn("--password-file", err)
        file = gateway.folder / "secret"
        for text, expected in (("geheim", 0), ("wrong", 77)):
            file.write_text(f"{text}\n")
            given = await self.command(gateway, "status", "--password-file", str(file))
            self.assertEqual(expected, given[0], given)
            given = await self.command(gateway, "status", SMTPFORWARD_HTTP_PASSWORD=text)
            self.assertEqual(expected, given[0], given)
        given = await self.command(gateway, "status", "--password-file", "/nowhere")
        self.assertEqual(66, given[0], given)

    async def test_no_address(self) -> None:
        """Without ``listen`` in http.ini, or with one that tells nothing, it is 78."""
        gateway = await self.gateway(self.backend().port)
        for text, told in (("", "listen is not set"), ("listen=0\n", "does not tell where")):
            (gateway.folder / "config" / "http.ini").write_text(text)
            code, _, err = await self.command(gateway, "status")
            self.assertEqual(78, code)
            self.assertIn(told, err)

    async def test_unix(self) -> None:
        """A UNIX socket is a place as well."""
        path = self.folder() / "http"
        gateway = await self.gateway(self.backend().port, {"http.ini": f"listen=unix:{path}\n"})
        await gateway.until(path.exists, "the socket")
        self.assertEqual(0, (await self.command(gateway, "status"))[0])

    async def test_watch(self) -> None:
        """At a terminal: coloured, one screen after the other, to Ctrl-C; not with NO_COLOR."""
        gateway = await self.shown()
        for environ, colour in (({}, "\x1b[32mready\x1b[0m"), ({"NO_COLOR": "1"}, "  ready  ")):
            master, slave = pty.openpty()
            watching = subprocess.Popen(
                [*COMMAND, "status", "--config", str(gateway.folder / "config"), "--watch",
                 "--interval", "0.1"],
                stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                env={**os.environ, **environment(), "TERM": "xterm", **environ},
            )  # fmt: skip
            self.addCleanup(os.close, master)
            self.addCleanup(watching.wait)
            self.addCleanup(watching.kill)
            os.close(slave)
            os.set_blocking(master, False)
            seen = bytearray()

            def twice(master: int = master, seen: bytearray = seen) -> bool:
                try:
                    seen.extend(os.read(master, 65536))
                except BlockingIOError:
                    return False
                return seen.count(b"\x1b[H\x1b[J") > 1

            await until(twice, seen.decode, DEADLINE)
            self.assertIn(colour, seen.decode())
            watching.send_signal(signal.SIGINT)
            self.assertEqual(0, await deferToThread(watching.wait, DEADLINE))
