"""What one worker process finds out and all should know.

A fact is read where it is kept, without asking anyone. Whoever finds it out notes it and tells it;
with several processes (``workers/facts.py``) that reaches the others, who hear it and tell nobody.
"""

from collections.abc import Callable


def to_nobody(*told: object) -> None:
    """There is one process: who found it out knows it."""


class Fact:
    """The base of what keeps facts of one kind.

    :ivar tell: called with what was found out here; it goes to ``hear`` of the other processes.
    """

    tell: Callable[..., None] = staticmethod(to_nobody)

    def hear(self, *told: object) -> None:
        """Note what another process has found out."""
        raise NotImplementedError
