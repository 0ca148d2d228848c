"""One attempt at an entry: read the message, hand it over, record what came of it.

Failure policy: what happened is recorded again and again until it is, so that no recipient gets the
message twice for want of a record; a process that dies in between makes a duplicate, never a loss.
What the store was asked is never broken off. Whose sender cannot be told of a failure stays in the
queue.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from smtpforward.config.settings import Outbound, Settings
from smtpforward.content import Content
from smtpforward.counts import Counts
from smtpforward.net.clock import Clock
from smtpforward.outbound import notices, results, schedule
from smtpforward.outbound.entry import Attempt, Claimed, Result, State
from smtpforward.outbound.errors import StoreDamagedError, StoreError
from smtpforward.outbound.handover import HandedOver, HandOver, Targets
from smtpforward.outbound.leases import Leases
from smtpforward.outbound.lines import STATUS, report
from smtpforward.reply import Reply

T = TypeVar("T")
SOON = 60.0  # after what was no attempt
STORE_AGAIN = 5.0  # after what the store could not give
SLOWEST_RECORD = 30.0
MUCH_LATER = 3600.0  # where an operator has to look


@frozen
class After:
    """What an attempt leaves to be done.

    :ivar due: when the entry falls due again; ``None`` where it does not, or nobody knows.
    :ivar destinations: those that there is new mail for.
    """

    due: float | None = None
    destinations: tuple[str, ...] = ()


NOTHING = After()


class Attempts:
    """Makes attempts.

    :param settings: those that hold now.
    :param told: called with the entry and what came of it, before it is recorded.
    """

    log = Logger()

    def __init__(
        self,
        store: Any,
        leases: Leases,
        targets: Callable[[], Targets],
        settings: Callable[[], Settings],
        clock: Clock,
        told: Callable[[Claimed, HandedOver], None],
        counts: Counts,
    ) -> None:
        self._store = store
        self._leases = leases
        self._settings = settings
        self._hand_over = HandOver(leases, targets, settings, clock)
        self._clock = clock
        self._told = told
        self._counts = counts

    async def make(
        self, claimed: Claimed, content: Content | None = None, instead: Reply | None = None
    ) -> After:
        """The whole attempt; the lease is held already.

        :param content: where it is at hand; closed here.
        :param instead: why no server is asked: the destination backs off.
        """
        began = self._clock.seconds()
        try:
            content = content or await self._read(claimed)
        except KeyError:
            self.log.info("id={id}: is no longer in the queue", id=claimed.message.id)
            return NOTHING
        except CancelledError:
            return await self._give_back(claimed, self._store.now())
        except StoreError as error:
            self.log.error("id={id}: {why}", id=claimed.message.id, why=str(error))
            return await self._give_back(claimed, self._store.now() + STORE_AGAIN)
        try:
            handed = await self._hand_over.of(claimed, content, instead)
            self._told(claimed, handed)
            return await self._conclude(claimed, handed, content, self._clock.seconds() - began)
        except CancelledError:
            return await self._give_back(claimed, self._store.now())
        finally:
            if content is not None:
                content.close()

    async def leave(self, claimed: Claimed, content: Content | None = None) -> After:
        """No attempt, because the gateway ends; ``content`` is closed."""
        if content is not None:
            content.close()
        return await self._give_back(claimed, self._store.now())

    async def _read(self, claimed: Claimed) -> Content | None:
        """The message, or ``None`` where that needs an operator."""
        reading: Deferred[Content] = self._store.content(claimed.message.id)
        try:
            return await _shielded(reading)
        except CancelledError:
            # It comes all the same, perhaps with a descriptor.
            reading.addCallbacks(Content.close, lambda failure: None)
            raise
        except (StoreDamagedError, OSError) as error:
            self.log.error("id={id}: {why}", id=claimed.message.id, why=str(error))
            return None

    async def _give_back(self, claimed: Claimed, due: float) -> After:
        """Nothing was sent: whoever comes first attempts it, from ``due`` on."""
        try:
            await self._store.give_back((claimed.id,), self._leases.owner, due)
        except StoreError as error:
            # The lease ends by itself.
            self.log.warn("id={id}: {why}", id=claimed.message.id, why=str(error))
            return NOTHING
        except CancelledError:
            # The store does it all the same.
            return NOTHING
        return After(due)

    # -- what came of it

    async def _conclude(
        self, claimed: Claimed, handed: HandedOver, content: Content | None, took: float
    ) -> After:
        at, fates, due = self._store.now(), handed.fates, None
        if any(fate.state is State.QUEUED for fate in fates):
            due = self._next_due(claimed, handed, at)
            if due is None:
                fates = results.given_up(fates)
        try:
            report(claimed, fates, at)
            until = None if due is None else self._last_attempt(claimed, due)
            made = notices.made_by(self._settings(), claimed, fates, content, at, until)
        except Exception:
            # Unrecorded, it would be sent again; recorded as it is, nobody would hear of it.
            self.log.failure("id={id}: the sender cannot be told", id=claimed.message.id)
            fates, made = results.kept(fates), notices.Made()
            due = at + MUCH_LATER if any(fate.state is State.QUEUED for fate in fates) else None
        for fate in fates:
            self._counts.deliveries[fate.backend, STATUS[fate.state]] += 1
        result = Result(
            claimed.id,
            claimed.message.id,
            self._leases.owner,
            Attempt(at, took, fates[0].peer, tuple(fate.recorded() for fate in fates)),
            due,
            handed.counted,
            made.told_of_delay,
            made.messages,
        )
        try:
            await self._record(result, handed.broken_off)
        finally:
            for new in made.messages:
                new.content.close()
        told = [entry.destination for new in made.messages for entry in new.entries]
        return After(due, tuple(told))

    def _next_due(self, claimed: Claimed, handed: HandedOver, at: float) -> float | None:
        if not handed.counted:
            return at + SOON
        return schedule.next_due(claimed.attempts, self._outbound.intervals, at)

    def _last_attempt(self, claimed: Claimed, due: float) -> float:
        return schedule.last_attempt(claimed.attempts, self._outbound.intervals, due)

    @property
    def _outbound(self) -> Outbound:
        outbound = self._settings().outbound
        assert outbound is not None, "there is a queue"
        return outbound

    async def _record(self, result: Result, once: bool) -> None:
        """Until it is.

        Broken off, because the gateway has to end, the entry is attempted again by whoever is next:
        that is the only way in which a delivered message is sent twice.

        :param once: it has been broken off already.
        :raise CancelledError: when it is not recorded.
        """
        wait = 1.0
        while True:
            recording: Deferred[None] = self._store.record(result)
            try:
                try:
                    return await _shielded(recording)
                except CancelledError:
                    once = True
                    return await recording
            except Exception as error:
                # Also what is not foreseen: it would be sent again and again.
                self._complain(result, error)
            if once:
                raise CancelledError
            await deferLater(self._clock, wait)  # type: ignore[arg-type]
            wait = min(SLOWEST_RECORD, wait * 2)

    def _complain(self, result: Result, error: Exception) -> None:
        text = "id={id}: the result of an attempt cannot be recorded yet: {why}"
        if isinstance(error, StoreError):
            self.log.error(text, id=result.message, why=str(error))
        else:
            self.log.failure(text, id=result.message, why=repr(error))


def _shielded(begun: "Deferred[T]") -> "Deferred[T]":
    """What comes of ``begun``; to cancel it leaves ``begun`` alone, for whoever waits then."""
    shielded: Deferred[T] = Deferred()

    def tell(result: Any) -> Any:
        if shielded.called:
            return result
        shielded.callback(result)
        return None

    begun.addBoth(tell)
    return shielded
