"""Values of the queue as lines to read; nothing in them can break or forge a line.

A table has the widths of the terminal, and cuts what does not fit. Without a terminal (``width`` is
``None``) nothing is cut.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping

from attrs import frozen

from smtpforward.commands.queue.words import (
    minute,
    octets,
    octets_in_words,
    short_span,
    spoken_span,
)
from smtpforward.envelope import Address
from smtpforward.outbound.entry import Attempt, Listed, Shown, Stats
from smtpforward.outbound.header import decoded, visible
from smtpforward.outbound.states import state
from smtpforward.record import printable

NARROWEST = 100  # on a narrower terminal lines wrap: cut any more they would say nothing
_WORDS = {"leased": "being attempted", "held": "held", "due": "now"}


@frozen
class Column:
    """One column. ``width``: in cells; a cell is half of a wide character's.

    :ivar right: whether it is flush right. ``cut``: whether it ends there in any case.
    """

    title: str
    width: int
    right: bool = False
    cut: bool = False

    def cell(self, text: str) -> str:
        """``text``, filled up to the width, and cut where it has to be."""
        if self.cut:
            text = cut(text, self.width)
        blanks = " " * (self.width - cells(text))
        return blanks + text if self.right else text + blanks


def cells(text: str) -> int:
    """How many cells of a terminal ``text`` takes."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def _cells(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, width: int) -> str:
    """``text``, or as much of it as fits into ``width`` cells with a mark that it goes on."""
    if cells(text) <= width:
        return text
    used, kept = 1, ""
    for character in text:
        used += _cells(character)
        if used > width:
            break
        kept += character
    return f"{kept}…"


def columns(width: int | None) -> tuple[Column, ...]:
    """Those of ``list``: what can be long shares what the others leave."""
    fixed = (
        Column("ID", 15),
        Column("SIZE", 5, right=True),
        Column("AGE", 4, right=True),
        Column("TRIES", 5, right=True),
        Column("NEXT", 15),
    )
    if width is None:
        long = (Column("SENDER", 28), Column("DESTINATION", 20), Column("TO", 4, right=True))
        return (*fixed, *long, Column("LAST ANSWER", 0))
    left = max(width, NARROWEST) - sum(column.width + 1 for column in fixed) - len(" TO  ") - 1
    sender, destination = left * 3 // 10, left * 3 // 10
    return (
        *fixed,
        Column("SENDER", sender, cut=True),
        Column("DESTINATION", destination, cut=True),
        Column("TO", 3, right=True),
        Column("LAST ANSWER", left - sender - destination, cut=True),
    )


def heading(table: Iterable[Column]) -> str:
    """The line above a table."""
    return _row(table, [column.title for column in table])


def listed(table: Iterable[Column], entry: Listed, now: float, verbose: bool) -> Iterator[str]:
    """The line of one entry; ``verbose``, and one more for each recipient."""
    message = entry.message
    yield _row(
        table,
        (
            message.id,
            octets(message.size),
            short_span(now - message.received),
            str(entry.attempts),
            following(entry, now),
            _bare(message.envelope.sender),
            printable(entry.destination),
            str(len(entry.recipients)),
            printable(entry.last),
        ),
    )
    if verbose:
        yield from (f"    to {_path(recipient.address)}" for recipient in entry.recipients)


def following(entry: Listed, now: float) -> str:
    """When the entry is attempted next, in words."""
    return _WORDS.get(state(entry, now)) or f"in {spoken_span(entry.due - now)}"


def shown(message: Shown, header: Iterable[bytes], now: float) -> Iterator[str]:
    """All about one message but its body."""
    yield from _facts(message, now)
    for entry in message.entries:
        yield from _entry(entry, now)
    for attempt in message.attempts:
        yield from _attempt(attempt, message)
    yield "header:"
    yield from map(indented, header)


def indented(line: bytes) -> str:
    """A line of the message: further in than anything that the command says itself."""
    return f"    {visible(line)}".rstrip(" ")


def _facts(message: Shown, now: float) -> Iterator[str]:
    facts, envelope = message.message, message.message.envelope
    age = spoken_span(now - facts.received)
    yield f"message {facts.id}"
    yield f"  received: {minute(facts.received)}, {age} ago, {printable(facts.origin)}".rstrip(", ")
    yield f"  size: {facts.size} bytes"
    yield f"  from: {_path(envelope.sender)}{_parameters(envelope.parameters)}"
    for recipient, became in zip(envelope.recipients, message.states, strict=True):
        parameters = _parameters(recipient.parameters)
        yield f"  to: {_path(recipient.address)}{parameters}: {became.value}"


def _entry(entry: Listed, now: float) -> Iterator[str]:
    yield f"entry {entry.entry}: to {printable(entry.destination)}, by {entry.delivery.value}"
    yield f"  next attempt: {following(entry, now)} ({minute(entry.due)})"
    yield f"  failed attempts: {entry.attempts}"
    yield f"  still to go: {', '.join(_path(r.address) for r in entry.recipients)}"


def _attempt(attempt: Attempt, message: Shown) -> Iterator[str]:
    peer = printable(attempt.peer) or "no server"
    yield f"attempt at {minute(attempt.at)}: {peer}, {attempt.took:.3f} s"
    for result in attempt.results:
        address = message.message.envelope.recipients[result.index].address
        yield f"  {_path(address)}: {result.state.value}: {printable(result.reply)}"


def stats(numbers: Stats, now: float) -> Iterator[str]:
    """The numbers, and a table of destinations."""
    entries = numbers.due + numbers.deferred + numbers.held + numbers.leased
    yield f"messages: {numbers.messages}, {octets_in_words(numbers.octets)}"
    yield f"entries: {entries}"
    yield f"  due now: {numbers.due}"
    yield f"  deferred: {numbers.deferred}"
    yield f"  held: {numbers.held}"
    yield f"  being attempted: {numbers.leased}"
    if numbers.oldest is not None:
        yield f"oldest: {minute(numbers.oldest)}, {spoken_span(now - numbers.oldest)} ago"
    if numbers.destinations:
        yield ""
        yield from _destinations(numbers, now)


def _destinations(numbers: Stats, now: float) -> Iterator[str]:
    rows = [(printable(one.destination), one) for one in numbers.destinations]
    table = (
        Column("DESTINATION", max(len("DESTINATION"), *(cells(name) for name, _ in rows))),
        Column("ENTRIES", 7, right=True),
        Column("OLDEST", 6, right=True),
    )
    yield heading(table)
    for name, one in rows:
        yield _row(table, (name, str(one.entries), short_span(now - one.oldest)))


def _row(table: Iterable[Column], texts: Iterable[str]) -> str:
    pairs = zip(table, texts, strict=True)
    return " ".join(column.cell(text) for column, text in pairs).rstrip()


def _bare(address: Address) -> str:
    return printable(str(address)) or "<>"


def _path(address: Address) -> str:
    return printable(address.path.decode())


def _parameters(parameters: Mapping[bytes, bytes]) -> str:
    """As in a command: `` NOTIFY=NEVER RET=HDRS``."""
    texts = (f"{decoded(k)}={decoded(v)}" if v else decoded(k) for k, v in parameters.items())
    return "".join(f" {printable(text)}" for text in texts)
