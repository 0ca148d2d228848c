"""Takes what is due out of the store, one destination after the other, as there is room.

One pass runs at a time: it asks which destinations have mail that is due, leases a few entries of
each in turn, and ends when there is no room or nothing due. What ends, is put in or falls due makes
it look again. It asks before it leases: those that have fallen due take turns with those that are
never without mail. What falls due while its destination backs off is put off, in its time.

Failure policy: while the store cannot be used it looks again after some seconds.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from smtpforward.config.settings import Outbound
from smtpforward.net.clock import Clock
from smtpforward.outbound.deferral import Deferral, Left
from smtpforward.outbound.destinations import Destinations
from smtpforward.outbound.entry import Claimed
from smtpforward.outbound.errors import StoreError
from smtpforward.outbound.leases import Leases
from smtpforward.reply import Reply

LOOK_AGAIN = 60.0  # at the latest, whatever the store has said
AFTER_ERROR = 5.0
LEAST_WAIT = 0.01
BATCH = 100
TURNS_AT_ONCE = 20

Begin = Callable[[Claimed, Reply | None], None]


class Turns:
    """Whose mail is attempted next.

    :param begin: called with each entry that was leased, and why its destination is left alone,
        where it is; it counts in ``destinations`` already.
    """

    log = Logger()

    def __init__(
        self,
        store: Any,
        leases: Leases,
        destinations: Destinations,
        outbound: Callable[[], Outbound],
        clock: Clock,
        begin: Begin,
    ) -> None:
        self._store = store
        self._leases = leases
        self._destinations = destinations
        self._outbound = outbound
        self._clock = clock
        self._begin = begin
        self._deferral = Deferral(store, outbound, clock, self._rested)
        self._timer: IDelayedCall | None = None
        self._passing: Deferred[None] | None = None
        self._again = False
        self._more = False
        self._next_due = math.inf
        self._unsure = False
        self._stopped = False

    @property
    def busy(self) -> bool:
        """Whether a pass is under way."""
        return self._passing is not None

    def look(self) -> None:
        """Something may have fallen due that is not known yet."""
        self._more = True
        self.go_on()

    def put_in(self, destinations: Iterable[str]) -> None:
        """There is mail for these, in the store."""
        for destination in destinations:
            # What is not kept in mind is asked for again.
            self._more |= not self._destinations.has_due(destination)
        self.go_on()

    def wake_at(self, due: float) -> None:
        """An entry falls due then, on the store's clock."""
        if due < self._next_due:
            self._next_due = due
            if self._passing is None:
                self._set_timer()

    def go_on(self) -> None:
        """There may be room."""
        if self._passing is not None:
            self._again = True
        elif not self._stopped and (self._more or self._destinations.ready):
            self._cancel_timer()
            self._again = False
            passing = self._passing = Deferred.fromCoroutine(self._pass())
            passing.addBoth(self._passed)

    def stop(self) -> "Deferred[None]":
        """Lease nothing more; fires when what was under way has ended."""
        self._stopped = True
        self._cancel_timer()
        self._deferral.stop()
        done: Deferred[None] = Deferred()
        if self._passing is None:
            done.callback(None)
        else:
            self._passing.addBoth(lambda _: done.callback(None))
        return done

    def _passed(self, failed: Failure | None) -> None:
        self._passing = None
        if failed is not None:
            if failed.check(StoreError):
                self.log.error("the outbound queue: {why}", why=failed.getErrorMessage())
            else:
                self.log.failure("the outbound queue cannot be looked through", failed)
            self._more = True
            self._next_due = self._store.now() + AFTER_ERROR
        if self._again and failed is None:
            self.go_on()
        if self._passing is None:
            self._set_timer()

    def _set_timer(self) -> None:
        self._cancel_timer()
        if not self._stopped:
            wait = min(LOOK_AGAIN, max(LEAST_WAIT, self._next_due - self._store.now()))
            self._timer = self._clock.callLater(wait, self._woken)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _woken(self) -> None:
        self._timer = None
        self.look()

    def _rested(self) -> None:
        self._destinations.rested()
        self.go_on()

    # -- one pass

    async def _pass(self) -> None:
        """Lease what there is room for."""
        while not (self._stopped or self._outbound().disabled):
            if self._more and self._destinations.room and self._destinations.may_learn(BATCH):
                await self._find()
            elif taking := self._begin_turns():
                results: list[tuple[bool, Any]] = await DeferredList(taking, consumeErrors=True)
                for done, result in results:
                    if not done:
                        raise result.value
            else:
                break
        if self._more:
            # There is no room. When there is, whatever falls due until then is found as well.
            self._next_due = math.inf
        elif self._unsure and not self._stopped:
            await self._find_next()

    def _begin_turns(self) -> "list[Deferred[None]]":
        """The turns of some destinations at once: the store answers them together."""
        turns: list[Deferred[None]] = []
        while len(turns) < TURNS_AT_ONCE:
            destination = self._destinations.next()
            if destination is None:
                break
            # Before the claim: what is put in meanwhile is news.
            self._destinations.has_none_due(destination)
            turns.append(Deferred.fromCoroutine(self._take(destination)))
        return turns

    async def _find(self) -> None:
        """Ask for destinations that are not known to have mail that is due."""
        # What wakes us from here on is news.
        self._more = False
        found = await self._store.due(BATCH, self._destinations.known_due)
        self._more |= len(found) == BATCH
        self._unsure = True
        for destination in found:
            self._more |= not self._destinations.has_due(destination)

    async def _find_next(self) -> None:
        """Ask when something falls due that is not known to be due."""
        self._unsure = False
        # What is put off from here on counts as well.
        self._next_due = math.inf
        due = await self._store.next_due(self._destinations.known_due)
        if due is not None:
            self._next_due = min(self._next_due, due)

    async def _take(self, destination: str) -> None:
        """Lease some entries of it, and begin."""
        known = self._destinations
        instead = known.backing_off(destination, self._clock.seconds())
        left = await self._put_off(destination, instead) if instead else Left.NOTHING
        if left is Left.LATER:
            self._more |= not known.rest(destination)
            return
        number, asked = known.spare(destination), left is Left.MORE
        claimed = await self._claim(destination, number, asked) if number else []
        if asked or len(claimed) == number:
            self._more |= not known.has_due(destination)
        else:
            # When more of it falls due, only the store knows.
            self._unsure = True
        # It may have been reached meanwhile, or have failed.
        instead = known.backing_off(destination, self._clock.seconds())
        for entry in claimed:
            self._begin(entry, None if entry.asked else instead)

    async def _put_off(self, destination: str, reply: Reply) -> Left:
        """Do not attempt what is due."""
        # Never may so many rest that others are not looked for.
        hurry = not self._destinations.may_learn(2 * BATCH)
        return await self._deferral.put_off(destination, reply, hurry)

    async def _claim(self, destination: str, number: int, asked: bool) -> list[Claimed]:
        """Lease up to so many; ``asked``: only what an operator has asked for."""
        known, fresh, lease = self._destinations, list[Claimed](), self._leases.new()
        # They count while they are on their way.
        known.begin(destination, number)
        try:
            for entry in await self._store.claim(destination, number, lease, asked):
                if not self._leases.is_known(entry.id):
                    self._leases.hold(entry.id, lease)
                    fresh.append(entry)
                elif entry.content is not None:
                    # The lease had ended, and the attempt at it has not.
                    entry.content.close()
        finally:
            known.end(destination, number - len(fresh))
        return fresh
