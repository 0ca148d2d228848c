"""The arguments of ``smtpforward queue``, and the filter that they mean."""

import argparse
from collections.abc import Callable
from typing import TypeVar

from smtpforward.commands import settings as directory
from smtpforward.commands.queue import words
from smtpforward.outbound.entry import Filter

Value = TypeVar("Value")
ADDRESS = "an address, a domain written @example.com, or <>"


def add_common(parser: argparse.ArgumentParser) -> None:
    """What every subcommand takes."""
    directory.add_argument(parser)
    parser.add_argument("--json", action="store_true", help="for programs")


def add_ids(parser: argparse.ArgumentParser, nargs: str) -> None:
    """The ids of messages."""
    parser.add_argument(
        "ids", metavar="ID", nargs=nargs, type=_checked(text), help="a message, as the list has it"
    )


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Which entries are meant: those for which all that is given is true."""
    group = parser.add_argument_group("filters", "Of several, all must be true.")
    for name in ("sender", "recipient"):
        group.add_argument(f"--{name}", metavar="ADDRESS", type=_checked(address), help=ADDRESS)
    add_destination(group)
    held = group.add_mutually_exclusive_group()
    held.add_argument("--held", dest="held", action="store_true", default=None, help="on hold")
    held.add_argument("--not-held", dest="held", action="store_false", help="not on hold")
    group.add_argument(
        "--older",
        metavar="SPAN",
        type=_checked(words.seconds),
        help="received longer ago than 30s, 15m, 2h, 3d",
    )


def add_destination(group: argparse._ActionsContainer) -> None:
    """The name of a destination."""
    group.add_argument("--destination", metavar="NAME", type=_checked(text), help="as listed")


def add_number(parser: argparse.ArgumentParser, name: str, default: int | None, told: str) -> None:
    """An option that takes a number from 0."""
    parser.add_argument(name, metavar="N", type=_checked(number), default=default, help=told)


def which(arguments: argparse.Namespace, now: float) -> Filter:
    """The filter that is meant; times count back from ``now``."""
    return Filter(
        ids=tuple(dict.fromkeys(getattr(arguments, "ids", ()))),
        sender=arguments.sender,
        recipient=arguments.recipient,
        destination=arguments.destination,
        held=arguments.held,
        older=None if arguments.older is None else now - arguments.older,
    )


def number(value: str) -> int:
    """A whole number from 0."""
    if not (value.isascii() and value.isdecimal() and len(value) < 10):
        raise ValueError(f"{value!r} is not a whole number from 0")
    return int(value)


def text(value: str) -> str:
    """A word that a store can look for."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"{value!a} is not UTF-8") from None
    if not value:
        raise ValueError("is empty")
    return value


def address(value: str) -> str:
    """What the filters of addresses compare with, without angle brackets but for ``<>``."""
    bare = text(value).removeprefix("<").removesuffix(">") or "<>"
    if "@" not in bare and bare != "<>" and bare.lower() != "postmaster":
        raise ValueError(f"{value!r} is not {ADDRESS}")
    return bare


def _checked(parse: Callable[[str], Value]) -> Callable[[str], Value]:
    """``parse`` for argparse, which shows only errors of its own kind in full."""

    def checked(value: str) -> Value:
        try:
            return parse(value)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return checked
