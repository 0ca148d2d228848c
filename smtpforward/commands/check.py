"""``smtpforward check``: read the configuration directory as the gateway would.

Good settings are summed up on standard output, each warning on a line of its own. Everything that
is wrong goes to standard error, one problem a line.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from smtpforward.config import ConfigurationError, Settings, load

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

EX_OK = 0
EX_NOINPUT = 66
EX_CONFIG = 78
DEFAULT_DIRECTORY = "/etc/smtpforward"


def add_parser(subparsers: "Subparsers") -> None:
    """Offer the subcommand."""
    text = "check the configuration directory"
    parser = subparsers.add_parser("check", help=text, description=f"{text.capitalize()}.")
    parser.add_argument(
        "--config", metavar="DIR", default=DEFAULT_DIRECTORY, help="default: %(default)s"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check ``arguments.config``; the exit code."""
    directory: str = arguments.config
    if not os.path.isdir(directory):
        print(f"{directory}: there is no such directory; --config DIR names it", file=sys.stderr)
        return EX_NOINPUT
    try:
        settings = load(directory)
    except ConfigurationError as error:
        count = len(error.problems)
        print(error, file=sys.stderr)
        print(f"{count} problem{'s' * (count != 1)} in {directory}", file=sys.stderr)
        return EX_CONFIG
    print("\n".join(summary(settings)))
    return EX_OK


def summary(settings: Settings) -> Iterator[str]:
    """What the settings say, a line each; then the warnings."""
    routes, access = settings.routes, settings.access
    yield f"name: {settings.me}"
    yield f"listen: {', '.join(settings.listen)}"
    yield f"default route: {routes.default.next_hop}"
    yield f"sections: {len(routes.sections)}"
    yield f"hosts: {len(access.hosts)}{' and expressions' if access.host_pattern else ''}"
    yield f"sections are hosts: {'yes' if routes.check_recipient else 'no'}"
    yield f"relay networks: {len(access.relays)}"
    for warning in settings.warnings:
        yield f"warning: {warning}"
