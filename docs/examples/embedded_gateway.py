"""The gateway's edge and its pool inside a Twisted program of your own.

    python embedded_gateway.py DIRECTORY tcp:2525:interface=127.0.0.1

DIRECTORY holds the settings (``smtp_forward.ini`` and what else there is). The program prints how
many connections its pools hold after each message.
"""

import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import react
from zope.interface import implementer

from smtpforward import (
    Connector,
    Dispatcher,
    ForwardTarget,
    GatewayFactory,
    IDeliver,
    Job,
    LearnedRefusals,
    Outcome,
    load,
)


@implementer(IDeliver)
class Counting:
    """A target of one's own, in front of the gateway's."""

    def __init__(self, target: ForwardTarget) -> None:
        self.target = target

    def deliver(self, job: Job) -> Deferred[list[Outcome]]:
        return self.target.deliver(job).addCallback(self.count)

    def count(self, outcomes: list[Outcome]) -> list[Outcome]:
        print(f"{outcomes[0].event.name}, pools: {list(self.target.pools)}", flush=True)
        return outcomes


async def main(reactor: Any, directory: str, endpoint: str) -> None:
    settings = load(directory)
    target = ForwardTarget(Connector(reactor, settings.own_name), reactor)
    dispatcher = Dispatcher(Counting(target), LearnedRefusals(reactor), reactor)
    factory = GatewayFactory(settings, dispatcher, reactor)
    port = await serverFromString(reactor, endpoint).listen(factory)
    print(f"listening on {port.getHost().port}", flush=True)
    await Deferred()


if __name__ == "__main__":
    react(lambda reactor, *args: Deferred.fromCoroutine(main(reactor, *args)), sys.argv[1:])
