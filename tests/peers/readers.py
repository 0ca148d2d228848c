"""Programs with which people read mail, made to read without a person."""

import shlex
from pathlib import Path

from tests.peers.clients import Finished, run
from tests.peers.require import require

MUTT_SETTINGS = """\
set folder = "{folder}"
set charset = utf-8
set wait_key = no
set quit = yes
set attach_split = no
set attach_sep = ""
"""


def maildir(folder: Path, mail: bytes) -> Path:
    """A new Maildir that holds ``mail``, which has CRLF line ends."""
    made = folder / "Maildir"
    for part in ("tmp", "cur", "new"):
        (made / part).mkdir(parents=True)
    (made / "new" / "1.mail").write_bytes(mail.replace(b"\r\n", b"\n"))
    return made


async def mutt(mailbox: Path, *keys: str) -> Finished:
    """Mutt on a terminal: presses ``keys``, by name or as they are, on the first message.

    It runs beside ``mailbox``, where what it is told to write is found.
    """
    folder = mailbox.parent
    [program, terminal] = require("mutt", "script")
    (folder / "muttrc").write_text(MUTT_SETTINGS.format(folder=folder))
    push = f'push "{"".join(keys)}"'
    command = [program, "-n", "-F", "muttrc", "-R", "-f", mailbox.name, "-e", push]
    environ = {"HOME": str(folder), "TERM": "vt100", "LC_ALL": "C.UTF-8"}
    # It wants a terminal: ``script`` makes one.
    return await run([terminal, "-qec", shlex.join(command), "/dev/null"], 30, environ, folder)


async def mailutils(mailbox: Path, *commands: str) -> Finished:
    """GNU Mailutils' ``mail``: runs ``commands`` on the mailbox, and leaves it as it is."""
    folder = mailbox.parent
    [program] = require("mail.mailutils")
    (folder / "commands").write_text("\n".join([*commands, "exit", ""]))
    script = 'exec "$@" < commands'
    command = ["sh", "-c", script, "sh", program, "-n", "-N", "-f", mailbox.name]
    environ = {"HOME": str(folder), "TERM": "dumb", "LC_ALL": "C.UTF-8"}
    return await run(command, 30, environ, folder)
