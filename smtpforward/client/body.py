"""Sends a spooled message piece by piece, as fast as the backend takes it.

A transport asks for the next piece when it has sent one: a piece without bytes would be the last.
"""

from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.interfaces import IPullProducer
from zope.interface import implementer


@implementer(IPullProducer)
class BodyProducer:
    """Writes pieces to a transport, one each time that it has room.

    :param moved: called after each piece, for timeouts.
    :param finished: called once, when the last piece is written.
    :param failed: called once, when reading fails.
    """

    def __init__(
        self,
        transport: Any,
        pieces: Iterator[bytes],
        moved: Callable[[], None],
        finished: Callable[[], None],
        failed: Callable[[OSError], None],
    ) -> None:
        self._transport = transport
        self._pieces: Iterator[bytes] = filter(None, pieces)
        self._moved = moved
        self._finished = finished
        self._failed = failed

    def start(self) -> None:
        """Register with the transport, which asks for the first piece at once."""
        self._transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """Write the next piece."""
        try:
            piece = next(self._pieces, None)
        except OSError as error:
            self._transport.unregisterProducer()
            self._failed(error)
            return
        if piece is None:
            self._transport.unregisterProducer()
            self._finished()
        else:
            self._transport.write(piece)
            self._moved()

    def stopProducing(self) -> None:
        """The connection has gone."""
        self._pieces = iter(())
