"""A job becomes a queued message: grouped by destination, with a content of its own. Pure."""

from email.utils import formatdate

from smtpforward import routing
from smtpforward.config.settings import Settings
from smtpforward.job import Event, Job, Outcome, Stage
from smtpforward.outbound.entry import Message, NewEntry, NewMessage
from smtpforward.outbound.places import place
from smtpforward.reply import Reply


def new_message(settings: Settings, job: Job, now: float) -> NewMessage:
    """``job`` as the store takes it; its content is a copy, to be closed by itself."""
    content = job.content.copy()
    text = settings.outbound.received_header if settings.outbound else None
    if text is not None:
        content.prefix = received_line(text, settings.me, job.id, now) + content.prefix
    size = len(content.prefix) + content.size
    origin = f"{job.client.name}[{job.client.ip}]"
    message = Message(job.id, now, job.envelope, size, origin)
    return NewMessage(message, entries(settings, job), content)


def entries(settings: Settings, job: Job) -> tuple[NewEntry, ...]:
    """The recipients of ``job``, those for one destination together."""
    outbound, sender = settings.outbound, job.envelope.sender
    split = outbound is not None and outbound.always_split
    groups: dict[object, NewEntry] = {}
    for index, recipient in enumerate(job.envelope.recipients):
        address, delivery = recipient.address, job.deliveries[index]
        destination = str(place(settings, sender, address, delivery))
        route, _ = routing.select(settings.routes, sender, address)
        alone = split or route.one_message_per_rcpt
        key = index if alone else (delivery, destination)
        before = groups[key].indices if key in groups else ()
        groups[key] = NewEntry(destination, delivery, (*before, index))
    return tuple(groups.values())


def received_line(text: str, me: str, transaction: str, now: float) -> bytes:
    """The header line that ``received_header`` asks for: the way through the queue."""
    line = f"Received: by {me} ({text}) id {transaction};\r\n\t{formatdate(now)}\r\n"
    return line.encode("ascii", "replace")


def taken(job: Job) -> list[Outcome]:
    """What became of ``job`` when it is in the store."""
    reply = Reply(250, (f"2.0.0 queued as {job.id}".encode("ascii"),))
    return [Outcome(r, Event.ACCEPTED, Stage.DOT, reply, "queue") for r in job.envelope.recipients]


def not_taken(job: Job, event: Event, why: str) -> list[Outcome]:
    """What became of it when it is not."""
    return [Outcome(r, event, Stage.DOT, None, "queue", why) for r in job.envelope.recipients]
