"""``smtpforward completion``, in the shells that it is for."""

import contextlib
import os
import pty
import shlex
import subprocess
import sys
from pathlib import Path

from twisted.internet.threads import deferToThread

from smtpforward.commands.completion import tree
from smtpforward.commands.main import parser
from tests.peers.case import PeerTestCase
from tests.peers.gateway import environment
from tests.peers.require import require
from tests.peers.wait import until

COMMAND = [sys.executable, "-m", "smtpforward.commands.main", "completion"]
DEADLINE = 30.0
# What is typed, and all that may follow there.
OFFERED = {
    "smtpforward hash": {"hash-password"},
    "smtpforward queue re": {"retry", "release"},
    "smtpforward queue list --not": {"--not-held"},
    "smtpforward route --c": {"--config", "--client"},
    "smtpforward completion ": {"bash", "zsh", "fish"},
    # A value is not taken for a command.
    "smtpforward queue list --sender queue --ol": {"--older"},
}
# A key that ends a line of the test, in zsh: what was typed goes to a file.
SHOWING = """
show() { print -r -- "$BUFFER" >>%s; BUFFER=; zle reset-prompt }
zle -N show
bindkey '^X' show
"""


class CompletionTests(PeerTestCase):
    """One test a shell."""

    async def script(self, shell: str) -> Path:
        """The script for it, in a folder with a directory and a file."""
        folder = self.folder()
        (folder / "one dir").mkdir()
        (folder / "one file").touch()
        done = await self.run_it([*COMMAND, shell], folder)
        path = folder / f"completion.{shell}"
        path.write_text(done, "utf-8")
        return path

    async def run_it(self, words: list[str], folder: Path) -> str:
        """What a command prints that ends well."""

        def blocking() -> str:
            env = {**os.environ, **environment(), "HOME": str(folder)}
            return subprocess.run(
                words, cwd=folder, env=env, check=True, timeout=DEADLINE,
                capture_output=True, text=True, stdin=subprocess.DEVNULL,
            ).stdout  # fmt: skip

        return await deferToThread(blocking)

    async def test_bash(self) -> None:
        """The function that ``complete -F`` names, with the words as bash has them."""
        script = await self.script("bash")

        async def offered(line: str) -> set[str]:
            words = line.replace("=", " = ").split()
            if line.endswith((" ", "=")):
                words.append("")
            run = (
                f"source {script};"
                " [[ $(complete -p smtpforward) == *'-F _smtpforward '* ]] || exit 9;"
                f" COMP_WORDS=({' '.join(map(shlex.quote, words))}); COMP_CWORD={len(words) - 1};"
                ' _smtpforward; printf "%s\\n" "${COMPREPLY[@]}"'
            )
            said = await self.run_it(["bash", "--norc", "-c", run], script.parent)
            return set(filter(None, said.splitlines()))

        for line, words in OFFERED.items():
            self.assertEqual(words, await offered(line), line)
        for line in ("smtpforward check --config one", "smtpforward check --config=one"):
            self.assertEqual({"one dir"}, await offered(line), line)
        self.assertEqual(set(), await offered("smtpforward route --from "))

    async def test_fish(self) -> None:
        """As ``complete -C`` tells it."""
        require("fish")
        script = await self.script("fish")

        async def offered(line: str) -> set[str]:
            run = f"source {script}; complete -C {shlex.quote(line)}"
            said = await self.run_it(["fish", "--no-config", "-c", run], script.parent)
            return {one.split("\t")[0] for one in said.splitlines()}

        for line, words in OFFERED.items():
            self.assertEqual(words, await offered(line), line)
        self.assertEqual({"one dir/"}, await offered("smtpforward check --config one"))

    async def test_zsh(self) -> None:
        """At a terminal, with the key itself."""
        require("zsh")
        script = await self.script("zsh")
        shown = script.with_name("shown")
        shown.touch()
        master, slave = pty.openpty()
        shell = subprocess.Popen(
            ["zsh", "-f", "-i"], cwd=script.parent, stdin=slave, stdout=slave, stderr=slave,
            start_new_session=True,
        )  # fmt: skip
        self.addCleanup(os.close, master)
        self.addCleanup(shell.wait)
        self.addCleanup(shell.kill)
        os.close(slave)
        os.set_blocking(master, False)
        setup = script.with_name("setup")
        setup.write_text(
            "autoload -Uz compinit; compinit -D -u\n"
            f"source {script}\n{SHOWING % shown}print ready >>{shown}\n",
            "utf-8",
        )

        async def told(lines: int) -> list[str]:
            def done() -> bool:
                with contextlib.suppress(BlockingIOError):
                    os.read(master, 65536)  # or it would wait for us
                return shown.read_text().count("\n") >= lines

            await until(done, lambda: shown.read_text(), DEADLINE)
            return shown.read_text().splitlines()

        os.write(master, f"source {setup}\n".encode())
        await told(1)
        for number, (typed, completed) in enumerate(
            {
                "smtpforward hash": "smtpforward hash-password ",
                "smtpforward queue rel": "smtpforward queue release ",
                "smtpforward queue list --not": "smtpforward queue list --not-held ",
                "smtpforward route --cl": "smtpforward route --client=",
                "smtpforward completion f": "smtpforward completion fish ",
                "smtpforward check --config one": "smtpforward check --config one\\ dir/",
            }.items(),
            2,
        ):
            os.write(master, f"{typed}\t\x18".encode())
            self.assertEqual(completed.rstrip(), (await told(number))[-1].rstrip(), typed)

    def test_all(self) -> None:
        """Each option and each command is in the tree that the scripts are made of."""
        root = tree.tree(parser())
        names = {one.path[-1] for one in root.inner}
        self.assertLessEqual({"check", "route", "probe", "queue", "completion"}, names)
        queue = next(one for one in root.inner if one.path == ("queue",))
        show = next(one for one in queue.inner if one.path[-1] == "show")
        self.assertEqual([("--body",)], [o.names for o in show.options if "--body" in o.names])
        self.assertEqual(["ID"], [value.name for value in show.words])
