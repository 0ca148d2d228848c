"""``smtpforward queue``: what lies in the outbound queue, and what an operator does about it.

It opens the store that the settings name, beside a gateway that may be running and notices by
itself what has become due. Exit codes: 1 a deletion that was not confirmed, 65 a damaged store,
66 a message that is not there, 69 a store that cannot be used, 74 output that cannot be written,
75 a store that is full, 77 one that this user may not use, 78 settings without a queue, 130 Ctrl-C.
"""

import argparse
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.internet.task import react

from smtpforward.commands import settings as directory
from smtpforward.commands.queue import actions, arguments
from smtpforward.commands.queue.actions import Form
from smtpforward.commands.queue.output import Output, UnwrittenError, confirmed, standard
from smtpforward.config import store as places
from smtpforward.interfaces import IQueueStore
from smtpforward.outbound.entry import Change, Filter
from smtpforward.outbound.errors import (
    StoreDamagedError,
    StoreError,
    StoreFullError,
    StoreTooNewError,
)
from smtpforward.outbound.store.choice import store_at

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

EX_DATAERR = 65
EX_UNAVAILABLE = 69
EX_IOERR = 74
EX_TEMPFAIL = 75
EX_NOPERM = 77
EX_INTERRUPTED = 130
_CODES: dict[type[StoreError], int] = {
    StoreFullError: EX_TEMPFAIL,
    StoreDamagedError: EX_DATAERR,
    StoreTooNewError: directory.EX_CONFIG,
}
TERMINAL_LIMIT = 1000
Action = Callable[[IQueueStore, argparse.Namespace, Output], Awaitable[int]]


@frozen
class Changing:
    """A subcommand that changes entries."""

    name: str
    change: Change
    text: str

    async def run(self, store: IQueueStore, asked: argparse.Namespace, output: Output) -> int:
        """See :func:`smtpforward.commands.queue.actions.change`."""
        which = arguments.which(asked, store.now())
        confirm = confirmed if self.change is Change.DELETE and not asked.yes else None
        return await actions.change(store, which, self.change, Form(asked.json), output, confirm)


CHANGES = (
    Changing("retry", Change.RETRY, "make messages due now"),
    Changing("hold", Change.HOLD, "put messages on hold"),
    Changing("release", Change.RELEASE, "take messages off hold"),
    Changing("delete", Change.DELETE, "delete messages, without a bounce"),
)


def add_parser(subparsers: "Subparsers") -> None:
    """Offer the subcommand, which has subcommands of its own."""
    text = "look at the outbound queue, and change it"
    parser = subparsers.add_parser("queue", help=text, description=f"{text.capitalize()}.")
    inner = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_list(inner)
    _add_show(inner)
    for changing in CHANGES:
        _add_change(inner, changing)
    _add_flush(inner)
    _add_stats(inner)


def _add(inner: "Subparsers", name: str, text: str, action: Action) -> argparse.ArgumentParser:
    parser = inner.add_parser(name, help=text, description=f"{text.capitalize()}.")
    arguments.add_common(parser)
    parser.set_defaults(run=run, action=action, parser=parser, check=None)
    return parser


def _add_list(inner: "Subparsers") -> None:
    parser = _add(inner, "list", "list the entries, the oldest first", _list)
    arguments.add_filters(parser)
    arguments.add_number(
        parser, "--limit", None, f"0: all; default: {TERMINAL_LIMIT} at a terminal, else all"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="with all recipients")


def _add_show(inner: "Subparsers") -> None:
    parser = _add(inner, "show", "show all about messages", _show)
    arguments.add_ids(parser, "+")
    parser.add_argument("--body", action="store_true", help="with the text of the message")


def _add_change(inner: "Subparsers", changing: Changing) -> None:
    parser = _add(inner, changing.name, changing.text, changing.run)
    arguments.add_ids(parser, "*")
    arguments.add_filters(parser)
    parser.add_argument("--all", action="store_true", help="the whole queue")
    parser.set_defaults(check=_check_change)
    if changing.change is Change.DELETE:
        parser.add_argument("--yes", action="store_true", help="do not ask first")


