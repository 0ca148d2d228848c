"""A workload, brought to each system in turn: all of them once, then all of them again."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from benchmarks.common.bench import Bench
from benchmarks.common.idlers import Idlers
from benchmarks.common.sinks import Sink, StartTLSSink
from benchmarks.forward.results import Results
from benchmarks.forward.runs import once, probed, warmed_up
from benchmarks.forward.systems import TLS, Candidate, System, start
from benchmarks.forward.workloads import Amounts, FaultError, Workload
from tests.peers.sink import SmtpSink


class Comparison:
    """Candidates, and how much is measured.

    :param certificate: file of a key and its certificate.
    """

    def __init__(
        self,
        bench: Bench,
        candidates: Sequence[Candidate],
        amounts: Amounts,
        certificate: Path,
    ) -> None:
        self._bench = bench
        self._candidates = candidates
        self._amounts = amounts
        self._certificate = certificate
        self.results = Results({each.name: each.kind for each in candidates})

    async def measure(self, workload: Workload) -> None:
        """All of one workload, with systems that have done nothing before."""
        table = self.results.begin(self._bench.report, workload)
        for candidate in self._candidates:
            if workload.name in candidate.without:
                table.remark(candidate.name, candidate.without[workload.name])
        async with self.started(workload) as (bench, started):
            systems: dict[System, int] = {}
            for system in started:
                with self._excused(workload, system.name):
                    systems[system] = await self._warmed_up(bench, system, workload)
            for number in range(self._amounts.repeat):
                self._bench.say(f"{workload.name} {number + 1}/{self._amounts.repeat}")
                for system, messages in systems.items():
                    await self._once(system, workload, messages)
            for system, messages in systems.items():
                await self._probed(bench, system, workload, messages)

    @asynccontextmanager
    async def started(self, workload: Workload) -> AsyncIterator[tuple[Bench, list[System]]]:
        """All that can have this workload, and what stops them at the end."""
        async with AsyncExitStack() as stack:
            bench = self._bench.within(stack)
            systems = [
                await self._start(bench, candidate, workload.tls)
                for candidate in self._candidates
                if workload.name not in candidate.without
            ]
            yield bench, systems

    async def _start(self, bench: Bench, candidate: Candidate, tls: TLS) -> System:
        async def new_sink(bench: Bench) -> Sink:
            if tls is TLS.BACKEND or (tls is TLS.SENDERS and candidate.start is None):
                return await bench.keep(StartTLSSink(bench.folder(), self._certificate)).ready()
            return await bench.keep(SmtpSink(bench.folder())).ready()

        return await start(bench, candidate, tls, self._certificate, new_sink)

    async def _warmed_up(self, bench: Bench, system: System, workload: Workload) -> int:
        """How many mails a run has, by what the first ones took."""
        messages = await warmed_up(system, workload, self._amounts)
        if workload.idle:
            before = system.group.memory
            await bench.keep(Idlers(bench.folder(), system.port, workload.idle)).ready()
            await system.group.rested()
            if before:
                each = (system.group.memory - before) / workload.idle
                self.results.note_idle(workload, system.name, each)
        return messages

    async def _once(self, system: System, workload: Workload, messages: int) -> None:
        with self._excused(workload, system.name):
            run = await once(system, workload, messages)
            self.results.note(workload, system.name, run)

    async def _probed(
        self, bench: Bench, system: System, workload: Workload, messages: int
    ) -> None:
        with self._excused(workload, system.name):
            seen = await probed(bench, system, workload, messages)
            self.results.note_times(workload, system.name, seen.latencies)
            self.results.note_memory(workload, system.name, seen)

    @contextmanager
    def _excused(self, workload: Workload, system: str) -> Iterator[None]:
        """A fault within it is a remark on the system's row, and the measurement goes on."""
        try:
            yield
        except FaultError as error:
            self._bench.say(f"{system}: {error}")
            self.results.tables[workload.name].remark(system, f"does not count: {error}")
