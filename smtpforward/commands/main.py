"""The ``smtpforward`` command: one subcommand a module.

A module offers ``add_parser(subparsers)``, which sets ``run`` to a function from the parsed
arguments to the exit code. The codes are those of ``sysexits.h``: 0, 64 usage, 65 wrong input,
66 missing input, 69 unavailable, 78 settings.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from smtpforward.commands import check, demo, hash_password, probe, route
from smtpforward.commands.queue import command as queue
from smtpforward.commands.settings import UnreadableSettings
from smtpforward.version import version

COMMANDS = (check, route, probe, queue, hash_password, demo)
EX_USAGE = 64


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """As argparse does, with the exit code that operators expect."""
        self.print_usage(sys.stderr)
        self.exit(EX_USAGE, f"{self.prog}: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; the exit code."""
    arguments = parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except UnreadableSettings as error:
        return error.code
    return code


def parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="smtpforward", description="A mail gateway: its tools.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {version()}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(subparsers)
    return parser


if __name__ == "__main__":
    sys.exit(main())
