"""Accounts: what a client may still do wrong, and how many connections there may be.

An account holds counts and no bounds: those are asked for when a decision is due, so that settings
may change in between.
"""

import ipaddress
from collections import OrderedDict, deque
from functools import lru_cache

from smtpforward import answers
from smtpforward.config.settings import Limits, Settings
from smtpforward.net.clock import Clock
from smtpforward.reply import Reply

IPV6_PREFIX = 64  # what one customer has
MAX_ORIGINS = 10_000
STRIKES_FOR = 600.0
# Listening sockets, logs, the reactor's own, threads' pipes, files that are read.
RESERVED_DESCRIPTORS = 32


class ErrorBudget:
    """Counts a connection's wrong commands; a message that was taken wipes the slate."""

    __slots__ = ("_errors", "_limits", "_unrecognized")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._errors = 0
        self._unrecognized = 0

    def spend(self, reply: Reply) -> Reply | None:
        """Note ``reply`` to a command; the reply that ends the connection when it was one too many.

        Only 5yz counts: a recipient deferred to the next transaction is no error of the client's.
        """
        if not reply.permanent:
            return None
        self._errors += 1
        if reply is answers.UNRECOGNIZED:
            self._unrecognized += 1
            if self._unrecognized >= self._limits.unrecognized_commands:
                return answers.TOO_MANY_UNRECOGNIZED
        return answers.TOO_MANY_ERRORS if self._errors >= self._limits.errors else None

    def restore(self) -> None:
        """A message was accepted."""
        self._errors = self._unrecognized = 0


class ConnectionCount:
    """How many clients there are, in all and from each address.

    :param most: how many there may be where the settings do not say it; ``None`` for any number.
    :ivar strikes: the wrong commands of late.
    """

    __slots__ = ("_by_origin", "_most", "strikes", "total")

    def __init__(self, clock: Clock, most: int | None = None) -> None:
        self.total = 0
        self.strikes = Strikes(clock, STRIKES_FOR)
        self._by_origin: dict[str, int] = {}
        self._most = most

    def refuse(self, settings: Settings, ip: str) -> Reply | None:
        """What a client at ``ip`` that has just connected hears in place of the greeting."""
        limits = settings.limits
        most = limits.connections or self._most
        if most is not None and self.total >= most:
            return answers.TOO_MANY_CONNECTIONS
        here, wrong = limits.connections_per_ip, limits.errors_per_ip
        if (here is None and wrong is None) or ip == "local" or ip in settings.access.relays:
            return None
        if here is not None and self._by_origin.get(origin_of(ip), 0) >= here:
            return answers.TOO_MANY_FROM_HERE
        if wrong is not None and self.strikes.reached(ip, wrong):
            return answers.TOO_MANY_ERRORS_FROM_HERE
        return None

    def add(self, ip: str) -> None:
        """One more, from ``ip``."""
        origin = origin_of(ip)
        self.total += 1
        self._by_origin[origin] = self._by_origin.get(origin, 0) + 1

    def remove(self, ip: str) -> None:
        """One that was added has gone."""
        origin = origin_of(ip)
        self.total -= 1
        left = self._by_origin[origin] - 1
        if left:
            self._by_origin[origin] = left
        else:
            del self._by_origin[origin]


class Strikes:
    """How often clients from each address have done wrong of late; bounded: the oldest goes.

    :param window: seconds that each time counts.
    """

    __slots__ = ("_clock", "_times", "_window")

    def __init__(self, clock: Clock, window: float) -> None:
        self._clock = clock
        self._window = window
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def note(self, ip: str, most: int) -> None:
        """One more from ``ip``; of those beyond ``most`` the oldest need not be known."""
        origin = origin_of(ip)
        times = self._times.get(origin)
        if times is None or times.maxlen != most:
            times = deque(times or (), most)
        times.append(self._clock.seconds())
        self._times[origin] = times
        self._times.move_to_end(origin)
        if len(self._times) > MAX_ORIGINS:
            self._times.popitem(last=False)

    def reached(self, ip: str, most: int) -> bool:
        """Whether there have been ``most`` within the window."""
        times = self._times.get(origin_of(ip), ())
        return len(times) >= most and times[-most] > self._clock.seconds() - self._window


@lru_cache(maxsize=4096)
def origin_of(ip: str) -> str:
    """What is counted together: an IPv4 address, or an IPv6 network."""
    if ":" not in ip:
        return ip
    return str(ipaddress.ip_network((ip.partition("%")[0], IPV6_PREFIX), strict=False))


def connections_within(descriptors: int) -> int:
    """How many clients a process with so many descriptors can serve.

    Each may need a second one: that of the connection to its backend.
    """
    return max(1, (descriptors - RESERVED_DESCRIPTORS) // 2)
