"""Puts off what is due at a destination that backs off: an attempt counts, and none is made.

That is spread over time, a bounded number of entries a second: a dead destination with ten thousand
messages would else take the store from the live ones for as long as that takes.
"""

import enum
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from smtpforward.config.settings import Outbound
from smtpforward.net.clock import Clock
from smtpforward.reply import Reply

A_SECOND = 200
AT_ONCE = 50


class Left(enum.Enum):
    """What is due still: nothing that can be put off, maybe more, or what has to wait for that."""

    NOTHING = enum.auto()
    MORE = enum.auto()
    LATER = enum.auto()


class Deferral:
    """How much may be put off now.

    :param go_on: called, with nothing, when those that were told to wait may try again.
    """

    log = Logger()

    def __init__(
        self,
        store: Any,
        outbound: Callable[[], Outbound],
        clock: Clock,
        go_on: Callable[[], None],
    ) -> None:
        self._store = store
        self._outbound = outbound
        self._clock = clock
        self._go_on = go_on
        self._left = A_SECOND
        self._refused = False
        self._timer: IDelayedCall | None = None

    async def put_off(self, destination: str, reply: Reply, hurry: bool) -> Left:
        """Count an attempt for some of what is due.

        :param hurry: whether it is done in any case, whatever was put off in this second.
        """
        most = AT_ONCE if hurry else min(self._left, AT_ONCE)
        if not most:
            self._refused = True
            return Left.LATER
        # Taken before they are asked for: several may ask at once.
        self._take(most)
        number = await self._store.defer(destination, reply.text, self._outbound().intervals, most)
        # A destination is work for the store though nothing of it is due.
        if unused := most - max(1, number):
            self._left = min(A_SECOND, self._left + unused)
            self._call_again()
        if number:
            self.log.info(
                "{what} for {destination} put off without an attempt: {why}",
                what="1 message" if number == 1 else f"{number} messages",
                destination=destination,
                why=reply.text,
            )
        return Left.MORE if number == most else Left.NOTHING

    def stop(self) -> None:
        """Nothing more will be put off."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _take(self, number: int) -> None:
        self._left = max(0, self._left - number)
        if self._timer is None:
            self._timer = self._clock.callLater(1.0, self._refill)

    def _refill(self) -> None:
        self._timer = None
        self._left = A_SECOND
        self._call_again()

    def _call_again(self) -> None:
        if self._refused:
            self._refused = False
            self._go_on()
