"""Guards name what there is; that each is missed when it is gone, ``make guards`` shows."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.guards.known import GUARDS

ROOT = Path(__file__).resolve().parent.parent


class GuardTests(SynchronousTestCase):
    """Against the source as it is."""

    def test_stand_once(self) -> None:
        """Each text stands just once in its file, so that it can be taken out."""
        texts = {file: (ROOT / file).read_text() for file in {guard.file for guard in GUARDS}}
        counts = {(g.file, g.before): texts[g.file].count(g.before) for g in GUARDS}
        self.assertEqual({guard: n for guard, n in counts.items() if n != 1}, {})

    def test_change_something(self) -> None:
        """What takes a guard out is something else than the guard."""
        self.assertEqual([guard for guard in GUARDS if guard.before == guard.after], [])
