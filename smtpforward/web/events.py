"""``/api/events``: what happens, as server-sent events (HTML standard, 9.2), to few who listen.

The gateway is asked once a second for all of them together, and not at all while nobody listens.
Who reads slowly skips: nothing is kept for it beyond what its connection holds. Failure policy: who
has not read anything for a minute is cut off; what goes wrong with asking is logged, and asked
again.
"""

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import Request
from zope.interface import implementer

from smtpforward.web.overview import Json, Overview

MOST = 20
EACH = 1.0
AT_THE_LATEST = 10.0
STUCK = 60.0
MOST_TRANSACTIONS = 50


@implementer(IPushProducer)
class Listener:
    """One who listens.

    :ivar heard: which status it has.
    """

    def __init__(self, request: Request, clock: Any) -> None:
        self._request = request
        self._clock = clock
        self._full_since: float | None = None
        self.heard = 0

    @property
    def is_full(self) -> bool:
        """Whether it has not read what it was sent."""
        return self._full_since is not None

    @property
    def is_stuck(self) -> bool:
        """Whether that is so for long."""
        return self._full_since is not None and self._clock.seconds() >= self._full_since + STUCK

    def write(self, event: bytes) -> None:
        """Send it."""
        self._request.write(event)

    def cut_off(self) -> None:
        """End the connection, whatever is still to be sent."""
        self._request.channel.forceAbortClient()

    def finish(self) -> None:
        """Say no more."""
        self._request.unregisterProducer()
        self._request.finish()

    def pauseProducing(self) -> None:
        """See IPushProducer."""
        if self._full_since is None:
            self._full_since = self._clock.seconds()

    def resumeProducing(self) -> None:
        """See IPushProducer."""
        self._full_since = None

    def stopProducing(self) -> None:
        """See IPushProducer: the request itself says that its client has gone."""


class Events:
    """Tells all who listen."""

    log = Logger()

    def __init__(self, overview: Overview, clock: Any) -> None:
        self._overview = overview
        self._clock = clock
        self._listeners: set[Listener] = set()
        self._timer: IDelayedCall | None = None
        self._looking = False
        self._number = 0
        self._event = b""
        self._known: Json = {}
        self._told_at = 0.0
        # Up to when the transactions are known that have ended, and which of that moment.
        self._after: float | None = None
        self._seen: set[tuple[str, float]] = set()

    def join(self, request: Request) -> bool:
        """One more, if there is room."""
        if len(self._listeners) >= MOST:
            return False
        listener = Listener(request, self._clock)
        request.setHeader(b"content-type", b"text/event-stream")
        request.setHeader(b"x-accel-buffering", b"no")
        request.registerProducer(listener, True)
        request.notifyFinish().addErrback(lambda _: self._left(listener))
        self._listeners.add(listener)
        request.write(b"retry: 3000\n\n")
        if not self._looking:
            self._look_in(0)
        return True

    def _left(self, listener: Listener) -> None:
        self._listeners.discard(listener)
        if not self._listeners:
            self._cancel()
            self._after = None

    def stop(self) -> None:
        """Let all go."""
        self._cancel()
        listeners, self._listeners = self._listeners, set()
        for listener in listeners:
            listener.finish()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_in(self, seconds: float) -> None:
        self._cancel()
        self._timer = self._clock.callLater(seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        self._looking = True
        Deferred.fromCoroutine(self._tell()).addErrback(self._failed).addCallback(self._looked)

    def _failed(self, failure: Failure) -> None:
        self.log.failure("the events cannot be told", failure)

    def _looked(self, _: object) -> None:
        self._looking = False
        if self._listeners:
            self._look_in(EACH)

    async def _tell(self) -> None:
        for listener in [listener for listener in self._listeners if listener.is_stuck]:
            listener.cut_off()
        ended = await self._ended()
        self._note(await self._overview.status())
        for listener in list(self._listeners):
            if listener.is_full:
                continue
            if listener.heard != self._number:
                listener.heard = self._number
                listener.write(self._event)
            if ended:
                listener.write(_event("transactions", {"transactions": ended}))

    def _note(self, status: Json) -> None:
        """There is something new to tell, if so."""
        known = _but_time(status)
        now = self._clock.seconds()
        if known != self._known or now >= self._told_at + AT_THE_LATEST:
            self._known, self._told_at = known, now
            self._number += 1
            self._event = _event("status", status)

    async def _ended(self) -> list[Json]:
        """The transactions that nobody was told of."""
        beginning = self._after is None
        after = self._after or 0.0
        until, ended = await self._overview.ended(after, 0 if beginning else MOST_TRANSACTIONS)
        fresh = [one for one in ended if (one["id"], one["at"]) not in self._seen]
        self._after = until
        self._seen = {(one["id"], one["at"]) for one in ended if one["at"] >= until}
        return fresh


def _but_time(status: Json) -> Json:
    """What differs when something has happened, and not only time has passed."""
    known = {name: value for name, value in status.items() if name != "now"}
    if status["queue"] is not None:
        known["queue"] = {name: n for name, n in status["queue"].items() if name != "oldest"}
    return known


def _event(name: str, data: Json) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode("ascii")
