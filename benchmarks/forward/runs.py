"""One run: a load, and what it took of a system. It counts only when the counts are right.

Rate and CPU come from runs with nothing beside the load. The times of single mails, where the load
does not tell them, and memory come from a run of their own: a client sends one mail after the other
beside the load, and memory is looked at.
"""

from collections.abc import Awaitable
from time import monotonic

from attrs import frozen
from twisted.internet.defer import Deferred

from benchmarks.common.bench import Bench
from benchmarks.common.client import Told
from benchmarks.common.measuring import pause, reached
from benchmarks.forward.systems import System
from benchmarks.forward.workloads import (
    CLIENT,
    MIB,
    WITHIN,
    Amounts,
    FaultError,
    Workload,
    told,
)
from tests.peers.gateway import environment
from tests.peers.process import Process

PROBE_EVERY = 0.01
LOOK_EVERY = 0.2
SETTLED = 0.03


@frozen
class Run:
    """What one took.

    :ivar seconds: from the first connection until the sink had the last mail. ``cpu``: seconds.
    """

    messages: int
    seconds: float
    cpu: float
    told: Told

    def rate(self, workload: Workload) -> float:
        """Mails a second, or MiB a second."""
        return self.messages * _each(workload) / self.seconds

    def cost(self, workload: Workload) -> float:
        """Milliseconds of CPU for a mail, or for a MiB."""
        return self.cpu * 1000 / (self.messages * _each(workload))


@frozen
class Probed:
    """What a run beside a probe has shown.

    :ivar latencies: seconds of each mail. ``memory``: bytes at most.
    """

    latencies: list[float]
    memory: int


async def once(system: System, workload: Workload, messages: int) -> Run:
    """Send so many, and measure.

    :raise FaultError: when not all of them are at the sink once, or one was refused.
    """
    before, wanted = await system.group.rested(), await _so_far(system) + messages
    began = monotonic()
    what = await workload.send(system.port, messages)
    # Our client tells when it began; smtp-source begins at once.
    began = max(began, monotonic() - what.seconds) if workload.own else began
    ended = await _arrived(system, wanted)
    cpu = await system.group.rested() - before
    _counted(system, wanted)
    return Run(messages, ended - began, cpu, what)


async def warmed_up(system: System, workload: Workload, amounts: Amounts) -> int:
    """How many mails a run has, by what the first ones took.

    :raise FaultError: as :func:`once` does.
    """
    first = min(workload.warm_up, amounts.messages or workload.warm_up)
    run = await once(system, workload, max(first, workload.sessions))
    return amounts.of(workload, run.messages / run.seconds)


async def probed(bench: Bench, system: System, workload: Workload, messages: int) -> Probed:
    """The same beside a client that sends one mail after the other, memory looked at.

    :raise FaultError: as :func:`once` does.
    """
    wanted = await _so_far(system) + messages
    probe = None if workload.own else await _probe(bench, system.port, workload)
    watching = Deferred.fromCoroutine(workload.send(system.port, messages))
    memory = await _most_memory(system, watching)
    what = await watching
    if probe is not None:
        await probe.terminate()
        what = told(probe.stdout)
        wanted += len(what.latencies)
    await _arrived(system, wanted)
    _counted(system, wanted)
    return Probed(what.latencies, memory)


async def _so_far(system: System) -> int:
    """What the sink has, when nothing more comes; a count may be read half written."""
    before = -1
    while (count := system.sink.messages) != before:
        before = count
        await pause(SETTLED)
    return count


async def _probe(bench: Bench, port: int, workload: Workload) -> Process:
    # What takes a session for each mail is asked the same by the probe.
    reuse = ["--reuse"] if workload.reuse else []
    command = [*CLIENT, "--port", str(port), "--every", str(PROBE_EVERY), *reuse]
    probe = bench.keep(Process(command, bench.folder(), environment(), "probe"))
    await probe.until(lambda: "ready" in probe.stdout, "the probe is ready")
    return probe


async def _most_memory(system: System, watching: Deferred[Told]) -> int:
    most = system.group.memory
    while not watching.called:
        await pause(LOOK_EVERY)
        most = max(most, system.group.memory)
    return most


async def _arrived(system: System, wanted: int) -> float:
    return await _or_fault(
        reached(lambda: system.sink.messages, wanted, WITHIN, "mails at the sink")
    )


async def _or_fault(waiting: Awaitable[float]) -> float:
    try:
        return await waiting
    except AssertionError as error:
        raise FaultError(str(error)) from None


def _counted(system: System, wanted: int) -> None:
    if system.sink.messages != wanted:
        raise FaultError(f"the sink has {system.sink.messages} mails, not {wanted}")


def _each(workload: Workload) -> float:
    return workload.size / MIB if workload.in_mebibytes else 1
