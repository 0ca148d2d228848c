"""The outbound queue: takes messages durably, and sees to it that each is attempted in its time.

It is a target like the forwarding client: ``deliver`` answers when the message is on disk. What can
be attempted at once is leased as it is written, and goes out from memory; the rest waits in the
store for its turn (``turns.py``). Nothing here grows with the number of messages.

Failure policy: while the store cannot be used senders hear 451 4.3.2, or 452 4.3.1 when it is full,
and what is queued waits. A store that cannot be opened is tried again.
"""

import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from smtpforward.config.settings import Outbound, Settings
from smtpforward.content import Content
from smtpforward.counts import Counts
from smtpforward.interfaces import IDeliver
from smtpforward.job import Event, Job, Outcome
from smtpforward.net.clock import Clock
from smtpforward.outbound import accept
from smtpforward.outbound.attempt import NOTHING, After, Attempts
from smtpforward.outbound.destinations import Destinations
from smtpforward.outbound.entry import Change, Claimed, Filter, NewMessage
from smtpforward.outbound.errors import StoreError
from smtpforward.outbound.handover import HandedOver, Targets
from smtpforward.outbound.leases import Leases
from smtpforward.outbound.turns import Turns
from smtpforward.reply import Reply

OPEN_AGAIN = 5.0


