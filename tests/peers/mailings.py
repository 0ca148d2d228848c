"""Messages for a gateway that queues: each has a number, and all else about it follows from that.

The local part of a recipient begins with what the backends say to it. Two of the domains may have a
backend of their own, so that a message is several entries of the queue. Bounces go to the sender.
"""

import random
from functools import cached_property

from attrs import define, field

DOMAINS = ("one.example.net", "two.example.net", "three.example.com")
SENDERS = "senders.example.org"
NUMBER = b"X-Number: "
LARGE_EVERY = 10
# What the backends say: 250; 550 or, the first time, 450 at RCPT; 554 or 451 at the dot.
TAKEN, REFUSED, LATER = "ok", "bad", "late"
DOT_REFUSED, DOT_LATER = "dotbad", "dotlate"
BOUNCE = frozenset({REFUSED, DOT_REFUSED})
LINE = b"%d/%d 0123456789 \xe4\xf6\xfc abcdefghijklmnopqrstuvwxyz\r\n"


@define(frozen=False, slots=False)
class Mailing:
    """One message. ``large``: the size of every tenth, in bytes."""

    number: int
    large: int = field(default=200_000, repr=False)

    @property
    def sender(self) -> str:
        return f"from-{self.number}@{SENDERS}"

    @cached_property
    def recipients(self) -> tuple[str, ...]:
        """One to five, of up to three domains; each address is of this message alone."""
        chance = random.Random(self.number)
        count = chance.choice((1, 1, 2, 3, 5))
        # At the dot all have the same fate.
        common = chance.choices((None, DOT_REFUSED, DOT_LATER), (94, 2, 4))[0]
        return tuple(
            f"{common or chance.choices((TAKEN, REFUSED, LATER), (84, 6, 10))[0]}"
            f"-{self.number}-{index}@{chance.choice(DOMAINS)}"
            for index in range(count)
        )

    @property
    def plain(self) -> bytes:
        """The message. Some lines begin with dots."""
        size = self.large if self.number % LARGE_EVERY == 0 else 1000
        header = b"%b%d\r\nDate: Mon, 1 Jun 2026 00:00:00 +0000\r\nMessage-ID: <%d@%b>\r\n"
        lines = [header % (NUMBER, self.number, self.number, SENDERS.encode()), b"\r\n.\r\n..\r\n"]
        lines += [LINE % (self.number, index) for index in range(size // 50)]
        return b"".join(lines)


def number_of(plain: bytes) -> int | None:
    """Which mailing a message is, if it is one."""
    number = plain.partition(NUMBER)[2].partition(b"\r\n")[0]
    return int(number) if number.isdigit() else None


def fate(recipient: str) -> str:
    """What the backends say to it."""
    return recipient.partition("-")[0]


def bounces(recipient: str) -> bool:
    """Whether its mail comes back."""
    return fate(recipient) in BOUNCE
