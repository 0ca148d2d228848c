"""Sections that hold the same."""

from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from smtpforward.config import ConfigurationError, load
from smtpforward.config.alike import check
from smtpforward.config.checks import LiteralValidator
from smtpforward.config.settings import Settings


class CheckTests(SynchronousTestCase):
    """What is checked, and how often."""

    def test_once(self) -> None:
        """A value of a key is checked one time, however many sections have it."""
        asked: list[object] = []

        class Counting(LiteralValidator):
            """Notes what it is asked."""

            def check(self, check: str, value: str | None, missing: bool = False) -> object:
                asked.append((check, value))
                return super().check(check, value, missing)

        given = {f"d{n}": {"host": "a.example", "port": str(25 + n % 2)} for n in range(9)}
        with mock.patch("smtpforward.config.alike.LiteralValidator", Counting):
            found = check(given, {"host": "host", "port": "whole(1, 65535)"})
        self.assertEqual(len(asked), 3)
        self.assertEqual(found["d3"].values, {"host": "a.example", "port": 26})
        self.assertIs(found["d3"].values, found["d5"].values)

    def test_list_and_text(self) -> None:
        """A list of one is not the text that is its only member."""
        found = check({"a": {"x": "1"}, "b": {"x": ["1"]}}, {"x": "anything"})
        self.assertEqual([found[name].values["x"] for name in "ab"], ["1", ["1"]])

    def test_order(self) -> None:
        """The same keys in another order are the same."""
        found = check(
            {"a": {"x": "1", "y": "2"}, "b": {"y": "2", "x": "1"}}, {"x": "anything", "y": "path"}
        )
        self.assertEqual(found["a"].values, found["b"].values)


class EachTests(SynchronousTestCase):
    """What is wrong in sections that hold the same is told of each, at its own line."""

    def load(self, text: str) -> Settings:
        """A directory with this ``smtp_forward.ini``."""
        root = Path(self.mktemp())
        root.mkdir()
        (root / "me").write_text("mx.example.net\n")
        (root / "smtp_forward.ini").write_text(text)
        return load(root)

    def problems(self, text: str) -> list[tuple[int | None, str | None]]:
        """Line and key of each."""
        error = self.assertRaises(ConfigurationError, self.load, text)
        return [(problem.line, problem.key) for problem in error.problems]

    def test_wrong(self) -> None:
        """A wrong value, a key that is not known, and one that only the top level may have."""
        text = "host=a.example\n"
        same = "port=x\nprot=1\ncheck_sender=true\n"
        text += "".join(f"[d{n}.example]\n{same}" for n in range(3))
        lines = [(3 + 4 * n + k) for n in range(3) for k in range(3)]
        keys = ["port", "prot", "check_sender"] * 3
        self.assertEqual(self.problems(text), list(zip(lines, keys, strict=True)))

    def test_contradiction(self) -> None:
        """Good values that cannot be had together."""
        same = "host=127.0.0.1\nbind=::1\n"
        text = "host=a.example\n" + "".join(f"[d{n}.example]\n{same}" for n in range(3))
        self.assertEqual(self.problems(text), [(4, "bind"), (7, "bind"), (10, "bind")])

    def test_bounds(self) -> None:
        """A pool's bounds that differ from those of another section."""
        text = "host=a.example\n" + "".join(
            f"[d{n}.example]\nmax_connections=7\n" for n in range(2)
        )
        self.assertEqual(self.problems(text), [(3, "max_connections"), (5, "max_connections")])

    def test_shared(self) -> None:
        """Routes that are the same but for their section share their next hop."""
        text = "host=a.example\n" + "".join(f"[D{n}.example]\nhost=b.example\n" for n in range(2))
        routes = self.load(text).routes
        first, second = routes.sections["d0.example"], routes.sections["d1.example"]
        self.assertIs(first.next_hop, second.next_hop)
        self.assertEqual((first.section, second.section), ("D0.example", "D1.example"))
        self.assertEqual(len(list(routes.next_hops())), 2)
