"""``smtpforward health``: whom it asks, and what it makes of the answer. Over loopback sockets."""

import argparse
import io
import json
import os
import socket
import threading
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from smtpforward.commands import health
from tests.support import settings


class PlaceTests(SynchronousTestCase):
    """Where it asks."""

    def test_first_in_the_clear(self) -> None:
        """Not the port of TLS, not one that the system chooses, not a socket of systemd's."""
        listen = (
            "systemd:domain=INET:index=0",
            "tcp:465",
            "tcp:0",
            "tcp6:25:interface=\\:\\:",
            "tcp:26",
        )
        self.assertEqual(health.place_of(settings(listen=listen)), ("::", 25))
        self.assertEqual(health.place_of(settings(listen=("unix:/run/s",))), "/run/s")
        self.assertIsNone(health.place_of(settings(listen=("tcp:465",))))


class AskTests(SynchronousTestCase):
    """What comes of it."""

    def ask(self, listen: str, as_json: bool = False) -> tuple[int, str]:
        """The exit code, and what is printed."""
        config = Path(self.mktemp())
        config.mkdir()
        (config / "smtp.ini").write_text(f"listen={listen}\n")
        (config / "smtp_forward.ini").write_text("host=127.0.0.1\n")
        printed = io.StringIO()
        arguments = argparse.Namespace(config=str(config), timeout=5.0, json=as_json)
        with redirect_stdout(printed), redirect_stderr(printed):
            code = health.run(arguments)
        return code, printed.getvalue()

    def server(
        self, family: int, address: object, says: bytes
    ) -> tuple[socket.socket, list[bytes]]:
        """One that says something to the first who comes, and hears the rest."""
        listening = socket.socket(family)
        self.addCleanup(listening.close)
        listening.bind(address)  # type: ignore[arg-type]
        listening.listen()
        heard: list[bytes] = []

        def serve() -> None:
            client, _ = listening.accept()
            with client:
                client.settimeout(5)
                client.sendall(says)
                heard.append(client.recv(100))
                client.sendall(b"221 bye\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        self.addCleanup(thread.join, 5)
        return listening, heard

    def test_takes_mail(self) -> None:
        """A greeting with 220, and a good-bye."""
        listening, heard = self.server(socket.AF_INET, ("0.0.0.0", 0), b"220 mx ESMTP\r\n")
        code, printed = self.ask(f"0.0.0.0:{listening.getsockname()[1]}")
        self.assertEqual((code, printed), (0, "220 mx ESMTP\n"))
        self.assertEqual(heard, [b"QUIT\r\n"])

    def test_unix(self) -> None:
        """The same on a path."""
        path = f"health-{os.getpid()}.sock"
        self.server(socket.AF_UNIX, path, b"220 mx ESMTP\r\n")
        self.addCleanup(os.unlink, path)
        self.assertEqual(self.ask(f"unix:{path}")[0], 0)

    def test_turned_away(self) -> None:
        """Another greeting is no health."""
        listening, _ = self.server(socket.AF_INET, ("127.0.0.1", 0), b"421 4.3.2 too many\r\n")
        code, printed = self.ask(f"127.0.0.1:{listening.getsockname()[1]}")
        self.assertEqual((code, printed), (69, "421 4.3.2 too many\n"))

    def test_nobody(self) -> None:
        """Nor is nobody."""
        with socket.create_server(("127.0.0.1", 0)) as gone:
            port = gone.getsockname()[1]
        code, printed = self.ask(f"127.0.0.1:{port}")
        self.assertEqual(code, 69)
        self.assertIn("refused", printed)
        code, _ = self.ask(f"unix:{os.path.abspath('absent.sock')}")
        self.assertEqual(code, 69)

    def test_json(self) -> None:
        """The same for programs."""
        listening, _ = self.server(socket.AF_INET, ("127.0.0.1", 0), b"220 mx ESMTP\r\n")
        code, printed = self.ask(f"127.0.0.1:{listening.getsockname()[1]}", as_json=True)
        good = {"takes_mail": True, "greeting": "220 mx ESMTP", "problem": None}
        self.assertEqual((code, json.loads(printed)), (0, good))
        code, printed = self.ask("systemd:domain=INET:index=0", as_json=True)
        bad = json.loads(printed)
        self.assertEqual((code, bad["takes_mail"], bad["greeting"]), (69, False, None))
        self.assertIn("listen=", bad["problem"])

    def test_nothing_to_ask(self) -> None:
        """Where no address is known."""
        code, printed = self.ask("systemd:domain=INET:index=0")
        self.assertEqual(code, 69)
        self.assertIn("listen=", printed)
