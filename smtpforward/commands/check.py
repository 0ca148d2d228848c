"""``smtpforward check``: read the configuration directory as the gateway would and sum it up.

Good settings are summed up on standard output, each note and warning on a line of its own.
Everything that is wrong goes to standard error, one problem a line. With ``--json`` all
of it is one document on standard output as well.
"""

import argparse
from collections.abc import Iterator, Mapping
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
    directory.add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check ``arguments.config``; the exit code."""
    settings = directory.read(arguments.config, arguments.json)
    said = summary(settings)
    if arguments.json:
        remarks = {"notes": settings.notes, "warnings": settings.warnings}
        directory.print_json(
            {"problems": [], "settings": said}
            | {kind: list(map(str, told)) for kind, told in remarks.items()}
        )
    else:
        print("\n".join(_lines(said, settings)))
    return directory.EX_OK


def summary(settings: Settings) -> dict[str, str]:
    """What the settings say, in words."""
    routes, access = settings.routes, settings.access
    return {
        "name": settings.me,
        "listen": ", ".join(settings.listen),
        "processes": f"{settings.nodes} workers" if settings.nodes else "one",
        "default route": str(routes.default.next_hop),
        "sections": str(len(routes.sections)),
        "hosts": f"{len(access.hosts)}{' and expressions' if access.host_pattern else ''}",
        "sections are hosts": "yes" if routes.check_recipient else "no",
        "relay networks": str(len(access.relays)),
        "certificates": ", ".join(_certificates(settings)) or "none",
        "logins": _logins(settings),
        "outbound queue": in_words(settings.outbound) if settings.outbound else "none",
    }


def _lines(said: Mapping[str, str], settings: Settings) -> Iterator[str]:
    """The same, a line each; then notes and warnings."""
    yield from (f"{what}: {words}" for what, words in said.items())
    yield from (f"note: {note}" for note in settings.notes)
    yield from (f"warning: {warning}" for warning in settings.warnings)


def _certificates(settings: Settings) -> Iterator[str]:
    for certificate in settings.tls.certificates if settings.tls else ():
        yield " ".join(certificate.names) or certificate.path


def _logins(settings: Settings) -> str:
    logins = settings.logins
    return f"{len(logins.users)} users, {', '.join(logins.methods) or 'no methods'}"
