"""``smtpforward status``: how the gateway that runs here is, once or again and again.

Exit code 0 where it is ready, 75 where it is not, 69 where nobody answers. With ``--watch`` an
answer that does not come is said, and the next one waited for; Ctrl-C ends it with 0.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from smtpforward.commands import api
from smtpforward.commands import settings as directory
from smtpforward.commands.colours import colours
from smtpforward.commands.queue.output import Output, UnwrittenError, standard
from smtpforward.commands.status.view import lines

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

EX_IOERR = 74
EX_TEMPFAIL = 75
INTERVAL = 2.0
CLEAR = "\x1b[H\x1b[J"


def add_parser(subparsers: "Subparsers") -> None:
    """Offer the subcommand."""
    text = "say how the gateway that runs here is"
    parser = subparsers.add_parser("status", help=text, description=f"{text.capitalize()}.")
    directory.add_argument(parser)
    api.add_arguments(parser)
    parser.add_argument("--watch", action="store_true", help="again and again, until Ctrl-C")
    parser.add_argument(
        "--interval",
        metavar="SECONDS",
        type=_interval,
        default=INTERVAL,
        help="of --watch; default: %(default)g",
    )
    parser.add_argument("--json", action="store_true", help="for programs: a document a line")
    parser.set_defaults(run=run)


def _interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0.1 to 86400")
    return seconds


def run(arguments: argparse.Namespace) -> int:
    """Ask and tell; the exit code."""
    output = standard()
    try:
        asked = api.api_of(arguments.config, arguments)
        if arguments.watch:
            return watch(lambda: shown(asked, arguments, output), arguments.interval, output)
        return shown(asked, arguments, output)
    except api.NotAskedError as error:
        output.remark(str(error))
        return error.code
    except UnwrittenError as error:
        if error.gone:
            return directory.EX_OK
        output.remark(str(error))
        return EX_IOERR


def watch(show: Callable[[], int], interval: float, output: Output) -> int:
    """Show it again and again until Ctrl-C; the exit code."""
    try:
        while True:
            try:
                show()
            except api.NotAskedError as error:
                output.remark(str(error))
            time.sleep(interval)
    except KeyboardInterrupt:
        return directory.EX_OK


def shown(asked: api.API, arguments: argparse.Namespace, output: Output) -> int:
    """Tell it once; the exit code."""
    status: Any = asked.get("/api/status")
    if status is None:
        raise api.NotAskedError("the gateway knows no /api/status: it is of another version")
    if arguments.json:
        output.say([json.dumps(status)])
    else:
        told = list(lines(status, colours(sys.stdout), output.width))
        if arguments.watch:
            # One screen after the other, or one paragraph after the other.
            told = [CLEAR + told[0], *told[1:]] if output.width is not None else [*told, ""]
        output.say(told)
    return directory.EX_OK if status["ready"] else EX_TEMPFAIL
