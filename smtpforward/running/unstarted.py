"""What is said where the gateway cannot start because an address is not to be had: one line.

twistd lets the error of a service end the process, and Python then prints all the calls that led to
it, forty lines. A daemon's parent is told by twistd itself.
"""

import errno
import os
import sys
from types import TracebackType

from twisted.internet.error import CannotListenError

REMEDIES = {
    errno.EADDRINUSE: "another program listens there",
    errno.EADDRNOTAVAIL: "this machine has no such address",
    errno.EACCES: "it takes root, or CAP_NET_BIND_SERVICE, to listen on a port below 1024",
}


def say_in_a_line() -> None:
    """From now on, an address that cannot be listened on ends the process with one line."""
    sys.excepthook = _said


def _said(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if isinstance(error, CannotListenError):
        print(words(error), file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def words(error: CannotListenError) -> str:
    """The place, what is wrong with it, and what may be behind that."""
    text, why = f"cannot listen on {_place(error)}", error.socketError
    if not isinstance(why, OSError):  # Twisted's, where the lock beside a path is held
        return f"{text}: {why}; {REMEDIES[errno.EADDRINUSE]}"
    remedy = _remedy(why, isinstance(error.port, bytes))
    return f"{text}: {why.strerror}; {remedy}" if remedy else f"{text}: {why.strerror}"


def _remedy(why: OSError, path: bool) -> str | None:
    if path and why.errno == errno.EACCES:
        return None  # The folder bars it, not the number of a port.
    return REMEDIES.get(why.errno or 0)


def _place(error: CannotListenError) -> str:
    """An address and a port, or a path."""
    if isinstance(error.port, bytes):
        return os.fsdecode(error.port)
    host = error.interface or "*"
    return f"[{host}]:{error.port}" if ":" in host else f"{host}:{error.port}"
