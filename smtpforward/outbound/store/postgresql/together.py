"""Calls that come while others are on their way are done together: one statement, one commit.

The first of them never waits for company. What came meanwhile goes in one batch, as soon as one
that is on its way has ended.

Failure policy: where a batch fails for what one of it may have brought along, each is done alone.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from smtpforward.outbound.errors import StoreFullError, StoreUnavailableError

A = TypeVar("A")
R = TypeVar("R")

AT_ONCE = 2  # batches on their way
MOST = 100  # items in one


class Together(Generic[A, R]):
    """Does items in batches.

    :param all_: does a list of them; its Deferred gives a result for each, in order.
    :param alone: does one of them.
    """

    def __init__(
        self, all_: "Callable[[list[A]], Deferred[list[R]]]", alone: "Callable[[A], Deferred[R]]"
    ) -> None:
        self._all = all_
        self._alone = alone
        self._waiting: list[tuple[A, Deferred[R]]] = []
        self._batches = 0

    def do(self, item: A) -> "Deferred[R]":
        """What comes of ``item``."""
        done: Deferred[R] = Deferred()
        self._waiting.append((item, done))
        if self._batches < AT_ONCE:
            self._begin()
        return done

    def _begin(self) -> None:
        # Nothing is to be done for those that were cancelled.
        waiting = [each for each in self._waiting if not each[1].called]
        batch, self._waiting = waiting[:MOST], waiting[MOST:]
        if not batch:
            return
        self._batches += 1
        if len(batch) == 1:
            item, done = batch[0]
            self._alone(item).addBoth(self._fire, done).addBoth(self._ended)
            return
        doing = self._all([item for item, _ in batch])
        doing.addCallback(self._succeeded, batch).addErrback(self._failed, batch)
        doing.addBoth(self._ended)

    def _succeeded(self, results: list[R], batch: "list[tuple[A, Deferred[R]]]") -> None:
        for (_, done), result in zip(batch, results, strict=True):
            self._fire(result, done)

    def _failed(self, failure: Failure, batch: "list[tuple[A, Deferred[R]]]") -> None:
        if failure.check(StoreUnavailableError, StoreFullError):
            for _, done in batch:
                self._fire(failure, done)
            return
        for item, done in batch:
            self._alone(item).addBoth(self._fire, done)

    def _fire(self, result: "R | Failure", done: "Deferred[R]") -> None:
        if not done.called:
            done.callback(result)

    def _ended(self, _: object) -> None:
        self._batches -= 1
        if self._waiting:
            self._begin()
