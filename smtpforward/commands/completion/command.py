"""``smtpforward completion``: a script that lets a shell complete the command's words.

It is made of the parsers themselves, so that it knows what they know.
"""

import argparse
from typing import TYPE_CHECKING

from smtpforward.commands.completion import bash, fish, zsh
from smtpforward.commands.completion.tree import tree

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

SCRIPTS = {"bash": bash.script, "zsh": zsh.script, "fish": fish.script}
EX_OK = 0
TEXT = """Print a script that lets a shell complete this command.

  bash:  source <(smtpforward completion bash)
  zsh:   source <(smtpforward completion zsh)
  fish:  smtpforward completion fish | source"""


def add_parser(subparsers: "Subparsers") -> None:
    """Offer the subcommand."""
    parser = subparsers.add_parser(
        "completion",
        help="print a script that completes this command in a shell",
        description=TEXT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", metavar="SHELL", choices=tuple(SCRIPTS), help=", ".join(SCRIPTS))
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print it; the exit code."""
    print(SCRIPTS[arguments.shell](tree(arguments.whole)), end="")
    return EX_OK
