"""The messages that an attempt makes: bounces, notices of a delay, and of what goes on unwatched.

Who wants which, and how it reads, is ``notify.py`` and ``bounce.py``. The null sender never gets
one: what fails then is dropped, and the log says so. Notices are put into the queue in the
transaction that records the attempt.

Failure policy: of a message that cannot be read nothing is returned, and the notice is made.
"""

from collections.abc import Iterator, Sequence

from attrs import frozen
from twisted.logger import Logger

from smtpforward.config.settings import Settings
from smtpforward.content import Content
from smtpforward.envelope import Address
from smtpforward.outbound.bounce import Notice, compose
from smtpforward.outbound.entry import Claimed, Message, NewEntry, NewMessage, State
from smtpforward.outbound.notify import Action, Report, wanted
from smtpforward.outbound.places import of_notice, place
from smtpforward.outbound.results import Fate
from smtpforward.record import Facts, new_id

ORIGIN = "this gateway"
_log = Logger()


@frozen
class Made:
    """What an attempt made. ``told_of_delay``: whether the sender is told of one by it."""

    messages: tuple[NewMessage, ...] = ()
    told_of_delay: bool = False


def made_by(
    settings: Settings,
    claimed: Claimed,
    fates: Sequence[Fate],
    content: Content | None,
    at: float,
    retry_until: float | None,
) -> Made:
    """The notices of an attempt that ended at ``at``: one for each kind of news.

    :param content: of the message; ``None`` where it cannot be read.
    :param retry_until: when the last attempt will be, where there is a further one.
    """
    message = claimed.message
    if not message.envelope.sender.local:
        _drop(message, fates)
        return Made()
    news: dict[Action, list[Report]] = {}
    for report in _reports(settings, claimed, fates, at, retry_until):
        news.setdefault(report.action, []).append(report)
    messages = tuple(_queued(settings, message, content, reports, at) for reports in news.values())
    return Made(messages, Action.DELAYED in news)


def _drop(message: Message, fates: Sequence[Fate]) -> None:
    failed = sum(fate.state is State.FAILED for fate in fates)
    if failed:
        _log.warn(
            "id={id}: cannot be delivered to {failed} recipients, and has no sender to be told:"
            " they are dropped",
            id=message.id,
            failed=failed,
        )


def _reports(
    settings: Settings,
    claimed: Claimed,
    fates: Sequence[Fate],
    at: float,
    retry_until: float | None,
) -> Iterator[Report]:
    """What the sender wants to hear."""
    outbound, sender = settings.outbound, claimed.message.envelope.sender
    late = outbound is not None and at - claimed.message.received >= outbound.delay_notice
    recipients = dict(claimed.recipients)
    for fate in fates:
        action = _action(fate, late and not claimed.noticed)
        recipient = recipients[fate.index]
        if action is not None and wanted(sender, recipient, action):
            until = retry_until if action is Action.DELAYED else None
            said = fate.words or fate.reply
            remote = fate.words is not None
            yield Report(recipient, action, said, fate.peer, remote, at, until)


def _action(fate: Fate, late: bool) -> Action | None:
    if fate.state is State.FAILED:
        return Action.FAILED
    if fate.state is State.DELIVERED:
        # A server that was told will tell the sender itself.
        return None if fate.dsn else Action.RELAYED
    return Action.DELAYED if late else None


def _queued(
    settings: Settings,
    message: Message,
    content: Content | None,
    reports: Sequence[Report],
    at: float,
) -> NewMessage:
    id = new_id()
    notice = _composed(settings, message, content, reports, at, id)
    to = notice.envelope.recipients[0].address
    delivery = of_notice(settings, to)
    where = str(place(settings, notice.envelope.sender, to, delivery))
    size = len(notice.content.prefix) + notice.content.size
    _log.info(
        "id={id}: {action} notice is id={notice}",
        id=message.id,
        notice=id,
        action=reports[0].action.value,
        facts=_facts(message, reports, id, to),
    )
    return NewMessage(
        Message(id, at, notice.envelope, size, ORIGIN),
        (NewEntry(where, delivery, (0,)),),
        notice.content,
    )


def _facts(message: Message, reports: Sequence[Report], id: str, to: Address) -> Facts:
    """What the log has of it by name."""
    return {
        "event": "bounce",
        "id": message.id,
        "notice": id,
        "action": reports[0].action.value,
        "to": [str(to)],
        "about": [str(report.recipient.address) for report in reports],
    }


def _composed(
    settings: Settings,
    message: Message,
    content: Content | None,
    reports: Sequence[Report],
    at: float,
    id: str,
) -> Notice:
    if content is not None:
        try:
            return compose(message, content, reports, settings.me, at, id)
        except OSError as error:
            _log.error("id={id}: cannot be read for a notice: {why}", id=message.id, why=str(error))
    return compose(message, Content.of_wire(b""), reports, settings.me, at, id)
