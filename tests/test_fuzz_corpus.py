"""The inputs that the fuzzers begin with, and those that once were crashes."""

from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.targets import edge, replies, settings

CORPUS = Path(__file__).parent / "fuzz" / "corpus"


class CorpusTests(SynchronousTestCase):
    """What the fuzzers check holds for each of them."""

    def run_all(self, name: str, one: Callable[[bytes], None]) -> None:
        """Each input of the target ``name``."""
        seeds = sorted((CORPUS / name).iterdir())
        self.assertTrue(seeds)
        for seed in seeds:
            one(seed.read_bytes())

    def test_edge(self) -> None:
        """Clients: what the edge says is what its model says."""
        self.run_all("edge", edge.one)

    def test_replies(self) -> None:
        """Backends: replies by the grammar, success only by the reply to the dot."""
        self.run_all("replies", replies.one)

    def test_settings(self) -> None:
        """Directories: settings, or problems in lines."""
        self.run_all("settings", settings.one)
