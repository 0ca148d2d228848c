"""Work beside the reactor."""

import gc
import sys

from twisted.trial.unittest import SynchronousTestCase

from smtpforward.background import SWITCH, beside_the_reactor


class BesideTests(SynchronousTestCase):
    """What holds meanwhile, and afterwards."""

    def test_meanwhile(self) -> None:
        """Short turns, and no search for cycles; as before when it has ended, well or not."""
        before = sys.getswitchinterval()
        with self.assertRaises(KeyError), beside_the_reactor():
            self.assertAlmostEqual(sys.getswitchinterval(), SWITCH)
            self.assertFalse(gc.isenabled())
            raise KeyError
        self.assertEqual(sys.getswitchinterval(), before)
        self.assertTrue(gc.isenabled())

    def test_off_before(self) -> None:
        """Where nobody looks for cycles, nobody does so later."""
        gc.disable()
        self.addCleanup(gc.enable)
        with beside_the_reactor():
            pass
        self.assertFalse(gc.isenabled())
