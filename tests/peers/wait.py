"""Waiting for a condition while the reactor goes on serving."""

from collections.abc import Callable

from twisted.internet import reactor
from twisted.internet.task import deferLater

INTERVAL = 0.01


async def until(
    condition: Callable[[], object],
    what: str | Callable[[], str],
    timeout: float = 20.0,
) -> None:
    """Return once ``condition()`` is true.

    :param what: what is awaited, for the error.
    :param timeout: seconds on the reactor's clock.
    :raises AssertionError: when it has not come true in time.
    """
    deadline = reactor.seconds() + timeout
    while not condition():
        if reactor.seconds() > deadline:
            text = what if isinstance(what, str) else what()
            raise AssertionError(f"not within {timeout:g} s: {text}")
        await deferLater(reactor, INTERVAL)
