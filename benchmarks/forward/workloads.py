"""The loads, and how one is brought to a system: by smtp-source, or by a client of our own.

smtp-source has no TLS and tells no times. So what is sent under TLS, and the times of single mails,
come from :mod:`benchmarks.common.client`, the same for all systems.
"""

import json
import sys
from collections.abc import Sequence
from subprocess import TimeoutExpired
from typing import Any

from attrs import field, frozen

from benchmarks.common.client import Told
from benchmarks.forward.systems import TLS
from tests.peers.clients import run, smtp_source
from tests.peers.gateway import environment

KIB, MIB = 1024, 2**20
WITHIN = 120.0
CLIENT = [sys.executable, "-m", "benchmarks.common.client"]


class FaultError(Exception):
    """A run that does not count: what was wrong."""


@frozen
class Workload:
    """One load.

    :ivar about: what it is, for people. ``size``: bytes of a mail. ``recipients``: of each mail.
    :ivar reuse: many mails a session. ``own``: sent by our client.
    :ivar to: the recipient, where it is not smtp-source's. ``idle``: connections beside it.
    :ivar warm_up: mails before the first that counts.
    """

    name: str
    about: str
    sessions: int = 50
    size: int = 4 * KIB
    recipients: int = 1
    reuse: bool = False
    tls: TLS = TLS.NONE
    own: bool = False
    to: str = ""
    idle: int = 0
    warm_up: int = 200

    @property
    def in_mebibytes(self) -> bool:
        """Whether bytes count, not mails."""
        return self.size >= MIB

    @property
    def command(self) -> str:
        """What sends it, with N for the number of mails."""
        if self.own:
            return " ".join(["python -m benchmarks.common.client", *self._own_options("N")])
        return " ".join(["smtp-source", *self._options("N")])

    async def send(self, port: int, messages: int) -> Told:
        """Send so many.

        :raise FaultError: when one of them was not taken.
        """
        return await (self._by_client if self.own else self._by_source)(port, messages)

    async def _by_source(self, port: int, messages: int) -> Told:
        try:
            done = await smtp_source(port, *self._options(str(messages)), timeout=WITHIN)
        except TimeoutExpired:
            raise FaultError(f"not done within {WITHIN:g} s") from None
        if done.exit_code:
            raise FaultError(last_line(done.output))
        return Told()

    async def _by_client(self, port: int, messages: int) -> Told:
        options = ["--port", str(port), *self._own_options(str(messages))]
        try:
            done = await run([*CLIENT, *options], WITHIN, environment())
        except TimeoutExpired:
            raise FaultError(f"not done within {WITHIN:g} s") from None
        return told(done.output)

    def _options(self, messages: str) -> Sequence[str]:
        more = ["-d"] if self.reuse else []
        if self.recipients > 1:
            more += ["-r", str(self.recipients)]
        if self.to:
            more += ["-t", self.to]
        return ["-s", str(self.sessions), "-m", messages, "-l", str(self.size), *more]

    def _own_options(self, messages: str) -> Sequence[str]:
        flags = {"--reuse": self.reuse, "--starttls": self.tls is TLS.SENDERS}
        numbers = ["--sessions", str(self.sessions), "--messages", messages]
        return [*numbers, "--size", str(self.size), *(name for name, set_ in flags.items() if set_)]


def told(output: str) -> Told:
    """What our client has printed.

    :raise FaultError: when it says that something went wrong, or says nothing.
    """
    try:
        values: dict[str, Any] = json.loads(last_line(output))
    except ValueError:
        raise FaultError(f"the client ended: {output[-500:]}") from None
    if values["fault"]:
        raise FaultError(values["fault"])
    return Told(**values)


def last_line(output: str) -> str:
    """The last one that says something."""
    return next((line for line in reversed(output.splitlines()) if line.strip()), "no output")


@frozen
class Amounts:
    """How much of each workload is done.

    :ivar seconds: how long one run is to take, whatever the system: so many mails as that is by
        its warm-up. ``messages``: so many for each, in place of that.
    :ivar repeat: runs of each system in each workload. ``idle``: connections, where some are idle.
    :ivar workloads: names of those that are measured.
    """

    seconds: float = 1.0
    repeat: int = 3
    messages: int | None = None
    idle: int = 2000
    workloads: Sequence[str] = field(factory=tuple)

    def of(self, workload: Workload, rate: float) -> int:
        """How many mails one run has.

        :param rate: that the warm-up had, in mails a second.
        """
        least = workload.sessions
        if self.messages is not None:
            return max(least, self.messages // 50) if workload.in_mebibytes else self.messages
        return max(least, round(rate * self.seconds))


SESSION_EACH, REUSED = "a session for each mail", "sessions are reused"


def workloads(idle: int) -> tuple[Workload, ...]:
    """All of them.

    :param idle: connections of the one with idle ones.
    """
    return (
        Workload("small", f"4 KiB, 50 at once, {SESSION_EACH}"),
        Workload("reuse", f"4 KiB, 50 at once, {REUSED}", reuse=True),
        Workload("large", "10 MiB, 4 at once", sessions=4, size=10 * MIB, warm_up=8),
        Workload(
            "latency",
            "4 KiB, one session, one mail after the other",
            sessions=1,
            reuse=True,
            own=True,
            warm_up=100,
        ),
        Workload("recipients", f"50 recipients a mail, {REUSED}", recipients=50, reuse=True),
        Workload("tls-out", f"STARTTLS with the backend, {REUSED}", reuse=True, tls=TLS.BACKEND),
        Workload("tls-in", f"STARTTLS by the sender, {SESSION_EACH}", tls=TLS.SENDERS, own=True),
        Workload("idle", f"as small, beside {idle} idle connections", idle=idle),
    )
