"""How fast a queue takes mail in, gives it out, and does both at once; what each costs."""

from collections.abc import Sequence

from benchmarks.common.bench import Bench
from benchmarks.common.measuring import Stopwatch, Stretch, at_rest, reached
from benchmarks.common.report import Table
from benchmarks.queue.systems import System
from tests.peers.clients import smtp_source

WARM_UP = 200
SIZE = 4096
SESSIONS = 50
WITHIN = 120.0
# A session for each mail, and one for many.
MODES = {"a session each": (), "sessions reused": ("-d",)}


class Rates:
    """Three tables, a row for each system."""

    def __init__(self, bench: Bench, systems: Sequence[System], messages: int) -> None:
        self._bench = bench
        self._systems = systems
        self._messages = messages
        report, load = bench.report, f"smtp-source -s {SESSIONS} -m {messages} -l {SIZE}"
        self._taking = report.table(
            "Taken in", f"`{load}`, with `-d` where sessions are reused; nothing is delivered."
        )
        self._giving = report.table(
            "Given out", f"{messages} mails of {SIZE} bytes that wait, to one smtp-sink."
        )
        self._passing = report.table(
            "Passed on",
            f"`{load}`, delivered as it comes: from the first connection to the last mail at the"
            " sink.",
        )

    async def measure(self, repeat: int) -> None:
        """Each system in turn, so many times."""
        for system in self._systems:
            await self._passed(system, WARM_UP, ())
            await self._taken(system, WARM_UP, ())
            await self._given(system, WARM_UP)
        for number in range(repeat):
            for system in self._systems:
                self._bench.say(f"rates {number + 1}/{repeat}: {system.name}")
                await self._once(system)

    async def _once(self, system: System) -> None:
        for mode, options in MODES.items():
            taken = await self._taken(system, self._messages, options)
            _note(self._taking, system, mode, taken)
            given = await self._given(system, self._messages)
            _note(self._giving, system, "", given)
            passed = await self._passed(system, self._messages, options)
            _note(self._passing, system, mode, passed)

    async def _taken(self, system: System, messages: int, options: Sequence[str]) -> Stretch:
        port = await system.hold()
        await at_rest(system.pids)
        before, watch = system.sink.messages, Stopwatch(system.pids)
        await send(port, messages, options)
        stretch = await watch.stretch(messages)
        assert system.sink.messages == before, "what was to be held was delivered"
        return stretch

    async def _given(self, system: System, messages: int) -> Stretch:
        wanted = system.sink.messages + messages
        watch = await system.release()
        await _arrived(system, wanted)
        stretch = await watch.stretch(messages)
        assert system.sink.messages == wanted, f"{system.name}: mail came twice"
        return stretch

    async def _passed(self, system: System, messages: int, options: Sequence[str]) -> Stretch:
        port = await system.pass_on()
        await at_rest(system.pids)
        wanted, watch = system.sink.messages + messages, Stopwatch(system.pids)
        await send(port, messages, options)
        await _arrived(system, wanted)
        stretch = await watch.stretch(messages)
        assert system.sink.messages == wanted, f"{system.name}: mail came twice"
        return stretch


async def send(port: int, messages: int, options: Sequence[str] = (), to: str = "") -> None:
    """Send, and see that each one had its 250.

    :param to: the recipient.
    """
    sessions = str(min(SESSIONS, messages))
    size = ["-s", sessions, "-m", str(messages), "-l", str(SIZE)]
    recipient = ["-t", to] if to else []
    done = await smtp_source(port, *size, *recipient, *options, timeout=WITHIN)
    assert done.exit_code == 0, f"smtp-source: {done.output[-2000:]}"


async def _arrived(system: System, wanted: int) -> None:
    await reached(lambda: system.sink.messages, wanted, WITHIN, f"{system.name}: mails")


def _note(table: Table, system: System, mode: str, stretch: Stretch) -> None:
    beside = f" ({mode})" if mode else ""
    table.add(system.name, f"rate{beside}", stretch.rate, "mails/s")
    table.add(system.name, f"CPU{beside}", stretch.cost, "ms/mail", 2)
