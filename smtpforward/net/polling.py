"""The reactor's round, without a log context around each event of a socket.

Twisted makes one for every read, so that old-style log lines can name their connection. Nothing
here logs that way, and it costs about as much as a command's whole answer. A socket with something
to read and nothing else, which nearly every event is, is read without further questions. What is
written meanwhile is sent at the end (``outbox.py``).

The private names of Twisted that this leans on are pinned by ``tests/test_net_polling.py``.
"""

from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

from smtpforward.net.outbox import OUTBOX

EPollReactor: Any
try:
    from twisted.internet.epollreactor import EPollReactor
except ImportError:  # pragma: no cover -- a system without epoll
    EPollReactor = None

_log = Logger()


def without_log_context(reactor: Any) -> None:
    """Let ``reactor`` look after its sockets itself. One that is not Twisted's epoll is left alone.

    Failure policy: as Twisted's: what a socket's reading raises is logged and ends its connection,
    and the round goes on.
    """
    if type(reactor) is not EPollReactor:
        return
    reactor.doIteration = _round(reactor)


def _round(reactor: Any) -> Callable[[float | None], None]:
    """Waits for events, and serves each."""
    poll, selectables, act = reactor._poller.poll, reactor._selectables, reactor._doReadOrWrite
    readable, disconnect = reactor._POLL_IN, reactor._disconnectSelectable

    def iterate(timeout: float | None) -> None:
        try:
            events = poll(-1 if timeout is None else timeout, len(selectables))
        except InterruptedError:
            return
        OUTBOX.open = True
        try:
            for descriptor, event in events:
                selectable = selectables.get(descriptor)
                if selectable is None:
                    continue  # It has been closed in this round.
                try:
                    if event != readable:
                        act(selectable, descriptor, event)
                    elif why := selectable.doRead():
                        disconnect(selectable, why, True)
                except Exception as error:
                    _log.failure("a fault while serving {what}", what=repr(selectable))
                    if selectables.get(descriptor) is selectable:
                        _disconnect(reactor, selectable, error)
        finally:
            OUTBOX.end()

    return iterate


def _disconnect(reactor: Any, selectable: Any, error: Exception) -> None:
    """End a connection after ``error``, as Twisted does it."""
    try:
        reactor._disconnectSelectable(selectable, error, False)
    except Exception:
        _log.failure("a fault at the end of {what}", what=repr(selectable))
