"""The measurements in a tiny form: each workload, the gateway and a peer, a few mails.

What is slow here is no failure. What is wrong with a run is.
"""

import socket
import sys
import textwrap
from contextlib import AsyncExitStack
from pathlib import Path

from attrs import frozen

from benchmarks.common.bench import Bench
from benchmarks.common.client import Told
from benchmarks.common.group import Group
from benchmarks.common.report import Report
from benchmarks.common.starttlssink import skip_message
from benchmarks.common.talk import Wire
from benchmarks.forward import runs
from benchmarks.forward.compare import Comparison
from benchmarks.forward.peers import CANDIDATES, OURS, STRAIGHT, certificate_in
from benchmarks.forward.results import CPU, IDLE, MEDIAN, MEMORY, RATE, SLOWEST
from benchmarks.forward.systems import Kind, System
from benchmarks.forward.workloads import Amounts, FaultError, Workload, workloads
from benchmarks.scaling import loads, sections, workers
from benchmarks.scaling.memory import memory
from tests.peers.case import PeerTestCase
from tests.peers.process import Process
from tests.peers.require import require, require_root, unavailable

TINY = Amounts(repeat=1, messages=60, idle=10)
FEW = Workload("few", "", sessions=2)
RELAY, PROXY = "Postfix, relay", "Postfix, before-queue"
# The child burns CPU and ends, and nobody waits for it: its parent has told the kernel so.
ORPHAN = """
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
if not os.fork():
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
    os._exit(0)
time.sleep(30)
"""


@frozen
class OneMore(Workload):
    """Sends a mail too many."""

    async def send(self, port: int, messages: int) -> Told:
        return await super().send(port, messages + 1)


class BenchTestCase(PeerTestCase):
    """Has a place to measure in, which is cleaned up."""

    def setUp(self) -> None:
        require("smtp-source", "smtp-sink")
        stack = AsyncExitStack()
        self.stop_later(stack.aclose)
        self.bench = Bench(Report("tiny", {}), stack, str(self.folder()))
        self.patch(Bench, "say", lambda _, text: None)


class ForwardTests(BenchTestCase):
    """Every workload, to the gateway, to Postfix, and to nobody."""

    async def compare(self, name: str, *names: str) -> Comparison:
        """One workload; each of the systems has all of its figures."""
        require("postfix")
        require_root()
        chosen = [each for each in CANDIDATES if each.name in names]
        certificate = certificate_in(self.folder())
        comparison = Comparison(self.bench, chosen, TINY, certificate)
        [workload] = [each for each in workloads(TINY.idle) if each.name == name]
        await comparison.measure(workload)
        table = comparison.results.tables[name]
        self.assertEqual(table.remarks, {})
        for each in chosen:
            figures = {column for column, _ in table.rows[each.name].items()}
            expected = {RATE, MEDIAN, SLOWEST}
            expected |= set() if each.kind is Kind.BOUND else {CPU, MEMORY}
            self.assertLessEqual(expected, figures, each.name)
        return comparison

    async def test_small(self) -> None:
        """A session for each mail."""
        await self.compare("small", STRAIGHT, OURS, f"{OURS}, 2 nodes", PROXY)

    async def test_reuse(self) -> None:
        """Many mails a session."""
        await self.compare("reuse", STRAIGHT, OURS, PROXY, RELAY)

    async def test_large(self) -> None:
        """10 MiB."""
        await self.compare("large", OURS, PROXY)

    async def test_latency(self) -> None:
        """One mail after the other."""
        await self.compare("latency", STRAIGHT, OURS, PROXY)

    async def test_recipients(self) -> None:
        """Many recipients."""
        await self.compare("recipients", OURS, PROXY)

    async def test_tls_with_the_backend(self) -> None:
        """The sink has STARTTLS."""
        await self.compare("tls-out", OURS, RELAY)

    async def test_tls_with_the_sender(self) -> None:
        """The sender asks for it."""
        await self.compare("tls-in", STRAIGHT, OURS, PROXY)

    async def test_idle(self) -> None:
        """Some connections do nothing, and have a price."""
        comparison = await self.compare("idle", STRAIGHT, OURS)
        self.assertIsNotNone(comparison.results.of("idle", OURS, IDLE))
        self.assertIsNone(comparison.results.of("idle", STRAIGHT, IDLE))


