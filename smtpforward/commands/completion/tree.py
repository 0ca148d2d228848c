"""What can be completed, read off the parsers: each command with its options and its words.

Pure. A shell's module makes its script of this. What an option's value is, its metavar says:
``DIR`` is a directory and ``FILE`` a file.
"""

import argparse
from collections.abc import Iterator, Sequence

from attrs import frozen

FILES = {"DIR": "directory", "FILE": "file"}


@frozen
class Value:
    """What stands behind an option, or alone.

    :ivar kind: ``directory``, ``file``, or empty: anything.
        ``choices``: what alone may stand there.
    """

    name: str
    kind: str = ""
    choices: tuple[str, ...] = ()


@frozen
class Option:
    """One option by all its names. ``value``: ``None`` where it is a switch."""

    names: tuple[str, ...]
    help: str
    value: Value | None = None
    repeated: bool = False


@frozen
class Command:
    """One command.

    :ivar path: its words, without the program's name. ``inner``: its subcommands.
    :ivar words: what stands alone, in order; of the last there may be several.
    """

    path: tuple[str, ...]
    help: str
    options: tuple[Option, ...]
    words: tuple[Value, ...]
    inner: tuple["Command", ...] = ()


def tree(parser: argparse.ArgumentParser, path: tuple[str, ...] = (), told: str = "") -> Command:
    """The command of ``parser``, with all that is in it."""
    options, words, inner = [], [], list[Command]()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            inner.extend(_inner(action, path))
        elif action.help == argparse.SUPPRESS:
            continue
        elif action.option_strings:
            options.append(_option(action))
        else:
            words.append(_value(action))
    return Command(path, told, tuple(options), tuple(words), tuple(inner))


def all_of(command: Command) -> Iterator[Command]:
    """``command`` and all below it."""
    yield command
    for one in command.inner:
        yield from all_of(one)


def _inner(
    action: "argparse._SubParsersAction[argparse.ArgumentParser]", path: tuple[str, ...]
) -> Iterator[Command]:
    told = {one.dest: one.help or "" for one in action._choices_actions}
    for name, parser in action.choices.items():
        yield tree(parser, (*path, name), told.get(name, ""))


def _option(action: argparse.Action) -> Option:
    takes = action.nargs != 0
    repeated = isinstance(action, argparse._AppendAction)
    value = _value(action) if takes else None
    return Option(tuple(action.option_strings), _help(action), value, repeated)


def _value(action: argparse.Action) -> Value:
    name = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    choices: Sequence[object] = tuple(action.choices or ())
    return Value(name, FILES.get(name, ""), tuple(map(str, choices)))


def _help(action: argparse.Action) -> str:
    """In one line, its default filled in."""
    text = (action.help or "") % {**vars(action), "prog": "smtpforward"}
    return " ".join(text.split())
