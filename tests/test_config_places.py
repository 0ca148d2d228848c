"""Where keys stand."""

from twisted.trial.unittest import SynchronousTestCase

from smtpforward.config.places import Places
from smtpforward.config.problems import Place


class PlacesTests(SynchronousTestCase):
    """Files read as one."""

    def test_first_of_several(self) -> None:
        """What stands in two files, or twice in one, stands where it is first."""
        places = Places()
        places.begin("a.ini")
        places.add("main", "", 1)
        places.add("main", "key", 2)
        places.add("main", "key", 3)
        places.begin("b.ini")
        places.add("main", "key", 4)
        places.add("max", "other", 5)
        self.assertEqual(places["main", "key"], Place("a.ini", 2))
        self.assertEqual(places.get(("max", "other")), Place("b.ini", 5))
        self.assertEqual(list(places), [("main", ""), ("main", "key"), ("max", "other")])
        self.assertEqual(len(places), 3)

    def test_nowhere(self) -> None:
        """What is not set has no place."""
        places = Places()
        self.assertFalse(places)
        self.assertNotIn(("main", "key"), places)
        self.assertNotIn("main", places)
        self.assertRaises(KeyError, lambda: places["main", "key"])
