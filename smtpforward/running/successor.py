"""A restart that refuses nobody: the running gateway starts the next one on its own sockets.

The next one gets them as systemd would hand them over, and the end of a pair of sockets beside. It
says there when it takes mail, with its process id; the gateway before lets go of its end when it
has stopped accepting and told the service manager, and from then on the next one speaks for both.
So at each moment at least one of them accepts, on sockets that never close.

Failure policy: a successor that ends, or says nothing for ``START_TIME``, is none: it is killed,
and who has started it goes on as if nothing had been.
"""

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, ProcessProtocol, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from smtpforward.running.inherited import COUNT, FIRST, NAMES, OWNER, PREDECESSOR, names_of

START_TIME = 90.0
# What becomes the successor. It is nobody's child but the service manager's, which takes it for the
# main process of the service only then; whose sockets they are can be said only by itself.
BECOME = f"""
import os, sys
if os.fork():
    os._exit(0)
os.environ["{OWNER}"] = str(os.getpid())
os.write(int(os.environ["{PREDECESSOR}"]), b"%d\\n" % os.getpid())
os.execv(sys.argv[1], sys.argv[1:])
"""
MAX_PID = 20  # digits


class NoSuccessorError(Exception):
    """It has not come to take mail."""


def own_command() -> list[str]:
    """The command line that has started this process, with the interpreter's full path."""
    return [sys.executable, *sys.orig_argv[1:]]


class Successor(ProcessProtocol):
    """The next gateway, as the one sees it that starts it.

    :param environ: of it, but for what says which sockets it has.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], reactor: Any) -> None:
        self._command = command
        self._environ = environ
        self._reactor = reactor
        self._line = _Line(self._said, self._lost)
        self._ready: Deferred[int] = Deferred()
        self._timer: Any = None
        self._pid: int | None = None

    def start(self, listening: Sequence[tuple[str, Any]]) -> "Deferred[int]":
        """Start it.

        :param listening: the description of each place, and its port.
        :return: Deferred of its process id, when it takes mail; fails with
            :class:`NoSuccessorError`.
        :raise OSError: when no process can be started.
        """
        last = FIRST + len(listening)
        given = {
            COUNT: str(len(listening)),
            NAMES: names_of(description for description, _ in listening),
            PREDECESSOR: str(last),
        }
        own, its = socket.socketpair()
        with own, its:
            descriptors = {number: number for number in range(FIRST)}
            for number, (_, port) in enumerate(listening, FIRST):
                descriptors[number] = port.fileno()
            descriptors[last] = its.fileno()
            become = [sys.executable, "-I", "-S", "-c", BECOME, *self._command]
            environ = {**self._environ, **given}
            self._reactor.spawnProcess(self, become[0], become, environ, None, childFDs=descriptors)
            self._reactor.adoptStreamConnection(
                own.fileno(), socket.AF_UNIX, Factory.forProtocol(lambda: self._line)
            )
        self._timer = self._reactor.callLater(START_TIME, self._too_late)
        return self._ready

    def _said(self, pid: int) -> None:
        """First that there is a process, then that it takes mail; as a daemon it is another one."""
        first, self._pid = self._pid is None, pid
        if not first and not self._ready.called:
            self._timer.cancel()
            self._ready.callback(pid)

    def _lost(self) -> None:
        self._pid = None
        if not self._ready.called:
            self._timer.cancel()
            self._ready.errback(NoSuccessorError("it has ended; what it said stands above"))

    def _too_late(self) -> None:
        self.kill()
        self._ready.errback(NoSuccessorError(f"it did not take mail within {START_TIME:g} seconds"))
        self.let_go()

    def kill(self) -> None:
        """End it at once, if it is still there."""
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    def let_go(self) -> None:
        """From now on it speaks for the gateway."""
        if self._line.transport is not None:
            self._line.transport.loseConnection()


class _Line(Protocol):
    """The older one's end of the pair: a process id a line; anything else ends it."""

    def __init__(self, said: Any, lost: Any) -> None:
        self._said = said
        self._lost = lost
        self._data = b""

    def dataReceived(self, data: bytes) -> None:
        """See Protocol."""
        *lines, self._data = (self._data + data).split(b"\n")
        for line in lines:
            self._said(int(line))
        if len(self._data) > MAX_PID:
            raise ValueError("no process id")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See Protocol."""
        self._lost()


class Predecessor(Protocol):
    """The gateway that has started this one, where one has.

    :param descriptor: this one's end of the pair.
    """

    log = Logger()

    def __init__(self, descriptor: int, reactor: Any) -> None:
        self._descriptor = descriptor
        self._reactor = reactor
        self._gone: Deferred[None] = Deferred()
        os.set_inheritable(descriptor, False)

    @classmethod
    def of(cls, environ: MutableMapping[str, str], reactor: Any) -> "Predecessor | None":
        """The one that ``environ`` names, which forgets it."""
        number = environ.pop(PREDECESSOR, "")
        return cls(int(number), reactor) if number.isdecimal() else None

    def relieve(self) -> "Deferred[None]":
        """Say that this process takes mail; fires when the other one takes none any more."""
        factory = Factory.forProtocol(lambda: self)
        self._reactor.adoptStreamConnection(self._descriptor, socket.AF_UNIX, factory)
        os.close(self._descriptor)
        return self._gone

    def connectionMade(self) -> None:
        """See Protocol."""
        assert self.transport is not None
        self.transport.write(b"%d\n" % os.getpid())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See Protocol."""
        self._gone.callback(None)
