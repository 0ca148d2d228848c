"""The services of listening ports: a port that cannot be had stops the start.

Twisted's own service goes on without its port, unless it is made from a description.

The private name of Twisted that this leans on is pinned by ``tests/test_net_listening.py``.
"""

from collections.abc import Iterable
from typing import Any

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import IService
from twisted.application.strports import service as service_of_description
from twisted.internet.endpoints import _parse

# Clients that may wait to be accepted; the system may allow fewer. Twisted's 50 are fewer than come
# at once to a busy host, and who finds no room tries again only after a second.
BACKLOG = 1024
# By the kind of an endpoint: the place of that number in its description, where it has no name.
BACKLOG_AT = {"tcp": 3, "tcp6": 2, "unix": 3}


def listening(place: Any, factory: Any, reactor: Any) -> StreamServerEndpointService:
    """The service of one port.

    :param place: the description of an endpoint, or the endpoint. Where a description does not say
        how many may wait to be accepted it is :data:`BACKLOG`.
    """
    if isinstance(place, str):
        return service_of_description(_with_backlog(place), factory, reactor)
    service = StreamServerEndpointService(place, factory)
    service._raiseSynchronously = True
    return service


def _with_backlog(description: str) -> str:
    (kind, *unnamed), named = _parse(description)
    if len(unnamed) >= BACKLOG_AT.get(kind, 0) or "backlog" in named:
        return description
    return f"{description}:backlog={BACKLOG}"


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
