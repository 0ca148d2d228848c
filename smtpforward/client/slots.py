"""How many connections a pool may have: its own bound, or a share of the whole gateway's.

A share may be zero and may change at any time; the pool says what it uses and what it lacks, and is
told when it has more or fewer. A share is counted in the process that gives it out: whoever owns
one gives a slot back only when the connection in it is gone.
"""

from collections.abc import Callable
from typing import Protocol

from smtpforward.job import Server


class Slots(Protocol):
    """What a pool asks of where its slots come from.

    :ivar limit: how many connections it may have now. ``scarce``: others wait for slots, so none
        is to be kept for a connection that lies idle.
    :ivar changed: called when one of the two has changed.
    """

    changed: Callable[[], None]

    @property
    def limit(self) -> int:
        """Connections in all states together."""

    @property
    def scarce(self) -> bool:
        """Whether others wait."""

    def tell(self, used: int, lacking: int, bound: int) -> None:
        """The pool has ``used`` connections, and would open ``lacking`` more.

        :param bound: ``max_connections``, as it stands now.
        """

    def release(self) -> None:
        """The pool is empty, and may be forgotten."""


class OwnSlots:
    """All slots belong to this process."""

    scarce = False

    def __init__(self, bound: int) -> None:
        self.limit = max(1, bound)
        self.changed: Callable[[], None] = _nothing

    def tell(self, used: int, lacking: int, bound: int) -> None:
        """Nobody else is interested."""
        self.limit = max(1, bound)

    def release(self) -> None:
        """They stay its own."""


def own_slots(server: Server, bound: int) -> Slots:
    """The slots of a backend, in a gateway of one process."""
    return OwnSlots(bound)


def _nothing() -> None:
    """Nobody has asked to be told."""
