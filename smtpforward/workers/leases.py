"""A worker's side of the slots: what it holds of each backend's bound, and when it asks or gives.

A pool opens connections in the slots that its worker holds, and says nothing to anyone. Only when
it lacks some does the worker ask the parent (``shares.py``); a few more come along and stay in
reserve. What is free beyond that goes back, all of it when slots are scarce. So the parent hears of
connections, not of messages, and while there is plenty not even of each connection.
"""

from collections.abc import Callable, Hashable

from smtpforward.workers.messages import Cap, Give, Grant, Message, Scarce, Want
from smtpforward.workers.shares import lot

Say = Callable[[Message], None]


class Share:
    """What this worker holds of one backend's slots; see :class:`smtpforward.client.slots.Slots`.

    :param bound: of the whole gateway. ``nodes``: how many workers share it.
    :param emptied: called when nothing is held any more and nobody has a use for it.
    """

    def __init__(
        self, key: Hashable, bound: int, nodes: int, say: Say, emptied: Callable[[], None]
    ) -> None:
        self.held = 0
        self.scarce = False
        self.changed: Callable[[], None] = lambda: None
        self._key = key
        self._bound = bound
        self._nodes = nodes
        self._say = say
        self._emptied = emptied
        self._cap: int | None = None
        self._target = 0

    def __repr__(self) -> str:
        return f"<Share of {self._key}: {self.limit} of {self._bound}>"

    @property
    def limit(self) -> int:
        """Connections in all states together."""
        return self.held if self._cap is None else min(self.held, self._cap)

    # -- the pool speaks

    def tell(self, used: int, lacking: int, bound: int) -> None:
        """Give back what is too much, ask for what is too little."""
        if bound != self._bound:
            self._bound = bound
            self._say(Want(self._key, bound, self._target))
        self._give(self._surplus(self.held - used, lacking))
        if lacking:
            self._ask(used + lacking)
        elif self._target > self.held:
            self._target = 0
            self._say(Want(self._key, self._bound, 0))

    def release(self) -> None:
        """The pool is empty: all of it goes back."""
        self.tell(0, 0, self._bound)
        self._give(self.held)
        self._emptied()

    def _surplus(self, free: int, lacking: int) -> int:
        owed = min(free, self.held - self.limit)
        if lacking:
            return owed
        if self.scarce:
            return free
        reserve = lot(self._bound, self._nodes)
        return max(owed, free - reserve if free > 2 * reserve else 0)

    def _give(self, slots: int) -> None:
        if slots <= 0:
            return
        self.held -= slots
        self._target = 0
        if self._cap is not None and self.held <= self._cap:
            self._cap = None
        self._say(Give(self._key, slots))

    def _ask(self, target: int) -> None:
        """Once, until all of it has come or twice as much is needed."""
        if target > self._target and (self._target <= self.held or target >= 2 * self._target):
            self._target = target
            self._say(Want(self._key, self._bound, target))

    # -- the parent speaks

    def granted(self, slots: int) -> None:
        """So many more."""
        self.held += slots
        self._cap = None
        self.changed()

    def capped(self, slots: int) -> None:
        """No more than that, as soon as may be."""
        if slots < self.held:
            self._cap = slots
            self.changed()

    def set_scarce(self, scarce: bool) -> None:
        """Whether others wait."""
        self.scarce = scarce
        self.changed()


class Leases:
    """All that a worker holds.

    :param nodes: how many workers there are.
    """

    def __init__(self, nodes: int, say: Say) -> None:
        self._nodes = nodes
        self._say = say
        self._shares: dict[Hashable, Share] = {}

    def share(self, key: Hashable, bound: int) -> Share:
        """The slots of a new pool: none so far."""
        share = Share(key, bound, self._nodes, self._say, lambda: self._forget(key))
        self._shares[key] = share
        return share

    def _forget(self, key: Hashable) -> None:
        self._shares.pop(key, None)

    def received(self, message: Grant | Cap | Scarce) -> None:
        """The parent has decided something."""
        share = self._shares.get(message.key)
        if isinstance(message, Grant):
            if share is None:
                # What was asked for is not needed any more: the pool has been forgotten.
                self._say(Give(message.key, message.slots))
            else:
                share.granted(message.slots)
        elif share is not None and isinstance(message, Cap):
            share.capped(message.slots)
        elif share is not None and isinstance(message, Scarce):
            share.set_scarce(message.scarce)
