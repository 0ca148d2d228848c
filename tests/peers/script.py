r"""What a scripted backend says and does: steps, and the script that gives one for each command.

A step is one of

- bytes: sent as they are, in one write (``b"250 2.0.0 Ok\r\n"``);
- an :class:`Action`: silence, close, reset ...;
- :class:`Bytewise`, :class:`Endless`, :class:`Held`, :class:`Swallow`;
- a tuple of steps: one after the other;
- a callable: called with the :class:`~tests.peers.conversation.Conversation` and the command
  line, it returns the step.
"""

import enum
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from attrs import field, frozen
from twisted.internet.defer import Deferred


class Action(enum.Enum):
    """What is done to the connection. Nothing is said after it.

    ``SILENCE``: what comes is read and kept. ``DEAF``: nothing more is read. ``CLOSE``: what was
    sent arrives, then both directions are closed. ``RESET``: RST behind what was sent.
    """

    SILENCE = "silence"
    DEAF = "deaf"
    CLOSE = "close"
    RESET = "reset"


@frozen
class Bytewise:
    """``data`` in writes of one byte, each its own segment as far as the kernel lets it."""

    data: bytes


@frozen
class Endless:
    """``data`` again and again, for as long as the other side reads."""

    data: bytes


@frozen
class Swallow:
    """Wait until ``count`` more bytes have come; nothing is read after them."""

    count: int


class Held:
    """A step that waits until the test releases it; from then on it is ``then`` at once.

    :ivar waiting: how many conversations wait here.
    """

    def __init__(self, then: "Step") -> None:
        self.then = then
        self.waiting = 0
        self._released: list[Deferred[None]] | None = []

    def release(self) -> None:
        """Let all go on."""
        waiting, self._released = self._released or [], None
        for deferred in waiting:
            deferred.callback(None)

    async def released(self) -> None:
        """Return at the release."""
        if self._released is None:
            return
        deferred: Deferred[None] = Deferred()
        self._released.append(deferred)
        self.waiting += 1
        await deferred
        self.waiting -= 1


Step: TypeAlias = (
    "bytes | Action | Bytewise | Endless | Held | Swallow | tuple[Any, ...] | Callable[..., Any]"
)

OK = b"250 2.0.0 Ok\r\n"
GO_AHEAD = b"354 End data with <CR><LF>.<CR><LF>\r\n"
BYE = b"221 2.0.0 Bye\r\n"
TAKEN = b"250 2.0.0 Ok: taken\r\n"
UNKNOWN = b"502 5.5.2 Command not recognized\r\n"
END_OF_DATA = "."

STANDARD: Mapping[str, Step] = {
    "HELO": b"250 backend.example.com\r\n",
    "MAIL": b"250 2.1.0 Ok\r\n",
    "RCPT": b"250 2.1.5 Ok\r\n",
    "DATA": GO_AHEAD,
    END_OF_DATA: TAKEN,
    "BDAT": TAKEN,
    "RSET": OK,
    "NOOP": OK,
    "QUIT": (BYE, Action.CLOSE),
}


@frozen
class Script:
    """A backend's behaviour: a well-behaved one's where nothing else is said.

    :ivar greeting: the step at connect.
    :ivar extensions: the EHLO lines after the first.
    :ivar replies: by verb in upper case; ``"."`` is the end of the data, ``"BDAT"`` each chunk.
    """

    greeting: Step = b"220 backend.example.com ESMTP\r\n"
    extensions: tuple[str, ...] = ("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES")
    replies: Mapping[str, Step] = field(factory=dict)

    def step(self, verb: str) -> Step:
        """What follows ``verb``."""
        if verb in self.replies:
            return self.replies[verb]
        return self.ehlo() if verb == "EHLO" else STANDARD.get(verb, UNKNOWN)

    def ehlo(self) -> bytes:
        """The reply to EHLO."""
        *lines, last = ("backend.example.com", *self.extensions)
        return "".join([*(f"250-{line}\r\n" for line in lines), f"250 {last}\r\n"]).encode()


def by_recipient(**replies: Step) -> Step:
    """A step for RCPT by the local part, letters only; others are accepted."""

    def step(conversation: object, command: bytes) -> Step:
        local = command.partition(b"<")[2].partition(b"@")[0].decode("utf-8", "backslashreplace")
        return replies.get(local, STANDARD["RCPT"])

    return step
