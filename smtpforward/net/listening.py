"""The services of listening ports: a port that cannot be had stops the start.

Twisted's own service goes on without its port, unless it is made from a description.
"""

from collections.abc import Iterable
from typing import Any

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import IService
from twisted.application.strports import service as service_of_description


def listening(place: Any, factory: Any, reactor: Any) -> StreamServerEndpointService:
    """The service of one port.

    :param place: the description of an endpoint, or the endpoint.
    """
    if isinstance(place, str):
        return service_of_description(place, factory, reactor)
    service = StreamServerEndpointService(place, factory)
    service._raiseSynchronously = True
    return service


def ports(services: Iterable[IService]) -> list[Any]:
    """The ports of those services that listen, once they do."""
    found = [s for s in services if isinstance(s, StreamServerEndpointService)]
    waiting: list[Any] = [service._waitingForPort for service in found]
    return [deferred.result for deferred in waiting]


def let_go(port: Any) -> Any:
    """Listen no more in this process; one that has the socket as well goes on with it.

    :return: what ``stopListening`` gives.
    """
    if hasattr(port, "keeps_path"):
        port.keeps_path = True
    return port.stopListening()
