"""One attempt at an entry: find its next hop, hand the message over, record what came of it.

Failure policy: what happened is recorded again and again until it is, so that no recipient gets the
message twice for want of a record; a process that dies in between makes a duplicate, never a loss.
What the store was asked is never broken off. A message that cannot be read, and what is not
foreseen in a hand-over, count as an attempt that failed for a time. Whose sender cannot be told of
a failure stays in the queue.
"""

from collections.abc import Callable, Sequence
from typing import Any

from attrs import evolve, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from smtpforward import answers
from smtpforward.config.settings import Outbound, Settings
from smtpforward.content import Content
from smtpforward.envelope import Client, Envelope, Recipient
from smtpforward.job import Job, NextHop
from smtpforward.net.clock import Clock
from smtpforward.outbound import notices, results, schedule
from smtpforward.outbound.entry import Attempt, Claimed, Result, State
from smtpforward.outbound.errors import StoreDamagedError, StoreError
from smtpforward.outbound.leases import Leases
from smtpforward.outbound.lines import complain, report
from smtpforward.outbound.places import Direct, Place, place
from smtpforward.outbound.results import Fate
from smtpforward.outbound.unroutable import Unroutable
from smtpforward.reply import Reply

SOON = 60.0  # after what was no attempt
STORE_AGAIN = 5.0  # after what the store could not give
SLOWEST_RECORD = 30.0
ITSELF = Client("127.0.0.1", 0)  # who brings what is queued
MUCH_LATER = 3600.0  # where an operator has to look
UNREADABLE = Reply(451, (b"4.3.0 the queued message cannot be read, try again later",))
BROKEN_OFF = Reply(451, (b"4.3.2 not attempted: the gateway ended",))
Indexed = tuple[int, Recipient]


@frozen
class HandedOver:
    """What came of the hand-over.

    :ivar fates: one for each recipient. ``counted``: whether the schedule counts it.
    :ivar unreachable: why, where the destination itself could not be reached. ``reached``: whether
        it was; neither is true where nothing was tried.
    :ivar broken_off: whether the gateway has to end, and has not tried all.
    """

    fates: Sequence[Fate]
    counted: bool
    unreachable: Reply | None = None
    reached: bool = False
    broken_off: bool = False


@frozen
class After:
    """What an attempt leaves to be done.

    :ivar due: when the entry falls due again; ``None`` where it does not, or nobody knows.
    :ivar destinations: those that there is new mail for.
    """

    due: float | None = None
    destinations: tuple[str, ...] = ()


NOTHING = After()


