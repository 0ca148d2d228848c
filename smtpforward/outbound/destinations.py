"""Whose turn it is: destinations take turns, whatever number of messages waits for each.

Known here is what this process attempts now, which destinations have mail that is due, as far as
that was looked up, and which back off. All of it is bounded, and none of it grows with the queue.

Rules: no destination has more than its share of attempts at once, and a single one until it has
been reached: those that swallow what is sent to them would have all attempts before it shows, and
nothing else would go out. Attempts are handed out one destination after the other.
"""

from collections import OrderedDict
from collections.abc import Collection

from attrs import define

from smtpforward.outbound import schedule
from smtpforward.reply import Reply

MOST_BACKOFFS = 10_000
MOST_READY = 1000  # beside those that are being attempted
MOST_REACHED = 10_000


@define
class Backoff:
    """A destination that could not be reached.

    :ivar failures: in a row. ``until``: when it may be tried again. ``reply``: why.
    """

    failures: int
    until: float
    reply: Reply


class Destinations:
    """What is known of the destinations; times are monotonic.

    :param total: attempts at once. ``each``: of those to one destination.
    """

    def __init__(self, total: int, each: int) -> None:
        self.total = total
        self.each = each
        self.active = 0
        self._active: dict[str, int] = {}
        self._ready: OrderedDict[str, None] = OrderedDict()
        self._resting: dict[str, None] = {}
        self._backoffs: OrderedDict[str, Backoff] = OrderedDict()
        self._reached: OrderedDict[str, None] = OrderedDict()

    # -- what is being attempted

    @property
    def room(self) -> int:
        """How many attempts more there may be."""
        return max(0, self.total - self.active)

    def spare(self, destination: str) -> int:
        """How many attempts more there may be to one destination."""
        limit = self.each if destination in self._reached else 1
        return max(0, min(self.room, limit - self._active.get(destination, 0)))

    def begin(self, destination: str, number: int = 1) -> None:
        """So many attempts more."""
        self.active += number
        self._active[destination] = self._active.get(destination, 0) + number

    def end(self, destination: str, number: int = 1) -> None:
        """So many attempts fewer."""
        if not number:
            return
        self.active -= number
        left = self._active[destination] - number
        if left:
            self._active[destination] = left
        else:
            del self._active[destination]

    # -- what is due

    @property
    def ready(self) -> Collection[str]:
        """Those that have mail that is due and may have a turn, as far as is known."""
        return self._ready.keys()

    @property
    def known_due(self) -> tuple[str, ...]:
        """Those that have mail that is due, as far as is known."""
        return (*self._ready, *self._resting)

    def may_begin_at_once(self, destination: str) -> bool:
        """Whether new mail may be attempted as it comes: nothing waits before it."""
        return (
            destination not in self._ready
            and destination not in self._backoffs
            and self.spare(destination) > 0
        )

    def has_due(self, destination: str) -> bool:
        """There is mail for it; it takes its turn behind the others.

        :return: false where there are too many others: it is not kept in mind.
        """
        if destination in self._ready or destination in self._resting:
            return True
        if self.may_learn(1):
            self._ready[destination] = None
            return True
        return False

    def rest(self, destination: str) -> bool:
        """There is mail for it, and it has no turn until :meth:`rested`.

        :return: as :meth:`has_due`.
        """
        if not self.has_due(destination):
            return False
        self._ready.pop(destination, None)
        self._resting[destination] = None
        return True

    def rested(self) -> None:
        """Those that have no turn may have one again."""
        self._ready.update(self._resting)
        self._resting.clear()

    def may_learn(self, number: int) -> bool:
        """Whether so many more that have mail that is due would be kept in mind."""
        # Those that may have no attempt more never keep out all others.
        known = len(self._ready) + len(self._resting)
        return known + number <= MOST_READY + self.total

    def has_none_due(self, destination: str) -> None:
        """All that was due is being attempted."""
        self._ready.pop(destination, None)

    def next(self) -> str | None:
        """Whose turn it is, of those that are ready and may have an attempt more."""
        if not self.room:
            return None
        for destination in self._ready:
            if self.spare(destination):
                self._ready.move_to_end(destination)
                return destination
        return None

    # -- what cannot be reached

    def failed(self, destination: str, reply: Reply, now: float) -> None:
        """It could not be reached; further failures of the same round count once."""
        self._reached.pop(destination, None)
        known = self._backoffs.pop(destination, None)
        if known is None or known.until <= now:
            failures = known.failures + 1 if known else 1
            known = Backoff(failures, now + schedule.backoff(failures), reply)
        self._backoffs[destination] = known
        if len(self._backoffs) > MOST_BACKOFFS:
            self._backoffs.popitem(last=False)

    def reached(self, destination: str) -> None:
        """It was reached."""
        self._backoffs.pop(destination, None)
        if destination in self._resting:
            del self._resting[destination]
            self._ready[destination] = None
        self._reached[destination] = None
        self._reached.move_to_end(destination)
        if len(self._reached) > MOST_REACHED:
            self._reached.popitem(last=False)

    def backing_off(self, destination: str, now: float) -> Reply | None:
        """Why it is left alone now, if it is."""
        known = self._backoffs.get(destination)
        return known.reply if known is not None and known.until > now else None

    def forget_backoffs(self) -> None:
        """Try all of them again when they have mail that is due."""
        self._backoffs.clear()
        self.rested()
