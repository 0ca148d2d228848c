"""The configuration directory as every subcommand takes it."""

import argparse
import json
import os
import sys

from attrs import asdict

from smtpforward.config import ConfigurationError, Settings, load

EX_OK = 0
EX_NOINPUT = 66
EX_CONFIG = 78
DEFAULT_DIRECTORY = "/etc/smtpforward"


class UnreadableSettings(Exception):  # noqa: N818 -- it says what happened
    """There are no settings; what is wrong has been said on standard error.

    :ivar code: the exit code.
    """

    def __init__(self, code: int) -> None:
        Exception.__init__(self, code)
        self.code = code


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Offer ``--config``."""
    parser.add_argument(
        "--config", metavar="DIR", default=DEFAULT_DIRECTORY, help="default: %(default)s"
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Offer ``--json``."""
    parser.add_argument("--json", action="store_true", help="for programs")


def print_json(document: object) -> None:
    """Print one document on a line of its own, in ASCII: it is the same at every terminal."""
    print(json.dumps(document))


def read(directory: str, as_json: bool = False) -> Settings:
    """The settings of ``directory``.

    :param as_json: whether problems are printed as a document as well: ``{"problems": [...]}``.
    :raise UnreadableSettings: when there are none.
    """
    if not os.path.isdir(directory):
        print(f"{directory}: there is no such directory; --config DIR names it", file=sys.stderr)
        raise UnreadableSettings(EX_NOINPUT)
    try:
        return load(directory)
    except ConfigurationError as error:
        count = len(error.problems)
        if as_json:
            print_json({"problems": [asdict(problem) for problem in error.problems]})
        print(error, file=sys.stderr)
        print(f"{count} problem{'s' * (count != 1)} in {directory}", file=sys.stderr)
        raise UnreadableSettings(EX_CONFIG) from None
