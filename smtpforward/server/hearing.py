"""What a client still reads and sends: answers that it does not read, and its half of the end.

A client that sends commands and reads no answer is read no further, so that what waits for it is
bounded by what Twisted's transport takes before it pauses its producer, 64 KiB.
"""

from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from zope.interface import implementer

from smtpforward.net import peer
from smtpforward.server.lines import CommandLines
from smtpforward.server.phase import WAITING, Phase


@implementer(IPushProducer, IHalfCloseableProtocol)
class Hearing:
    """Mixed into a conversation, whose transport has it as its producer.

    :ivar phase: what the next bytes from the client are.
    """

    transport: Any
    phase: Phase
    _unread: CommandLines
    _pumping: bool
    # So many answers wait that no further command is taken; and whose turn it is after that.
    _unheard = False
    _turn = Phase.COMMAND

    # -- what a subclass adds

    def _pump(self) -> None:
        """Take the commands that wait."""
        raise NotImplementedError

    def _close(self) -> None:
        """End the connection."""
        raise NotImplementedError

    # -- what the transport asks of one that writes to it (IPushProducer)

    def pauseProducing(self) -> None:
        """So many answers wait to be sent that no further command is taken."""
        self._unheard = True

    def resumeProducing(self) -> None:
        """They have been sent."""
        self._unheard = False
        if self.phase is Phase.UNHEARD:
            self.phase = self._turn
            if self._unread.octets and not self._pumping:
                self._pump()

    def stopProducing(self) -> None:
        """``connectionLost`` sees to it."""

    # -- the client's half

    def readConnectionLost(self) -> None:
        """The client sends no more. Exim says so behind the QUIT that it pipelines; it still reads.

        Without a QUIT it has gone, as far as anyone can tell, and so has its transaction.
        """
        if self.phase is Phase.CLOSING:
            peer.close(self.transport)
        elif not (self.phase in WAITING and self._unread.end_with_quit):
            self._close()

    def writeConnectionLost(self) -> None:
        """Our half is closed, as ``close_lingering`` has it; the client's is awaited."""
