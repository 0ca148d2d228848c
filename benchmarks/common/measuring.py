"""Time and CPU of one stretch of work.

CPU is that of whole process trees, in steps of the kernel's clock tick. It is read when the work
has come to rest: what follows an answer (records, logs, files that go) is part of the price.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from time import monotonic

from attrs import frozen
from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.peers.cpu import TICKS, tree_seconds

REST = 0.4
LOOK_EVERY = 0.01
LONGEST_UNREST = 15.0


@frozen
class Stretch:
    """What so many messages took.

    :ivar seconds: by the clock. ``cpu``: seconds of the process trees.
    """

    messages: int
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds

    @property
    def cost(self) -> float:
        """Milliseconds of CPU for one message."""
        return self.cpu * 1000 / self.messages


class Stopwatch:
    """Runs from the moment when it is made.

    :param pids: the process trees whose CPU counts.
    """

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._cpu = trees_seconds(pids)
        self._began = monotonic()

    @property
    def seconds(self) -> float:
        """So far."""
        return monotonic() - self._began

    @property
    def cpu(self) -> float:
        """Seconds of the trees so far."""
        return trees_seconds(self._pids) - self._cpu

    async def stretch(self, messages: int, seconds: float | None = None) -> Stretch:
        """What it was for ``messages``, once the trees are at rest.

        :param seconds: where the clock was to stop earlier than now.
        """
        taken = self.seconds if seconds is None else seconds
        await at_rest(self._pids)
        return Stretch(messages, taken, self.cpu)


def trees_seconds(pids: Iterable[int]) -> float:
    """User and system seconds of process trees that have no member in common."""
    return sum(map(tree_seconds, pids))


async def at_rest(pids: Sequence[int]) -> None:
    """Return when the trees have done next to nothing for a while, or after some seconds."""
    end = monotonic() + LONGEST_UNREST
    before = trees_seconds(pids)
    while monotonic() < end:
        await pause(REST)
        now = trees_seconds(pids)
        if now - before <= 1.5 / TICKS:
            return
        before = now


async def reached(count: Callable[[], int], wanted: int, within: float, what: str) -> float:
    """Wait until ``count()`` is ``wanted``; the moment when it was, on the monotonic clock.

    :raise AssertionError: when it is not within so many seconds, or is more than that.
    """
    end = monotonic() + within
    while (found := count()) < wanted:
        if monotonic() > end:
            raise AssertionError(f"{what}: {found} of {wanted} within {within:g} s")
        await pause(LOOK_EVERY)
    moment = monotonic()
    if found > wanted:
        raise AssertionError(f"{what}: {found}, more than {wanted}")
    return moment


async def pause(seconds: float) -> None:
    """Let the reactor serve for a while."""
    await deferLater(reactor, seconds)


def resident(pid: int) -> int:
    """Bytes of memory that a process has, those that it shares included; 0 when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return 0
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0
