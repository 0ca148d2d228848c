"""One connection to a name with several addresses: a reactor for ``HostnameEndpoint``.

The endpoint dials one address after the other, a moment apart, and takes the first that answers
(happy eyeballs, RFC 8305). Through this reactor it gets them in the order in which they should be
tried, and each one's end is noted: what was refused, timed out, or was overtaken by one that was
dialled later, rests; so does what answered and then failed before it was ready for mail.

Failure policy: each address is connected to once at most; the last one's failure is the answer.
What happens after the deadline says nothing about an address.
"""

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import UserError
from twisted.internet.interfaces import IHostnameResolver, IResolutionReceiver
from twisted.python.failure import Failure
from zope.interface import directlyProvides, implementer, providedBy

from smtpforward.client.addresses import RestingAddresses
from smtpforward.client.errors import ConnectFailed, is_our_own
from smtpforward.client.session import BackendSession
from smtpforward.job import Event, Server
from smtpforward.net.clock import Clock

# A login is the same at every address: what refuses it once would count each further try.
NOT_THE_ADDRESS = frozenset({Event.AUTH})


@implementer(IHostnameResolver)
class Dial:
    """``reactor`` in all but the order of a name's addresses, and what is noted of them.

    :param rest: seconds that an address rests.
    :param deadline: when the connection must be ready, on ``clock``.
    """

    def __init__(
        self,
        reactor: Any,
        resting: RestingAddresses,
        server: Server,
        rest: float,
        deadline: float,
        clock: Clock,
    ) -> None:
        self._reactor = reactor
        self._resting = resting
        self._server = server
        self._rest = rest
        self._deadline = deadline
        self._clock = clock
        self._known: set[str] = set()
        self._tried: set[str] = set()
        # Those without an answer yet, and since when; in the order in which they were dialled.
        self._dialled: dict[str, float] = {}
        self._connected = ""
        self._full = False
        directlyProvides(self, providedBy(reactor))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    # -- what the endpoint asks

    @property
    def nameResolver(self) -> "Dial":
        """See IReactorPluggableNameResolver."""
        return self

    def resolveHostName(self, resolutionReceiver: Any, hostName: str, *args: Any, **kw: Any) -> Any:
        """See IHostnameResolver."""
        receiver = _Receiver(resolutionReceiver, self)
        return self._reactor.nameResolver.resolveHostName(receiver, hostName, *args, **kw)

    def choose(self, addresses: Sequence[Any]) -> Sequence[Any]:
        """Those of a name's ``addresses`` that are left to be tried, in order."""
        once = {address.host: address for address in addresses}
        bind = self._server.bind
        if bind:
            # From one family no socket reaches the other.
            once = {ip: address for ip, address in once.items() if (":" in ip) == (":" in bind)}
        self._known = set(once)
        order = self._resting.order(self._server, list(once.values()), self._rest)
        return [address for address in order if address.host not in self._tried]

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None
    ) -> Any:
        """See IReactorTCP."""
        self._dialled[host] = self._clock.seconds()
        watched = _Watched(factory, host, self)
        return self._reactor.connectTCP(host, port, watched, timeout, bindAddress)

    # -- what becomes of the addresses

    def answered(self, ip: str) -> None:
        """TCP is through; the endpoint gives up the others."""
        at = self._dialled.pop(ip)
        now = self._clock.seconds()
        for other, since in self._dialled.items():
            if since < at:
                why = f"no answer in {now - since:.1f} seconds, and {ip} has answered"
                self._to_rest(other, why)
        self._dialled.clear()
        self._connected = ip

    def failed(self, ip: str, why: str) -> None:
        """There will be no connection."""
        self._dialled.pop(ip, None)
        self._tried.add(ip)
        self._to_rest(ip, why)

    def not_connected(self, failure: Failure) -> Failure:
        """The endpoint has failed, for a reason that it passes on."""
        if failure.check(DeferredTimeout):
            for ip in list(self._dialled):
                self.failed(ip, failure.getErrorMessage())
        return failure

    def opening_failed(self, error: ConnectFailed) -> bool:
        """The connection will not be ready: whether it is the address, and there is another."""
        # A full server stays one, whatever the other addresses say: the job may wait for its turn.
        self._full = error.full = error.full or self._full
        ip, self._connected = self._connected, ""
        if not ip or error.event in NOT_THE_ADDRESS:
            return False
        self.failed(ip, error.detail)
        return bool(self._known - self._tried) and self._in_time

    def ready(self, session: BackendSession) -> BackendSession:
        """The connection is ready for mail."""
        self._resting.reached(self._server, self._connected)
        return session

    @property
    def _in_time(self) -> bool:
        return self._clock.seconds() < self._deadline

    def _to_rest(self, ip: str, why: str) -> None:
        if len(self._known) > 1 and self._in_time:
            self._resting.failed(self._server, ip, self._rest, why)


@implementer(IResolutionReceiver)
class _Receiver:
    """Collects the addresses and passes them on in order."""

    def __init__(self, receiver: Any, dial: Dial) -> None:
        self._receiver = receiver
        self._dial = dial
        self._addresses: list[Any] = []

    def resolutionBegan(self, resolutionInProgress: Any) -> None:
        self._receiver.resolutionBegan(resolutionInProgress)

    def addressResolved(self, address: Any) -> None:
        self._addresses.append(address)

    def resolutionComplete(self) -> None:
        for address in self._dial.choose(self._addresses):
            self._receiver.addressResolved(address)
        self._receiver.resolutionComplete()


class _Watched:
    """A client factory whose one connection is noted."""

    def __init__(self, factory: Any, ip: str, dial: Dial) -> None:
        self._factory = factory
        self._ip = ip
        self._dial = dial

    def __getattr__(self, name: str) -> Any:
        return getattr(self._factory, name)

    def buildProtocol(self, addr: Any) -> Any:
        self._dial.answered(self._ip)
        return self._factory.buildProtocol(addr)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        # That very type: the endpoint has given it up. A timeout is a subclass of it.
        if reason.type is not UserError and not is_our_own(reason):
            self._dial.failed(self._ip, reason.getErrorMessage())
        self._factory.clientConnectionFailed(connector, reason)
