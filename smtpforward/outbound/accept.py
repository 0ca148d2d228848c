"""A job becomes a queued message: grouped by destination, with a content of its own. Pure."""

from email.utils import formatdate

from smtpforward import routing
from smtpforward.config.settings import Settings
from smtpforward.job import Delivery, Event, Job, Outcome, Stage
from smtpforward.outbound.entry import Message, NewEntry, NewMessage
from smtpforward.outbound.places import place
from smtpforward.reply import Reply

# Every server takes so many in a transaction (RFC 5321 4.5.3.1.8); some take no more, and the
# others would wait for as many intervals as it takes.
MOST_RECIPIENTS = 100


def new_message(settings: Settings, job: Job, now: float) -> NewMessage:
    """``job`` as the store takes it; its content is a copy, to be closed by itself.

    :raise OSError: when there is no descriptor left for the copy.
    """
    grouped = entries(settings, job)
    content = job.content.copy()
    text = settings.outbound.received_header if settings.outbound else None
    if text is not None:
        content.prefix = received_line(text, settings.me, job.id, now) + content.prefix
    size = len(content.prefix) + content.size
    origin = f"{job.client.name}[{job.client.ip}]"
    message = Message(job.id, now, job.envelope, size, origin)
    return NewMessage(message, grouped, content)


def entries(settings: Settings, job: Job) -> tuple[NewEntry, ...]:
    """The recipients of ``job``, those for one destination together."""
    outbound, sender = settings.outbound, job.envelope.sender
    split = outbound is not None and outbound.always_split
    groups: dict[object, tuple[str, Delivery, list[int]]] = {}
    for index, recipient in enumerate(job.envelope.recipients):
        address, delivery = recipient.address, job.deliveries[index]
        destination = str(place(settings, sender, address, delivery))
        route, _ = routing.select(settings.routes, sender, address)
        alone = split or route.one_message_per_rcpt
        key = index if alone else (delivery, destination)
        groups.setdefault(key, (destination, delivery, []))[2].append(index)
    return tuple(
        NewEntry(destination, delivery, tuple(indices[start : start + MOST_RECIPIENTS]))
        for destination, delivery, indices in groups.values()
        for start in range(0, len(indices), MOST_RECIPIENTS)
    )


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
