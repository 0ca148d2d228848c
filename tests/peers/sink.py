"""Postfix's ``smtp-sink``: takes every message and counts."""

import os
import re
from pathlib import Path

from tests.peers.ports import free_port
from tests.peers.process import Process
from tests.peers.require import require

COUNTERS = re.compile(r"sess=(\d+) quit=(\d+) mesg=(\d+)")
BACKLOG = "1024"
LAST = 1024  # bytes that hold all counters several times


class SmtpSink(Process):
    """A running sink on 127.0.0.1. It needs a folder that every user may enter.

    :param options: of smtp-sink, such as ``-w``, ``2``.
    :param dump: keep each message in a file of its own, under ``dump`` in the folder.
    """

    def __init__(self, folder: Path, *options: str, dump: bool = False) -> None:
        [program] = require("smtp-sink")
        self.port = free_port()
        self._dump = folder / "dump"
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        keep = ["-d", str(self._dump / "message.")] if dump else []
        if dump:
            self._dump.mkdir()
            self._dump.chmod(0o777)
        address = f"127.0.0.1:{self.port}"
        # No extension that a peer would spend a round trip on: XCLIENT, XFORWARD, AUTH, DSN.
        command = [program, *user, "-c", "-C", "-F", "-a", "-N", "-m", "4000", *keep, *options]
        super().__init__([*command, address, BACKLOG], folder, name="smtp-sink")

    async def ready(self) -> "SmtpSink":
        """Itself, once it listens."""
        await self.until_listening(self.port)
        return self

    @property
    def sessions(self) -> int:
        """Sessions that have ended."""
        return self._counter(1)

    @property
    def messages(self) -> int:
        """Messages taken."""
        return self._counter(3)

    def dumps(self) -> list[bytes]:
        """Each message taken: the sink's own headers, then what came, lines ended by LF."""
        return [file.read_bytes() for file in sorted(self._dump.iterdir())]

    def _counter(self, group: int) -> int:
        counted = COUNTERS.findall(self._last_printed())
        return int(counted[-1][group - 1]) if counted else 0

    def _last_printed(self) -> str:
        # It prints all counters with each message: to read all that would be a load of its own.
        with self._stdout.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LAST))
            return file.read().decode("ascii")
