"""A name server of a test's own on loopback, UDP and TCP: it knows the names that it is told.

It answers as the authority for all names: with an SOA where there is nothing, with what an alias
leads to, cut where it is too long for UDP. Names may fail, and may get no answer at all.
"""

import contextlib
import socket
from collections.abc import Sequence
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import ServerFactory
from twisted.names import dns

from tests.peers.wait import until

reactor: Any = global_reactor
HOST = "127.0.0.1"
TTL, NO_TTL = 300, 60
SILENT = -1
ATTEMPTS = 20
MOST_ALIASES = 5
SO_RCVBUFFORCE = 33  # socket(7); Python has no name for it
MOST_HELD = 4 * 1024 * 1024  # bytes


class NameServer:
    """Answers from the moment it is made.

    :ivar port: UDP and TCP. ``place``: address and port, as resolvers take it.
    :ivar asked: name, type and ``udp`` or ``tcp`` of each question, in order.
    """

    noisy = False

    def __init__(self, host: str = HOST) -> None:
        self._host = host
        self.asked: list[tuple[str, int, str]] = []
        self._records: dict[str, list[Any]] = {}
        self._faults: dict[str, int] = {}
        self._connections: set[Any] = set()
        self._udp, self._tcp = self._listen()
        self.port: int = self._tcp.getHost().port
        self.place = (host, self.port)

    def _listen(self) -> tuple[Any, Any]:
        """One port of both kinds."""
        for _ in range(ATTEMPTS):
            tcp = reactor.listenTCP(0, _Connections(self), interface=self._host)
            port = tcp.getHost().port
            try:
                protocol = dns.DNSDatagramProtocol(self, reactor)
                return reactor.listenUDP(port, protocol, self._host), tcp
            except CannotListenError:
                tcp.stopListening()
        raise AssertionError("no port that is free for both UDP and TCP")

    async def stop(self) -> None:
        """Close what is open."""
        await self._udp.stopListening()
        await self._tcp.stopListening()
        for connection in list(self._connections):
            connection.transport.abortConnection()
        await until(lambda: not self._connections, "the end of the name server's connections")

    # -- what it knows

    def add(self, name: str, *records: Any) -> None:
        """Records of ``twisted.names``, such as ``Record_TXT``; without any, the name exists."""
        self._records.setdefault(name.lower(), []).extend(records)

    def mx(self, name: str, *exchangers: tuple[int, str], ttl: int = TTL) -> None:
        """MX records: preference and host; ``(0, ".")`` is a null one."""
        hosts = [(preference, host.removesuffix(".")) for preference, host in exchangers]
        self.add(name, *(dns.Record_MX(preference, host, ttl) for preference, host in hosts))

    def address(self, name: str, *ips: str, ttl: int = TTL) -> None:
        """A and AAAA records."""
        for ip in ips:
            self.add(name, dns.Record_AAAA(ip, ttl) if ":" in ip else dns.Record_A(ip, ttl))

    def alias(self, name: str, target: str, ttl: int = TTL) -> None:
        """A CNAME record."""
        self.add(name, dns.Record_CNAME(target, ttl))

    def fail(self, name: str, code: int = dns.ESERVER) -> None:
        """Questions for ``name`` get an error."""
        self._faults[name.lower()] = code

    def silence(self, name: str) -> None:
        """Questions for ``name`` get no answer."""
        self._faults[name.lower()] = SILENT

    # -- what it answers

    def connectionMade(self, protocol: dns.DNSProtocol) -> None:
        """A TCP connection."""
        self._connections.add(protocol)

    def connectionLost(self, protocol: dns.DNSProtocol) -> None:
        """It has gone."""
        self._connections.discard(protocol)

    def messageReceived(
        self, message: dns.Message, protocol: Any, address: tuple[str, int] | None = None
    ) -> None:
        """A question."""
        [query] = message.queries
        name = query.name.name.decode("ascii").lower()
        self.asked.append((name, query.type, "tcp" if address is None else "udp"))
        fault = self._faults.get(name)
        if fault == SILENT:
            return
        reply = dns.Message(message.id, answer=1, recDes=message.recDes, recAv=1, auth=True)
        reply.queries = message.queries
        if fault is not None:
            reply.rCode = fault
        else:
            self._fill(reply, name, query.type)
        if address is None:
            reply.maxSize = 0
            protocol.writeMessage(reply)
        else:
            protocol.writeMessage(reply, address)

    def _fill(self, reply: dns.Message, name: str, kind: int) -> None:
        for _ in range(MOST_ALIASES):
            known = self._records.get(name, ())
            found = [record for record in known if kind == record.TYPE]
            aliases = [record for record in known if dns.CNAME == record.TYPE]
            reply.answers += _headers(name, found or aliases)
            if found or not aliases:
                break
            name = aliases[0].name.name.decode("ascii")
        if not found:
            reply.rCode = dns.OK if self._exists(name) else dns.ENAME
            soa = dns.Record_SOA("ns.example", "root.example", 1, 1, 1, 1, NO_TTL, NO_TTL)
            reply.authority += _headers("", [soa])

    def _exists(self, name: str) -> bool:
        return name in self._records or any(own.endswith("." + name) for own in self._records)


def _hold_many(udp: socket.socket) -> None:
    """Let the kernel keep more questions than it does by default, where this process may say so."""
    with contextlib.suppress(PermissionError):
        udp.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, MOST_HELD)


def _headers(name: str, records: Sequence[Any]) -> list[dns.RRHeader]:
    return [dns.RRHeader(name, one.TYPE, dns.IN, one.ttl, one, auth=True) for one in records]


class _Connections(ServerFactory):
    """The name server's TCP connections."""

    noisy = False

    def __init__(self, server: NameServer) -> None:
        self._server = server

    def buildProtocol(self, addr: object) -> dns.DNSProtocol:
        return dns.DNSProtocol(self._server, reactor)