class WhatDoesNotCountTests(BenchTestCase):
    """Runs that are no result."""

    def group(self) -> Group:
        """One of nobody."""
        group = Group()
        self.stop_later(group.remove)
        return group

    async def test_refused(self) -> None:
        """A mail that was refused, whoever sent it."""
        sink = await self.sink("-f", "RCPT")
        for own in (False, True):
            with self.assertRaisesRegex(FaultError, "500 5.3.0"):
                await Workload("", "", sessions=2, own=own).send(sink.port, 4)

    async def test_lost(self) -> None:
        """Mail that had its 250, and is not at the sink."""
        self.patch(runs, "WITHIN", 0.2)
        taker, sink = await self.sink(), await self.sink()
        system = System("lossy", Kind.PEER, taker.port, sink, self.group())
        with self.assertRaisesRegex(FaultError, "0 of 4"):
            await runs.once(system, FEW, 4)

    async def test_twice(self) -> None:
        """Mail that the sink has more often than it was sent."""
        sink = await self.sink()
        system = System("twice", Kind.PEER, sink.port, sink, self.group())
        await runs.once(system, FEW, 4)
        with self.assertRaisesRegex(FaultError, "more than 8|has 9 mails, not 8"):
            await runs.once(system, OneMore("few", "", sessions=2), 4)

    async def test_excused(self) -> None:
        """It is said on the system's row, and the others are measured."""
        self.patch(runs, "WITHIN", 0.2)
        straight = next(each for each in CANDIDATES if each.name == STRAIGHT)
        comparison = Comparison(self.bench, [straight], TINY, Path())
        refusing = Workload("few", "", sessions=2, size=2**40)
        await comparison.measure(refusing)
        [remark] = comparison.results.tables["few"].remarks.values()
        self.assertIn("does not count", remark)


class PartsTests(BenchTestCase):
    """What the measurements are made of."""

    async def test_orphans(self) -> None:
        """A control group counts the CPU of a process that is gone and that nobody waited for."""
        group = Group()
        if not group.exact:
            unavailable("no control group can be made here", {})
        self.stop_later(group.remove)
        with group.around():
            process = Process(
                [sys.executable, "-c", textwrap.dedent(ORPHAN)], self.folder(), name="orphan"
            )
        self.stop_later(process.stop)
        group.add(process.pid)
        await process.until(lambda: group.cpu > 0.3, "CPU is burnt")
        await process.until(lambda: len(group.pids) == 1, "the child is gone")
        self.assertGreater(group.cpu, 0.3)
        self.assertLess(process.cpu_seconds(), 0.3)
        self.assertGreater(group.memory, 0)

    def test_end_of_data_in_pieces(self) -> None:
        """The sink finds the end wherever the wire cuts it, and keeps what follows."""
        wire_text = b"a\r\n..\r\n.x\r\nb\r\n.\r\nQUIT\r\n"
        for cut in range(len(wire_text)):
            with socket.create_server(("127.0.0.1", 0)) as listener:
                sender = socket.create_connection(listener.getsockname())
                wire = Wire(listener.accept()[0])
            with sender, wire.sock:
                wire.buffer = wire_text[:cut]
                sender.sendall(wire_text[cut:])
                for _ in skip_message(wire):
                    pass
                while not wire.buffer.endswith(b"T\r\n"):
                    wire.read()
                self.assertEqual(wire.buffer, b"QUIT\r\n", cut)


class ScalingTests(BenchTestCase):
    """Each part, with two values."""

    async def test_loads(self) -> None:
        """The pool has what it is to have; idle connections and recipients as they are."""
        await loads.pool(self.bench, TINY, (10, 20))
        await loads.recipients(self.bench, TINY, (1, 3))
        await loads.idle(self.bench, TINY, (0, 5))
        rows = [list(table.rows) for table in self.bench.report.tables]
        self.assertEqual(rows, [["10", "20"], ["1", "3"], ["0", "5"]])

    async def test_sections(self) -> None:
        """Many domains, also read again under load."""
        await sections.sections(self.bench, TINY, (1, 10))
        self.patch(sections, "QUIET", 0.5)
        await sections.reload(self.bench, TINY, 10)
        [curve, again] = self.bench.report.tables
        both = [f"nodes={nodes}, {how}" for nodes in (0, 2) for how in ("without", "with")]
        self.assertEqual((list(curve.rows), list(again.rows)), (["1", "10"], both))

    async def test_workers(self) -> None:
        """One process and two workers."""
        self.patch(workers, "LOADS", (workers.LOADS[0], workers.LOADS[-1]))
        await workers.workers(self.bench, TINY)
        [table] = self.bench.report.tables
        ways = {workers.ONE, workers.SAME, workers.EACH}
        more = {f"{way}: more" for way in ways - {workers.ONE}}
        self.assertEqual(set(table.columns), ways | more)
        self.assertEqual(list(table.rows), ["small", "tls-in"])

    async def test_memory(self) -> None:
        """Large ones, few small ones, and more of them."""
        await memory(self.bench, TINY)
        [table] = self.bench.report.tables
        self.assertEqual(list(table.rows), ["8 large", "60 small", "600 small"])
