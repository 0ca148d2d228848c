"""The pages of ``docs/recipes``: the files that each shows, and its blocks of commands.

A file's name stands before it, on a line of its own between backquotes; one without a slash at its
start is in ``/etc/smtpforward``. What cannot be had in a test (a host of somebody else's, a port
below 1024, a directory of root's) is swapped for what can be, by its words: these have to be there.
"""

import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from tests.peers.clients import run
from tests.peers.gateway import TREE, environment

RECIPES = TREE / "docs" / "recipes"
FILE = re.compile(r"^`([\w./-]+)`:\n\n```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# The commands of the pages have no --config: theirs is /etc/smtpforward.
SHELL = """\
set -euo pipefail
smtpforward() {{
    local words=("$1"); shift
    if test "${{words[0]}}" = queue; then words+=("$1"); shift; fi
    {python} -m smtpforward.commands.main "${{words[@]}}" --config {config} "$@"
}}
"""
DEADLINE = 60.0


@frozen
class Recipe:
    """What a page shows.

    :ivar files: name to text, in the order of the page. ``blocks``: the commands.
    """

    files: Mapping[str, str]
    blocks: tuple[str, ...]

    @classmethod
    def read(cls, page: str) -> "Recipe":
        """That of ``docs/recipes/PAGE.md``."""
        text = (RECIPES / f"{page}.md").read_text("utf-8")
        return cls(dict(FILE.findall(text)), tuple(BLOCK.findall(text)))

    def swapped(self, swaps: Mapping[str, str]) -> "Recipe":
        """With other words in place of some: all of them are in it."""
        texts = [*self.files.values(), *self.blocks]
        missing = [word for word in swaps if not any(word in text for text in texts)]
        assert not missing, f"nothing says {missing}"
        files = {name: _swap(text, swaps) for name, text in self.files.items()}
        return Recipe(files, tuple(_swap(block, swaps) for block in self.blocks))

    def write(self, folder: Path, more: Mapping[str, str]) -> Path:
        """The directory of settings in ``folder``, with ``more`` files."""
        config = folder / "config"
        settings = {name: text for name, text in self.files.items() if not name.startswith("/")}
        for name, text in {**settings, **more}.items():
            path = config / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
            path.chmod(0o600)
        return config

    async def play(self, config: Path, *blocks: int) -> str:
        """What these blocks print, run one after the other; all commands end well."""
        shell = SHELL.format(python=shlex.quote(sys.executable), config=shlex.quote(str(config)))
        script = "".join((shell, *(self.blocks[block] for block in blocks)))
        command = ["bash", "--norc", "-c", script]
        done = await run(command, DEADLINE, environment(), config.parent)
        assert done.exit_code == 0, f"{done.exit_code}:\n{done.output}"
        return done.output


def _swap(text: str, swaps: Mapping[str, str]) -> str:
    for word, other in swaps.items():
        text = text.replace(word, other)
    return text
