"""The edge beside a model of what each client must hear."""

from twisted.trial.unittest import SynchronousTestCase

from tests.clientsupport import run_machine
from tests.fuzz.edgemachine import Boom, EdgeMachine


class AnyClientTests(SynchronousTestCase):
    """What holds whatever clients say, in whatever pieces, and whatever the session answers."""

    def test_any_sequence(self) -> None:
        """One answer per command, in order, of a code that its state allows; nothing is left."""
        run_machine(EdgeMachine, examples=250, steps=40)
        self.flushLoggedErrors(Boom)
