"""``smtpforward check``: read the configuration directory as the gateway would and sum it up.

Good settings are summed up on standard output, each note and warning on a line of its own.
Everything that is wrong goes to standard error, one problem a line.
"""

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from smtpforward.commands import settings as directory
from smtpforward.config import Settings
from smtpforward.config.outbound import in_words

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_parser(subparsers: "Subparsers") -> None:
    """Offer the subcommand."""
    text = "check the configuration directory"
    parser = subparsers.add_parser("check", help=text, description=f"{text.capitalize()}.")
    directory.add_argument(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check ``arguments.config``; the exit code."""
    print("\n".join(summary(directory.read(arguments.config))))
    return directory.EX_OK


def summary(settings: Settings) -> Iterator[str]:
    """What the settings say, a line each; then notes and warnings."""
    routes, access = settings.routes, settings.access
    yield f"name: {settings.me}"
    yield f"listen: {', '.join(settings.listen)}"
    yield f"processes: {f'{settings.nodes} workers' if settings.nodes else 'one'}"
    yield f"default route: {routes.default.next_hop}"
    yield f"sections: {len(routes.sections)}"
    yield f"hosts: {len(access.hosts)}{' and expressions' if access.host_pattern else ''}"
    yield f"sections are hosts: {'yes' if routes.check_recipient else 'no'}"
    yield f"relay networks: {len(access.relays)}"
    yield f"certificates: {', '.join(_certificates(settings)) or 'none'}"
    yield f"logins: {_logins(settings)}"
    yield f"outbound queue: {in_words(settings.outbound) if settings.outbound else 'none'}"
    for note in settings.notes:
        yield f"note: {note}"
    for warning in settings.warnings:
        yield f"warning: {warning}"


def _certificates(settings: Settings) -> Iterator[str]:
    for certificate in settings.tls.certificates if settings.tls else ():
        yield " ".join(certificate.names) or certificate.path


def _logins(settings: Settings) -> str:
    logins = settings.logins
    return f"{len(logins.users)} users, {', '.join(logins.methods) or 'no methods'}"
