"""Who is told what of a queued message (RFC 3461 4.1)."""

from twisted.trial.unittest import SynchronousTestCase

from smtpforward.envelope import NULL_SENDER
from smtpforward.outbound.notify import Action, wanted
from tests.bouncesupport import SENDER, to

FAILED, DELAYED, DELIVERED, RELAYED = Action
TABLE = {
    None: {FAILED},
    b"NEVER": set(),
    b"FAILURE": {FAILED},
    b"DELAY": {DELAYED},
    b"SUCCESS": {DELIVERED, RELAYED},
    b"SUCCESS,FAILURE": {FAILED, DELIVERED, RELAYED},
    b"failure,Delay": {FAILED, DELAYED},
    b"SUCCESS,FAILURE,DELAY": {FAILED, DELAYED, DELIVERED, RELAYED},
    # No client of the edge's gets this far, a program that embeds the queue might.
    b"NEVER,FAILURE": set(),
    b"": set(),
}


class WantedTests(SynchronousTestCase):
    """``wanted``."""

    def test_table(self) -> None:
        """Each NOTIFY, and none at all, with each action."""
        for notify, actions in TABLE.items():
            recipient = to() if notify is None else to(NOTIFY=notify)
            asked = {action for action in Action if wanted(SENDER, recipient, action)}
            self.assertEqual(asked, actions, notify)

    def test_null_sender(self) -> None:
        """A bounce makes no bounce, whatever it asks for."""
        for recipient in (to(), to(NOTIFY=b"SUCCESS,FAILURE,DELAY")):
            for action in Action:
                self.assertFalse(wanted(NULL_SENDER, recipient, action))
