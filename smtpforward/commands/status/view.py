"""The facts of ``/api/status`` as lines to read; nothing in them can break or forge a line."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

from smtpforward.commands.colours import BAD, DIM, GOOD, ODD, STRONG, Colours
from smtpforward.commands.queue.as_text import cells, cut
from smtpforward.commands.queue.words import counted, minute, octets_in_words, spoken_span
from smtpforward.record import printable

Json = Mapping[str, Any]
LABEL = 14
HEALTH = {"up": GOOD, "resting": ODD, "unreachable": BAD, "unknown": DIM}
SOON = 14 * 86400
BACKEND = ("connecting", "busy", "idle", "waiting", "limit", "sent", "deferred", "bounced")


@frozen
class Cell:
    """Of a table. ``colour`` takes no room."""

    text: str
    colour: str = ""
    right: bool = False


def lines(status: Json, colours: Colours, width: int | None = None) -> Iterator[str]:
    """All of it.

    :param width: of the terminal; ``None``: nothing is cut.
    """
    yield from _head(status, colours)
    yield ""
    for label, text in _numbers(status):
        yield f"{label:{LABEL}} {_fit(text, width and width - LABEL - 1)}"
    for table in (_backends(status), _queue(status), _certificates(status)):
        if len(table) > 1:
            yield ""
            yield from _table(table, colours, width)
    problems = status["problems"]
    if problems:
        yield ""
    for problem in problems:
        yield colours(ODD, f"problem: {printable(str(problem))}")


def _fit(text: str, width: int | None) -> str:
    return text if width is None else cut(text, max(20, width))


def _head(status: Json, colours: Colours) -> Iterator[str]:
    ready = colours(GOOD, "ready") if status["ready"] else colours(BAD, "NOT READY")
    workers = (
        counted(status["workers"], "worker", "workers") if status["workers"] else "one process"
    )
    up = spoken_span(status["now"] - status["started"])
    name = colours(STRONG, printable(status["hostname"]))
    yield f"{name}  {ready}  smtpforward {printable(status['version'])}, {workers}, up {up}"
    for reason in status["reasons"]:
        yield colours(BAD, f"  {printable(reason)}")


def _numbers(status: Json) -> Iterator[tuple[str, str]]:
    connections, reloads = status["connections"], status["reloads"]
    turned = _by_name(connections["refused"])
    yield (
        "connections",
        f"{connections['open']} open, {connections['total']} in all"
        + (f"; turned away: {turned}" if turned else ""),
    )
    yield "mail", f"{_by_status(status['transactions'])}; {octets_in_words(status['bytes'])} taken"
    if status["queue"] is not None:
        yield "from the queue", f"{_by_status(status['deliveries'])} (recipients)"
    yield "last 30 min", _lately(status["history"])
    yield "refused", _by_name(status["refusals"]) or "nothing"
    yield "TLS", _by_name(status["tls"]) or "none"
    yield "logins failed", str(status["failed_logins"])
    yield "settings read", f"{reloads['good']} good, {reloads['bad']} bad"


def _by_name(counts: Mapping[str, int]) -> str:
    most = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return ", ".join(f"{printable(name)} {count}" for name, count in most)


def _by_status(counts: Iterable[Json]) -> str:
    """How many were sent, queued, deferred, bounced, by whatever backend."""
    sums = dict.fromkeys(("sent", "queued", "deferred", "bounced"), 0)
    for one in counts:
        sums[one["status"]] = sums.get(one["status"], 0) + one["count"]
    return ", ".join(f"{count} {printable(status)}" for status, count in sums.items())


def _lately(history: Json) -> str:
    names = ("accepted", "deferred", "refused", "delivered")
    return ", ".join(f"{sum(history[name]):.0f} {name}" for name in names)


def _backends(status: Json) -> list[list[Cell]]:
    titles = [Cell("BACKEND"), Cell("HEALTH"), *(Cell(name.upper(), "", True) for name in BACKEND)]
    rows = [[*titles, Cell("WHY")]]
    for one in status["backends"]:
        numbers = ("-" if one[name] is None else str(one[name]) for name in BACKEND)
        rows.append(
            [
                Cell(printable(one["backend"])),
                Cell(printable(one["health"]), HEALTH.get(one["health"], "")),
                *(Cell(number, "", True) for number in numbers),
                Cell(printable(one["why"] or "")),
            ]
        )
    return rows


def _queue(status: Json) -> list[list[Cell]]:
    queue = status["queue"]
    if queue is None:
        return []
    entries = queue["entries"]
    messages = counted(queue["messages"], "message", "messages")
    told = [f"{messages}, {octets_in_words(queue['bytes'])}"]
    if queue["oldest"] is not None:
        told.append(f"the oldest {spoken_span(queue['oldest'])}")
    told += [f"{entries[name]} {name}" for name in ("due", "deferred", "held", "leased")]
    head = [Cell("QUEUE", "" if queue["open"] else BAD), Cell("ENTRIES", "", True)]
    words = ", ".join(told) if queue["open"] else "the store cannot be used"
    rows = [[*head, Cell("")], [Cell(words, "" if queue["open"] else BAD)]]
    for one in queue["destinations"]:
        count = Cell(str(one["entries"]), "", True)
        rows.append([Cell(f"  {printable(one['destination'])}"), count, Cell("")])
    return rows


def _certificates(status: Json) -> list[list[Cell]]:
    rows = [[Cell("CERTIFICATE"), Cell("EXPIRES"), Cell("")]]
    for one in status["certificates"]:
        left = one["expires"] - status["now"]
        colour = BAD if left <= 0 else ODD if left < SOON else ""
        told = f"in {spoken_span(left)}" if left > 0 else "has expired"
        name = Cell(printable(one["certificate"]))
        rows.append([name, Cell(minute(one["expires"])), Cell(told, colour)])
    return rows


def _table(rows: Sequence[Sequence[Cell]], colours: Colours, width: int | None) -> Iterator[str]:
    """Columns as wide as what is in them; a row of one cell is a line of its own."""
    full = [row for row in rows if len(row) > 1]
    widths = [max(cells(row[place].text) for row in full) for place in range(len(full[0]))]
    for row in rows:
        if len(row) == 1:
            yield colours(row[0].colour, _fit(row[0].text, width))
            continue
        *first, last = zip(row, widths, strict=True)
        line = " ".join(_filled(cell, wide, colours) for cell, wide in first)
        used = sum(wide + 1 for _, wide in first)
        text = _fit(last[0].text, width and width - used)
        yield f"{line} {colours(last[0].colour, text)}".rstrip()


def _filled(cell: Cell, width: int, colours: Colours) -> str:
    blanks = " " * (width - cells(cell.text))
    text = colours(cell.colour, cell.text)
    return blanks + text if cell.right else text + blanks
