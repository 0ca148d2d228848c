"""One attempt at an entry: find its next hop, hand the message over, record what came of it.

Failure policy: what happened is recorded again and again until it is, so that no recipient gets the
message twice for want of a record; a process that dies in between makes a duplicate, never a loss.
A message that cannot be read counts as an attempt that failed for a time. What is not foreseen is
logged and leaves the entry to the end of its lease.
"""

from collections.abc import Callable, Sequence
from typing import Any

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from smtpforward.config.settings import Outbound, Settings
from smtpforward.content import Content
from smtpforward.counts import MX, Counts, backend_of
from smtpforward.envelope import Client, Envelope, Recipient
from smtpforward.job import Job, NextHop
from smtpforward.net.clock import Clock
from smtpforward.outbound import notices, results, schedule
from smtpforward.outbound.entry import Attempt, Claimed, Result, State
from smtpforward.outbound.errors import StoreDamagedError, StoreError, StoreUnavailableError
from smtpforward.outbound.leases import Leases
from smtpforward.outbound.lines import STATUS, complain, report
from smtpforward.outbound.places import Direct, Place, place
from smtpforward.outbound.results import Fate
from smtpforward.outbound.unroutable import Unroutable
from smtpforward.reply import Reply

SOON = 60.0  # after what was no attempt
SLOWEST_RECORD = 30.0
ITSELF = Client("127.0.0.1", 0)  # who brings what is queued
UNREADABLE = Reply(451, (b"4.3.0 the queued message cannot be read, try again later",))
Indexed = tuple[int, Recipient]


@frozen
class HandedOver:
    """What came of the hand-over.

    :ivar fates: one for each recipient. ``counted``: whether the schedule counts it.
    :ivar unreachable: why, where the destination itself could not be reached. ``reached``: whether
        it was; neither is true where nothing was tried.
    """

    fates: Sequence[Fate]
    counted: bool
    unreachable: Reply | None = None
    reached: bool = False


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
        counts: Counts,
    ) -> None:
        self._store = store
        self._leases = leases
        self._targets = targets
        self._settings = settings
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
        except (StoreUnavailableError, CancelledError) as error:
            return await self._give_back(claimed, error)
        try:
            handed = await self._what_comes_of(claimed, content, instead)
            self._told(claimed, handed)
            return await self._conclude(claimed, handed, content, self._clock.seconds() - began)
        except CancelledError as error:
            return await self._give_back(claimed, error)
        finally:
            if content is not None:
                content.close()

    async def _read(self, claimed: Claimed) -> Content | None:
        """The message, or ``None`` where that needs an operator."""
        try:
            content: Content = await self._store.content(claimed.message.id)
        except (StoreDamagedError, OSError) as error:
            self.log.error("id={id}: {why}", id=claimed.message.id, why=str(error))
            return None
        return content

    async def _give_back(self, claimed: Claimed, why: Exception) -> After:
        """Nothing was sent: whoever comes next attempts it, or we do, a little later."""
        due: float = self._store.now()
        if isinstance(why, StoreError):
            due += SOON
            self.log.error("id={id}: {why}", id=claimed.message.id, why=str(why))
        try:
            await self._store.give_back((claimed.id,), self._leases.owner, due)
        except StoreError as error:
            # The lease ends by itself.
            self.log.warn("id={id}: {why}", id=claimed.message.id, why=str(error))
            return NOTHING
        return After(due)

    # -- handing over

    async def _what_comes_of(
        self, claimed: Claimed, content: Content | None, instead: Reply | None
    ) -> HandedOver:
        if content is None:
            return _for_all(claimed, UNREADABLE)
        if instead is not None:
            return _for_all(claimed, instead)
        parts = []
        for where, group in self._by_place(claimed).items():
            parts.append(await self._hand_to(where, group, claimed, content))
        return HandedOver(
            [fate for part in parts for fate in part.fates],
            any(part.counted for part in parts),
            next((part.unreachable for part in parts if part.unreachable), None),
            any(part.reached for part in parts),
        )

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
            fates = [results.not_attempted(index, error.reply, MX) for index in indices]
            known = error.reply.permanent
            return HandedOver(fates, True, None if known else error.reply, known)
        direct = isinstance(where, Direct) or where is self._outbound.smart_host
        target = targets.direct if direct else targets.routes
        job = self._job(claimed, hop, tuple(recipient for _, recipient in group), content)
        outcomes = await target.deliver(job)
        mx = isinstance(where, Direct)
        fates = [
            results.fate(index, outcome, MX if mx else backend_of(outcome.peer))
            for index, outcome in zip(indices, outcomes, strict=True)
        ]
        if not mx:
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
            may_send=self._leases.holder(claimed.id),
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
        report(claimed, fates, at)
        for fate in fates:
            self._counts.deliveries[fate.backend, STATUS[fate.state]] += 1
        until = None if due is None else self._last_attempt(claimed, due)
        made = notices.made_by(self._settings(), claimed, fates, content, at, until)
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
            await self._record(result)
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

    async def _record(self, result: Result) -> None:
        """Until it is.

        Broken off, because the gateway has to end, the entry is attempted again by whoever is next:
        that is the only way in which a delivered message is sent twice.
        """
        wait = 1.0
        while True:
            try:
                await self._store.record(result)
                return
            except StoreError as error:
                self.log.error(
                    "id={id}: the result of an attempt cannot be recorded yet: {why}",
                    id=result.message,
                    why=str(error),
                )
            await deferLater(self._clock, wait)  # type: ignore[arg-type]
            wait = min(SLOWEST_RECORD, wait * 2)


def _for_all(claimed: Claimed, reply: Reply) -> HandedOver:
    """The same for each recipient, without asking anyone."""
    fates = [results.not_attempted(index, reply) for index, _ in claimed.recipients]
    return HandedOver(fates, counted=True)
