"""One connection to the scripted backend: plays its script and keeps all that it is told.

A command is answered before the next one is read, whatever has been pipelined.
"""

import re
from collections.abc import Callable
from typing import Any

from attrs import field, frozen
from twisted.internet import error, reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python import log
from twisted.python.failure import Failure

from tests.peers.counting import ConnectionCount
from tests.peers.framing import Received, undotted
from tests.peers.script import (
    END_OF_DATA,
    Action,
    Bytewise,
    Endless,
    Held,
    Script,
    Step,
    Swallow,
)

BDAT = re.compile(rb"BDAT (\d+)( LAST)?$", re.IGNORECASE)


class Gone(Exception):  # noqa: N818 -- an end, not an error
    """The connection is over."""


@frozen
class Message:
    """One message as it was received.

    :ivar mail: the MAIL command; ``rcpts`` the RCPT commands that were answered with 2yz.
    :ivar wire: the data without the dot line at its end; after DATA dot-stuffed.
    :ivar plain: the message itself, CRLF line ends.
    """

    mail: bytes
    rcpts: tuple[bytes, ...]
    wire: bytes = field(repr=False)
    plain: bytes = field(repr=False)


class Conversation(Protocol):
    """The connection.

    :ivar number: 1 for the first that the backend had.
    :ivar commands: the lines received, without CRLF and without messages.
    :ivar messages: those received to their end, whatever was answered then.
    :ivar ended: how it was lost, once it was.
    """

    transport: Any

    def __init__(self, number: int, script: Script, connections: ConnectionCount) -> None:
        self.number = number
        self.commands: list[bytes] = []
        self.messages: list[Message] = []
        self.ended: Failure | None = None
        self._script = script
        self._connections = connections
        self._received = Received()
        self._more: Deferred[None] | None = None
        self._begin(b"")

    @property
    def verbs(self) -> list[str]:
        """The first word of each command, upper case."""
        return [_verb(command) for command in self.commands]

    @property
    def unread(self) -> bytes:
        """What came and was not a complete command or message."""
        return bytes(self._received)

    @property
    def ended_in_order(self) -> bool:
        """Whether it ended with FIN, not with RST or a fault."""
        return self.ended is not None and self.ended.check(error.ConnectionDone) is not None

    def connectionMade(self) -> None:
        self._connections.made(self.transport)
        self.transport.setTcpNoDelay(True)
        Deferred.fromCoroutine(self._converse()).addErrback(self._over)

    def dataReceived(self, data: bytes) -> None:
        self._received.feed(data)
        self._wake()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._connections.lost(self.transport)
        self.ended = reason
        self._wake()

    async def _converse(self) -> None:
        await self._play(self._script.greeting, b"")
        while True:
            command = await self._next(self._received.line)
            self.commands.append(command)
            await self._answer(_verb(command), command)

    def _over(self, failure: Failure) -> None:
        if not failure.check(Gone):
            log.err(failure, "fault of the scripted backend")
            self.transport.abortConnection()

    async def _answer(self, verb: str, command: bytes) -> None:
        chunk = BDAT.match(command)
        if chunk:
            await self._take_chunk(int(chunk[1]), last=bool(chunk[2]))
        said = await self._play(self._script.step(verb), command)
        if verb == "DATA" and said.startswith(b"354"):
            wire = await self._next(self._received.message)
            self._keep(wire, undotted(wire))
            await self._play(self._script.step(END_OF_DATA), b".")
        elif verb in ("MAIL", "RSET", "HELO", "EHLO"):
            self._begin(command if verb == "MAIL" else b"")
        elif verb == "RCPT" and said.startswith(b"2"):
            self._rcpts.append(command)

    def _begin(self, mail: bytes) -> None:
        self._mail, self._rcpts, self._chunks = mail, list[bytes](), b""

    async def _take_chunk(self, size: int, *, last: bool) -> None:
        self._chunks += await self._next(lambda: self._received.chunk(size))
        if last:
            self._keep(self._chunks, self._chunks)

    def _keep(self, wire: bytes, plain: bytes) -> None:
        self.messages.append(Message(self._mail, tuple(self._rcpts), wire, plain))
        self._begin(b"")

    async def _next(self, read: Callable[[], bytes | None]) -> bytes:
        """What ``read`` finds, once it is complete."""
        while (found := read()) is None:
            await self._arrival()
        return found

    async def _arrival(self) -> None:
        if self.ended is not None:
            raise Gone
        self._more = Deferred()
        await self._more

    def _wake(self) -> None:
        waiting, self._more = self._more, None
        if waiting is not None:
            waiting.callback(None)

    async def _play(self, step: Step, command: bytes) -> bytes:
        """Do what ``step`` says; the bytes that were sent."""
        if self.ended is not None:
            raise Gone
        match step:
            case bytes():
                self.transport.write(step)
                return step
            case tuple():
                return b"".join([await self._play(part, command) for part in step])
            case Bytewise():
                return await self._bytewise(step.data)
            case Held():
                await step.released()
                return await self._play(step.then, command)
            case Swallow():
                return await self._swallow(step.count)
            case Action() | Endless():
                return await self._end(step)
            case _:
                return await self._play(step(self, command), command)

    async def _bytewise(self, data: bytes) -> bytes:
        for at in range(len(data)):
            await self._play(data[at : at + 1], b"")
            await deferLater(reactor, 0)
        return data

    async def _swallow(self, count: int) -> bytes:
        while len(self.unread) < count:
            await self._arrival()
        self.transport.pauseProducing()
        return b""

    async def _sent(self) -> None:
        """Return when nothing waits to be written: an abort would throw it away."""
        while self.ended is None and (self.transport.dataBuffer or self.transport._tempDataBuffer):
            await deferLater(reactor, 0)

    async def _end(self, step: Action | Endless) -> bytes:
        """Do ``step``, and no other until the connection is gone."""
        match step:
            case Endless():
                block = step.data * (1 + 4096 // len(step.data))
                self.transport.registerProducer(_Repeat(self.transport, block), False)
            case Action.RESET:
                await self._sent()
                self.transport.abortConnection()
            case Action.CLOSE:
                self.transport.loseConnection()
            case Action.DEAF:
                self.transport.pauseProducing()
        while True:
            await self._arrival()


class _Repeat:
    """A pull producer that never ends."""

    def __init__(self, transport: Any, block: bytes) -> None:
        self._transport = transport
        self._block = block

    def resumeProducing(self) -> None:
        self._transport.write(self._block)

    def stopProducing(self) -> None:
        """The connection is gone."""


def _verb(command: bytes) -> str:
    return command.split(b" ")[0].decode("utf-8", "backslashreplace").upper()
