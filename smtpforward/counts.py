"""What a process counts: integers that are added to where something happens, and read at times.

Nothing here knows who reads them; ``web/`` makes metrics of them. To count a message costs a few
additions. Labels come from the settings and from fixed words, never from a message: what is kept
does not grow with the mail.
"""

from bisect import bisect_left
from collections import Counter
from functools import lru_cache

from attrs import define, field

# Upper bounds in seconds, each included.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
QUEUE = "queue"  # the backend of what the outbound queue takes
MX = "mx"  # that of what goes to mail hosts, whatever their names
NONE = "none"  # that of what no backend was asked about


class Times:
    """How long something took.

    :ivar buckets: how often, up to each of ``BOUNDS``, and above. ``total``: seconds, all together.
    """

    __slots__ = ("buckets", "total")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def note(self, seconds: float) -> None:
        """It took so long this time."""
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


@define(slots=True, eq=False)
class Counts:
    """All of one process since its start.

    :ivar connections: clients that were let in. ``turned_away``: those that were not, by rule.
    :ivar transactions: those that came to the end of their data, by backend and status.
    :ivar deliveries: recipients of attempts of the outbound queue, by backend and status.
    :ivar octets: bytes of the messages that were taken.
    :ivar refusals: of senders, recipients and messages by the gateway's own rules, by rule.
    :ivar handshakes: of TLS with clients, by version.
    :ivar edge: from MAIL to the end of the message. ``wait``: for a connection to the backend.
    :ivar backend: from there to its answer.
    """

    connections: int = 0
    octets: int = 0
    turned_away: Counter[str] = field(factory=Counter)
    transactions: Counter[tuple[str, str]] = field(factory=Counter)
    deliveries: Counter[tuple[str, str]] = field(factory=Counter)
    refusals: Counter[str] = field(factory=Counter)
    handshakes: Counter[str] = field(factory=Counter)
    edge: Times = field(factory=Times)
    wait: Times = field(factory=Times)
    backend: Times = field(factory=Times)


@lru_cache(maxsize=1024)
def backend_of(peer: str) -> str:
    """The backend of ``host[ip]:port`` as the settings name it, without the address."""
    host, bracket, rest = peer.rpartition("[")
    if not bracket or not host:
        return peer or NONE
    return f"[{host}]{rest.partition(']')[2]}" if ":" in host else host + rest.partition("]")[2]
