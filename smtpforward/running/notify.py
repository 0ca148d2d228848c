"""Tells a service manager such as systemd how the process does: the protocol of sd_notify(3).

Each message is one datagram of ``KEY=VALUE`` lines to the socket that the environment names. Where
it names none all this does nothing. The variables are taken out of the environment, so that no
child speaks in the name of this process.

Failure policy: what cannot be said is not said; the log has the first time. No mail hears of it.
"""

import os
import socket
import time
from collections.abc import Callable, MutableMapping

from twisted.logger import Logger

SOCKET, WATCHDOG, WATCHED = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"
PATIENCE = 1.0  # seconds for a socket that is full
MICRO = 1_000_000


class Supervisor:
    """Who started this process and wants to hear of it.

    :param address: of its socket: a path, or ``@`` and a name; empty: there is none.
    :param watchdog: seconds; it wants to hear something that often. ``None``: it does not.
    """

    log = Logger()

    def __init__(self, address: str = "", watchdog: float | None = None) -> None:
        self._address = address
        self.watchdog = watchdog if address else None
        self._complained = False

    @classmethod
    def of(cls, environ: MutableMapping[str, str]) -> "Supervisor":
        """The one that ``environ`` names, which forgets it."""
        address, microseconds, pid = (environ.pop(k, "") for k in (SOCKET, WATCHDOG, WATCHED))
        watched = microseconds.isdecimal() and int(microseconds) > 0
        if pid and pid != str(os.getpid()):
            watched = False
        return cls(address, int(microseconds) / MICRO if watched else None)

    def __bool__(self) -> bool:
        return bool(self._address)

    def environment(self) -> dict[str, str]:
        """What lets another process speak to it."""
        if not self._address:
            return {}
        own = {SOCKET: self._address}
        if self.watchdog is not None:
            own[WATCHDOG] = str(round(self.watchdog * MICRO))
        return own

    def say(self, *assignments: str) -> None:
        """Tell it what each ``KEY=VALUE`` says, all at once; see sd_notify(3)."""
        if not self._address:
            return
        # Only the first character tells a name of the abstract namespace.
        abstract = self._address.startswith("@")
        address = f"\0{self._address[1:]}" if abstract else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
                sending.settimeout(PATIENCE)
                sending.sendto("\n".join(assignments).encode("utf-8"), address)
        except OSError as error:
            if not self._complained:
                self._complained = True
                self.log.warn("{where} cannot be told: {why}", where=self._address, why=str(error))


def reloading(nanoseconds: Callable[[], int] = time.monotonic_ns) -> tuple[str, str]:
    """That settings are being read; the time tells the request apart from earlier ones."""
    return "RELOADING=1", f"MONOTONIC_USEC={nanoseconds() // 1000}"
