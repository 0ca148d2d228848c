"""The documents: the site is made without a warning, and the first steps are those of the page."""

import argparse
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from twisted.internet.threads import deferToThread

from smtpforward.commands.main import parser
from tests.peers.case import PeerTestCase
from tests.peers.gateway import TREE
from tests.peers.ports import free_port
from tests.peers.require import require, unavailable

DOCS = TREE / "docs"
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DEADLINE = 300.0


async def run(words: list[str], folder: Path, environ: dict[str, str]) -> str:
    """What a command prints, both streams in one; it ends well."""

    def blocking() -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(
            words, cwd=folder, env=environ, timeout=DEADLINE, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    done = await deferToThread(blocking)
    output = done.stdout.decode("utf-8", "backslashreplace")
    assert done.returncode == 0, f"{done.returncode}:\n{output}"
    return output


class SiteTests(PeerTestCase):
    """``make docs``."""

    timeout = 400

    async def test_no_warning(self) -> None:
        """Every page has its place, every link leads somewhere."""
        for package in ("sphinx", "myst_parser", "furo"):
            if find_spec(package) is None:
                unavailable("needs pip install '.[docs]'")
        site = self.folder() / "site"
        command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
        await run([*command, str(DOCS), str(site)], TREE, dict(os.environ))
        reference = (site / "reference.html").read_text("utf-8")
        for name in ("interfaces.IDeliver.deliver", "client.target.ForwardTarget.deliver"):
            self.assertIn(f'id="smtpforward.{name}"', reference)

    def test_reference(self) -> None:
        """All that the package offers is in the reference, and nothing else."""
        import smtpforward

        told = re.findall(r"^\.\. \w+:: smtpforward\.([\w.]+)$",
                          (DOCS / "reference.md").read_text("utf-8"), re.MULTILINE)  # fmt: skip
        self.assertEqual(sorted(smtpforward.__all__), sorted(one.split(".")[-1] for one in told))


class ContentsTests(PeerTestCase):
    """Lists of what there is."""

    def test_readme(self) -> None:
        """The README leads to every page."""
        readme = (TREE / "README.md").read_text("utf-8")
        pages = {str(path.relative_to(TREE)) for path in DOCS.rglob("*.md")} - {"docs/index.md"}
        linked = {path.partition("#")[0] for path in re.findall(r"\((docs/[^)]*)\)", readme)}
        self.assertEqual(pages, linked)

    def test_commands(self) -> None:
        """``docs/commands.md`` begins with all commands."""
        table = (DOCS / "commands.md").read_text("utf-8").partition("## ")[0]
        told = set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE))
        [commands] = [
            set(action.choices)
            for action in parser()._actions
            if isinstance(action, argparse._SubParsersAction)
        ]
        self.assertEqual(commands, told)


class StartTests(PeerTestCase):
    """``docs/start.md``."""

    timeout = 400

    async def test_as_it_stands(self) -> None:
        """All blocks in one shell, as a newcomer pastes them, in a clone and with a new home."""
        require("openssl", "bash")
        blocks = BLOCK.findall((DOCS / "start.md").read_text("utf-8"))
        self.assertGreater(len(blocks), 8)
        home, clone = self.folder(), self.folder() / "clone"
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "_trial_temp*", ".*")
        shutil.copytree(TREE, clone, ignore=ignored)
        backend = self.backend()
        self.addCleanup(self.end_daemon, home / "gateway.pid")
        kept = ("PATH", "LANG", "PIP_")
        environ = {
            **{name: text for name, text in os.environ.items() if name.startswith(kept)},
            "HOME": str(home),
            "BACKEND_PORT": str(backend.port),
            "SMTP_PORT": str(free_port()),
            "HTTP_PORT": str(free_port()),
        }
        script = "".join(("set -euo pipefail\n", *blocks))
        try:
            said = await run(["bash", "--norc", "-c", script], clone, environ)
        except AssertionError as error:
            if "No matching distribution" in str(error):
                unavailable("needs a package index", {})
            raise
        for text in ("result: ready for mail", "result: sent in", "told by: gateway", "TLS: TLSv1"):
            self.assertIn(text, said)
        first, *more = backend.messages
        self.assertIn(b"RCPT TO:<bob@example.com>", first.rcpts)
        self.assertGreater(len(more), 0)
        self.assertFalse((home / "gateway.pid").exists())

    def end_daemon(self, pidfile: Path) -> None:
        """Whatever of it is left by a test that has failed."""
        if pidfile.exists():
            os.kill(int(pidfile.read_text()), 9)