@frozen
class Targets:
    """Who hands over: each an :class:`smtpforward.interfaces.IDeliver`.

    :ivar routes: to the hosts of routes. ``direct``: to MX hosts and the smart host.
    :ivar mail_hosts: from a domain to a Deferred of its next hop; it fails with ``Unroutable``.
    """

    routes: Any
    direct: Any
    mail_hosts: Callable[[str], "Deferred[NextHop]"]


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
    ) -> None:
        self._store = store
        self._leases = leases
        self._targets = targets
        self._settings = settings
        self._clock = clock
        self._told = told

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
            handed = await self._what_comes_of(claimed, content, instead)
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
            await _end_of(reading)
        except CancelledError:
            # It comes all the same, perhaps with a descriptor.
            reading.addCallbacks(Content.close, lambda failure: None)
            raise
        try:
            return await reading
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

    # -- handing over

    async def _what_comes_of(
        self, claimed: Claimed, content: Content | None, instead: Reply | None
    ) -> HandedOver:
        if content is None:
            return _for_all(claimed.recipients, UNREADABLE)
        if instead is not None:
            return _for_all(claimed.recipients, instead)
        parts: list[HandedOver] = []
        for where, group in self._by_place(claimed).items():
            parts.append(await self._part(where, group, claimed, content, parts))
        return HandedOver(
            [fate for part in parts for fate in part.fates],
            any(part.counted for part in parts),
            _unreachable(parts),
            any(part.reached for part in parts),
            any(part.broken_off for part in parts),
        )

    async def _part(
        self,
        where: Place,
        group: Sequence[Indexed],
        claimed: Claimed,
        content: Content,
        before: Sequence[HandedOver],
    ) -> HandedOver:
        """What came of the hand-over to one place, after those to others."""
        if any(part.broken_off for part in before):
            return _not_tried(group)
        try:
            return await self._hand_to(where, group, claimed, content)
        except CancelledError:
            if not before:
                raise
            # What was handed to others has to be recorded.
            return _not_tried(group)
        except Exception:
            self.log.failure("id={id}: the hand-over failed", id=claimed.message.id)
            return _for_all(group, answers.LOCAL_FAULT)

    def _by_place(self, claimed: Claimed) -> dict[Place, list[Indexed]]:
        """Where its recipients go by the settings of now; most often that is one place."""
        settings, sender = self._settings(), claimed.message.envelope.sender
        groups: dict[Place, list[Indexed]] = {}
        for indexed in claimed.recipients:
            where = place(settings, sender, indexed[1].address, claimed.delivery)
            groups.setdefault(where, []).append(indexed)
        return groups

    async def _hand_to(
        self, where: Place, group: Sequence[Indexed], claimed: Claimed, content: Content
    ) -> HandedOver:
        targets, indices = self._targets(), [index for index, _ in group]
        try:
            hop = await targets.mail_hosts(where.domain) if isinstance(where, Direct) else where
        except Unroutable as error:
            fates = [results.not_attempted(index, error.reply) for index in indices]
            known = error.reply.permanent
            return HandedOver(fates, True, None if known else error.reply, known)
        direct = isinstance(where, Direct) or where is self._outbound.smart_host
        target = targets.direct if direct else targets.routes
        job = self._job(claimed, hop, tuple(recipient for _, recipient in group), content)
        outcomes = await target.deliver(job)
        fates = [results.fate(i, outcome) for i, outcome in zip(indices, outcomes, strict=True)]
        if not isinstance(where, Direct):
            complain(claimed, outcomes)
        counted, lost = results.counts(outcomes), results.out_of_reach(outcomes)
        return HandedOver(fates, counted, fates[0].reply if lost else None, counted and not lost)

    def _job(
        self, claimed: Claimed, hop: NextHop, recipients: tuple[Recipient, ...], content: Content
    ) -> Job:
        envelope = claimed.message.envelope
        return Job(
            claimed.message.id,
            ITSELF,
            Envelope(envelope.sender, recipients, envelope.parameters),
            content,
            hop,
            self._clock.seconds() + hop.timeouts.forward,
            atomic=False,
            may_send=self._leases.leave_for(claimed.id),
        )

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
                await _end_of(recording)
            except CancelledError:
                once = True
            try:
                await recording
                return
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


def _end_of(begun: "Deferred[Any]") -> "Deferred[None]":
    """Fires when ``begun`` has ended, in whatever way; to cancel it leaves ``begun`` alone."""
    ended: Deferred[None] = Deferred()

    def tell(result: Any) -> Any:
        ended.callback(None)
        return result

    begun.addBoth(tell)
    return ended


def _for_all(group: Sequence[Indexed], reply: Reply, counted: bool = True) -> HandedOver:
    """The same for each recipient, without asking anyone."""
    return HandedOver([results.not_attempted(index, reply) for index, _ in group], counted)


def _not_tried(group: Sequence[Indexed]) -> HandedOver:
    return evolve(_for_all(group, BROKEN_OFF, counted=False), broken_off=True)


def _unreachable(parts: Sequence[HandedOver]) -> Reply | None:
    """Why the destination could not be reached, where no part of it was."""
    if any(part.reached for part in parts):
        return None
    return next((part.unreachable for part in parts if part.unreachable), None)
