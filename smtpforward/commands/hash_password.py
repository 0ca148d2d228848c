"""``smtpforward hash-password``: a password to the hash that ``auth_flat_file.ini`` takes.

At a terminal the password is asked for twice and not shown; otherwise it is the first line of
standard input. It is never an argument: those are seen by every user of the host.
"""

import argparse
import sys
from getpass import getpass
from typing import TYPE_CHECKING

from smtpforward import passwords

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

EX_OK = 0
EX_DATAERR = 65
EX_UNAVAILABLE = 69


class NoPasswordError(Exception):
    """There is no password to hash; the text says why."""


def add_parser(subparsers: "Subparsers") -> None:
    """Offer the subcommand."""
    text = "hash a password for auth_flat_file.ini"
    parser = subparsers.add_parser("hash-password", help=text, description=f"{text.capitalize()}.")
    parser.add_argument(
        "--scheme",
        choices=passwords.SCHEMES,
        default=passwords.default_scheme(),
        help="default: %(default)s",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the hash; the exit code."""
    try:
        print(passwords.hash_secret(ask(), arguments.scheme))
    except NoPasswordError as error:
        print(error, file=sys.stderr)
        return EX_DATAERR
    except passwords.UnavailableError as error:
        print(f"{error}; --scheme scrypt needs nothing", file=sys.stderr)
        return EX_UNAVAILABLE
    return EX_OK


def ask() -> str:
    """The password.

    :raise NoPasswordError: when there is none, or the two that were typed differ.
    """
    if sys.stdin.isatty():
        password = getpass("Password: ")
        if getpass("The same again: ") != password:
            raise NoPasswordError("the two passwords differ")
    else:
        password = sys.stdin.readline().removesuffix("\n").removesuffix("\r")
    if not password:
        raise NoPasswordError("the password is empty")
    return password
