"""Hands an entry over: to the host of a route, to the smart host, or to MX hosts.

Most often all its recipients go to one place; new settings may have moved some since.

Failure policy: what is not foreseen is logged, and is a failure for a time of those it happened to.
Broken off, what has come of it already is kept.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from attrs import evolve, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from smtpforward import answers
from smtpforward.config.settings import Settings
from smtpforward.content import Content
from smtpforward.counts import MX, backend_of
from smtpforward.envelope import Client, Envelope, Recipient
from smtpforward.job import Job, NextHop
from smtpforward.net.clock import Clock
from smtpforward.outbound import results
from smtpforward.outbound.entry import Claimed
from smtpforward.outbound.leases import Leases
from smtpforward.outbound.lines import complain
from smtpforward.outbound.places import Direct, Place, place
from smtpforward.outbound.results import Fate
from smtpforward.outbound.unroutable import Unroutable
from smtpforward.reply import Reply

ITSELF = Client("127.0.0.1", 0)  # who brings what is queued
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
class Group:
    """The recipients of an entry for one place. ``direct``: over the queue's own pools."""

    where: Place
    direct: bool
    recipients: list[Indexed] = field(factory=list)


@frozen
class Targets:
    """Who hands over: each an :class:`smtpforward.interfaces.IDeliver`.

    :ivar routes: to the hosts of routes. ``direct``: to MX hosts and the smart host.
    :ivar mail_hosts: from a domain to a Deferred of its next hop; it fails with ``Unroutable``.
    """

    routes: Any
    direct: Any
    mail_hosts: Callable[[str], "Deferred[NextHop]"]


class HandOver:
    """Hands over.

    :param targets: who does it, as of now.
    :param settings: those that hold now.
    """

    log = Logger()

    def __init__(
        self,
        leases: Leases,
        targets: Callable[[], Targets],
        settings: Callable[[], Settings],
        clock: Clock,
    ) -> None:
        self._leases = leases
        self._targets = targets
        self._settings = settings
        self._clock = clock

    async def of(
        self, claimed: Claimed, content: Content | None, instead: Reply | None
    ) -> HandedOver:
        """What came of it, for each recipient.

        :param content: ``None`` where it cannot be read.
        :param instead: why no server is asked: the destination backs off.
        :raise CancelledError: when it was broken off, and nothing has come of it yet.
        """
        if content is None:
            return _for_all(claimed.recipients, UNREADABLE)
        if instead is not None:
            return _for_all(claimed.recipients, instead)
        parts: list[HandedOver] = []
        for group in self._by_place(claimed):
            parts.append(await self._part(group, claimed, content, parts))
        return HandedOver(
            [fate for part in parts for fate in part.fates],
            any(part.counted for part in parts),
            _unreachable(parts),
            any(part.reached for part in parts),
            any(part.broken_off for part in parts),
        )

    async def _part(
        self, group: Group, claimed: Claimed, content: Content, before: Sequence[HandedOver]
    ) -> HandedOver:
        """What came of the hand-over to one place, after those to others."""
        if any(part.broken_off for part in before):
            return _not_tried(group.recipients)
        try:
            return await self._hand_to(group, claimed, content)
        except CancelledError:
            if not before:
                raise
            # What was handed to others has to be recorded.
            return _not_tried(group.recipients)
        except Exception:
            self.log.failure("id={id}: the hand-over failed", id=claimed.message.id)
            return _for_all(group.recipients, answers.LOCAL_FAULT)

    def _by_place(self, claimed: Claimed) -> Collection[Group]:
        """Where its recipients go by the settings of now."""
        settings, sender = self._settings(), claimed.message.envelope.sender
        smart_host = settings.outbound.smart_host if settings.outbound else None
        groups: dict[tuple[Place, bool], Group] = {}
        for indexed in claimed.recipients:
            where = place(settings, sender, indexed[1].address, claimed.delivery)
            direct = isinstance(where, Direct) or where is smart_host
            group = groups.setdefault((where, direct), Group(where, direct))
            group.recipients.append(indexed)
        return groups.values()

    async def _hand_to(self, group: Group, claimed: Claimed, content: Content) -> HandedOver:
        targets, where = self._targets(), group.where
        indices = [index for index, _ in group.recipients]
        try:
            hop = await targets.mail_hosts(where.domain) if isinstance(where, Direct) else where
        except Unroutable as error:
            fates = [results.not_attempted(index, error.reply, MX) for index in indices]
            known = error.reply.permanent
            return HandedOver(fates, True, None if known else error.reply, known)
        target = targets.direct if group.direct else targets.routes
        job = self._job(claimed, hop, tuple(r for _, r in group.recipients), content)
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
            may_send=self._leases.leave_for(claimed.id),
        )


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
