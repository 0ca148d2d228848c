"""A backend whose name has several addresses, of which some are of no use."""

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IHostnameResolver
from zope.interface import implementer

from smtpforward.gateway import Gateway
from tests.integration.forwarding import GREETING, ForwardingCase, faulty
from tests.peers.backend import ScriptedBackend
from tests.peers.raw import RawClient
from tests.peers.script import Action
from tests.peers.wait import until

# Not 127.0.0.1: from there connections leave, by any port that seems free.
ADDRESSES = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
NAME = "backend.example.com"
REST = 1
TAKEN = "250 2.0.0 Ok: taken"


@implementer(IHostnameResolver)
class Resolver:
    """Knows one name."""

    def resolveHostName(  # type: ignore[override]
        self, receiver: Any, hostName: str, portNumber: int = 0, *args: Any, **kw: Any
    ) -> None:
        """Its addresses, at once."""
        assert hostName == NAME, hostName
        receiver.resolutionBegan(None)
        for ip in ADDRESSES:
            receiver.addressResolved(IPv4Address("TCP", ip, portNumber))
        receiver.resolutionComplete()


class AddressesTests(ForwardingCase):
    """Nobody listens on the first address; the second is bad, the third good."""

    def reactor(self) -> Any:
        """One with a resolver of its own."""
        transports = super().reactor()
        transports.nameResolver = Resolver()
        return transports

    def listen(self, ip: str, port: int = 0, **bad: Any) -> ScriptedBackend:
        """A backend on one address."""
        script = faulty(bad["steps"], occurrence=bad.get("occurrence", 1)) if bad else None
        backend = ScriptedBackend(script, port, ip)
        self.stop_later(backend.stop)
        return backend

    async def start(self, port: int, **keys: object) -> tuple[Gateway, RawClient]:
        """A gateway that keeps no connection for a second message, and a client of it."""
        keys = {"dead_forwarding_host_retry_secs": REST, "max_messages": 1, **keys}
        gateway = self.forward(port, None, host=NAME, **keys)
        return gateway, await self.client(gateway)

    def resting(self, gateway: Gateway) -> list[str]:
        """What the gateway's connector says."""
        return list(gateway.target.connector.addresses.resting)

    async def test_refused_and_back(self) -> None:
        """An address that refuses is passed over, then left last, then back when it listens."""
        third = self.listen(ADDRESSES[2])
        gateway, client = await self.start(third.port)
        places = [f"{NAME}[{ip}]:{third.port}" for ip in ADDRESSES]
        for count in (1, 2):
            self.assert_said(await self.send(client), TAKEN)
            self.assertEqual(count, len(third.messages))
            self.assertEqual(places[:2], self.resting(gateway))
        first = self.listen(ADDRESSES[0], third.port)
        while not first.messages:  # The other one may be tried before it.
            await until(lambda: self.is_over(gateway), "the end of a rest")
            self.assert_said(await self.send(client), TAKEN)
        self.assertEqual(places[1:2], self.resting(gateway))
        said = [line for line in self.log_lines() if line.startswith(NAME)]
        refused = "rests: Connection was refused by other side: 111: Connection refused."
        self.assertEqual(
            [f"{places[0]} {refused}", f"{places[1]} {refused}", f"{places[0]} is back"], said
        )

    def is_over(self, gateway: Gateway) -> bool:
        """Whether the next connection begins with an address that has rested."""
        [rests] = gateway.target.connector.addresses._names.values()
        now: float = gateway._reactor.seconds()
        return any(rest.until <= now for rest in rests.values())

    async def test_bad_greeting(self) -> None:
        """One that greets with a refusal, drops or is silent: the next, in the same message."""
        for step in (b"554 5.3.2 no\r\n", b"421 4.3.2 full\r\n", Action.RESET, Action.SILENCE):
            first = self.listen(ADDRESSES[0], steps={GREETING: step})
            second = self.listen(ADDRESSES[1], first.port)
            keys = {"reply_timeout": 0.5, "dead_forwarding_host_retry_secs": 60}
            gateway, client = await self.start(first.port, **keys)
            for _ in range(2):
                self.assert_said(await self.send(client), TAKEN, step)
            self.assertEqual(1, first.connections.total, step)
            self.assertEqual(2, len(second.messages), step)
            self.assertEqual([f"{NAME}[{ADDRESSES[0]}]:{first.port}"], self.resting(gateway))

    async def test_none(self) -> None:
        """Where none is of use the sender keeps the mail, and it goes when one is back."""
        first = self.listen(ADDRESSES[0], steps={GREETING: b"554 5.3.2 no\r\n"})
        gateway, client = await self.start(first.port)
        self.assert_own(await self.send(client), "451 4.4.1")
        self.assertEqual(3, len(self.resting(gateway)))
        self.assert_said(await self.send(client), TAKEN)
        self.assertEqual(2, len(self.resting(gateway)))
