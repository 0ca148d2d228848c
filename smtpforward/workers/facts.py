"""The facts of the whole gateway: what one worker finds out goes to all others.

Each is read where it is kept, in the worker itself; only finding one out is a message, and that is
rare. A worker that starts anew begins without them, as a gateway that starts anew does.
"""

from collections.abc import Callable, Mapping
from functools import partial

from smtpforward.facts import Fact
from smtpforward.workers.messages import Told


class Facts:
    """Those of one worker.

    :param kept: by kind, which is a name that all workers use for it.
    :param say: sends one to the other workers.
    """

    def __init__(self, kept: Mapping[str, Fact], say: Callable[[Told], None]) -> None:
        self._kept = kept
        self._say = say
        for kind, fact in kept.items():
            fact.tell = partial(self._tell, kind)

    def _tell(self, kind: str, *fact: object) -> None:
        self._say(Told(kind, fact))

    def received(self, told: Told) -> None:
        """Another worker has found something out."""
        self._kept[told.kind].hear(*told.fact)
