"""Services of listening ports."""

import select
import socket
from typing import Any

from twisted.application.service import MultiService
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import fail, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from smtpforward.net.listening import BACKLOG, _with_backlog, listening, ports


class Endpoint:
    """Listens, or does not."""

    def __init__(self, result: Any) -> None:
        self._result = result

    def listen(self, factory: Any) -> Any:
        """See IStreamServerEndpoint."""
        return self._result


class ListeningTests(SynchronousTestCase):
    """Descriptions and endpoints."""

    def test_description(self) -> None:
        """A description is listened on, and its port is known then."""
        reactor, all_of_it = MemoryReactorClock(), MultiService()
        MultiService().setServiceParent(all_of_it)
        listening("tcp:2525", Factory(), reactor).setServiceParent(all_of_it)
        all_of_it.privilegedStartService()
        self.assertEqual([server[0] for server in reactor.tcpServers], [2525])
        self.assertEqual([port.getHost().port for port in ports(all_of_it)], [2525])

    def test_backlog(self) -> None:
        """More may wait to be accepted than Twisted allows for, unless the description says."""
        for text, most in {
            "tcp:25": BACKLOG,
            "tcp:port=25:interface=127.0.0.1": BACKLOG,
            "tcp:25:127.0.0.1": BACKLOG,
            "tcp:25:127.0.0.1:9": 9,
            "tcp:25:backlog=9": 9,
            "unix:/run/a\\:b.sock:660": BACKLOG,
            "unix:/run/a.sock:660:9": 9,
        }.items():
            reactor = MemoryReactorClock()
            listening(text, Factory(), reactor).privilegedStartService()
            (server,) = [*reactor.tcpServers, *reactor.unixServers]
            self.assertEqual(server[2], most, text)

    def test_backlog_of_ipv6(self) -> None:
        """So do those of IPv6, where the number stands elsewhere."""
        for text, most in {
            "tcp6:25": BACKLOG,
            "tcp6:25:9": 9,
            "tcp6:25:interface=\\:\\:1": BACKLOG,
        }.items():
            self.assertEqual(most, serverFromString(Clock(), _with_backlog(text))._backlog)

    def test_endpoint(self) -> None:
        """So is an endpoint."""
        port = object()
        service = listening(Endpoint(succeed(port)), Factory(), None)
        service.privilegedStartService()
        self.assertEqual(ports([service]), [port])

    def test_cannot(self) -> None:
        """An endpoint that cannot be listened on is an error at once."""
        error = CannotListenError("127.0.0.1", 25, OSError())
        service = listening(Endpoint(fail(error)), Factory(), None)
        self.assertRaises(CannotListenError, service.privilegedStartService)


class WaitingTests(TestCase):
    """Sockets of the system."""

    def test_waiting(self) -> None:
        """The system lets more than a hundred wait while nobody accepts."""
        service = listening("tcp:0:interface=127.0.0.1", Factory(), global_reactor)
        service.privilegedStartService()
        (port,) = ports([service])
        self.addCleanup(service.stopService)
        clients = [socket.socket() for _ in range(200)]
        for client in clients:
            self.addCleanup(client.close)
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port.getHost().port))
        # A loopback connection is made, or is not, before connect returns.
        self.assertEqual(len(clients), len(select.select([], clients, [], 0)[1]))
