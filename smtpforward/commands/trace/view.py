"""A message's story as lines to read, or as one document; nothing in it can forge a line."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

from smtpforward.commands.colours import BAD, DIM, GOOD, ODD, STRONG, Colours
from smtpforward.commands.queue.words import counted, minute
from smtpforward.commands.trace.event import Told
from smtpforward.record import printable

STATUS = {"sent": GOOD, "queued": GOOD, "deferred": ODD, "bounced": BAD}
MOST_TO = 5
FIRST = ("gateway", "queue")


@frozen
class Story:
    """All that is known.

    :ivar id: that was asked for. ``ids``: that, and those of messages that belong to it.
    :ivar queue: what is in the queue still, by id, as ``queue show --json`` has it.
    """

    id: str
    ids: Sequence[str]
    events: Sequence[Told]
    queue: Mapping[str, Any]


def document(story: Story) -> dict[str, Any]:
    """For programs; ``docs/commands.md`` has its keys."""
    return {
        "id": story.id,
        "ids": list(story.ids),
        "events": [
            {"at": one.at, "event": one.kind, "id": one.id, **one.facts, "sources": one.sources}
            for one in story.events
        ],
        "queue": dict(story.queue),
    }


def lines(story: Story, colours: Colours) -> Iterator[str]:
    """For people: a line an event; what is in the queue still; who has told it."""
    several = len(story.ids) > 1
    for event in story.events:
        id = colours(DIM, f"{printable(event.id):<14} ") if several else ""
        kind = colours(STRONG, f"{printable(event.kind):<10}")
        yield f"{minute(event.at)}  {id}{kind} {_words(event, colours)}".rstrip()
    for id, queued in story.queue.items():
        for entry in queued["entries"]:
            to = ", ".join(f"<{printable(one)}>" for one in entry["to"][:MOST_TO])
            tries = counted(entry["attempts"], "failed attempt", "failed attempts")
            where = printable(entry["destination"])
            state = colours(ODD, entry["state"])
            yield f"in the queue: {id} to {where}, {state}, due {entry['due']}, {tries}: {to}"
    sources = {source for one in story.events for source in one.sources}
    told = sorted(sources, key=lambda one: (one not in FIRST, one))
    yield colours(DIM, f"told by: {', '.join(map(printable, told))}")


def _words(event: Told, colours: Colours) -> str:
    """What happened."""
    facts = event.facts
    if event.kind == "received":
        return ", ".join(_received(facts))
    if event.kind == "bounce":
        about = ", ".join(f"<{printable(one)}>" for one in facts.get("about") or ())
        told = f"the sender is told, by {printable(str(facts.get('notice')))}"
        return f"{printable(str(facts.get('action')))}: {told}{f': {about}' if about else ''}"
    if "reply" in facts:
        return "".join(_ended(event, colours))
    return printable(str(facts.get("text", "")))


def _received(facts: Mapping[str, Any]) -> Iterator[str]:
    yield f"from <{printable(str(facts.get('from', '')))}>"
    if facts.get("to"):
        yield f"to {_recipients(facts['to'], facts.get('nrcpt'))}"
    if facts.get("size"):
        yield f"{facts['size']} bytes"
    client = facts.get("client")
    if not client and "client_ip" in facts:
        client = f"{facts.get('client_name') or 'unknown'}[{facts['client_ip']}]"
    if client:
        yield f"client {printable(str(client))}"
    elif facts.get("origin"):
        yield printable(str(facts["origin"]))
    if facts.get("user"):
        yield f"logged in as {printable(str(facts['user']))}"


def _ended(event: Told, colours: Colours) -> Iterator[str]:
    facts = event.facts
    if event.kind in ("attempt", "refused") and facts.get("to"):
        yield f"{_recipients(facts['to'], facts.get('nrcpt'))}: "
    status = printable(str(facts.get("status", "")))
    if status and event.kind != "refused":
        yield f"{colours(STATUS.get(status, ''), status)} "
    if facts.get("relay") and event.kind != "queued":
        yield f"by {printable(str(facts['relay']))} "
    yield f"({printable(str(facts['reply']))})"
    detail = facts.get("detail") or facts.get("reason") or facts.get("rule")
    # What the queue has kept of an attempt's answer says it in itself.
    if detail and str(detail) not in str(facts["reply"]):
        yield f" [{printable(str(detail))}]"
    if facts.get("client_gone"):
        yield " [the client went away]"


def _recipients(to: Sequence[str], number: int | None) -> str:
    told = ", ".join(f"<{printable(str(one))}>" for one in to[:MOST_TO])
    more = max(len(to), number or 0) - min(len(to), MOST_TO)
    return f"{told} and {more} more" if more > 0 else told