@implementer(IDeliver)
class OutboundQueue:
    """Mail that waits for its next hop.

    :param store: an :class:`smtpforward.interfaces.IQueueStore`.
    :param targets: who hands over, and who finds MX hosts, as of now.
    :ivar delivers: whether this process attempts what is queued; else it only puts mail in.
    :param counts: what is counted.
    :ivar destinations: what is being attempted, and which destinations back off.
    """

    log = Logger()

    def __init__(
        self,
        settings: Settings,
        store: Any,
        targets: Callable[[], Targets],
        clock: Clock,
        delivers: bool = True,
        counts: Counts | None = None,
    ) -> None:
        self.settings = settings
        self.store = store
        self.owner = uuid.uuid4().hex
        self._clock = clock
        self.delivers = delivers
        outbound = self._outbound()
        self.destinations = Destinations(outbound.concurrency_max, outbound.pool_concurrency_max)
        self._leases = Leases(store, self.owner, clock, lambda: self._outbound().lease)
        counts = counts or Counts()
        self._attempts = Attempts(
            *(store, self._leases, targets, lambda: self.settings, clock, self._told, counts)
        )
        self._turns = Turns(
            store, self._leases, self.destinations, self._outbound, clock, self._begin
        )
        # What has to be over before it is known what there is to end.
        self._beginning: set[Deferred[Any]] = set()
        # With the entry of each.
        self._running: dict[Deferred[Any], int] = {}
        self._writing = 0  # bytes of messages that the store is being given
        self._opened = False
        # Who came while the store is opened for the first time; ``None`` when that has ended.
        self._early: list[Deferred[None]] | None = None
        self._ending = False
        self._broken_off = False
        self._opening: IDelayedCall | None = None

    def _outbound(self) -> Outbound:
        outbound = self.settings.outbound
        assert outbound is not None, "settings with a queue"
        return outbound

    # -- from the start to the end

    def start(self) -> "Deferred[None]":
        """Open the store; mail that comes meanwhile waits for it, once.

        :return: Deferred, which fires when that was done, or has failed and will be tried again.
        """
        first: Deferred[None] = Deferred()
        self._early = [first]
        self._open()
        return first

    def _open(self) -> None:
        self._opening = None
        opening: Deferred[Any] = self.store.open(self.owner if self.delivers else None)
        self._beginning.add(opening)
        opening.addCallbacks(self._is_open, self._not_open)
        opening.addCallback(self._let_in)
        opening.addCallback(lambda _: self._beginning.discard(opening))

    def _is_open(self, _: object) -> None:
        self._opened = True
        if self.delivers and not self._ending:
            self.store.watch(self._turns.look)
            self._turns.look()

    def _not_open(self, failure: Failure) -> None:
        if failure.check(StoreError):
            self.log.error("the outbound queue: {why}", why=failure.getErrorMessage())
        else:
            self.log.failure("the outbound queue cannot be opened", failure)
        if not self._ending:
            self._opening = self._clock.callLater(OPEN_AGAIN, self._open)

    def _let_in(self, _: object) -> None:
        early, self._early = self._early or (), None
        for waiting in early:
            waiting.callback(None)

    def adopt(self, settings: Settings) -> None:
        """Let ``settings`` hold from the next message and attempt on."""
        if _ways(settings) != _ways(self.settings):
            # What could not be reached may be another host by now, or let us in.
            self.destinations.forget_backoffs()
        self.settings = settings
        outbound = self._outbound()
        self.destinations.total = outbound.concurrency_max
        self.destinations.each = outbound.pool_concurrency_max
        if self._opened and self.delivers:
            self._turns.look()

    def end(self) -> "Deferred[Any]":
        """Begin nothing more; fires when what is being attempted is recorded."""
        self._ending = True
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None
        # What the turns had leased by then has begun, and is waited for as well.
        taken = DeferredList([self._turns.stop(), *self._beginning])
        # One of its own: who waits no longer breaks nothing off.
        ended: Deferred[Any] = Deferred()
        taken.addCallback(lambda _: DeferredList([*self._running])).addCallback(ended.callback)
        return ended

    def break_off(self) -> "Deferred[Any]":
        """Give back what has not come to its dot; fires when the rest is recorded."""
        self._broken_off = True
        for attempt, entry in list(self._running.items()):
            if not self._leases.has_left(entry):
                attempt.cancel()
        return self.end()

    def close(self) -> "Deferred[Any]":
        """Close the store; what is not recorded by then is attempted again by whoever is next."""
        self._leases.stop()
        opened, self._opened = self._opened, False
        closing: Deferred[Any] = self.store.close() if opened else succeed(None)
        return closing

    @property
    def is_open(self) -> bool:
        """Whether its store is."""
        return self._opened

    @property
    def idle(self) -> bool:
        """Whether nothing is being attempted or looked for."""
        return not (self._running or self._turns.busy)

    def change(self, which: Filter, what: Change) -> "Deferred[int]":
        """See :meth:`smtpforward.interfaces.IQueueStore.change`; what has become due is attempted.

        The store tells nobody of what its own process has changed.
        """
        changing: Deferred[int] = self.store.change(which, what)
        return changing.addCallback(self._changed)

    def _changed(self, number: int) -> int:
        if self.delivers and self._opened and not self._ending:
            self._turns.look()
        return number

    # -- taking mail

    def deliver(self, job: Job) -> "Deferred[list[Outcome]]":
        """See :class:`smtpforward.interfaces.IDeliver`: delivered is what is on disk."""
        if self._early is not None:
            waiting: Deferred[None] = Deferred()
            self._early.append(waiting)
            return waiting.addCallback(lambda _: self.deliver(job))
        if refusal := self._refusal(job):
            return succeed(accept.not_taken(job, Event.QUEUE_UNAVAILABLE, refusal))
        try:
            new = accept.new_message(self.settings, job, self.store.now())
        except OSError as error:
            self.log.error("id={id}: cannot be queued: {why}", id=job.id, why=str(error))
            return succeed(accept.not_taken(job, Event.QUEUE_UNAVAILABLE, str(error)))
        # Cancelled, it is written all the same, and nobody is told.
        result: Deferred[list[Outcome]] = Deferred()
        about = (job, new, result)
        self._writing += new.message.size
        adding: Deferred[Any] = self._add(new)
        self._beginning.add(adding)
        adding.addCallbacks(self._taken, self._not_taken, callbackArgs=about, errbackArgs=about)
        adding.addErrback(_fault, result)
        adding.addCallback(lambda _: self._beginning.discard(adding))
        return result

    def _refusal(self, job: Job) -> str | None:
        """Why nothing is taken now, if so."""
        if not self._opened or self._ending:
            return "the store is not open"
        # Clients that do not wait for the answer are counted nowhere else.
        if self._writing and self._writing + job.content.size > self.settings.limits.memory:
            return "the store is slow, and too much waits to be written"
        return None

    def _add(self, new: NewMessage) -> "Deferred[list[Claimed]]":
        """Write it, leased where all of it can be attempted at once."""
        wanted = Counter(entry.destination for entry in new.entries)
        if not self._may_begin(wanted):
            waiting: Deferred[list[Claimed]] = self.store.add(new)
            return waiting
        lease = self._leases.new()
        for destination, number in wanted.items():
            self.destinations.begin(destination, number)
        adding: Deferred[list[Claimed]] = self.store.add(evolve(new, lease=lease))
        adding.addErrback(self._not_begun, wanted)
        return adding.addCallback(self._leased, lease)

    def _may_begin(self, wanted: "Counter[str]") -> bool:
        known = self.destinations
        return (
            self.delivers
            and not self._outbound().disabled
            and sum(wanted.values()) <= known.room
            and all(
                known.may_begin_at_once(destination) and number <= known.spare(destination)
                for destination, number in wanted.items()
            )
        )

    def _leased(self, claimed: "list[Claimed]", lease: Any) -> "list[Claimed]":
        for entry in claimed:
            self._leases.hold(entry.id, lease)
        return claimed

    def _not_begun(self, failure: Failure, wanted: "Counter[str]") -> Failure:
        for destination, number in wanted.items():
            self.destinations.end(destination, number)
        self._turns.go_on()
        return failure

    def _taken(
        self, claimed: Sequence[Claimed], job: Job, new: NewMessage, result: "Deferred[Any]"
    ) -> None:
        # The sender's answer first: it is true by now.
        result.callback(accept.taken(job))
        for entry in claimed:
            self._begin(entry, None, _copy(new.content))
        self._is_written(new)
        if self.delivers and not claimed:
            self._turns.put_in(entry.destination for entry in new.entries)

    def _is_written(self, new: NewMessage) -> None:
        self._writing -= new.message.size
        new.content.close()

    def _not_taken(
        self, failure: Failure, job: Job, new: NewMessage, result: "Deferred[Any]"
    ) -> None:
        self._is_written(new)
        failure.trap(StoreError)
        error: StoreError = failure.value  # type: ignore[assignment]
        self.log.error("id={id}: cannot be queued: {why}", id=job.id, why=str(error))
        result.callback(accept.not_taken(job, error.event, str(error)))

    # -- attempting

    def _begin(
        self, claimed: Claimed, instead: Reply | None, content: Content | None = None
    ) -> None:
        attempt: Deferred[Any] = Deferred.fromCoroutine(
            self._attempts.leave(claimed, content)
            if self._broken_off
            else self._attempts.make(claimed, content or claimed.content, instead)
        )
        self._running[attempt] = claimed.id
        attempt.addErrback(self._failed, claimed)
        attempt.addCallback(self._ended, attempt, claimed)

    def _told(self, claimed: Claimed, handed: HandedOver) -> None:
        """What an attempt says of its destination."""
        if handed.unreachable is not None:
            now = self._clock.seconds()
            self.destinations.failed(claimed.destination, handed.unreachable, now)
        elif handed.reached:
            self.destinations.reached(claimed.destination)

    def _failed(self, failure: Failure, claimed: Claimed) -> After:
        self.log.failure("id={id}: the attempt failed", failure, id=claimed.message.id)
        return NOTHING

    def _ended(self, after: After, attempt: "Deferred[Any]", claimed: Claimed) -> None:
        self._running.pop(attempt, None)
        self._leases.drop(claimed.id)
        self.destinations.end(claimed.destination)
        if after.due is not None:
            self._turns.wake_at(after.due)
        self._turns.put_in(after.destinations)


def _ways(settings: Settings) -> tuple[object, ...]:
    """All that says where queued mail goes, and how."""
    return settings.outbound, settings.routes, settings.access, settings.client_tls


def _copy(content: Content) -> Content | None:
    """One more reader of it; ``None`` where there is no descriptor left: the store has it too."""
    try:
        return content.copy()
    except OSError:
        return None


def _fault(failure: Failure, result: "Deferred[Any]") -> None:
    if not result.called:
        result.errback(failure)
