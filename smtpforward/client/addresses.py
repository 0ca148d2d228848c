"""The addresses of a server's name: in which order they are tried, and which of them rest.

One that could not be connected to, or whose connection never became ready, is tried after all
others for a time. Then the next connection begins with it, one connection for each rest: it comes
back when that becomes ready, and rests as long again when not. There is no timer, and no address is
tried that the resolver has not just named: no password goes to one that the name has lost.

Kept for names with several addresses only, and for those of them that rest; bounded.
"""

from collections.abc import Mapping, Sequence
from itertools import chain, zip_longest
from typing import Protocol, TypeVar

from attrs import define
from twisted.logger import Logger

from smtpforward.job import Server
from smtpforward.net.clock import Clock

MOST_NAMES = 1000


class Address(Protocol):
    """What of an address is looked at; Twisted's IPv4Address and IPv6Address fit."""

    host: str


A = TypeVar("A", bound=Address)


@define
class Rest:
    """How an address rests: since when, and until when it is tried last; on the clock."""

    since: float
    until: float


def interleaved(addresses: Sequence[A]) -> list[A]:
    """The two families in turn, that of the first one first (RFC 8305 4)."""
    six = [address for address in addresses if ":" in address.host]
    four = [address for address in addresses if ":" not in address.host]
    first, second = (six, four) if addresses and ":" in addresses[0].host else (four, six)
    return [a for a in chain.from_iterable(zip_longest(first, second)) if a is not None]


def ordered(addresses: Sequence[A], rests: Mapping[str, Rest], now: float) -> list[A]:
    """``addresses`` in the order in which one connection tries them.

    First one whose rest is over, if there is one; last those that rest, the one that has rested
    longest before the others.
    """
    awake = [address for address in addresses if address.host not in rests]
    resting = [address for address in addresses if address.host in rests]
    resting.sort(key=lambda address: rests[address.host].since)
    over = [address for address in resting if rests[address.host].until <= now][:1]
    return over + interleaved(awake) + [address for address in resting if address not in over]


class RestingAddresses:
    """The addresses that rest, by the server whose name has them."""

    log = Logger()

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._names: dict[Server, dict[str, Rest]] = {}

    @property
    def resting(self) -> Sequence[str]:
        """Those that rest, each as ``host[ip]:port``."""
        return [_place(server, ip) for server, rests in self._names.items() for ip in rests]

    def order(self, server: Server, addresses: Sequence[A], rest: float) -> Sequence[A]:
        """All that the name has now, in the order in which this connection tries them.

        :param rest: seconds that the one whose rest is over is left last again, for others.
        """
        rests = self._names.get(server)
        if rests is None or not addresses:
            return interleaved(addresses)
        self._forget(server, rests, {address.host for address in addresses})
        now = self._clock.seconds()
        order = ordered(addresses, rests, now)
        first = rests.get(order[0].host)
        if first is not None and first.until <= now:
            first.until = now + rest
        return order

    def _forget(self, server: Server, rests: dict[str, Rest], there: set[str]) -> None:
        """Keep what the name still has, as long as that is more than one."""
        for ip in [ip for ip in rests if ip not in there or len(there) == 1]:
            del rests[ip]
        if not rests:
            del self._names[server]

    def failed(self, server: Server, ip: str, rest: float, why: str) -> None:
        """``ip`` cannot be used, and the name has others: it rests for ``rest`` seconds."""
        rests = self._names.get(server)
        if rests is None:
            if len(self._names) >= MOST_NAMES:
                del self._names[next(iter(self._names))]
            rests = self._names[server] = {}
        if ip not in rests:
            self.log.warn("{address} rests: {why}", address=_place(server, ip), why=why)
        now = self._clock.seconds()
        rests[ip] = Rest(now, now + rest)

    def reached(self, server: Server, ip: str) -> None:
        """A connection to ``ip`` is ready for mail."""
        rests = self._names.get(server)
        if rests is None or rests.pop(ip, None) is None:
            return
        self.log.info("{address} is back", address=_place(server, ip))
        if not rests:
            del self._names[server]


def _place(server: Server, ip: str) -> str:
    return f"{server.host}[{ip}]:{server.port}"
