"""The leases of what this process attempts, renewed until the attempts are recorded.

Rules: a dot may leave only while its lease has some time to run (``holds``), so that nobody else
has begun with the message by then. A renewal that fails is tried again soon; who cannot renew for
long enough sends nothing more.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from smtpforward.net.clock import Clock
from smtpforward.outbound.entry import Lease
from smtpforward.outbound.errors import StoreError

# Parts of a lease's duration.
RENEW_EVERY = 1 / 5
RETRY_EVERY = 1 / 60
MARGIN = 1 / 4
MOST_MARGIN = 15.0  # what a dot takes to leave, and clocks may differ


class Leases:
    """Those of one process.

    :param store: an :class:`smtpforward.interfaces.IQueueStore`.
    :param duration: of a lease, in seconds, as of now.
    :ivar owner: the name under which this process leases.
    """

    log = Logger()

    def __init__(self, store: Any, owner: str, clock: Clock, duration: Callable[[], float]) -> None:
        self.owner = owner
        self._store = store
        self._clock = clock
        self._duration = duration
        self._until: dict[int, float] = {}
        self._sent: set[int] = set()
        self._timer: IDelayedCall | None = None
        self._renewing: Deferred[None] | None = None
        self._stopped = False

    def __len__(self) -> int:
        return len(self._until)

    def new(self) -> Lease:
        """A lease that begins now."""
        return Lease(self.owner, self._store.now() + self._duration())

    def hold(self, entry: int, lease: Lease) -> None:
        """``entry`` is leased: renew it from now on."""
        self._until[entry] = lease.until
        if self._timer is None and self._renewing is None and not self._stopped:
            self._later(RENEW_EVERY)

    def is_known(self, entry: int) -> bool:
        """Whether it is being attempted here, or its result recorded, under whatever lease."""
        return entry in self._until

    def drop(self, entry: int) -> None:
        """The attempt is recorded, or given back."""
        self._until.pop(entry, None)
        self._sent.discard(entry)

    def holds(self, entry: int) -> bool:
        """Whether ``entry`` is certain to be ours for a while."""
        margin = min(MOST_MARGIN, MARGIN * self._duration())
        return self._until.get(entry, 0.0) - margin > self._store.now()

    def leave_for(self, entry: int) -> Callable[[], bool]:
        """``holds`` of that entry, to be asked when its message is to leave."""
        return lambda: self._may_leave(entry)

    def _may_leave(self, entry: int) -> bool:
        if self.holds(entry):
            self._sent.add(entry)
            return True
        return False

    def has_left(self, entry: int) -> bool:
        """Whether the message may be with the next server already."""
        return entry in self._sent

    def stop(self) -> None:
        """Renew no more."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _later(self, part: float) -> None:
        self._timer = self._clock.callLater(part * self._duration(), self._renew)

    def _renew(self) -> None:
        self._timer = None
        if not self._until:
            return
        lease, asked = self.new(), dict(self._until)
        self._renewing = self._store.renew(frozenset(asked), lease)
        self._renewing.addCallbacks(
            self._renewed, self._not_renewed, callbackArgs=(asked, lease)
        ).addErrback(self._failed)

    def _renewed(self, ours: frozenset[int], asked: dict[int, float], lease: Lease) -> None:
        for entry, until in asked.items():
            # Another lease of it than the one that was asked for is nobody's answer.
            if self._until.get(entry) == until:
                # What is not ours any more must not be sent.
                self._until[entry] = lease.until if entry in ours else 0.0
        self._again(RENEW_EVERY)

    def _not_renewed(self, failure: Failure) -> None:
        failure.trap(StoreError)
        self.log.warn("leases cannot be renewed yet: {why}", why=failure.getErrorMessage())
        self._again(RETRY_EVERY)

    def _failed(self, failure: Failure) -> None:
        self.log.failure("leases cannot be renewed", failure)
        self._again(RETRY_EVERY)

    def _again(self, part: float) -> None:
        self._renewing = None
        if self._until and not self._stopped:
            self._later(part)
