"""Hands a transaction's message to its targets and turns the outcomes into the one answer.

Recipients are grouped by next hop; at the SMTP edge that is one group, because one transaction has
one route. A transaction for the outbound queue goes there as a whole. Partial refusals are learned
here. Failure policy: what is not foreseen is temporary, with its traceback in the log; a client
that has gone gets no answer, and the log says so.
"""

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import (
    CancelledError,
    Deferred,
    FirstError,
    fail,
    gatherResults,
)
from twisted.logger import Logger
from twisted.python.failure import Failure

from smtpforward import answers
from smtpforward.content import Content
from smtpforward.counts import NONE, QUEUE, Counts, backend_of
from smtpforward.envelope import Envelope, Recipient
from smtpforward.job import Event, Job, NextHop, Outcome
from smtpforward.learned import LearnedRefusals
from smtpforward.net.clock import Clock
from smtpforward.record import Ended, Transaction, log_entry
from smtpforward.reply import Reply
from smtpforward.routing import way_of


class NoQueueError(Exception):
    """A message is for the outbound queue, and there is none."""


class Dispatcher:
    """From a complete transaction to the reply to its end of data.

    :param target: an :class:`smtpforward.interfaces.IDeliver`.
    :ivar queue: the outbound queue, another one; ``None`` while there is none.
    :ivar counts: what is counted, here and in the sessions.
    """

    log = Logger()

    def __init__(
        self,
        target: Any,
        learned: LearnedRefusals,
        clock: Clock,
        queue: Any = None,
        counts: Counts | None = None,
    ) -> None:
        self._target = target
        self.learned = learned
        self._clock = clock
        self.queue = queue
        self.counts = counts or Counts()

    def submit(self, transaction: Transaction, content: Content) -> Deferred[Reply]:
        """Hand over. Cancel the Deferred when the client has gone."""
        transaction.size = content.size
        transaction.complete = now = self._clock.seconds()
        self.counts.edge.note(now - transaction.started)
        hand_over = self._enqueue if transaction.queued else self._hand_over
        try:
            outcomes = hand_over(transaction, content)
        except Exception:
            outcomes = fail()
        about = (transaction,)
        return outcomes.addCallbacks(
            self._answer, self._failed, callbackArgs=about, errbackArgs=about
        )

    def _hand_over(self, transaction: Transaction, content: Content) -> "Deferred[Any]":
        routes = transaction.routes
        if len(routes) == 1:
            return self._deliver(
                transaction, content, routes[0].next_hop, tuple(transaction.recipients)
            )
        groups = group_by_next_hop(transaction)
        deliveries = []
        for next_hop, indices in groups.items():
            recipients = tuple(transaction.recipients[index] for index in indices)
            deliveries.append(self._deliver(transaction, content, next_hop, recipients))
        if len(deliveries) == 1:
            return deliveries[0]
        return gatherResults(deliveries, consumeErrors=True).addCallback(
            _in_order, list(groups.values())
        )

    def _deliver(
        self,
        transaction: Transaction,
        content: Content,
        next_hop: NextHop,
        recipients: tuple[Recipient, ...],
    ) -> "Deferred[Any]":
        return self._target.deliver(
            Job(
                transaction.id,
                transaction.client,
                Envelope(transaction.sender, recipients, transaction.parameters),
                content,
                next_hop,
                transaction.complete + next_hop.timeouts.forward,
            )
        )

    def _enqueue(self, transaction: Transaction, content: Content) -> "Deferred[Any]":
        """The whole transaction; its next hop is a form, the queue finds one for each recipient."""
        if self.queue is None:
            return fail(NoQueueError())
        client, routes = transaction.client, transaction.routes
        next_hop = routes[0].next_hop
        return self.queue.deliver(
            Job(
                transaction.id,
                client,
                transaction.envelope,
                content,
                next_hop,
                transaction.complete + next_hop.timeouts.forward,
                atomic=False,
                deliveries=tuple(way_of(route, client.relaying).delivery for route in routes),
            )
        )

    def _answer(self, outcomes: Sequence[Outcome], transaction: Transaction) -> Reply:
        try:
            return self._weigh(outcomes, transaction)
        except Exception:
            return self._failed(Failure(), transaction)

    def _weigh(self, outcomes: Sequence[Outcome], transaction: Transaction) -> Reply:
        if len(outcomes) != len(transaction.recipients):
            raise ValueError("the target owes one outcome for each recipient")
        partial = transaction.routes[0].partial_rejection
        reply = answers.to_message(outcomes, transaction.id, partial)
        transaction.outcomes = outcomes
        if reply.code != 250:
            if partial == "learn":
                self._learn(transaction, outcomes)
            self._report(transaction, outcomes)
        counts = self.counts
        backend = QUEUE if transaction.queued else backend_of(outcomes[0].peer)
        counts.transactions[backend, transaction.status(reply)] += 1
        if reply.code == 250:
            counts.octets += transaction.size
        log_entry(Ended(transaction, reply, self._clock.seconds()))
        return reply

    def _learn(self, transaction: Transaction, outcomes: Sequence[Outcome]) -> None:
        if not any(outcome.event is Event.SPARED for outcome in outcomes):
            return
        for outcome, route in zip(outcomes, transaction.routes, strict=True):
            if outcome.event is Event.REFUSED and not answers.speaks_of_set_up(outcome):
                reply = answers.to_outcome(outcome, "")
                recipient = outcome.recipient.address
                self.learned.learn(route.next_hop, transaction.sender, recipient, reply)

    def _report(self, transaction: Transaction, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            if answers.speaks_of_set_up(outcome):
                self.log.error(
                    "id={id} relay={peer}: {event} at {stage}: {reply}"
                    " -- check the route to this backend; the mail is deferred",
                    id=transaction.id,
                    peer=outcome.peer,
                    event=outcome.event.value,
                    stage=outcome.stage.value,
                    reply=outcome.reply.text if outcome.reply else outcome.detail,
                )
                return

    def _failed(self, failure: Failure, transaction: Transaction) -> Reply:
        if isinstance(failure.value, FirstError):
            failure = failure.value.subFailure
        gone = failure.check(CancelledError) is not None
        answer = answers.LOCAL_FAULT
        if failure.check(NoQueueError):
            answer = answers.NO_QUEUE
            self.log.error("id={id}: there is no outbound queue", id=transaction.id)
        elif not gone:
            self.log.failure("id={id}: hand-over failed", failure, id=transaction.id)
        reply = answers.signed(answer, transaction.id)
        self.counts.transactions[NONE, transaction.status(reply)] += 1
        log_entry(Ended(transaction, reply, self._clock.seconds(), gone=gone))
        return reply


def group_by_next_hop(transaction: Transaction) -> dict[NextHop, list[int]]:
    """The indices of the recipients of each next hop, in order."""
    groups: dict[NextHop, list[int]] = {}
    for index, route in enumerate(transaction.routes):
        groups.setdefault(route.next_hop, []).append(index)
    return groups


def _in_order(
    results: Sequence[Sequence[Outcome]], groups: Sequence[Sequence[int]]
) -> list[Outcome]:
    """The outcomes of all groups, in the order of the transaction's recipients."""
    found = {
        index: outcome
        for outcomes, indices in zip(results, groups, strict=True)
        for outcome, index in zip(outcomes, indices, strict=True)
    }
    return [found[index] for index in sorted(found)]
