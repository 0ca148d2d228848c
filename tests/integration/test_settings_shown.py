"""The settings that the documents show, but for the recipes: each block of ``ini`` is loaded.

A block says its file in a comment at its start, or ``FILE_OF`` does. The rest of a directory, and
what the settings name (certificates, secrets, the queue's folder), is made.
"""

import re

from smtpforward.config import load
from smtpforward.passwords import SCRYPT, hash_secret
from tests.integration.recipes import RECIPES
from tests.integration.test_recipes import CERTIFICATE, KEY, ROOTS
from tests.peers.case import PeerTestCase
from tests.peers.clients import run
from tests.peers.gateway import TREE, write_config
from tests.peers.require import require

BLOCK = re.compile(r"^( *)```ini\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"; ([a-z_]+\.ini)\n")
FILE_OF = {
    ("authentication.md", "[core]"): "auth_flat_file.ini",
    ("backends.md", "forwarding_host_pool="): "smtp_forward.ini",
    ("backends.md", "[example.com]"): "smtp_forward.ini",
    ("queue.md", "smart_host="): "outbound.ini",
    ("queue.md", "split_routes="): "smtp_forward.ini",
    ("routing.md", "host="): "smtp_forward.ini",
}
# Of systemd's.
OTHERS = {("running.md", "[Service]")}
FORWARD = "smtp_forward.ini"
DEFAULT = "host=192.0.2.1\n"


def blocks() -> list[tuple[str, str]]:
    """Document and text of each."""
    found = []
    for path in sorted((TREE / "docs").rglob("*.md")):
        if path.parent != RECIPES:
            for indent, text in BLOCK.findall(path.read_text("utf-8")):
                found.append((path.name, re.sub(rf"(?m)^{indent}", "", text)))
    return found


class SettingsShownTests(PeerTestCase):
    """Each block."""

    def test_loaded(self) -> None:
        """It is known which file it is, and the gateway takes it."""
        used = set()
        for name, text in blocks():
            keys = [
                key for key in {*FILE_OF, *OTHERS} if key[0] == name and text.startswith(key[1])
            ]
            named = NAMED.match(text)
            self.assertEqual(1, len(keys) + bool(named), f"{name}: which file is\n{text}")
            used.update(keys)
            if not OTHERS.intersection(keys):
                self.load(named[1] if named else FILE_OF[keys[0]], text)
        self.assertEqual({*FILE_OF, *OTHERS}, used)

    def load(self, file: str, text: str) -> None:
        """The settings with ``text`` as one of their files."""
        secret = hash_secret("password", SCRYPT)
        files = {
            FORWARD: f"{DEFAULT}[example.com]\n",
            file: text.replace("$scrypt$ln=15,r=8,p=1$...", secret),
            "tls_key.pem": KEY,
            "tls_cert.pem": CERTIFICATE,
            "client.key": KEY,
            "client.pem": CERTIFICATE,
            "internal-roots.pem": ROOTS,
            "secrets/smart_host": "password\n",
        }
        if file == FORWARD and not re.match(r"(forwarding_host_pool|host)=", text):
            files[FORWARD] = DEFAULT + text
        if "\nstore=" not in files.get("outbound.ini", ""):
            stored = f"store=sqlite:{self.folder()}/queue.sqlite3\n"
            files["outbound.ini"] = stored + files.get("outbound.ini", "")
        load(str(write_config(self.folder(), files)))

    async def test_drop_in(self) -> None:
        """``docs/running.md``: systemd takes the lines for the unit."""
        [program] = require("systemd-analyze")
        [text] = [text for name, text in blocks() if (name, text.partition("\n")[0]) in OTHERS]
        unit = self.folder() / "smtpforward.service"
        shipped = (TREE / "contrib" / "systemd" / unit.name).read_text("utf-8")
        unit.write_text(shipped.replace("/opt/smtpforward/bin/", "/bin/true ") + text, "utf-8")
        done = await run([program, "verify", "--man=no", str(unit)])
        self.assertEqual((done.exit_code, done.output), (0, ""))
