"""Where mail ends: something that takes all of it and counts."""

import sys
from pathlib import Path
from typing import Protocol

from tests.peers.gateway import environment
from tests.peers.ports import free_port
from tests.peers.process import Process


class Sink(Protocol):
    """One of them. ``messages``: taken so far."""

    port: int

    @property
    def messages(self) -> int: ...


class StartTLSSink(Process):
    """The one of :mod:`benchmarks.common.starttlssink`, running.

    :param certificate: file of a key and its certificate.
    """

    def __init__(self, folder: Path, certificate: Path) -> None:
        self.port = free_port()
        self._count = folder / "count"
        command = [sys.executable, "-m", "benchmarks.common.starttlssink"]
        options = ["--count", str(self._count), "--certificate", str(certificate)]
        super().__init__(
            [*command, "--port", str(self.port), *options], folder, environment(), "sink"
        )

    async def ready(self) -> "StartTLSSink":
        """Itself, once it listens and counts."""
        await self.until_listening(self.port)
        await self.until(self._count.exists, "counting")
        return self

    @property
    def messages(self) -> int:
        return int(self._count.read_text() or 0)
