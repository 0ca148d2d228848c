"""Why there is no connection to a backend."""

import errno

from twisted.python.failure import Failure

from smtpforward.job import Event
from smtpforward.reply import Reply

OWN = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def is_our_own(failure: Failure) -> bool:
    """Whether there was no connect at all: this host has no descriptor or memory left for it."""
    return getattr(failure.value, "osError", None) in OWN


class ConnectFailed(Exception):  # noqa: N818 -- it says what happened
    """A connection did not become ready.

    :ivar event: what that means for the job that asked.
    :ivar full: whether it may mean that the server takes no further connection.
    """

    def __init__(
        self, event: Event, detail: str, reply: Reply | None = None, full: bool = False
    ) -> None:
        Exception.__init__(self, detail)
        self.event = event
        self.detail = detail
        self.reply = reply
        self.full = full


class PoolExhausted(ConnectFailed):
    """No connection became free while the job waited."""

    def __init__(self, detail: str) -> None:
        ConnectFailed.__init__(self, Event.POOL_FULL, detail)
