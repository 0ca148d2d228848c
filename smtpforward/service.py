"""The twistd plugin's options and service: the only place where the parts are wired.

With ``nodes`` it is the service of the parent, and each worker (``worker.py``) runs a ``Gateway``.
Failure policy: settings that are wrong stop the start with exit code 78 and every problem on
standard error, before anything listens; so does an address that cannot be listened on, with 1.
"""

import gc
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.logger import Logger
from twisted.python import usage

from smtpforward.client.connect import Connector
from smtpforward.client.slots import Slots, own_slots
from smtpforward.client.target import ForwardTarget
from smtpforward.config import ConfigurationError, load
from smtpforward.config.settings import Settings
from smtpforward.dispatch import Dispatcher
from smtpforward.facts import Fact
from smtpforward.job import Server
from smtpforward.learned import LearnedRefusals
from smtpforward.net.clock import Clock, make_monotonic
from smtpforward.net.listening import listening, ports
from smtpforward.net.tls import ClientContexts
from smtpforward.net.writethrough import WriteThroughReactor
from smtpforward.server.factory import GatewayFactory
from smtpforward.workers.parent import Parent

EX_CONFIG = 78
DEFAULT_DIRECTORY = "/etc/smtpforward"
QUIT_TIME = 10.0
WORKER = "smtpforward.worker"
SPARE_TIME = 5.0  # of a worker that ends, beyond what its gateway takes
GC_THRESHOLD = 10_000


class Options(usage.Options):
    """What ``twistd smtpforward`` takes."""

    synopsis = "[options]"
    longdesc = "A mail gateway: hands each message to another mail server while the sender waits."
    optParameters = [
        ["config", "c", DEFAULT_DIRECTORY, "Directory of the configuration files."],
    ]

    def __init__(self) -> None:
        usage.Options.__init__(self)
        self["listen"] = []

    def opt_listen(self, description: str) -> None:
        """Endpoint to listen on in place of the configured ones, such as
        tcp:2525:interface=127.0.0.1; may be given several times."""
        self["listen"].append(description)

    opt_l = opt_listen


class Gateway(MultiService):
    """The whole gateway as one service.

    :param listen: endpoints or descriptions of some, in place of the settings' own.
    :param clock: what is asked for the time with every read, where it is not ``reactor`` itself.
    :param slots: how many connections to a backend are this process's, where there are several.
    :ivar factory: the edge. ``target``: the forwarding client with its pools.
    """

    log = Logger()

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        listen: Sequence[Any] = (),
        clock: Clock | None = None,
        slots: Callable[[Server, int], Slots] = own_slots,
    ) -> None:
        MultiService.__init__(self)
        clock = clock or reactor
        self.settings = settings
        self._reactor = reactor
        contexts = ClientContexts(settings.client_tls)
        connector = Connector(reactor, settings.own_name, contexts, clock)
        self.target = ForwardTarget(connector, clock, slots)
        self._learned = LearnedRefusals(clock)
        self.factory = GatewayFactory(
            settings, Dispatcher(self.target, self._learned, clock), clock
        )
        for place in listen or settings.listen:
            listening(place, self.factory, reactor).setServiceParent(self)

    @property
    def facts(self) -> Mapping[str, Fact]:
        """What the processes of a gateway tell each other, by kind."""
        return {
            "learned refusals": self._learned,
            "resting hosts": self.target.hosts,
            "hosts without TLS": self.target.connector.clear,
            "failed logins": self.factory.failed_logins,
        }

    def startService(self) -> None:
        """Say what is unusual about the settings, and begin."""
        for warning in self.settings.warnings:
            # Not ``warning``: observers take an event with that field for one of Python's warnings.
            self.log.warn("{text}", text=warning)
        MultiService.startService(self)
        default = self.settings.routes.default
        self.log.info("{me} forwards to {hop}", me=self.settings.me, hop=str(default.next_hop))

    def ports(self) -> list[Any]:
        """The listening ports, once they listen."""
        return ports(self)

    def stopService(self) -> "Deferred[None]":
        """Accept nothing more, let transactions in flight end, say good-bye to backends."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await MultiService.stopService(self)
        self.target.wind_down()
        await self._within(self.settings.force_shutdown_timeout, self.factory.drain())
        self.factory.abort()
        await self._within(QUIT_TIME, self.target.end())
        self.target.abort()

    async def _within(self, seconds: float, ending: "Deferred[None]") -> None:
        """Wait for ``ending``, but not for longer than that."""
        try:
            await ending.addTimeout(seconds, self._reactor)
        except DeferredTimeout:
            self.log.warn("not all ended within {seconds} seconds", seconds=seconds)


def makeService(options: Options) -> IService:
    """The service of a configuration directory.

    :raise SystemExit: 78, with all problems on standard error, when the settings are wrong.
    """
    from twisted.internet import reactor

    try:
        settings = load(options["config"])
    except ConfigurationError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        sys.exit(EX_CONFIG)
    make_monotonic(reactor)
    own = WriteThroughReactor(reactor)
    if settings.nodes:
        patience = settings.force_shutdown_timeout + QUIT_TIME + SPARE_TIME
        listen = options["listen"] or settings.listen
        return Parent(settings, own, listen, own, WORKER, patience)
    spare_collector()
    return Gateway(settings, own, options["listen"], clock=reactor)


def spare_collector() -> None:
    """Let Python look for cycles less often.

    What is there by now stays, and what a message leaves is freed by its count of references.
    """
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 20)
