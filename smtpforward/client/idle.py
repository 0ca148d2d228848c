"""The idle connections of a pool: which one is taken next, and which ones have lain too long.

However many there are, each call costs the same, but for those that follow new settings. The most
recently used one is taken first, so that a pool which is too large for its traffic shrinks.
"""

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from typing import Generic

from smtpforward.client.waiters import C


class IdleConnections(Generic[C]):
    """Idle connections, each with the time when it is to end."""

    def __init__(self) -> None:
        # The most recently used at the right. As all may lie idle equally long, the first to end is
        # at the left.
        self._until: OrderedDict[C, float] = OrderedDict()
        # Those whose age ends them before that: each once, also while it is in use again.
        self._aging: list[tuple[float, int, C]] = []
        self._known: set[C] = set()
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._until)

    def __contains__(self, connection: C) -> bool:
        return connection in self._until

    def __iter__(self) -> Iterator[C]:
        """The least recently used one first."""
        return iter(self._until)

    def add(self, connection: C, until: float, worn_at: float) -> float:
        """One that lies idle from now on.

        :param until: how long it may, on the clock; not before that of any other.
        :param worn_at: when its age ends it.
        :return: when it is to end.
        """
        self._until[connection] = until
        if until <= worn_at:
            return until
        if connection not in self._known:
            self._known.add(connection)
            heappush(self._aging, (worn_at, next(self._numbers), connection))
        return worn_at

    def take(self) -> tuple[C, float] | None:
        """The most recently used one, and until when it could have lain idle; if there is one."""
        return self._until.popitem() if self._until else None

    def discard(self, connection: C) -> None:
        """It is not idle any more, if it was."""
        self._until.pop(connection, None)

    def oldest(self) -> C:
        """The least recently used one."""
        return next(iter(self._until))

    def due(self, now: float) -> Iterator[C]:
        """Those that are to end by ``now``; each is taken out before it is handed out."""
        until = self._until
        while until and until[oldest := next(iter(until))] <= now:
            del until[oldest]
            yield oldest
        while self._aging and self._aging[0][0] <= now:
            _, _, connection = heappop(self._aging)
            self._known.discard(connection)
            if until.pop(connection, None) is not None:
                yield connection

    def next_due(self) -> float | None:
        """When to look again; it may be that nothing is due then."""
        if not self._until:
            return None
        due = self._until[next(iter(self._until))]
        return min(due, self._aging[0][0]) if self._aging else due

    def hurry(self, earlier: float) -> None:
        """Let all that lie idle end by so many seconds earlier; their age is another matter."""
        for connection, until in self._until.items():
            self._until[connection] = until - earlier

    def shorten(self, latest: float, worn_at: Callable[[C], float]) -> None:
        """Let none lie idle beyond ``latest``, and each have a new age to end at."""
        self._aging.clear()
        self._known.clear()
        for connection, until in self._until.items():
            self.add(connection, min(until, latest), worn_at(connection))
