"""What each subcommand does with an open store; each gives an exit code.

Failure policy: an error of the store ends the command. What was asked for by id and is not there
is said, the rest is done all the same, and the exit code is 66.
"""

from collections.abc import Callable, Iterable, Sequence

from attrs import frozen

from smtpforward.commands.progress import Progress
from smtpforward.commands.queue import as_text
from smtpforward.commands.queue.output import Output
from smtpforward.commands.queue.words import counted
from smtpforward.content import Content
from smtpforward.interfaces import IQueueStore
from smtpforward.outbound import as_json
from smtpforward.outbound.entry import Change, Filter, Listed, Shown
from smtpforward.outbound.header import header, lines
from smtpforward.outbound.looking import found, pages

EX_OK = 0
EX_NOT_CONFIRMED = 1
EX_NOINPUT = 66
_DONE = {
    Change.RETRY: "made due",
    Change.HOLD: "put on hold",
    Change.RELEASE: "released",
    Change.DELETE: "deleted",
}


@frozen
class Form:
    """In what form an answer is wanted. ``verbose``: with all recipients."""

    json: bool = False
    verbose: bool = False


async def list_entries(
    store: IQueueStore, which: Filter, limit: int, form: Form, output: Output
) -> int:
    """A line for each entry, up to ``limit`` of them; 0: all."""
    table = as_text.columns(output.width)

    def written(entry: Listed, now: float) -> Iterable[str]:
        if form.json:
            return [as_json.dumped(as_json.listed(entry, now))]
        return as_text.listed(table, entry, now, form.verbose)

    number = 0
    async for page in pages(store, which):
        if not number and not form.json:
            output.say([as_text.heading(table)])
        fitting = page[: limit - number] if limit else page
        now = store.now()
        output.say(line for entry in fitting for line in written(entry, now))
        number += len(fitting)
        if len(fitting) < len(page):
            output.remark(await _more(store, which, number))
            return EX_OK
    if not number:
        output.remark("no entries")
    return EX_OK


async def _more(store: IQueueStore, which: Filter, number: int) -> str:
    """That there are more, and how many where that is known without counting them."""
    told = f"{number}; there are more"
    if which == Filter():
        told = f"{number} of {(await count(store, which))[0]}"
    return f"the first {told}; --limit 0 lists all"


async def show(
    store: IQueueStore, ids: Sequence[str], with_body: bool, form: Form, output: Output
) -> int:
    """All about some messages."""
    documents, missing = [], 0
    for number, id in enumerate(ids):
        kept = await found(store, id)
        if kept is None:
            output.remark(_missing(id))
            missing += 1
            continue
        message, content = kept
        try:
            if form.json:
                documents.append(as_json.document(message, content, store.now(), with_body))
            else:
                output.say([""] if number > missing else ())
                _say_message(message, content, with_body, store.now(), output)
        finally:
            content.close()
    if form.json:
        output.say([as_json.dumped(documents)])
    return EX_NOINPUT if missing else EX_OK


def _say_message(
    message: Shown, content: Content, with_body: bool, now: float, output: Output
) -> None:
    section, body = header(lines(content.plain()))
    output.say(as_text.shown(message, section, now))
    if with_body:
        output.say(["body:"])
        output.say(map(as_text.indented, body))


async def change(
    store: IQueueStore,
    which: Filter,
    what: Change,
    form: Form,
    output: Output,
    confirm: Callable[[str], bool] | None = None,
) -> int:
    """Apply ``what``, after ``confirm`` has said yes to it, where it is asked."""
    missing = await _absent(store, which.ids)
    entries, leased = await count(store, which, Progress(output.err, "counting"))
    for id in missing:
        output.remark(_missing(id))
    if confirm is not None and entries > leased:
        told = counted(entries - leased, "entry", "entries")
        if not confirm(f"delete {told}, without a bounce?"):
            output.remark("nothing was deleted")
            return EX_NOT_CONFIRMED
    number: int = await store.change(which, what)
    if form.json:
        told = as_json.dumped({"changed": number, "leased": leased, "missing": missing})
        output.say([told])
    else:
        output.say(_told(number, leased, _DONE[what]))
    return EX_NOINPUT if missing else EX_OK


def _told(number: int, leased: int, done: str) -> list[str]:
    told = [f"{counted(number, 'entry', 'entries')} {done}"]
    if leased:
        told.append(f"{counted(leased, 'entry', 'entries')} left alone: being attempted")
    return told


def _missing(id: str) -> str:
    return f"{id}: no such message in the queue"


async def _absent(store: IQueueStore, ids: Sequence[str]) -> list[str]:
    """Which of ``ids`` no message has."""
    known: set[str] = set()
    if ids:
        async for page in pages(store, Filter(ids=tuple(ids))):
            known.update(entry.message.id for entry in page)
    return [id for id in ids if id not in known]


async def count(
    store: IQueueStore, which: Filter, progress: Progress | None = None
) -> tuple[int, int]:
    """How many entries ``which`` has, and how many of them are being attempted.

    Counted one by one only where the store does not know it.
    """
    if which in (Filter(), Filter(held=False)):
        numbers = await store.stats(0)
        held = 0 if which.held is False else numbers.held
        return numbers.due + numbers.deferred + held + numbers.leased, numbers.leased
    entries = leased = 0
    async for page in pages(store, which):
        entries += len(page)
        leased += sum(entry.leased for entry in page)
        if progress is not None:
            progress.more(len(page))
    if progress is not None:
        progress.end()
    return entries, leased


async def stats(store: IQueueStore, top: int, form: Form, output: Output) -> int:
    """The queue in numbers, with the ``top`` destinations."""
    numbers = await store.stats(top)
    if form.json:
        output.say([as_json.dumped(as_json.stats(numbers))])
    else:
        output.say(as_text.stats(numbers, store.now()))
    return EX_OK
