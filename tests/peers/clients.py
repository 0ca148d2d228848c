"""Real clients, run to their end in a thread, so that the reactor goes on serving."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from twisted.internet.threads import deferToThread

from tests.peers.require import require


class Finished(NamedTuple):
    """How a program ended, and what it printed, both streams in one."""

    exit_code: int
    output: str


async def run(
    command: Sequence[str],
    timeout: float = 60.0,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Finished:
    """Run ``command`` to its end; it is killed after ``timeout`` seconds.

    :param environ: added to the environment of this process.
    :param folder: the working directory.

    :raises subprocess.TimeoutExpired: when it was killed.
    """

    def blocking() -> Finished:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            env={**os.environ, **(environ or {})},
            cwd=folder,
        )
        return Finished(done.returncode, done.stdout.decode("utf-8", "backslashreplace"))

    return await deferToThread(blocking)


async def smtp_source(port: int, *options: str, timeout: float = 60.0) -> Finished:
    """Postfix's load generator, against 127.0.0.1. Exit code 0: every message got a 250."""
    [program] = require("smtp-source")
    names = ["-M", "client.example.org", "-f", "sender@example.org", "-t", "rcpt@example.com"]
    return await run([program, "-4", *names, *options, f"127.0.0.1:{port}"], timeout)


async def swaks(port: int, *options: str, timeout: float = 30.0) -> Finished:
    """The Swiss army knife for SMTP, against 127.0.0.1. Exit code 0: delivered."""
    [program] = require("swaks")
    server = ["--server", "127.0.0.1", "--port", str(port), "--helo", "client.example.org"]
    names = ["--from", "sender@example.org", "--to", "rcpt@example.com"]
    return await run([program, *server, *names, *options], timeout)
