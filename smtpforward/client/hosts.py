"""Which server of a next hop is tried, and in what order: those that could not be reached rest.

Those that do not share the jobs: the next one goes to the server that has the fewest.
A server that failed comes after all others for a time. Then it is probed, by a connection that no
message waits for, and is itself again when that succeeds. When all rest, they are tried all the
same: the one that has rested longest first. Worker processes tell each other who rests, and each
probes.
"""

from collections.abc import Callable, Container, Sequence

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from smtpforward.client.errors import ConnectFailed
from smtpforward.client.rests import Outstanding, Rests, none
from smtpforward.job import NextHop, Server
from smtpforward.net.clock import Clock

Probe = Callable[[Server, NextHop], "Deferred[object]"]


class RestingHosts(Rests):
    """The servers that could not be reached.

    :param probe: opens and closes a connection; fails when the server still cannot be reached.
        Cancelled when it is not wanted any more.
    """

    log = Logger()

    def __init__(self, clock: Clock, probe: Probe) -> None:
        self._clock = clock
        self._probe = probe
        self._since: dict[Server, float] = {}
        self._timers: dict[Server, IDelayedCall] = {}
        self._probes: dict[Server, Deferred[object]] = {}
        self._stopped = False

    @property
    def resting(self) -> Sequence[Server]:
        """Those that rest, the one that has rested longest first."""
        return sorted(self._since, key=self._since.__getitem__)

    def order(self, next_hop: NextHop, outstanding: Outstanding = none) -> Sequence[Server]:
        """See :class:`Rests`: the one with the fewest jobs first, of several such the first."""
        servers = next_hop.servers
        if len(servers) == 1:
            return servers
        up = [server for server in servers if server not in self._since]
        resting = [server for server in servers if server in self._since]
        return sorted(up, key=outstanding) + sorted(resting, key=self._since.__getitem__)

    def failed(self, server: Server, next_hop: NextHop, why: str) -> None:
        """``server`` could not be reached: it rests, if there is another one."""
        if len(next_hop.servers) == 1:
            return
        if server not in self._since:
            self.log.warn("{server} rests: {why}", server=str(server), why=why)
            self.tell(server, next_hop)
        self._rest(server, next_hop)

    def reached(self, server: Server) -> None:
        """``server`` has taken a connection."""
        if server in self._since:
            self.log.info("{server} is back", server=str(server))
            self._end_rest(server)
            self.tell(server, None)

    def hear(self, server: Server, next_hop: NextHop | None) -> None:  # type: ignore[override]
        """Another process could not reach ``server``, or, without ``next_hop``, has reached it."""
        if next_hop is None:
            self._end_rest(server)
        elif server not in self._since:
            self._rest(server, next_hop)

    def _rest(self, server: Server, next_hop: NextHop) -> None:
        self._since[server] = self._clock.seconds()
        self._probe_later(server, next_hop)

    def _end_rest(self, server: Server) -> None:
        if self._since.pop(server, None) is not None:
            timer = self._timers.pop(server, None)
            if timer is not None:
                timer.cancel()

    def keep(self, servers: Container[Server]) -> None:
        """Forget all others."""
        for server in [server for server in self._since if server not in servers]:
            del self._since[server]
            timer = self._timers.pop(server, None)
            if timer is not None:
                timer.cancel()
            probing = self._probes.get(server)
            if probing is not None:
                probing.cancel()

    def stop(self) -> None:
        """Probe no more; nothing is left in the clock."""
        self._stopped = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for probing in list(self._probes.values()):
            probing.cancel()

    def _probe_later(self, server: Server, next_hop: NextHop) -> None:
        if self._stopped or server in self._timers or server in self._probes:
            return
        delay = next_hop.retry_dead_after
        self._timers[server] = self._clock.callLater(delay, self._try, server, next_hop)

    def _try(self, server: Server, next_hop: NextHop) -> None:
        del self._timers[server]
        probing = self._probe(server, next_hop)
        self._probes[server] = probing
        probing.addBoth(self._probed, server)
        probing.addCallbacks(
            lambda _: self.reached(server), self._still_down, errbackArgs=(server, next_hop)
        )

    def _probed(self, result: object, server: Server) -> object:
        del self._probes[server]
        return result

    def _still_down(self, failure: Failure, server: Server, next_hop: NextHop) -> None:
        if not failure.check(ConnectFailed, CancelledError):
            self.log.failure("probing {server} failed", failure, server=str(server))
        # ``_since`` stays: where all are down, a probe is no reason to be tried later than others.
        if server in self._since:
            self._probe_later(server, next_hop)
