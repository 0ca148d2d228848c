"""The forwarding target before backends that do anything at all."""

from twisted.trial.unittest import SynchronousTestCase

from tests.clientsupport import run_machine
from tests.fuzz.forwardmachine import ForwardMachine


class AnyBackendTests(SynchronousTestCase):
    """What holds whatever backends say and do, and whichever jobs come and go."""

    def test_one_message_one_outcome(self) -> None:
        """Each job has one outcome, and it is true; pools keep their bounds and leave nothing."""
        run_machine(ForwardMachine, examples=250, steps=40)
