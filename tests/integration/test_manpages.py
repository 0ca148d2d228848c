"""The manual pages, read by the programs that show them."""

from pathlib import Path

from contrib import manpages
from tests.peers.case import PeerTestCase
from tests.peers.clients import run
from tests.peers.require import require


class LintTests(PeerTestCase):
    """Nothing to say against them."""

    def written(self) -> list[Path]:
        """The pages."""
        folder = self.folder()
        self.assertEqual(0, manpages.main([str(folder)]))
        return sorted(folder.iterdir())

    async def test_mandoc(self) -> None:
        """mandoc's own opinion, style included."""
        [program] = require("mandoc")
        done = await run([program, "-T", "lint", "-W", "style,stop", *map(str, self.written())])
        # There is no such page where it is not installed yet.
        ignored = "referenced manual not found"
        told = [line for line in done.output.splitlines() if ignored not in line]
        self.assertEqual([], told)

    async def test_groff(self) -> None:
        """groff's, through man; the page is shown."""
        [program] = require("man")
        for page in self.written():
            shown = [program, "-l", "--warnings", str(page)]
            done = await run(shown, environ={"LC_ALL": "C.UTF-8"})
            self.assertEqual(0, done.exit_code, done.output)
            self.assertNotRegex(done.output, r"(?m)^\S.*:\d+: warning")
            self.assertIn("SEE ALSO", done.output)
