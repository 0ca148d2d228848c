"""Threads with a connection to the database each: ``adbapi``'s pool, and what it lacks.

A connection is made when a thread needs one. One on which something has come while it lay idle is
not used again: it has ended, or is about to. Statements commit by themselves unless they stand in a
transaction, so that a single one is a single round trip.

Failure policy: a connection that is not in order after a call is closed, and the thread's next call
makes another. While none can be made, none is tried in the pauses of ``outage.py``.
"""

import contextlib
import logging
import os
import select
import socket
import threading
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from twisted.enterprise import adbapi

from smtpforward.net.clock import Clock
from smtpforward.outbound.errors import StoreUnavailableError
from smtpforward.outbound.store.postgresql.address import Address
from smtpforward.outbound.store.postgresql.clock import DatabaseClock
from smtpforward.outbound.store.postgresql.faults import as_store_error
from smtpforward.outbound.store.postgresql.outage import Outage

Connection = psycopg.Connection[tuple[Any, ...]]

# What must be so, whatever the role's own settings are. A server without patience ends what a
# gateway that has lost its way to it has left open; what has fired is on disk. A queue is empty
# now and long soon after: what the planner knows of it is out of date, and the indexes are right.
SESSION = """
SELECT set_config('statement_timeout', %(patience)s, false),
    set_config('idle_in_transaction_session_timeout', %(patience)s, false),
    set_config('default_transaction_isolation', 'read committed', false),
    set_config('enable_seqscan', 'off', false), set_config('enable_bitmapscan', 'off', false),
    set_config('jit', 'off', false),
    set_config('synchronous_commit', CASE current_setting('synchronous_commit')
        WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false)
"""
CLOCK = "SELECT extract(epoch FROM clock_timestamp())::float8"

# It says once more, on standard error, what its exceptions say.
logging.getLogger("psycopg").addHandler(logging.NullHandler())


class NoConnectionError(StoreUnavailableError):
    """The thread has none, and can make none now."""


class Line:
    """A connection's socket, which may be cut from another thread."""

    def __init__(self, connection: Connection) -> None:
        # Of its own: libpq may close its descriptor at any time, and the number be another's.
        self._socket = socket.socket(fileno=os.dup(connection.fileno()))
        self._lock = threading.Lock()

    def cut(self) -> None:
        """End the connection, as if the other side had gone."""
        with self._lock, contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    @property
    def has_ended(self) -> bool:
        """Whether the other side has gone."""
        with self._lock:
            return self._socket.fileno() < 0 or _has(self._socket.fileno(), select.POLLRDHUP)

    def close(self) -> None:
        """Give the descriptor up."""
        with self._lock:
            self._socket.close()


class Lent:
    """A thread's connection during one call."""

    def __init__(self, threads: "Threads") -> None:
        self._threads = threads
        self.connection: Connection = threads.connect()
        self.line = threads.line()

    def commit(self) -> None:
        """Statements have done so."""

    def rollback(self) -> None:
        """The call has failed: see whether the connection is of further use."""
        if not _is_idle(self.connection):
            self._threads.disconnect(self.connection)


class Threads(adbapi.ConnectionPool):
    """At most ``most`` threads.

    :param patience: seconds that the server gives a statement.
    """

    connectionFactory: Any = Lent

    def __init__(
        self,
        address: Address,
        reactor: Any,
        outage: Outage,
        clock: DatabaseClock,
        most: int,
        patience: float,
    ) -> None:
        self.place = address.place
        self._outage = outage
        self._clock = clock
        self._time: Clock = reactor
        self._patience = patience
        self._session = {"patience": f"{round(patience * 1000)}ms"}
        self._lines: dict[int, Line] = {}
        # Those of connections that are not yet in order, and since when.
        self._beginning: dict[Line, float] = {}
        self._ended = False
        super().__init__(
            "psycopg",
            address.conninfo,
            autocommit=True,
            cp_reactor=reactor,
            cp_min=1,
            cp_max=most,
            cp_openfun=self._begin,
        )

    def connect(self) -> Connection:
        """The thread's connection, made if need be.

        :raise NoConnectionError: when that fails, or has just failed.
        """
        held = self.connections.get(self.threadID())
        if held is not None:
            if _is_idle(held) and not _has(held.fileno(), select.POLLIN):
                return held
            self.disconnect(held)
        if refusal := self._outage.refusal:
            raise NoConnectionError(refusal)
        try:
            made: Connection = super().connect()
        except psycopg.Error as error:
            why = str(as_store_error(error, self.place))
            self._outage.failed(why)
            raise NoConnectionError(why) from error
        self._outage.ended()
        return made

    def _begin(self, connection: Connection) -> None:
        def in_order(connection: Connection) -> None:
            connection.execute(SESSION, self._session)
            self.ask_clock(connection)

        self._lines[self.threadID()] = self.begin(connection, in_order)

    def begin(self, connection: Connection, begin: Callable[[Connection], object]) -> Line:
        """Call ``begin``, which ends also where the server has nothing more to say."""
        line = Line(connection)
        self._beginning[line] = self._time.seconds()
        try:
            if self._ended:
                line.cut()
            begin(connection)
        except BaseException:
            line.close()
            connection.close()
            raise
        finally:
            del self._beginning[line]
        return line

    def cut_slow(self) -> None:
        """Cut connections whose beginning takes too long: half of what a call is given."""
        latest = self._time.seconds() - self._patience / 2
        for line, since in list(self._beginning.items()):
            if since <= latest:
                line.cut()

    def ask_clock(self, connection: Connection) -> None:
        """Measure the database's clock."""

        def read() -> float:
            [row] = connection.execute(CLOCK).fetchall()
            return float(row[0])

        self._clock.ask(read)

    @property
    def has_connection(self) -> bool:
        """Whether some thread has one."""
        return not all(line.has_ended for line in list(self._lines.values()))

    def line(self) -> Line:
        """That of the thread's connection."""
        return self._lines[self.threadID()]

    def disconnect(self, connection: Connection) -> None:
        """Close the thread's connection."""
        super().disconnect(connection)
        self._lines.pop(self.threadID()).close()

    def finalClose(self) -> None:
        """End all threads; what they are at is cut off. It may be called again."""
        if self._ended:
            return
        self._ended = True
        lines = list(self._lines.values())
        for line in (*lines, *list(self._beginning)):
            line.cut()
        super().finalClose()
        for line in lines:
            line.close()


def _is_idle(connection: Connection) -> bool:
    return not connection.closed and connection.info.transaction_status is TransactionStatus.IDLE


def _has(descriptor: int, event: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, event)
    return bool(poll.poll(0))