def _add_flush(inner: "Subparsers") -> None:
    parser = _add(inner, "flush", "make all due now that is not on hold", _flush)
    arguments.add_destination(parser)


def _add_stats(inner: "Subparsers") -> None:
    parser = _add(inner, "stats", "say how much there is, and for where", _stats)
    arguments.add_number(parser, "--top", 10, "how many destinations; default: %(default)s")


def _check_change(asked: argparse.Namespace) -> None:
    """Say no to a change that is probably not meant."""
    chosen = arguments.which(asked, 0.0) != Filter()
    if chosen and asked.all:
        asked.parser.error("--all is the whole queue: give it without IDs and filters")
    if not chosen and not asked.all:
        asked.parser.error("which? give IDs, filters, or --all")
    if getattr(asked, "yes", True) is False and not sys.stdin.isatty():
        asked.parser.error("without a terminal to ask at, --yes is needed")


async def _list(store: IQueueStore, asked: argparse.Namespace, output: Output) -> int:
    which = arguments.which(asked, store.now())
    limit = asked.limit
    if limit is None:
        limit = 0 if output.width is None else TERMINAL_LIMIT
    form = Form(asked.json, asked.verbose)
    return await actions.list_entries(store, which, limit, form, output)


async def _show(store: IQueueStore, asked: argparse.Namespace, output: Output) -> int:
    ids = tuple(dict.fromkeys(asked.ids))
    return await actions.show(store, ids, asked.body, Form(asked.json), output)


async def _flush(store: IQueueStore, asked: argparse.Namespace, output: Output) -> int:
    which = Filter(destination=asked.destination, held=False)
    return await actions.change(store, which, Change.RETRY, Form(asked.json), output)


async def _stats(store: IQueueStore, asked: argparse.Namespace, output: Output) -> int:
    return await actions.stats(store, asked.top, Form(asked.json), output)


def run(asked: argparse.Namespace) -> int:
    """Do what was asked for; the exit code."""
    if asked.check is not None:
        asked.check(asked)
    outbound = directory.read(asked.config).outbound
    output = standard()
    if outbound is None:
        return _no_queue(asked.config, output)
    if not_yet(outbound.store):
        output.remark(f"{outbound.store}: is not there yet; the gateway makes it when it starts")
        return EX_UNAVAILABLE
    return in_reactor(lambda reactor: perform(outbound.store, reactor, asked, output))


def _no_queue(config: str, output: Output) -> int:
    """Say why the settings have none; the exit code."""
    default = places.DEFAULT_FILE
    if os.path.exists(default) and not os.access(default, os.W_OK):
        output.remark(f"{default}: this user may not use it; the gateway's may")
        return EX_NOPERM
    output.remark(f"{config}: there is no outbound queue: no route leads to one")
    return directory.EX_CONFIG


def not_yet(address: str) -> bool:
    """Whether a file would have to be made: it would be this user's, not the gateway's."""
    path = address.removeprefix(places.SQLITE)
    return path != address and not os.path.exists(path)


def in_reactor(main: Callable[[Any], Coroutine[Any, Any, int]]) -> int:
    """What ``main`` gives, or that it was interrupted."""
    codes: list[int] = []

    async def noting(reactor: Any) -> None:
        codes.append(await main(reactor))

    try:
        react(noting)
    except SystemExit as end:
        if end.code:
            raise
    return codes[0] if codes else EX_INTERRUPTED


async def perform(address: str, reactor: Any, asked: argparse.Namespace, output: Output) -> int:
    """Open the store, act, close it; the exit code."""
    action: Action = asked.action
    try:
        store = store_at(address, reactor)
        await store.open()
        try:
            return await action(store, asked, output)
        finally:
            await store.close()
    except StoreError as error:
        output.remark(str(error))
        return exit_code(error)
    except UnwrittenError as error:
        if error.gone:
            return directory.EX_OK
        output.remark(str(error))
        return EX_IOERR


def exit_code(error: StoreError) -> int:
    """That of an error of the store."""
    for kind, code in _CODES.items():
        if isinstance(error, kind):
            return code
    return EX_UNAVAILABLE
