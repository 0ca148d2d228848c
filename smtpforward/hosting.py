"""What runs the gateway's process, wired: supervisor, inherited sockets, the gateway before it and
the one after it. It is the part of ``service.py`` that deals with them; see ``running/``.

Failure policy: sockets that do not fit the settings raise ``MismatchError`` before any is used.
"""

import os
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred

from smtpforward.net.listening import let_go, ports
from smtpforward.running.inherited import Place, Sockets
from smtpforward.running.notify import Supervisor
from smtpforward.running.pidfile import PidFile
from smtpforward.running.successor import Predecessor, Successor, own_command
from smtpforward.running.supervised import Serving, Supervised


class Hosting:
    """What this process was started with.

    :param environ: the environment, which forgets what is meant for this process alone.
    :raise MismatchError: when a descriptor that was handed over is no listening socket.
    """

    def __init__(self, environ: MutableMapping[str, str], reactor: Any) -> None:
        self._reactor = reactor
        self._sockets = Sockets.of(environ)
        self._supervisor = Supervisor.of(environ)
        self._predecessor = Predecessor.of(environ, reactor)

    @property
    def succeeds(self) -> bool:
        """Whether another gateway hands over to this one."""
        return self._predecessor is not None

    def places(self, descriptions: Sequence[str]) -> list[Place]:
        """Where to listen for each: on an inherited socket, or on what it says."""
        return [self._sockets.place(description, self._reactor) for description in descriptions]

    def all_placed(self) -> None:
        """Nothing else listens; what was handed over and not taken raises ``MismatchError``."""
        self._sockets.end()

    def supervised(
        self,
        serving: Serving,
        listening: Sequence[tuple[Sequence[str], MultiService]],
        ending: Callable[[], float],
        options: MutableMapping[str, Any] | None,
    ) -> Supervised:
        """The service that speaks for ``serving`` and can replace it.

        :param listening: what listens when all is wired, each with its descriptions in order; the
            first is the gateway, which lets go of its own ports.
        :param options: twistd's own.
        """
        command = own_command()

        def places() -> list[tuple[str, Any]]:
            found: list[tuple[str, Any]] = []
            for descriptions, service in listening:
                found.extend(zip(descriptions, ports(service), strict=True))
            return found

        def succeed(more: dict[str, str]) -> Successor:
            return Successor(command, {**os.environ, **more}, self._reactor)

        return Supervised(
            _Together(serving, listening),
            self._supervisor,
            self._predecessor,
            places,
            succeed,
            PidFile(options),
            ending,
            self._reactor,
        )


class _Together:
    """The gateway, and what listens beside it."""

    def __init__(
        self, serving: Serving, listening: Sequence[tuple[Sequence[str], MultiService]]
    ) -> None:
        self._listening = listening
        self.ready = serving.ready
        self._leave = serving.leave

    def leave(self) -> "Deferred[None]":
        """See Serving."""
        for _, service in self._listening[1:]:
            for port in ports(service):
                let_go(port)
        return self._leave()
