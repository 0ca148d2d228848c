"""A real Exim: it files mail for example.com, each recipient's in a Maildir, and may pass mail on.

It has its own configuration, spool and log and an unprivileged port, asks no DNS, and knows the
mailboxes it is given: any other recipient gets ``550 Unknown user``. ``make peers`` unpacks it
beside an installed Postfix, with which its package conflicts, and makes its user. It starts as
root only.
"""

import os
import pwd
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from tests.peers.ports import free_port
from tests.peers.process import Process
from tests.peers.require import require, require_root, unavailable

USER = "Debian-exim"

# deliver_drop_privilege: the process that took a message delivers it, without a set-user-id start.
MAIN = """\
SMTP_PORT = {port}
exim_path = {program}
spool_directory = {folder}/spool
log_file_path = {folder}/spool/log/%slog
pid_file_path = {folder}/spool/exim.pid
log_selector = +tls_peerdn +tls_sni +smtp_connection
primary_hostname = backend.example.com
keep_environment =
local_interfaces = 127.0.0.1
daemon_smtp_ports = SMTP_PORT
host_lookup =
rfc1413_query_timeout = 0s
smtp_accept_max = 0
smtp_accept_queue_per_connection = 0
deliver_drop_privilege
timezone = UTC
acl_smtp_rcpt = check_rcpt
{settings}
begin acl
check_rcpt:
  deny  message = Unknown user
        ! verify = recipient
  accept
begin routers
mailbox:
  driver = accept
  domains = example.com
  local_parts = {mailboxes}
  transport = maildir
{router}begin transports
maildir:
  driver = appendfile
  maildir_format
  directory = {folder}/mail/$local_part_data
  user = {user}
{transport}begin authenticators
{authenticators}
"""

# What it passes on, over SMTP, to a server on loopback that may be called after this host.
ROUTER = """\
next_hop:
  driver = manualroute
  domains = {domain}
  route_list = * 127.0.0.1
  self = send
  transport = next_hop
"""
TRANSPORT = """\
next_hop:
  driver = smtp
  port = {next_hop}
  allow_localhost
  hosts_try_chunking = *
"""


@cache
def find_exim() -> str:
    """Its path: one that runs, so its libraries and its user are there.

    :raises SkipTest: and so on, as :func:`require` does.
    """
    [program] = require("exim4")
    command = [program, "-C", "/dev/null", "-bV"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if not done.stdout.startswith(b"Exim version "):
        said = (done.stdout + done.stderr).decode("utf-8", "backslashreplace").strip()
        unavailable(f"{program} is no Exim that runs, make peers unpacks one: {said}")
    return program


class Exim(Process):
    """A running Exim on 127.0.0.1. It needs a folder that every user may enter.

    :param mailboxes: local parts in example.com.
    :param settings: more of its main settings; ``SMTP_PORT`` stands for its port.
    :param authenticators: its section of that name.
    :param next_hop: ``DOMAIN:PORT``, where on 127.0.0.1 mail for that domain goes.
    """

    def __init__(
        self,
        folder: Path,
        *mailboxes: str,
        settings: Mapping[str, str] | None = None,
        authenticators: str = "",
        next_hop: str = "",
    ) -> None:
        program = find_exim()
        require_root()
        self.port = free_port()
        self._mail = folder / "mail"
        self._log = folder / "spool" / "log"
        owner = pwd.getpwnam(USER)
        for path in (self._mail, folder / "spool", self._log):
            path.mkdir()
            os.chown(path, owner.pw_uid, owner.pw_gid)
        domain, _, next_port = next_hop.partition(":")
        config = folder / "exim.conf"
        text = MAIN.format(
            program=program,
            folder=folder,
            port=self.port,
            user=USER,
            mailboxes=" : ".join(mailboxes),
            settings="".join(f"{name} = {value}\n" for name, value in (settings or {}).items()),
            authenticators=authenticators,
            router=ROUTER.format(domain=domain) if domain else "",
            transport=TRANSPORT.format(next_hop=next_port) if domain else "",
        )
        config.write_text(text)
        super().__init__([program, "-bdf", "-C", str(config)], folder, name="exim")

    async def ready(self) -> "Exim":
        """Itself, once it listens."""
        await self.until_listening(self.port)
        return self

    def messages(self, mailbox: str) -> list[bytes]:
        """What has been filed for ``mailbox``, with Exim's own headers, lines ended by LF."""
        return [file.read_bytes() for file in sorted(self._mail.glob(f"{mailbox}/new/*"))]

    @property
    def log(self) -> str:
        """Its main log: arrivals, deliveries, failures of TLS."""
        return self._read("mainlog")

    def output(self) -> str:
        return super().output() + self.log + self._read("rejectlog") + self._read("paniclog")

    def _read(self, name: str) -> str:
        log = self._log / name
        return log.read_text("utf-8", "backslashreplace") if log.exists() else ""
