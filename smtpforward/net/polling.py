"""The reactor's round, without a log context around each event of a socket.

Twisted makes one for every read, so that old-style log lines can name their connection. Nothing
here logs that way, and it costs about as much as a command's whole answer.

The private names of Twisted that this leans on are pinned by ``tests/test_net_polling.py``.
"""

from typing import Any

from twisted.logger import Logger

EPollReactor: Any
try:
    from twisted.internet.epollreactor import EPollReactor
except ImportError:  # pragma: no cover -- a system without epoll
    EPollReactor = None

_log = Logger()


def without_log_context(reactor: Any) -> None:
    """Let ``reactor`` look after its sockets itself. One that is not Twisted's epoll is left alone.

    Failure policy: as Twisted's: what a socket's reading raises is logged, and the round goes on.
    """
    if type(reactor) is not EPollReactor:
        return
    poll, selectables, act = reactor._poller.poll, reactor._selectables, reactor._doReadOrWrite

    def iterate(timeout: float | None) -> None:
        try:
            events = poll(-1 if timeout is None else timeout, len(selectables))
        except InterruptedError:
            return
        for descriptor, event in events:
            selectable = selectables.get(descriptor)
            if selectable is None:
                continue  # It has been closed in this round.
            try:
                act(selectable, descriptor, event)
            except Exception:
                _log.failure("a fault while serving {what}", what=repr(selectable))

    reactor.doIteration = iterate
