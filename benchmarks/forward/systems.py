"""What is compared, and what each of them can: see :mod:`benchmarks.forward.peers` for the list.

A system forwards what comes to its port to a sink of its own. One that cannot be had here, because
a program is missing, is left out with a note.
"""

from collections.abc import Awaitable, Callable
from enum import Enum
from pathlib import Path

from attrs import field, frozen

from benchmarks.common.bench import Bench
from benchmarks.common.group import Group
from benchmarks.common.sinks import Sink
from tests.peers.ports import is_listening
from tests.peers.process import Process

STARTED = 120.0  # seconds that it may take: some have very much to read


class Kind(Enum):
    """What a system is to the comparison."""

    BOUND = "bound"  # it passes on what it does not look at, or is not there at all
    PEER = "peer"  # it speaks SMTP on both sides, as the gateway does
    OURS = "ours"


class TLS(Enum):
    """Where there is TLS."""

    NONE = "none"
    SENDERS = "senders"
    BACKEND = "backend"


@frozen
class Setup:
    """What a system is started for.

    :ivar folder: a new one of its own. ``certificate``: file of a key and its certificate.
    """

    folder: Path
    sink: Sink
    tls: TLS
    certificate: Path


Start = Callable[[Setup], Process]


@frozen
class Candidate:
    """A system that may be compared.

    :ivar start: makes the process that takes mail; without one mail goes straight to the sink.
    :ivar missing: what it lacks here, or nothing.
    :ivar without: the workloads that it cannot have, and why.
    """

    name: str
    kind: Kind
    start: Callable[[Setup], "Process"] | None
    missing: Callable[[], str] = field(default=lambda: "")
    without: dict[str, str] = field(factory=dict)


@frozen
class System:
    """One that runs.

    :ivar port: where it takes mail. ``group``: its processes.
    """

    name: str
    kind: Kind
    port: int
    sink: Sink
    group: Group


async def start(
    bench: Bench, candidate: Candidate, tls: TLS, certificate: Path, new_sink: "NewSink"
) -> System:
    """Start it, with its sink; both are stopped at the end of ``bench``.

    :param new_sink: makes the sink.
    """
    sink = await new_sink(bench)
    group = Group()
    bench.later(group.remove)
    port = sink.port
    if candidate.start is not None:
        with group.around():
            process = candidate.start(Setup(bench.folder(), sink, tls, certificate))
        group.add(bench.keep(process).pid)
        port = process.port  # type: ignore[attr-defined]
        await process.until(lambda: is_listening(port), f"listening on port {port}", STARTED)
    return System(candidate.name, candidate.kind, port, sink, group)


NewSink = Callable[[Bench], Awaitable[Sink]]
