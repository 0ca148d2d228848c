"""The start of a successor, over real processes and sockets; and what becomes of one that fails."""

import os
import signal
import socket
import sys
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from smtpforward.running.successor import (
    START_TIME,
    NoSuccessorError,
    Predecessor,
    Successor,
    own_command,
)
from tests.peers.wait import until

# What it was given, on its standard output; then it takes mail, and ends when it is let go.
TAKES_MAIL = """
import os, socket, sys
given = {k: os.environ[k] for k in sorted(os.environ) if k.startswith(("LISTEN_", "SMTPF", "X_"))}
own = given.pop("LISTEN_PID") == str(os.getpid())
port = socket.socket(fileno=3).getsockname()[1]
with open(sys.argv[1], "w") as file:
    print(own, port, given, file=file)
line = socket.socket(fileno=int(given["SMTPFORWARD_PREDECESSOR"]))
line.sendall(b"%d\\n" % os.getpid())
line.recv(1)
with open(sys.argv[1], "a") as file:
    print("let go", file=file)
"""


def parent_of(pid: int) -> int:
    """Whose child it is."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return int(file.read().rpartition(")")[2].split()[1])


class Port:
    """What listens, as far as it matters."""

    def __init__(self, listening: socket.socket) -> None:
        self.fileno = listening.fileno


class StartTests(TestCase):
    """Real processes."""

    timeout = 30

    def start(self, script: str, *arguments: str) -> "tuple[Successor, Deferred[int]]":
        """A successor that runs ``script``."""
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listening.close)
        command = [sys.executable, "-c", script, *arguments]
        successor = Successor(command, {"X_OWN": "1"}, reactor)
        return successor, successor.start([("tcp:25:interface=127.0.0.1", Port(self.listening))])

    async def test_takes_mail(self) -> None:
        """It has the sockets, knows that they are its own, and speaks when it is let go."""
        path = os.path.abspath(self.mktemp())
        successor, comes = self.start(TAKES_MAIL, path)
        pid = await comes
        # Not our child: the service manager would not take it for the service's main process.
        self.assertNotEqual(parent_of(pid), os.getpid())
        with open(path, encoding="ascii") as file:
            said = file.read()
        self.assertEqual(
            said,
            f"True {self.listening.getsockname()[1]} {{'LISTEN_FDNAMES':"
            " 'tcp%3A25%3Ainterface%3D127.0.0.1', 'LISTEN_FDS': '1',"
            " 'SMTPFORWARD_PREDECESSOR': '4', 'X_OWN': '1'}\n",
        )
        successor.let_go()

        def is_let_go() -> bool:
            with open(path, encoding="ascii") as file:
                return file.read().endswith("let go\n")

        await until(is_let_go, "it is let go")

    async def test_ends(self) -> None:
        """One that ends before it takes mail is none."""
        _, comes = self.start("raise SystemExit(78)")
        await self.assertFailure(comes, NoSuccessorError)

    async def test_nonsense(self) -> None:
        """So is one that says something else."""
        for nonsense in ("b'x' * 100", "b'mail\\n'"):
            _, comes = self.start(f"import os; os.write(4, {nonsense}); os.read(4, 1)")
            await self.assertFailure(comes, NoSuccessorError)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

    async def test_predecessor(self) -> None:
        """The other end: it says its process id, and hears when the one before has gone."""
        own, its = socket.socketpair()
        own.setblocking(False)
        self.addCleanup(own.close)
        environ = {"SMTPFORWARD_PREDECESSOR": str(its.detach()), "OTHER": "x"}
        predecessor = Predecessor.of(environ, reactor)
        assert predecessor is not None
        self.assertEqual(environ, {"OTHER": "x"})
        gone = predecessor.relieve()
        heard = b""

        def has_heard() -> bool:
            nonlocal heard
            try:
                heard += own.recv(100)
            except BlockingIOError:
                return False
            return heard.endswith(b"\n")

        await until(has_heard, "it says so")
        self.assertEqual(heard, b"%d\n" % os.getpid())
        self.assertNoResult(gone)
        own.close()
        await gone

    def test_none(self) -> None:
        """Started by nobody of ours."""
        self.assertIsNone(Predecessor.of({}, reactor))

    def test_command(self) -> None:
        """It is run as this process is, by the same interpreter."""
        self.assertEqual(own_command(), [sys.executable, *sys.orig_argv[1:]])


class FakeReactor(Clock):
    """Starts nothing."""

    def __init__(self) -> None:
        Clock.__init__(self)
        self.did: list[str] = []
        self.line: Any = None

    def spawnProcess(self, protocol: Any, *arguments: Any, **more: Any) -> None:
        """See IReactorProcess."""
        protocol.makeConnection(self)

    def adoptStreamConnection(self, descriptor: int, family: int, factory: Any) -> None:
        """See IReactorSocket."""
        self.line = factory.buildProtocol(None)
        self.line.makeConnection(self)

    def loseConnection(self) -> None:
        """See ITransport."""
        self.did.append("close")


class PatienceTests(SynchronousTestCase):
    """On a clock."""

    def setUp(self) -> None:
        """It has started, and said so."""
        self.reactor = FakeReactor()
        self.killed: list[tuple[int, int]] = []
        self.patch(os, "kill", lambda *which: self.killed.append(which))
        self.successor = Successor(["x"], {}, self.reactor)
        self.comes = self.successor.start([])
        self.reactor.line.dataReceived(b"4710\n")

    def test_too_late(self) -> None:
        """One that says nothing is killed, and its end later is no news."""
        self.reactor.advance(START_TIME)
        self.failureResultOf(self.comes, NoSuccessorError)
        self.assertEqual((self.killed, self.reactor.did), ([(4710, signal.SIGKILL)], ["close"]))
        self.reactor.line.connectionLost(Failure(ProcessDone(0)))

    def test_in_pieces(self) -> None:
        """Its line may come in pieces, and more may follow."""
        for piece in (b"47", b"11", b"\n4711\n"):
            self.reactor.line.dataReceived(piece)
        self.assertEqual(self.successResultOf(self.comes), 4711)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.reactor.line.connectionLost(Failure(ProcessDone(0)))

    def test_gone(self) -> None:
        """One that has ended is not killed: its number may be another program's."""
        self.reactor.line.connectionLost(Failure(ProcessDone(0)))
        self.failureResultOf(self.comes, NoSuccessorError)
        self.successor.kill()
        self.assertEqual(self.killed, [])

    def test_gone_unnoticed(self) -> None:
        """To be too late is no error."""

        def gone(*which: object) -> None:
            raise ProcessLookupError

        self.patch(os, "kill", gone)
        self.successor.kill()
