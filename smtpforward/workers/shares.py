"""The parent's book of slots: which worker may have how many connections to each backend.

Rules, for each key on its own:

- what all workers hold, and what is on its way to them, never exceeds the bound;
- a free slot goes to the one that wants it and holds least; of several, to the one that was granted
  one longest ago; when all have what they want, some more come along, so that few messages go
  round while there is plenty;
- as long as somebody wants in vain, the others keep no slot idle; and each ``TURN`` seconds one
  that holds more hands some over, though it could use them: so nobody waits for ever, also where
  there are fewer slots than workers.

A worker that has ended holds nothing: its connections ended with it. Nothing here fails.
"""

import itertools
from collections.abc import Callable, Hashable

from attrs import define, field

from smtpforward.net.clock import Clock, Watch
from smtpforward.workers.messages import Cap, Give, Grant, Message, Scarce, Want

TURN = 1.0
Say = Callable[[int, Message], None]


def lot(bound: int, nodes: int) -> int:
    """How many slots come along at once, and stay in reserve, while there is plenty."""
    return bound // (4 * nodes)


@define(eq=False)
class _Holder:
    """One worker's part in one key.

    :ivar target: what it would like to hold. ``granted``: its last grant, as a running number.
    :ivar cap: what it has been asked to come down to. ``hushed``: told that slots are scarce.
    """

    held: int = 0
    target: int = 0
    granted: int = 0
    cap: int | None = None
    hushed: bool = False

    @property
    def wants(self) -> int:
        """Slots that it lacks."""
        return max(0, self.target - self.held)

    @property
    def keeps(self) -> int:
        """Slots that nobody has asked back yet."""
        return self.held if self.cap is None else min(self.held, self.cap)


@define(eq=False)
class _Account:
    """All workers' parts in one key."""

    bound: int
    turn: Watch | None = None
    holders: dict[int, _Holder] = field(factory=dict)

    @property
    def free(self) -> int:
        return self.bound - sum(holder.held for holder in self.holders.values())

    def waiting(self) -> list[tuple[int, _Holder]]:
        """Who wants some, the first to be served first."""
        found = [(worker, one) for worker, one in self.holders.items() if one.wants]
        return sorted(found, key=lambda item: (item[1].keeps, item[1].granted))


class Shares:
    """The book.

    :param nodes: how many workers there are.
    :param say: sends a message to a worker, known by any number of its own.
    """

    def __init__(self, nodes: int, say: Say, clock: Clock) -> None:
        self._nodes = nodes
        self._say = say
        self._clock = clock
        self._accounts: dict[Hashable, _Account] = {}
        self._numbers = itertools.count(1)

    def held(self, key: Hashable) -> dict[int, int]:
        """What each worker may have open to ``key`` at this moment."""
        account = self._accounts.get(key)
        return {w: one.held for w, one in account.holders.items()} if account else {}

    def received(self, worker: int, message: Want | Give) -> None:
        """A worker wants slots, or gives some back."""
        key = message.key
        account = self._accounts.get(key)
        if isinstance(message, Want):
            if account is None:
                account = self._accounts[key] = _Account(message.bound)
            account.bound = message.bound
            account.holders.setdefault(worker, _Holder()).target = message.target
        elif account is not None:
            self._given(account.holders[worker], message.slots)
        if account is not None:
            self._settle(key, account)

    def _given(self, holder: _Holder, slots: int) -> None:
        holder.held -= slots
        holder.target = 0
        holder.hushed = holder.hushed and holder.held > 0
        if holder.cap is not None and holder.held <= holder.cap:
            holder.cap = None

    def gone(self, worker: int) -> None:
        """A worker has ended."""
        for key, account in list(self._accounts.items()):
            if account.holders.pop(worker, None) is not None:
                self._settle(key, account)

    def stop(self) -> None:
        """Leave nothing in the clock."""
        for account in self._accounts.values():
            if account.turn is not None:
                account.turn.stop()
        self._accounts.clear()

    # -- who gets what

    def _settle(self, key: Hashable, account: _Account) -> None:
        for worker, slots in self._portions(account).items():
            self._say(worker, Grant(key, slots))
        self._fit(key, account)
        scarce = bool(account.waiting())
        for worker, holder in account.holders.items():
            if holder.hushed != scarce and (holder.held or not scarce):
                holder.hushed = scarce
                self._say(worker, Scarce(key, scarce))
        if scarce:
            self._wait_a_turn(key, account)
        else:
            self._forget_if_empty(key, account)

    def _portions(self, account: _Account) -> dict[int, int]:
        """Give out free slots, one at a time, and a few beyond: who gets how many."""
        portions: dict[int, int] = {}
        free = account.free
        while free > 0 and (waiting := account.waiting()):
            worker, holder = waiting[0]
            self._grant(holder, 1)
            portions[worker] = portions.get(worker, 0) + 1
            free -= 1
        for worker in portions:
            more = min(lot(account.bound, self._nodes) - portions[worker], free // 2)
            if more > 0:
                self._grant(account.holders[worker], more)
                portions[worker] += more
                free -= more
        return portions

    def _grant(self, holder: _Holder, slots: int) -> None:
        holder.held += slots
        holder.cap = None
        holder.granted = next(self._numbers)

    def _fit(self, key: Hashable, account: _Account) -> None:
        """The bound may have become smaller than what is held."""
        kept = sum(holder.keeps for holder in account.holders.values())
        while kept > account.bound:
            worker, holder = self._richest(account)
            self._cap(key, worker, holder, holder.keeps - 1)
            kept -= 1

    def _richest(self, account: _Account) -> tuple[int, _Holder]:
        """Who keeps most; of several, the one that was granted something longest ago."""
        return max(account.holders.items(), key=lambda item: (item[1].keeps, -item[1].granted))

    def _cap(self, key: Hashable, worker: int, holder: _Holder, slots: int) -> None:
        holder.cap = slots
        self._say(worker, Cap(key, slots))

    # -- turns

    def _wait_a_turn(self, key: Hashable, account: _Account) -> None:
        if account.turn is None:
            account.turn = Watch(self._clock, lambda: self._turn(key, account))
        if account.turn.due is None:
            account.turn.arm(TURN)

    def _turn(self, key: Hashable, account: _Account) -> None:
        """Somebody has wanted in vain: even things out."""
        waiting = account.waiting()
        for _, wanting in waiting:
            worker, rich = self._richest(account)
            more = rich.keeps - wanting.held
            if more < 2 and (wanting.held or not rich.keeps):
                break  # There is nothing to even out, or it has all been asked for.
            self._cap(key, worker, rich, rich.keeps - min(wanting.wants, (more + 1) // 2))
        if waiting:
            self._wait_a_turn(key, account)

    def _forget_if_empty(self, key: Hashable, account: _Account) -> None:
        if account.turn is not None:
            account.turn.disarm()
        if not any(holder.held for holder in account.holders.values()):
            if account.turn is not None:
                account.turn.stop()
            del self._accounts[key]
