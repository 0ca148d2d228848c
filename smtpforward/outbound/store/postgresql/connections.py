"""Calls to the database, each of which ends.

A call runs one function in a thread, with that thread's connection. While there is none and none
can be made, calls fail at once; where only no more can be made, they wait for one that there is.

Failure policy: a call that has not gone on for ``patience`` seconds fails, and its connection is
cut, so that its thread comes back; what becomes of its last statement is unknown. Cancelled, it is
given up in the same way. Nothing is done twice by itself.
"""

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar

import psycopg
from attrs import define, field
from twisted.internet.defer import Deferred, fail
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from smtpforward.net.clock import Clock, Watch
from smtpforward.outbound.errors import StoreUnavailableError
from smtpforward.outbound.store.postgresql.address import Address
from smtpforward.outbound.store.postgresql.clock import DatabaseClock
from smtpforward.outbound.store.postgresql.faults import as_store_error
from smtpforward.outbound.store.postgresql.outage import Outage
from smtpforward.outbound.store.postgresql.standstill import Standstill
from smtpforward.outbound.store.postgresql.threads import (
    Connection,
    Lent,
    Line,
    NoConnectionError,
    Threads,
)

P = ParamSpec("P")
T = TypeVar("T")
AGAIN = 0.05  # seconds until a call looks once more for a connection


@define(eq=False)
class Call:
    """One on its way.

    :ivar deadline: on the reactor's clock: when it must have gone on. ``over``: nobody waits for
        it any more. ``line``: what it uses. ``discard``: gives up a result that nobody takes.
    """

    perform: "Callable[[Work], Any]" = field(repr=False)
    deadline: float
    done: "Deferred[Any]" = field(init=False)
    over: bool = False
    line: Line | None = None
    discard: Callable[[], object] | None = None

    def end(self, result: Any) -> None:
        """Hand over what came of it, where somebody waits."""
        if self.over:
            if self.discard is not None:
                self.discard()
            return
        self.over = True
        if isinstance(result, Failure):
            self.done.errback(result)
        else:
            self.done.callback(result)

    def give_up(self) -> None:
        """Let nobody wait for it, nor it for the database."""
        self.over = True
        if line := self.line:
            line.cut()


class Work:
    """What a function works with, in its thread."""

    def __init__(self, connection: Connection, call: Call, clock: Clock, patience: float) -> None:
        self.connection = connection
        self._call = call
        self._clock = clock
        self._patience = patience

    def go_on(self) -> None:
        """The call has got on, and has its time anew.

        :raise StoreUnavailableError: when nobody waits for it any more.
        """
        if self._call.over:
            raise StoreUnavailableError("given up")
        self._call.deadline = self._clock.seconds() + self._patience

    def rows(self, statement: str, values: Any = ()) -> list[Any]:
        """Run one statement; the rows that it gives."""
        self.go_on()
        return self.connection.execute(statement, values, binary=True).fetchall()

    def do(self, statement: str, values: Any = ()) -> int:
        """Run one statement; how many rows it changed, which in a pipeline is not known."""
        self.go_on()
        return self.connection.execute(statement, values, binary=True).rowcount

    def on_discard(self, discard: Callable[[], object]) -> None:
        """Have ``discard`` called if nobody takes what the function gives."""
        self._call.discard = discard


