"""Connections that say EHLO and then nothing: ``python -m benchmarks.common.idlers``.

It prints ``ready`` when all are there, and holds them until it is ended. Failure policy: a
connection that is refused or closed ends it with an error.
"""

import argparse
import signal
import socket
import sys
from pathlib import Path

from tests.peers.gateway import environment
from tests.peers.process import Process

READY = "ready"
WITHIN = 60.0


class Idlers(Process):
    """The program, running.

    :param port: of 127.0.0.1. ``count``: how many connections.
    """

    def __init__(self, folder: Path, port: int, count: int) -> None:
        command = [sys.executable, "-m", "benchmarks.common.idlers"]
        options = ["--port", str(port), "--count", str(count)]
        super().__init__([*command, *options], folder, environment(), "idlers")

    async def ready(self) -> "Idlers":
        """Itself, once all connections are there."""
        await self.until(lambda: READY in self.stdout, "all are connected", WITHIN)
        return self


def _connected(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    for command in (b"", b"EHLO idle.example.org\r\n"):
        connection.sendall(command)
        reply = b""
        while not reply.endswith(b"\r\n") or reply.splitlines()[-1][3:4] == b"-":
            data = connection.recv(4096)
            if not data:
                raise SystemExit("closed by the other side")
            reply += data
        if not reply.startswith(b"2"):
            raise SystemExit(reply.decode("ascii", "backslashreplace"))
    return connection


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    asked = parser.parse_args()
    held = [_connected(asked.port) for _ in range(asked.count)]
    print(READY, flush=True)
    signal.pause()
    del held


if __name__ == "__main__":
    main()
