"""Asks name servers: Twisted's resolver, with what it lacks.

A name server that fails is passed over like one that is silent, or that nothing can be sent to; the
connection for an answer that is too long for UDP is closed again; and it can end.
"""

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.names import dns
from twisted.names.client import Resolver
from twisted.names.error import DNSQueryTimeoutError

TRIES = (3, 5, 10)  # seconds that each server gets, in each round
TCP_WITHIN = 10.0
# What another name server may know better.
ITS_OWN_FAULT = frozenset({dns.ESERVER, dns.ENOTIMP, dns.EREFUSED})


class StubResolver(Resolver):
    """One that takes Twisted's place, and ends with ``stop``."""

    def queryUDP(
        self, queries: Any, timeout: Sequence[float] | None = None
    ) -> "Deferred[dns.Message]":
        """The answer of the first name server that has one."""
        return Deferred.fromCoroutine(self._ask(queries, timeout or self.timeout or TRIES))

    async def _ask(self, queries: Any, rounds: Sequence[float]) -> dns.Message:
        failed: dns.Message | None = None
        problem: Exception = DeferredTimeout(queries)
        for seconds in rounds:
            for place in [*self.servers, *self.dynServers]:
                try:
                    message: dns.Message = await self._query(place, queries, seconds)
                except DNSQueryTimeoutError:
                    continue
                except OSError as error:  # There is no way to it: of the other kind, say.
                    problem = error
                    continue
                if message.rCode not in ITS_OWN_FAULT:
                    return message
                failed = message
            if failed is not None:
                return failed
        raise problem

    def queryTCP(self, queries: Any, timeout: float = TCP_WITHIN) -> "Deferred[dns.Message]":
        """Twisted's keeps the connection, which occupies some servers as long as it is open."""
        asking: Deferred[dns.Message] = super().queryTCP(queries, timeout)
        return asking.addBoth(self._close_unused)

    def _close_unused(self, result: Any) -> Any:
        for connection in [one for one in self.connections if not one.liveMessages]:
            self.connections.remove(connection)
            connection.transport.loseConnection()
        return result

    def stop(self) -> None:
        """Read the system's file no more, for which there is a timer; close what is open."""
        call, self._parseCall = getattr(self, "_parseCall", None), None
        if call is not None and call.active():
            call.cancel()
        for connection in list(self.connections):
            connection.transport.abortConnection()
