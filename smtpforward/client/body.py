"""Sends a spooled message piece by piece, as fast as the backend takes it.

A transport asks for the next piece when it has sent one: a piece without bytes would be the last.
Where nothing is to be encrypted, the kernel sends the file, and no byte of it gets here.
"""

from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.interfaces import IPullProducer
from zope.interface import implementer

from smtpforward.content import Content


def sends_files(transport: Any) -> bool:
    """Whether ``transport`` can have the kernel send a file."""
    return hasattr(transport, "send_file") and not transport.TLS


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


class FileProducer(BodyProducer):
    """Has the kernel send a spooled message, each time as much as the socket takes.

    What the kernel does not send so goes piece by piece: there it is found out when the connection
    has broken.

    :param content: one whose ``wire_in_file`` holds.
    """

    def __init__(
        self,
        transport: Any,
        content: Content,
        moved: Callable[[], None],
        finished: Callable[[], None],
        failed: Callable[[OSError], None],
    ) -> None:
        BodyProducer.__init__(self, transport, iter(()), moved, finished, failed)
        self._content = content
        self._offset = 0
        self._by_kernel = True

    def start(self) -> None:
        """Send the prefix, then register as one that writes when there is room."""
        if self._content.prefix:
            self._transport.write(self._content.prefix)
        BodyProducer.start(self)

    def resumeProducing(self) -> None:
        """Send the next part."""
        if not self._by_kernel:
            BodyProducer.resumeProducing(self)
            return
        try:
            sent = self._content.send(self._transport.send_file, self._offset)
        except BlockingIOError:
            self._transport.startWriting()
            return
        except OSError:
            sent = 0
        self._offset += sent
        if sent and self._offset < self._content.size:
            self._moved()
            self._transport.startWriting()
        else:
            # At its end, or it does not go this way.
            self._by_kernel = False
            self._pieces = self._content.stored(self._offset)
            BodyProducer.resumeProducing(self)

    def stopProducing(self) -> None:
        """The connection has gone."""
        self._by_kernel = False
        BodyProducer.stopProducing(self)
