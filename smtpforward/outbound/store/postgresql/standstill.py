"""Ends what gateways that stand still have left open in the database, for it holds up the others.

A process that is stopped, or a host without memory, keeps its connections, and with them the locks
of a transaction that it is in the middle of. Between statements the server's own patience ends
that, but not in a pipeline, where it waits for the next part, nor where the last that it heard was
a request to flush.

Failure policy: what cannot be ended is looked for again.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from smtpforward.net.clock import Clock

# Only sessions of gateways: others of the same role may take their time.
_END = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
AND application_name = current_setting('application_name')
AND state <> 'idle' AND wait_event = 'ClientRead'
AND greatest(query_start, state_change) < clock_timestamp() - %s * interval '1 second'
"""


def _end(work: Any, seconds: float) -> int:
    return len(work.rows(_END, (seconds,)))


class Standstill:
    """Looks for such sessions, at times.

    :param run: does a call, as :meth:`Connections.run_also`.
    :param patience: seconds between two looks; a session that has waited for its gateway for two
        thirds of that stands still, so that who waits for it finds it the first time.
    """

    log = Logger()

    def __init__(
        self, run: "Callable[..., Deferred[int]]", clock: Clock, patience: float, place: str
    ) -> None:
        self._run = run
        self._clock = clock
        self._patience = patience
        self._place = place
        self._next = clock.seconds() + patience

    def look(self) -> None:
        """Look, if it is time to: called when a call has ended, well or not."""
        now = self._clock.seconds()
        if now >= self._next:
            self._next = now + self._patience
            ending = self._run(_end, 2 * self._patience / 3)
            # Who was held up has been told why nothing goes on.
            ending.addCallbacks(self._ended, lambda _: None)

    def _ended(self, number: int) -> None:
        if number:
            self.log.warn(
                "{place}: ended {number} session(s) of a gateway that stands still",
                place=self._place,
                number=number,
            )
