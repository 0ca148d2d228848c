"""How many connections a pool may have now: its share of the slots, or what its server takes.

A server may say that it takes no more. For a while a pool is content with what it has then: each
further attempt would cost a message its time.
"""

from collections.abc import Callable

from smtpforward.client.slots import Slots
from smtpforward.net.clock import Clock, Watch

FULL_FOR = 60.0


class Limit:
    """The lesser of a pool's share and of what its server takes.

    :param slots: where the share comes from.
    :param lifted: called when the server may take more again. ``resized``: when the share has
        changed.
    :ivar now: connections in all states together. ``share``: what they would be but for the server.
    :ivar reduced: the share has become smaller; whoever has seen to that says so here.
    """

    def __init__(
        self,
        slots: Slots,
        clock: Clock,
        lifted: Callable[[], None],
        resized: Callable[[], None],
    ) -> None:
        self._slots = slots
        self._lifted = lifted
        self._resized = resized
        # Where the server has said that it takes no more.
        self._ceiling: int | None = None
        self._ceiling_ends = Watch(clock, self.lift)
        self.share = self.now = slots.limit
        self.reduced = False
        slots.changed = self._changed

    @property
    def scarce(self) -> bool:
        """Whether others wait for slots."""
        return self._slots.scarce

    def lower(self, count: int) -> None:
        """The server takes no more than ``count``, and may say otherwise in a minute."""
        self._ceiling = max(1, count)
        self._ceiling_ends.arm(FULL_FOR)
        self._set()

    def lift(self) -> None:
        """The server may take more again."""
        self._ceiling = None
        self._set()
        self._lifted()

    def tell(self, used: int, waiting: int, bound: int) -> None:
        """Say what is used, and what is lacking because the share is too small.

        What is not needed may go back at once.

        :param used: connections in all states. ``waiting``: jobs. ``bound``: ``max_connections``.
        """
        lacking = waiting
        if self._ceiling is not None:
            lacking = max(0, min(lacking, self._ceiling - used))
        # Those that wait because enough connect at once have their slots.
        room = max(0, min(lacking, self.now - used))
        self._slots.tell(used + room, lacking - room, bound)
        self._set()

    def release(self) -> None:
        """The pool is empty, and may be forgotten."""
        self._ceiling_ends.stop()
        self._ceiling = None
        self._slots.release()
        self._set()

    def _changed(self) -> None:
        self._set()
        self._resized()

    def _set(self) -> None:
        share = self._slots.limit
        if share < self.share:
            self.reduced = True
        self.share = share
        self.now = share if self._ceiling is None else min(share, self._ceiling)