class Connections:
    """At most ``most`` calls at once to the database at ``address``; the others wait."""

    def __init__(
        self,
        address: Address,
        reactor: Any,
        clock: DatabaseClock,
        most: int,
        patience: float,
    ) -> None:
        self._address = address
        self._reactor = reactor
        self._clock = clock
        self._patience = patience
        self._outage = Outage(reactor)
        self._threads = Threads(address, reactor, self._outage, clock, most, patience)
        self._standstill = Standstill(self.run_also, reactor, patience, address.place)
        self._calls: dict[Call, None] = {}
        self._watch = Watch(reactor, self._expire)
        self._closed: Deferred[None] | None = None

    @property
    def place(self) -> str:
        """Where the database is, for people."""
        return self._address.place

    @property
    def is_closed(self) -> bool:
        """Whether no new call is taken."""
        return self._closed is not None

    def run(
        self, function: Callable[Concatenate[Work, P], T], *args: P.args, **keys: P.kwargs
    ) -> "Deferred[T]":
        """What ``function`` gives, which is called with the arguments in a thread."""
        if self.is_closed:
            return self.refuse()
        return self.run_also(function, *args, **keys)

    def refuse(self) -> "Deferred[Any]":
        """The answer of what is closed."""
        return fail(StoreUnavailableError(f"{self.place}: closed"))

    def run_also(
        self, function: Callable[Concatenate[Work, P], T], *args: P.args, **keys: P.kwargs
    ) -> "Deferred[T]":
        """The same for what was begun before it was closed."""
        refusal = self._outage.refusal
        if refusal is not None and not self._threads.has_connection:
            return fail(StoreUnavailableError(refusal))
        perform = partial(_called, function, args, keys)
        call = Call(perform, self._reactor.seconds() + self._patience)
        call.done = Deferred(lambda _: call.give_up())
        self._calls[call] = None
        if self._watch.due is None:
            self._watch.arm_until(call.deadline)
        self._begin(call)
        return call.done

    def apart(self, begin: Callable[[Connection], object]) -> "Deferred[Connection]":
        """A connection of its own, for which ``begin`` was called in a thread."""
        return deferToThreadPool(self._reactor, self._threads.threadpool, self._connect, begin)

    def close(self) -> "Deferred[None]":
        """End all connections, when the calls on their way have ended."""
        if self._closed is None:
            self._closed = Deferred()
            self._close_when_done()
        return self._closed

    # -- in a thread

    def _perform(self, lent: Lent, call: Call) -> Any:
        call.line = lent.line
        work = Work(lent.connection, call, self._reactor, self._patience)
        try:
            work.go_on()
            result = call.perform(work)
        except psycopg.Error as error:
            raise as_store_error(error, self.place) from error
        finally:
            call.line = None
        if self._clock.is_old:
            with contextlib.suppress(psycopg.Error):
                self._threads.ask_clock(lent.connection)
        return result

    def _connect(self, begin: Callable[[Connection], object]) -> Connection:
        try:
            connection: Connection = psycopg.connect(self._address.conninfo, autocommit=True)
            self._threads.begin(connection, begin).close()
        except psycopg.Error as error:
            raise as_store_error(error, self.place) from error
        self._outage.ended()
        return connection

    # -- in the reactor's

    def _begin(self, call: Call) -> None:
        self._threads.runWithConnection(self._perform, call).addBoth(self._finish, call)

    def _finish(self, result: Any, call: Call) -> None:
        unserved = isinstance(result, Failure) and result.check(NoConnectionError)
        if unserved and not call.over and self._threads.has_connection:
            # The next thread may have one.
            self._reactor.callLater(AGAIN, self._begin, call)
            return
        del self._calls[call]
        if not self._calls:
            self._watch.disarm()
        call.end(result)
        if self._closed is not None:
            self._close_when_done()
        else:
            self._standstill.look()

    def _expire(self) -> None:
        now = self._reactor.seconds()
        for call in [each for each in self._calls if each.deadline <= now and not each.over]:
            call.give_up()
            why = f"{self.place}: no answer within {self._patience:g} s"
            call.done.errback(StoreUnavailableError(why))
        # Their threads may be waiting for a connection of their own.
        self._threads.cut_slow()
        waiting = [each.deadline for each in self._calls if not each.over]
        if waiting:
            self._watch.arm_until(min(waiting))

    def _close_when_done(self) -> None:
        assert self._closed is not None
        if not self._calls and not self._closed.called:
            self._watch.stop()
            self._threads.close()
            self._closed.callback(None)


def _called(function: Callable[..., T], args: Sequence[Any], keys: dict[str, Any], work: Work) -> T:
    return function(work, *args, **keys)
