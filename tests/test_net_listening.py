"""Services of listening ports."""

from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.net.listening import listening, ports


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
