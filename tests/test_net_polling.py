"""The reactor's round without log contexts, on a reactor of its own and real sockets."""

import inspect
import socket
from typing import Any

from twisted.internet.base import ReactorBase
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.task import Clock
from twisted.python import context, log
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.net.polling import without_log_context


class Reader:
    """One end of a socket pair that a reactor watches.

    :ivar systems: of the log's context, at each read.
    :ivar says: what reading says of the connection. ``lost``: how it was told to have ended.
    """

    says: Exception | None = None

    def __init__(self, name: str, raises: bool = False) -> None:
        self.mine, self.other = socket.socketpair()
        self.name = name
        self.systems: list[Any] = []
        self.read: list[bytes] = []
        self.lost: list[Any] = []
        self._raises = raises

    def __repr__(self) -> str:
        return f"<Reader {self.name}>"

    def fileno(self) -> int:
        """See IReadDescriptor."""
        return self.mine.fileno()

    def logPrefix(self) -> str:
        """See ILoggingContext."""
        return self.name

    def doRead(self) -> Exception | None:
        """See IReadDescriptor."""
        self.systems.append((context.get(log.ILogContext) or {}).get("system"))
        self.read.append(self.mine.recv(100))
        if self._raises:
            raise ZeroDivisionError
        return self.says

    def connectionLost(self, reason: Any) -> None:
        """See IReadDescriptor."""
        self.lost.append(reason.type)

    def readConnectionLost(self, reason: Any) -> None:
        """See IHalfCloseableDescriptor."""
        self.connectionLost(reason)

    def close(self) -> None:
        """Both ends."""
        self.mine.close()
        self.other.close()


class PollingTests(SynchronousTestCase):
    """What a round does."""

    def setUp(self) -> None:
        """A reactor that does not run."""
        self.reactor: Any = EPollReactor()
        self.addCleanup(self.reactor._poller.close)
        for reader in self.reactor.removeAll():
            self.addCleanup(reader.connectionLost, None)

    def reader(self, name: str, **keys: Any) -> Reader:
        """One that is watched."""
        reader = Reader(name, **keys)
        self.addCleanup(reader.close)
        self.reactor.addReader(reader)
        return reader

    def test_pinned(self) -> None:
        """Twisted's loop asks the reactor for its round each time, and this is that round."""
        self.assertIn("self.doIteration(t)", inspect.getsource(ReactorBase.mainLoop))
        text = inspect.getsource(EPollReactor.doPoll)
        self.assertIn("self._poller.poll(timeout, len(self._selectables))", text)
        self.assertIn("log.callWithLogger(selectable, _drdw, selectable, fd, event)", text)
        text = inspect.getsource(EPollReactor._doReadOrWrite)
        for line in ("why = selectable.doRead()", "_disconnectSelectable(selectable, why, inRead)"):
            self.assertIn(line, text)

    def test_reads(self) -> None:
        """Each socket with something to read is read, outside any context of its own."""
        first, second = self.reader("first"), self.reader("second")
        first.other.send(b"a")
        self.reactor.doIteration(0)
        self.assertEqual(first.systems, ["first"])
        without_log_context(self.reactor)
        first.other.send(b"b")
        second.other.send(b"c")
        self.reactor.doIteration(0)
        self.assertEqual((first.read, second.read), ([b"a", b"b"], [b"c"]))
        self.assertNotIn("first", first.systems[1:] + second.systems)

    def test_waits_no_longer_than_told(self) -> None:
        """With nothing to do the round ends at its time, without one at the first event."""
        reader = self.reader("only")
        without_log_context(self.reactor)
        self.reactor.doIteration(0.0)
        self.assertEqual(reader.read, [])
        reader.other.send(b"a")
        self.reactor.doIteration(None)
        self.assertEqual(reader.read, [b"a"])

    def test_closed_in_the_same_round(self) -> None:
        """A socket that another one's reading has removed is left alone."""
        first, second = self.reader("first"), self.reader("second")
        without_log_context(self.reactor)
        for reader, other in ((first, second), (second, first)):
            reader.doRead = lambda other=other: self.reactor.removeReader(other)  # type: ignore[method-assign,misc]
            reader.other.send(b"a")
        self.reactor.doIteration(0)
        self.assertEqual(len({first, second} & set(self.reactor.getReaders())), 1)

    def test_ended(self) -> None:
        """What reading says of the end is passed on, as Twisted does it."""
        for reason, kind in ((CONNECTION_DONE, ConnectionDone), (CONNECTION_LOST, ConnectionLost)):
            reader = self.reader("only")
            reader.says = reason
            without_log_context(self.reactor)
            reader.other.send(b"a")
            self.reactor.doIteration(0)
            self.assertEqual(reader.lost, [kind])
            self.reactor.removeReader(reader)

    def test_fault(self) -> None:
        """What reading raises is logged, and ends that connection; the others are served."""
        bad, good = self.reader("bad", raises=True), self.reader("good")
        without_log_context(self.reactor)
        bad.other.send(b"a")
        good.other.send(b"b")
        self.reactor.doIteration(0)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual((bad.lost, good.read), ([ZeroDivisionError], [b"b"]))
        self.assertIn(good, self.reactor.getReaders())
        self.assertNotIn(bad, self.reactor.getReaders())

    def test_fault_outside_reading(self) -> None:
        """So it is with what the reactor itself trips over."""
        reader, good = self.reader("bad"), self.reader("good")
        reader.doRead = lambda: ZeroDivisionError()  # type: ignore[method-assign,assignment,return-value]
        reader.connectionLost = lambda reason: 1 / 0  # type: ignore[method-assign,assignment,return-value]
        without_log_context(self.reactor)
        reader.other.send(b"a")
        good.other.send(b"b")
        self.reactor.doIteration(0)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(good.read, [b"b"])

    def test_interrupted(self) -> None:
        """A signal ends the round, and nothing else."""

        class Interrupted:
            """An epoll object."""

            def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
                """As it was of old."""
                raise InterruptedError

        poller, self.reactor._poller = self.reactor._poller, Interrupted()
        without_log_context(self.reactor)
        self.reactor.doIteration(0)
        self.reactor._poller = poller

    def test_another_reactor(self) -> None:
        """One that is no epoll reactor stays as it is."""
        clock = Clock()
        without_log_context(clock)
        self.assertFalse(hasattr(clock, "doIteration"))
