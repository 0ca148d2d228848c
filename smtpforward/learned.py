"""What backends have refused: the memory behind ``partial_rejection=learn``.

A message of which the backend refuses only some recipients is answered 451, and each refusal is
kept here under next hop, sender and recipient; when the sender comes again, those recipients get
the backend's own reply at RCPT and the others get the message. Bounded: the oldest entry goes.
Worker processes tell each other.
"""

from collections import OrderedDict
from collections.abc import Hashable

from smtpforward.envelope import Address
from smtpforward.facts import Fact
from smtpforward.job import NextHop
from smtpforward.net.clock import Clock
from smtpforward.reply import Reply

PERMANENT_FOR = 6 * 3600.0
TEMPORARY_FOR = 2 * 3600.0
MAX_ENTRIES = 100_000


class LearnedRefusals(Fact):
    """A bounded, expiring map from (next hop, sender, recipient) to a backend's refusal."""

    def __init__(self, clock: Clock, limit: int = MAX_ENTRIES) -> None:
        self._clock = clock
        self._limit = limit
        self._known: OrderedDict[Hashable, tuple[float, Reply]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def learn(self, next_hop: NextHop, sender: Address, recipient: Address, reply: Reply) -> None:
        """Remember ``reply`` for six hours (5yz) or two (4yz)."""
        key = (next_hop, sender.comparable, recipient.comparable)
        self.hear(key, reply)
        self.tell(key, reply)

    def hear(self, key: Hashable, reply: Reply) -> None:  # type: ignore[override]
        """Remember what a backend has said to one of the worker processes."""
        lasts = PERMANENT_FOR if reply.permanent else TEMPORARY_FOR
        self._known[key] = (self._clock.seconds() + lasts, reply)
        self._known.move_to_end(key)
        if len(self._known) > self._limit:
            self._known.popitem(last=False)

    def recall(self, next_hop: NextHop, sender: Address, recipient: Address) -> Reply | None:
        """The refusal that still holds, if there is one."""
        if not self._known:
            return None
        key = (next_hop, sender.comparable, recipient.comparable)
        until, reply = self._known.get(key, (0.0, None))
        if reply is not None and until <= self._clock.seconds():
            del self._known[key]
            return None
        return reply
