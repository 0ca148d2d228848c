"""Where mail for a domain goes: its MX hosts, or itself (RFC 5321 5.1).

A domain with MX records has its mail taken by those hosts and no others; one without any, by
itself, if it has an address. Both kinds of address count. An alias is followed, also of an MX host.
An address literal is a host of its own.

Failure policy: :class:`Unroutable`, which carries the reply. Permanent: no such domain, no address
at all, a null MX (RFC 7505), this server the best, private addresses only. Temporary: a DNS that
does not answer, hosts that have no address.
"""

import ipaddress
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from smtpforward.config.settings import ClientTLS, Outbound
from smtpforward.job import NextHop
from smtpforward.outbound import candidates, unroutable
from smtpforward.outbound.candidates import Host
from smtpforward.outbound.lookups import LookupFailed, Lookups
from smtpforward.outbound.records import Answer, Exchanger, Kind

KINDS = (Kind.A, Kind.AAAA)


class MailHosts:
    """Finds the hosts of a domain.

    :param own_name: this host's name: an MX host of that name is this gateway.
    :param is_ours: whether this gateway is what listens on an address and port.
    :param random: puts in order what has none.
    """

    def __init__(
        self,
        lookups: Lookups,
        outbound: Outbound,
        client_tls: ClientTLS,
        own_name: str | None,
        is_ours: Callable[[str, int], bool],
        random: Random,
    ) -> None:
        self._lookups = lookups
        self._is_ours = is_ours
        self._random = random
        self.adopt(outbound, client_tls, own_name)

    def adopt(
        self,
        outbound: Outbound,
        client_tls: ClientTLS,
        own_name: str | None,
        lookups: Lookups | None = None,
    ) -> None:
        """Let these hold for what is asked from now on.

        :param lookups: where the name servers have changed; the old ones are the caller's to stop.
        """
        self._outbound = outbound
        self._client_tls = client_tls
        self._own_name = (own_name or "").lower().removesuffix(".")
        self._lookups = lookups or self._lookups

    def next_hop(self, domain: str) -> "Deferred[NextHop]":
        """All servers to try for ``domain``, in order.

        :param domain: lower case, A-labels, or an address literal: ``Address.host``.
        :return: Deferred; fails with :class:`smtpforward.outbound.unroutable.Unroutable`.
            Cancelling fails it at once.
        """
        return Deferred.fromCoroutine(self._next_hop(domain.removesuffix(".")))

    async def _next_hop(self, domain: str) -> NextHop:
        outbound, client_tls, random = self._outbound, self._client_tls, self._random
        hosts = await self._hosts(domain)
        usable = candidates.usable(domain, hosts, self._is_us, outbound.local_mx_ok)
        direct, first = outbound.direct, outbound.inet_prefer
        template = direct.servers[0]
        servers = candidates.servers(domain, usable, template, client_tls, first, random)
        return evolve(direct, servers=servers)

    def _is_us(self, host: Host) -> bool:
        port = self._outbound.direct.servers[0].port
        by_name = host.name == self._own_name
        return by_name or any(self._is_ours(ip, port) for ip in host.addresses)

    async def _hosts(self, domain: str) -> Sequence[Host]:
        """Those of ``domain``, looked up."""
        if domain.startswith("["):
            return [_literal(domain)]
        try:
            answer = await self._lookups.exchangers(domain)
        except LookupFailed as error:
            raise unroutable.lookup_failed(domain, domain, str(error))
        if not answer.exists:
            raise unroutable.no_such_domain(domain)
        exchangers = candidates.by_preference(answer.records, self._random)
        if exchangers:
            return await self._look_up(exchangers)
        if answer.records:
            raise unroutable.takes_no_mail(domain)
        hosts = await self._look_up([Exchanger(0, domain)])
        if not hosts[0].addresses and not hosts[0].failed:
            raise unroutable.no_address(domain)
        return hosts

    async def _look_up(self, exchangers: Sequence[Exchanger]) -> Sequence[Host]:
        """The addresses of them all, asked for at the same time."""
        lookups = self._lookups
        asked = [lookups.addresses(one.host, kind) for one in exchangers for kind in KINDS]
        results: Any = await DeferredList(asked, consumeErrors=True)
        answers = [result for _, result in results]
        each = len(KINDS)
        return [
            _host(one, answers[number * each : (number + 1) * each])
            for number, one in enumerate(exchangers)
        ]


def _host(one: Exchanger, answers: Sequence[Answer[str] | Failure]) -> Host:
    """What is known of a host, of which each kind of address was asked for."""
    addresses: list[str] = []
    failed = ""
    for answer in answers:
        if isinstance(answer, Failure):
            answer.trap(LookupFailed)
            failed = answer.getErrorMessage()
        else:
            addresses += answer.records
    return Host(one.preference, one.host, tuple(addresses), failed)


def _literal(domain: str) -> Host:
    """The host that is meant by ``[192.0.2.1]`` or ``[ipv6:2001:db8::1]``."""
    try:
        ip = str(ipaddress.ip_address(domain[1:-1].lower().removeprefix("ipv6:")))
    except ValueError:
        raise unroutable.no_such_domain(domain)
    return Host(0, ip, (ip,))
