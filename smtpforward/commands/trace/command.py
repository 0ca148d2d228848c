"""``smtpforward trace``: the story of one message, out of all that still knows of it.

The gateway that runs, the store of the outbound queue and log files are asked; what two of them
tell is told once. An id that no transaction has may be a backend's, in its answer: then that
transaction is meant. A bounce and what it is about are one story. Exit code 1: nothing is known.

Failure policy: who cannot be asked is named on standard error, and the others are. A log file that
is not there is 66.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from smtpforward.commands import api
from smtpforward.commands import settings as directory
from smtpforward.commands.colours import colours
from smtpforward.commands.progress import Progress
from smtpforward.commands.queue.arguments import text
from smtpforward.commands.queue.command import in_reactor, not_yet
from smtpforward.commands.queue.output import Output, UnwrittenError, standard
from smtpforward.commands.trace import reading, stored, view
from smtpforward.commands.trace.event import Told, story
from smtpforward.commands.trace.files import Log, logs
from smtpforward.commands.trace.ids import id_in
from smtpforward.interfaces import IQueueStore
from smtpforward.outbound import as_json
from smtpforward.outbound.errors import StoreError
from smtpforward.outbound.store.choice import store_at

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

EX_NOTHING = 1
EX_NOINPUT = 66
EX_IOERR = 74
GATEWAY = "gateway"
MOST_IDS = 20


def add_parser(subparsers: "Subparsers") -> None:
    """Offer the subcommand."""
    told = "tell the story of one message"
    parser = subparsers.add_parser("trace", help=told, description=f"{told.capitalize()}.")
    directory.add_argument(parser)
    api.add_arguments(parser)
    parser.add_argument(
        "--log",
        metavar="FILE",
        action="append",
        default=[],
        help="a log of the gateway's, with its rotated ones; several times; - is standard input",
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument(
        "id",
        metavar="ID",
        type=_checked,
        help="of a transaction or a bounce; or an answer, or a line, that holds it",
    )
    parser.set_defaults(run=run)


def _checked(value: str) -> str:
    try:
        return text(id_in(value))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run(arguments: argparse.Namespace) -> int:
    """Gather and tell; the exit code."""
    output = standard()
    settings = directory.read(arguments.config)
    try:
        files = logs(arguments.log)
    except OSError as error:
        output.remark(f"{error.filename}: {error.strerror}")
        return EX_NOINPUT
    address = settings.outbound.store if settings.outbound is not None else ""
    ask = _asking(arguments, output)

    async def main(reactor: Any) -> int:
        store = await _opened(address, reactor, output)
        try:
            found = await Gathering(ask, store, files, output).story(arguments.id)
        finally:
            if store is not None:
                await store.close()
        return tell(found, arguments.json, output)

    try:
        return in_reactor(main)
    except UnwrittenError as error:
        if error.gone:
            return directory.EX_OK
        output.remark(str(error))
        return EX_IOERR


async def _opened(address: str, reactor: Any, output: Output) -> IQueueStore | None:
    """The queue's store; ``None`` where there is none, or it cannot be used, which is said."""
    if not address or not_yet(address):
        return None
    store: IQueueStore = store_at(address, reactor)
    try:
        await store.open()
    except StoreError as error:
        output.remark(f"the queue is not looked at: {error}")
        return None
    return store


def tell(found: view.Story, as_document: bool, output: Output) -> int:
    """Say it; the exit code."""
    if as_document:
        output.say([as_json.dumped(view.document(found))])
    elif found.events:
        output.say(view.lines(found, colours(sys.stdout)))
    if not found.events:
        output.remark(f"{found.id}: nothing is known of it, or not any more")
        return EX_NOTHING
    return directory.EX_OK


def _asking(arguments: argparse.Namespace, output: Output) -> Callable[[str], Any]:
    """Asks the gateway for a transaction; says once that it cannot be asked."""
    told: list[str] = []

    def ask(id: str) -> Any:
        if told:
            return None
        try:
            return api.api_of(arguments.config, arguments).get(f"/api/transactions/{id}")
        except api.NotAskedError as error:
            told.append(str(error))
            output.remark(f"the gateway is not asked: {error}")
            return None

    return ask


class Gathering:
    """What is known of an id, and of those that belong to it.

    :param ask: a transaction's document of the gateway, or ``None``.
    :param store: the queue's; ``None`` where there is none to look at.
    """

    def __init__(
        self,
        ask: Callable[[str], Any],
        store: IQueueStore | None,
        files: Sequence[Log],
        output: Output,
    ) -> None:
        self._ask = ask
        self._store = store
        self._files = files
        self._output = output
        self._told: list[Told] = []
        self._queue: dict[str, Any] = {}

    async def story(self, id: str) -> view.Story:
        """All of it."""
        known: list[str] = []
        new = [id]
        while new and len(known) < MOST_IDS:
            new = new[: MOST_IDS - len(known)]
            known += new
            new = [one for one in await self._gathered(new) if one not in known]
        events = [one for one in self._told if one.id in known]
        ids = [one for one in known if any(event.id == one for event in events)]
        return view.Story(id, ids, story(events), self._queue)

    async def _gathered(self, ids: Sequence[str]) -> list[str]:
        """Gather all about ``ids``; the further ones that it leads to."""
        fresh = [*self._of_gateway(ids), *await self._of_store(ids), *self._of_logs(ids)]
        own = {event.id for event in fresh}
        further: list[str] = []
        for event in fresh:
            if event.kind == "bounce":
                further += [event.id, str(event.facts.get("notice"))]
            elif not own & set(ids):
                further.append(event.id)  # a backend's id, in its answer
        # A line with two ids has been read for the first of them.
        self._told += [event for event in fresh if event not in self._told]
        return list(dict.fromkeys(filter(None, further)))

    def _of_gateway(self, ids: Iterable[str]) -> list[Told]:
        found = []
        for id in ids:
            if re.fullmatch("[0-9A-F]+", id) is None:
                continue
            document = self._ask(id)
            for event in document["events"] if document else ():
                facts = {k: v for k, v in event.items() if k not in ("at", "event", "id")}
                of = str(event.get("id", id))
                found.append(Told(event["at"], event["event"], of, facts, (GATEWAY,)))
        return found

    async def _of_store(self, ids: Sequence[str]) -> list[Told]:
        if self._store is None:
            return []
        try:
            found = await stored.look(self._store, ids)
        except StoreError as error:
            self._output.remark(f"the queue is not looked at: {error}")
            self._store = None
            return []
        self._queue |= {id: one.document for id, one in found.items()}
        told = [event for one in found.values() for event in one.events]
        return [*told, *(_notice(id, one) for id, one in found.items() if one.about)]

    def _of_logs(self, ids: Sequence[str]) -> list[Told]:
        """What the files say of ``ids``: as the transaction's, or among the words."""
        needles = [id.encode("utf-8") for id in ids]
        word = re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, ids))})(?![\w-])")
        size = sum(file.size for file in self._files)
        progress = Progress(self._output.err, "reading the logs", size)
        try:
            return [
                event
                for file in self._files
                for line in file.holding(needles, progress.more)
                if word.search(line)
                for event in reading.events(line, file.path, file.written)
                if event.id
            ]
        finally:
            progress.end()


def _notice(id: str, about: stored.Stored) -> Told:
    """A notification that is in the queue, as an event of the message that it is about."""
    received = about.events[0]
    return Told(received.at, "bounce", about.about, {"notice": id}, (stored.SOURCE,))
