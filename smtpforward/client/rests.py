"""What a target asks of where rests are kept; and rests that pass by themselves.

``hosts.py`` probes the servers of the routes, which are few and always the same. Of MX hosts there
may be thousands that are down, and nobody may want them again: one that could not be reached is
tried after all others for a time, and then like any other. There is no timer and no probe, and what
is kept is bounded: the one that failed the longest ago is forgotten.
"""

from abc import abstractmethod
from collections.abc import Callable, Container, Sequence

from attrs import frozen
from twisted.logger import Logger

from smtpforward.facts import Fact
from smtpforward.job import NextHop, Server
from smtpforward.net.clock import Clock

MOST_KEPT = 10_000
Outstanding = Callable[[Server], int]


def none(server: Server) -> int:
    """No server has more jobs than another."""
    return 0


class Rests(Fact):
    """The servers that could not be reached."""

    @property
    @abstractmethod
    def resting(self) -> Sequence[Server]:
        """Those that rest, the one that has rested longest first."""

    @abstractmethod
    def order(self, next_hop: NextHop, outstanding: Outstanding) -> Sequence[Server]:
        """The servers of ``next_hop`` in the order in which a job tries them.

        :param outstanding: how many jobs a server has, where those that do not rest stand for the
            same and share them.
        """

    @abstractmethod
    def failed(self, server: Server, next_hop: NextHop, why: str) -> None:
        """``server`` could not be reached."""

    @abstractmethod
    def reached(self, server: Server) -> None:
        """``server`` has taken a connection."""

    @abstractmethod
    def keep(self, servers: Container[Server]) -> None:
        """Forget all others."""

    @abstractmethod
    def stop(self) -> None:
        """Nothing is left in the clock."""


@frozen
class Rest:
    """Since when a server rests, and until when; on the clock."""

    since: float
    until: float


class PassingRests(Rests):
    """Rests without probes, for any number of servers.

    :param most: servers that are kept.
    """

    log = Logger()

    def __init__(self, clock: Clock, most: int = MOST_KEPT) -> None:
        self._clock = clock
        self._most = most
        # The one that failed last at the end.
        self._rests: dict[Server, Rest] = {}

    @property
    def resting(self) -> Sequence[Server]:
        """See :class:`Rests`."""
        now = self._clock.seconds()
        return [server for server, rest in self._rests.items() if now < rest.until]

    def order(self, next_hop: NextHop, outstanding: Outstanding = none) -> Sequence[Server]:
        """See :class:`Rests`; MX hosts have an order of their own."""
        servers = next_hop.servers
        if not self._rests or len(servers) == 1:
            return servers
        resting = [server for server in servers if self._is_resting(server)]
        if not resting:
            return servers
        up = [server for server in servers if server not in resting]
        return up + sorted(resting, key=lambda server: self._rests[server].since)

    def _is_resting(self, server: Server) -> bool:
        rest = self._rests.get(server)
        if rest is not None and rest.until <= self._clock.seconds():
            del self._rests[server]
            rest = None
        return rest is not None

    def failed(self, server: Server, next_hop: NextHop, why: str) -> None:
        """See :class:`Rests`; also a hop's only server rests: it may be among those of others."""
        self.log.debug("{server} rests: {why}", server=str(server), why=why)
        self._rest(server, next_hop.retry_dead_after)
        self.tell(server, next_hop.retry_dead_after)

    def reached(self, server: Server) -> None:
        """See :class:`Rests`."""
        if self._rests.pop(server, None) is not None:
            self.tell(server, None)

    def hear(self, server: Server, seconds: float | None) -> None:  # type: ignore[override]
        """Another process could not reach ``server``, or, without ``seconds``, has reached it."""
        if seconds is None:
            self._rests.pop(server, None)
        else:
            self._rest(server, seconds)

    def _rest(self, server: Server, seconds: float) -> None:
        now = self._clock.seconds()
        self._rests.pop(server, None)
        self._rests[server] = Rest(now, now + seconds)
        if len(self._rests) > self._most:
            del self._rests[next(iter(self._rests))]

    def keep(self, servers: Container[Server]) -> None:
        """See :class:`Rests`."""
        for server in [server for server in self._rests if server not in servers]:
            del self._rests[server]

    def stop(self) -> None:
        """See :class:`Rests`: there is nothing."""
