"""The manual pages: that they hold what the parsers and the documents say."""

import re

from twisted.trial.unittest import SynchronousTestCase

from contrib import manpages
from smtpforward.commands.main import COMMANDS
from tests.test_config_docs import DOCUMENT, ROW

ESCAPES = {"\\-": "-", "\\(aq": "'", "\\(ha": "^", "\\(ti": "~", "\\e": "\\"}


def plain(page: str) -> str:
    """A page without fonts and escapes, on one line."""
    text = re.sub(r"\\f[BIR]|\\&", "", page)
    for escape, shown in ESCAPES.items():
        text = text.replace(escape, shown)
    return " ".join(text.split())


class PagesTests(SynchronousTestCase):
    """All pages."""

    def setUp(self) -> None:
        """They are made."""
        self.pages = {name: plain(text) for name, text in manpages.pages()}

    def test_sections(self) -> None:
        """A command, a file format, a service."""
        sections = [name.rpartition(".")[2] for name in self.pages]
        self.assertEqual(sections, ["1", "5", "8"])

    def test_commands(self) -> None:
        """Each command has a chapter, those of the queue too; each option its words."""
        page = self.pages["smtpforward.1"]
        names = [command.__name__.rpartition(".")[2].replace("_", "-") for command in COMMANDS]
        for name in (*(n for n in names if n != "command"), "queue list", "queue flush"):
            self.assertIn(f".SS smtpforward {name} ", page)
        self.assertIn("--timeout SECONDS default: 5.0", page)

    def test_settings(self) -> None:
        """Each key of docs/settings.md is there."""
        page = self.pages["smtp_forward.ini.5"]
        with open(DOCUMENT, encoding="utf-8") as file:
            keys = ROW.findall(file.read())
        self.assertGreater(len(keys), 100)
        for section, key, _ in keys:
            name = f"[{section}] {key}" if section else key
            self.assertIn(f".TP {name} ", page)
        self.assertIn("(unit: seconds; default: 300)", page)

    def test_service(self) -> None:
        """The options of the plugin, and the chapters of docs/running.md."""
        page = self.pages["smtpforward-twistd.8"]
        for told in ("-c, --config", "-l, --listen", "USR2 start a successor", "NOTIFY_SOCKET"):
            self.assertIn(told, page)


class MarkdownTests(SynchronousTestCase):
    """What roff makes of the documents."""

    def roff(self, *lines: str) -> list[str]:
        """The lines of it."""
        return list(manpages.markdown(list(lines)))

    def test_text(self) -> None:
        """Words in bold, links, and what roff would take for its own."""
        found = self.roff("Say `a-b\\c` **now**, see [x.md](x.md#y).", "'quoted' here")
        self.assertEqual(
            found,
            [".PP", "Say \\fBa\\-b\\ec\\fR \\fBnow\\fR, see x.md\\&. \\(aqquoted\\(aq here"],
        )
        self.assertEqual(self.roff(".hidden")[1], "\\&.hidden")

    def test_table(self) -> None:
        """Cells that are empty are left out."""
        head = ("| key | meaning | unit | default |", "| - | - | - | - |")
        found = self.roff(*head, "| `a` | b | | 3 |")
        self.assertEqual(found, [".TP", "\\fBa\\fR", "b (default: 3)"])

    def test_list_and_example(self) -> None:
        """Items over several lines; lines as they are."""
        found = self.roff("- one", "  more", "- two", "", "    x -y", "      z")
        self.assertEqual(found[:4], [".IP \\(bu 2", "one more", ".IP \\(bu 2", "two"])
        self.assertEqual(found[4:], [".PP", ".RS 4", ".nf", "x \\-y", "  z", ".fi", ".RE"])

    def test_not_understood(self) -> None:
        """Nothing is left out in silence."""
        for line in ("### deeper", "1. one", "> quoted"):
            self.assertRaises(ValueError, self.roff, line)
