"""The control channel between the parent and a worker: messages over a pair of sockets.

Messages are pickled. Both ends are this program under the same user, on a pair of sockets that
nobody else can open; so the values of the settings, with which facts and shares are keyed, travel
as they are, and a worker need not be able to read the files (a key may be readable for root only).
"""

import pickle
from collections.abc import Callable

from twisted.internet.protocol import Factory
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure

from smtpforward.workers.messages import Message

MAX_LENGTH = 2**30  # settings of 100000 sections take 7 MB


class Channel(Int32StringReceiver):
    """One end.

    :param received: called with each message. ``lost``: called when the other end is closed.
    """

    MAX_LENGTH = MAX_LENGTH

    def __init__(self, received: Callable[[Message], None], lost: Callable[[], None]) -> None:
        self._received = received
        self._lost = lost

    def say(self, message: Message) -> None:
        """Send; what is said to one that has gone is lost."""
        if self.connected:
            self.sendString(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))

    def stringReceived(self, string: bytes) -> None:
        """See Int32StringReceiver."""
        self._received(pickle.loads(string))  # noqa: S301 -- see above

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """See Protocol."""
        self._lost()


def factory_of(channel: Channel) -> "Factory[Channel]":
    """What a reactor asks for the one protocol of an adopted socket."""
    factory: Factory[Channel] = Factory.forProtocol(lambda: channel)
    factory.noisy = False
    return factory
