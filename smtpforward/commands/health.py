"""``smtpforward health``: whether the gateway of these settings takes mail on this host.

For supervisors and containers: it connects to the first place of ``listen`` that greets in the
clear, waits for the greeting and leaves. Exit code 69 when nobody greets with 220 in time.
"""

import argparse
import contextlib
import socket
import sys
from typing import TYPE_CHECKING

from smtpforward.commands import settings as directory
from smtpforward.config import Settings
from smtpforward.config.listen import bound_to

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

EX_UNAVAILABLE = 69
TIMEOUT = 5.0
LONGEST = 4096  # bytes of a greeting
HERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- what is listened on as "all"
Place = tuple[str, int] | str


def add_parser(subparsers: "Subparsers") -> None:
    """Offer ``health``."""
    parser = subparsers.add_parser(
        "health",
        help="whether the gateway takes mail",
        description="Connect to the gateway on this host and wait for its greeting: exit code 0"
        " when it takes mail, 69 when it does not.",
    )
    directory.add_argument(parser)
    parser.add_argument(
        "--timeout", type=float, default=TIMEOUT, metavar="SECONDS", help="default: %(default)s"
    )
    directory.add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Ask the gateway of ``arguments.config``; the exit code."""
    place = place_of(directory.read(arguments.config, arguments.json))
    greeting = problem = ""
    if place is None:
        problem = "listen= (smtp.ini) says no address that could be asked"
    else:
        try:
            greeting = greeting_at(place, arguments.timeout)
        except OSError as error:
            problem = f"{place}: {error}"
    good = greeting.startswith("220")
    if arguments.json:
        document = {"takes_mail": good, "greeting": greeting or None, "problem": problem or None}
        directory.print_json(document)
    elif problem:
        print(problem, file=sys.stderr)
    else:
        print(greeting)
    return directory.EX_OK if good else EX_UNAVAILABLE


def place_of(settings: Settings) -> Place | None:
    """Where to ask: the first place whose greeting is not under TLS."""
    for description in settings.listen:
        bound = bound_to(description)
        if isinstance(bound, str) or (bound and bound[1] not in (0, settings.smtps_port)):
            return bound
    return None


def greeting_at(place: Place, timeout: float) -> str:
    """The first line that is said at ``place``.

    :raise OSError: when nobody is there, or says nothing within ``timeout`` seconds.
    """
    with _connected(place, timeout) as client:
        file = client.makefile("rb")
        line = file.readline(LONGEST)
        with contextlib.suppress(OSError):
            client.sendall(b"QUIT\r\n")
            file.readline(LONGEST)
    return line.decode("ascii", "backslashreplace").rstrip()


def _connected(place: Place, timeout: float) -> socket.socket:
    if not isinstance(place, str):
        host, port = place
        return socket.create_connection((HERE.get(host, host), port), timeout)
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(timeout)
    try:
        client.connect(place)
    except OSError:
        client.close()
        raise
    return client
