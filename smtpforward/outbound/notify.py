"""Who is told what of a queued message: the reports of a delivery status notification.

Rules (RFC 3461): a sender hears of what it asked for by NOTIFY; where it asked for nothing it hears
of failures, and of nothing else. The null sender never hears anything: that would make loops.
"""

import enum

from attrs import frozen

from smtpforward.envelope import Address, Recipient
from smtpforward.reply import Reply


class Action(enum.Enum):
    """What has become of a recipient (RFC 3464 2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"  # to a server without DSN: no more will be heard of it


_NOTIFY = {
    Action.FAILED: b"FAILURE",
    Action.DELAYED: b"DELAY",
    Action.DELIVERED: b"SUCCESS",
    Action.RELAYED: b"SUCCESS",
}


@frozen
class Report:
    """What a sender is told of one recipient.

    :ivar reply: of the last attempt: the next server's, or the gateway's own words.
    :ivar peer: who was spoken to, ``host[ip]:port``, or empty.
    :ivar remote: whether ``reply`` is what ``peer`` said.
    :ivar at: when the last attempt was made, in seconds since the epoch.
    :ivar retry_until: until when it is tried again, of one that is delayed; ``None`` where that
        is not known.
    """

    recipient: Recipient
    action: Action
    reply: Reply
    peer: str
    remote: bool
    at: float
    retry_until: float | None = None


def wanted(sender: Address, recipient: Recipient, action: Action) -> bool:
    """Whether ``sender`` is to hear that ``action`` is what became of ``recipient``."""
    if not sender.local:
        return False
    words = recipient.parameters.get(b"NOTIFY", b"FAILURE").upper().split(b",")
    return _NOTIFY[action] in words and b"NEVER" not in words
