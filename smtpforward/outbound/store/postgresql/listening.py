"""Who hears, and says, that entries have become due: ``LISTEN`` and ``NOTIFY``.

The listener has a connection of its own, which the reactor watches. What is said is a hint: it is
said after the commit, because PostgreSQL lets those who say something commit only one by one, and
not more often than ``PAUSE`` allows. Who has slept through one finds the entries when it looks.

Failure policy: a connection that ends is made anew, after pauses that grow; then whoever watches is
called, as something may have been said meanwhile.
"""

import os
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.pq import ConnStatus
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from smtpforward.outbound.errors import StoreError
from smtpforward.outbound.store.postgresql.connections import Connections, Work
from smtpforward.outbound.store.postgresql.outage import FIRST_PAUSE, LONGEST_PAUSE
from smtpforward.outbound.store.postgresql.threads import Connection

CHANNEL = "smtpforward_queue"
PAUSE = 0.1  # seconds between two notifications

# Nothing is lost with a notification: no commit waits for the disk on its account.
_NOTIFY = "SELECT set_config('synchronous_commit', 'off', true), pg_notify(%s, %s)"

_log = Logger()


def notify(work: Work, name: str) -> None:
    """Tell all listeners but the one called ``name``."""
    work.rows(_NOTIFY, (CHANNEL, name))


class Notifier:
    """Says that entries are due: at once, and what comes soon after that together.

    :param name: of this store, which needs not hear itself.
    """

    def __init__(self, connections: Connections, reactor: Any, name: str) -> None:
        self._connections = connections
        self._reactor = reactor
        self._name = name
        self._pause: IDelayedCall | None = None
        self._again = False
        self._stopped = False

    def say(self) -> None:
        """Entries have become due."""
        if self._pause is not None:
            self._again = True
            return
        if not self._stopped:
            self._pause = self._reactor.callLater(PAUSE, self._paused)
        # Where it cannot be said, others find out by themselves.
        said = self._connections.run_also(notify, self._name)
        said.addErrback(lambda failure: failure.trap(StoreError))

    def _paused(self) -> None:
        self._pause = None
        if self._again:
            self._again = False
            self.say()

    def stop(self) -> None:
        """Say at once what is still to be said, and what calls on their way will have to say."""
        self._stopped = True
        if self._pause is not None:
            self._pause.cancel()
            self._paused()


@implementer(IReadDescriptor)
class Listener:
    """Calls those who watch when another store has said something.

    :param name: of this store, whose own notifications are passed over.
    """

    def __init__(self, connections: Connections, reactor: Any, name: str) -> None:
        self._connections = connections
        self._reactor = reactor
        self._name = name.encode()
        self._watching: list[Callable[[], object]] = []
        self._connection: Connection | None = None
        self._descriptor = -1
        self._connecting = False
        self._pause = 0.0
        self._later: IDelayedCall | None = None
        self._stopped = False

    @property
    def is_listening(self) -> bool:
        """Whether it has a connection."""
        return self._connection is not None

    def watch(self, changed: Callable[[], object]) -> None:
        """Call ``changed`` from now on."""
        self._watching.append(changed)
        if self._connection is None and self._later is None and not self._connecting:
            self._connect()

    def stop(self) -> None:
        """Listen no more."""
        self._stopped = True
        if self._later is not None:
            self._later.cancel()
            self._later = None
        self._give_up()

    # -- connecting

    def start(self) -> "Deferred[None]":
        """Connect for the first time; when that fails, nothing more is tried."""
        self._connecting = True
        return self._connections.apart(_listen).addCallbacks(self._connected, self._not_connected)

    def _connect(self) -> None:
        self._later = None
        self.start().addCallbacks(lambda _: self._call(), self._failed)

    def _connected(self, connection: Connection) -> None:
        self._connecting = False
        if self._stopped:
            connection.close()
            return
        self._connection = connection
        # Of its own: libpq closes its descriptor before the reactor can be told.
        self._descriptor = os.dup(connection.fileno())
        self._pause = 0.0
        self._reactor.addReader(self)

    def _not_connected(self, failure: Failure) -> Failure:
        self._connecting = False
        return failure

    def _call(self) -> None:
        for changed in self._watching:
            changed()

    def _failed(self, failure: Failure) -> None:
        if self._stopped:
            return
        if self._pause == 0.0:
            _log.warn("the queue is not told of changes: {why}", why=failure.getErrorMessage())
        self._pause = min(max(2 * self._pause, FIRST_PAUSE), LONGEST_PAUSE)
        self._later = self._reactor.callLater(self._pause, self._connect)

    def _give_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._reactor.removeReader(self)
            os.close(self._descriptor)
            connection.close()

    # -- IReadDescriptor

    def logPrefix(self) -> str:
        return "the queue's listener"

    def fileno(self) -> int:
        return self._descriptor

    def doRead(self) -> None:
        """Something has come."""
        if self._connection is None:
            return
        pgconn = self._connection.pgconn
        heard = False
        try:
            pgconn.consume_input()
            while told := pgconn.notifies():
                heard = heard or told.extra != self._name
            if pgconn.status != ConnStatus.OK:
                raise psycopg.OperationalError("the connection has ended")
        except psycopg.Error:
            self.connectionLost(Failure())
        if heard:
            self._call()

    def connectionLost(self, reason: Failure) -> None:
        """The connection has ended."""
        self._give_up()
        self._failed(reason)


def _listen(connection: Connection) -> None:
    connection.execute(f"LISTEN {CHANNEL}")
