"""Dovecot as what a Postfix asks about logins: its SASL server alone, with given users."""

import base64
from collections.abc import Mapping
from pathlib import Path

from tests.peers.process import Process
from tests.peers.require import require, require_root

CONFIG = """\
base_dir = {folder}/run
log_path = {folder}/dovecot.log
protocols =
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_verbose = yes
passdb {{
  driver = passwd-file
  args = {folder}/users
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home=/nonexistent
}}
service auth {{
  unix_listener {socket} {{
    mode = 0666
  }}
}}
# Nobody waits after a wrong password.
auth_failure_delay = 0
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
"""


class Dovecot(Process):
    """A running Dovecot that does nothing but check logins.

    :param socket: where Postfix asks. ``users``: name to password, any text.
    """

    def __init__(self, folder: Path, socket: Path, users: Mapping[str, str]) -> None:
        [program] = require("dovecot")
        require_root()
        self._socket = socket
        coded = {name: base64.b64encode(word.encode()).decode() for name, word in users.items()}
        lines = [f"{name}:{{PLAIN.b64}}{word}::::::\n" for name, word in coded.items()]
        (folder / "users").write_text("".join(lines))
        config = folder / "dovecot.conf"
        config.write_text(CONFIG.format(folder=folder, socket=socket))
        super().__init__([program, "-F", "-c", str(config)], folder, name="dovecot")

    async def ready(self) -> "Dovecot":
        """Itself, once it can be asked."""
        await self.until(self._socket.exists, "its socket")
        return self

    def output(self) -> str:
        log = self.folder / "dovecot.log"
        return super().output() + (log.read_text() if log.exists() else "")
