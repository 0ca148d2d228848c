"""The outbound queue with all that it needs, wired: the half of ``gateway.py`` that not all run.

Its mail for hosts of routes goes over the forwarding client's own pools; what goes to MX hosts and
to the smart host has pools of its own, which no reload winds down.

Failure policy: that of the queue (``outbound/queue.py``).
"""

import errno
import socket
from collections.abc import Callable, Collection
from random import SystemRandom
from typing import Any

from smtpforward.client.connect import Connector
from smtpforward.client.rests import PassingRests
from smtpforward.client.target import ForwardTarget
from smtpforward.config.settings import Outbound, Settings
from smtpforward.counts import Counts
from smtpforward.job import TLS
from smtpforward.net.clock import Clock
from smtpforward.outbound.handover import Targets
from smtpforward.outbound.lookups import lookups_at
from smtpforward.outbound.mx import MailHosts
from smtpforward.outbound.queue import OutboundQueue
from smtpforward.outbound.store.choice import store_at

EVERY = ("0.0.0.0", "::")  # noqa: S104 -- what a socket says that listens on all addresses


class Queueing:
    """One process's part in the outbound queue.

    :param routes: the target of the routes' hosts.
    :param listened_on: the addresses and ports where this gateway takes mail.
    :param delivers: whether this process attempts what is queued; of ``nodes`` one does.
    :param succeeds: see :class:`OutboundQueue`.
    :ivar queue: the target that takes mail. ``direct``: the one for MX hosts and the smart host.
    """

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        clock: Clock,
        connector: Connector,
        routes: ForwardTarget,
        listened_on: Callable[[], Collection[tuple[str, int]]],
        delivers: bool = True,
        counts: Counts | None = None,
        succeeds: bool = False,
    ) -> None:
        outbound = _outbound(settings)
        self._reactor = reactor
        self._clock = clock
        self._routes = routes
        self._listened_on = listened_on
        self.direct = ForwardTarget(connector, clock, hosts=PassingRests(clock), counts=counts)
        self._lookups = lookups_at(outbound.nameservers, reactor, clock)
        self._mail_hosts = MailHosts(
            *(self._lookups, outbound, settings.client_tls, settings.own_name, self._is_ours),
            SystemRandom(),
        )
        store = store_at(outbound.store, reactor)
        self.queue = OutboundQueue(
            settings, store, self._targets, clock, delivers, counts, succeeds
        )

    def _targets(self) -> Targets:
        return Targets(self._routes, self.direct, self._mail_hosts.next_hop)

    def _is_ours(self, ip: str, port: int) -> bool:
        """Whether this gateway listens there."""
        places = self._listened_on()
        if (ip, port) in places:
            return True
        return any((every, port) in places for every in EVERY) and is_own_address(ip)

    def adopt(self, settings: Settings, renewed: "frozenset[TLS]") -> None:
        """Let ``settings`` hold from now on; connections of these policies are not used again."""
        outbound, before = _outbound(settings), _outbound(self.queue.settings)
        fresh = None
        if outbound.nameservers != before.nameservers:
            self._lookups.stop()
            fresh = self._lookups = lookups_at(outbound.nameservers, self._reactor, self._clock)
        self._mail_hosts.adopt(outbound, settings.client_tls, settings.own_name, fresh)
        self.direct.renew(renewed)
        self.direct.rebound(outbound.direct.bounds)
        self.queue.adopt(settings)

    async def close(self) -> None:
        """Close the store and ask nobody any more."""
        self._lookups.stop()
        await self.queue.close()


def _outbound(settings: Settings) -> Outbound:
    outbound = settings.outbound
    assert outbound is not None, "settings with a queue"
    return outbound


def is_own_address(ip: str) -> bool:
    """Whether ``ip`` is one of this host's: only those can be bound."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as asked:
            asked.bind((ip, 0))
    except OSError as error:
        # Anything else says nothing about the address.
        return error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL)
    return True
