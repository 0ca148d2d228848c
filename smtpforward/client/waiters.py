"""What a pool deals with: connections by what it asks of them, and the jobs that wait for one."""

import enum
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from smtpforward.job import PoolBounds


class Connection(Protocol):
    """What the pool asks of a connection.

    :ivar spare: whether it was opened for a job that took another one.
    """

    owner: Any
    spare: bool

    def is_worn(self, bounds: PoolBounds, now: float) -> bool:
        """Whether it should take no further message."""

    def worn_at(self, bounds: PoolBounds) -> float:
        """When its age ends it."""

    def quit(self) -> None:
        """Close politely, within a deadline."""

    def abort(self) -> None:
        """Close at once."""


class Request(Protocol):
    """What the pool must know of a job.

    :ivar wait: seconds that it waits for a slot. ``deadline``: neither waiting nor connecting goes
        on after this time.
    """

    @property
    def wait(self) -> float:
        """Seconds."""

    @property
    def deadline(self) -> float:
        """Clock time."""


C = TypeVar("C", bound=Connection)


class Life(enum.Enum):
    """What the pool still does."""

    OPEN = "everything"
    WINDING_DOWN = "serves jobs, keeps nothing idle"
    ENDING = "nothing new"


class Waiter(Generic[C]):
    """A job that has no connection yet: it waits for one, or for its own to open.

    :param forget: called when the job gives up while it waits in the queue.
    :ivar number: jobs are served in this order.
    :ivar fresh: whether it wants a connection that nobody has used.
    :ivar opening: its own connection, unless it has been abandoned.
    :ivar until: when it has waited enough.
    """

    __slots__ = ("_forget", "fresh", "number", "opening", "request", "result", "timer", "until")

    def __init__(
        self,
        number: int,
        request: Request,
        fresh: bool,
        until: float,
        forget: "Callable[[Waiter[C]], None]",
    ) -> None:
        self.number = number
        self.result: Deferred[C] = Deferred(self._give_up)
        self.fresh = fresh
        self.until = until
        self.request = request
        self.timer: IDelayedCall | None = None
        self.opening: Deferred[C] | None = None
        self._forget = forget

    @property
    def served(self) -> bool:
        """Whether the job has a connection, or has been told that it gets none."""
        return self.result.called

    def _give_up(self, result: "Deferred[C]") -> None:
        if self.opening is not None:
            self.abandon()
        else:
            self._forget(self)

    def abandon(self) -> None:
        """Stop opening its connection."""
        opening, self.opening = self.opening, None
        if opening is not None:
            opening.cancel()
