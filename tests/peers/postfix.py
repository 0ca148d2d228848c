"""A real Postfix as the backend: it files mail for example.com, each recipient's in a Maildir.

It has its own configuration, queue and data directories and an unprivileged port, asks no DNS, and
knows the mailboxes it is given: any other recipient gets its ``550 5.1.1``. Its ``master`` starts
as root only.
"""

import grp
import os
import pwd
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.peers.ports import free_port
from tests.peers.process import Process
from tests.peers.require import require, require_root

DAEMONS = Path("/usr/lib/postfix/sbin")
SHARED = Path("/etc/postfix")
LINKED = ("postfix-files", "postfix-files.d", "post-install", "postfix-script")

MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
daemon_directory = {daemons}
command_directory = /usr/sbin
meta_directory = {config}
mail_owner = postfix
setgid_group = postdrop
maillog_file = {folder}/log/mail.log
maillog_file_prefixes = {folder}
myhostname = backend.example.com
mydestination =
alias_maps =
local_recipient_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
local_header_rewrite_clients =
disable_dns_lookups = yes
smtp_dns_support_level = disabled
smtp_host_lookup = native
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_relay_restrictions = reject_unauth_destination
default_transport = error:nothing leaves this host
relay_transport = error:nothing leaves this host
message_size_limit = 52428800
virtual_transport = virtual
virtual_mailbox_domains = example.com
virtual_mailbox_base = {folder}/mail
virtual_mailbox_limit = 0
virtual_mailbox_maps = texthash:{config}/mailboxes
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
"""

MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup  unix n - n - 0 cleanup
qmgr     unix n - n 300 1 qmgr
rewrite  unix - - n - - trivial-rewrite
bounce   unix - - n - 0 bounce
defer    unix - - n - 0 bounce
trace    unix - - n - 0 bounce
proxymap unix - - n - - proxymap
error    unix - - n - - error
retry    unix - - n - - error
virtual  unix - n n - - virtual
smtp     unix - - n - - smtp
anvil    unix - - n - 1 anvil
tlsmgr   unix - - n 1000? 1 tlsmgr
postlog  unix-dgram n - n - 1 postlogd
"""


class Postfix(Process):
    """A running Postfix on 127.0.0.1. It needs a folder that every user may enter.

    :param mailboxes: local parts in example.com.
    :param settings: more of ``main.cf``. ``services``: more lines of ``master.cf``.
    """

    def __init__(
        self,
        folder: Path,
        *mailboxes: str,
        settings: Mapping[str, str] | None = None,
        services: str = "",
    ) -> None:
        require("postfix", "postconf")
        require_root()
        self.port = free_port()
        self._config = folder / "etc"
        self._mail = folder / "mail"
        self._log = folder / "log" / "mail.log"
        _directories(folder)
        self._write_config(folder, mailboxes, dict(settings or {}), services)
        _create_queue(folder, self._config)
        environ = {"MAIL_CONFIG": str(self._config)}
        command = [str(DAEMONS / "master"), "-c", str(self._config), "-d"]
        super().__init__(command, folder, environ, "postfix")

    async def ready(self) -> "Postfix":
        """Itself, once it listens."""
        await self.until_listening(self.port)
        return self

    @property
    def private(self) -> Path:
        """Where its services' sockets are, in its queue directory."""
        return self.folder / "queue" / "private"

    def messages(self, mailbox: str) -> list[bytes]:
        """What has been filed for ``mailbox``, with Postfix's own headers, lines ended by LF."""
        return [file.read_bytes() for file in sorted(self._mail.glob(f"{mailbox}/new/*"))]

    @property
    def queued(self) -> list[Path]:
        """The messages in its queue, wherever in it they are."""
        folders = ("maildrop", "hold", "incoming", "active", "deferred")
        found = (file for name in folders for file in (self.folder / "queue" / name).rglob("*"))
        return [file for file in found if file.is_file()]

    @property
    def log(self) -> str:
        """Its mail log."""
        return self._log.read_text("utf-8", "backslashreplace") if self._log.exists() else ""

    def output(self) -> str:
        return super().output() + self.log

    def _write_config(
        self, folder: Path, mailboxes: tuple[str, ...], settings: dict[str, str], services: str
    ) -> None:
        nobody = pwd.getpwnam("nobody")
        values = {"uid": nobody.pw_uid, "gid": nobody.pw_gid, "port": self.port}
        paths = {"folder": folder, "config": self._config, "daemons": DAEMONS}
        lines = MAIN.format(**values, **paths).splitlines()
        # Postfix warns of each key that is there twice, and hangs where it does so too often before
        # its log is read.
        main = dict(line.split(" =", 1) for line in lines) | settings
        text = "".join(f"{name} = {value.strip()}\n" for name, value in main.items())
        (self._config / "main.cf").write_text(text)
        (self._config / "master.cf").write_text(MASTER.format(**values) + services)
        lines = [f"{name}@example.com {name}/\n" for name in mailboxes]
        (self._config / "mailboxes").write_text("".join(lines))
        for name in LINKED:
            if (SHARED / name).exists():
                (self._config / name).symlink_to(SHARED / name)
        (self._config / "dynamicmaps.cf").touch()
        for name in ("main.cf", "mailboxes"):
            # Postfix waits until a file has been left alone for two seconds.
            os.utime(self._config / name, (0, 0))


def _directories(folder: Path) -> None:
    owners = {"etc": "root", "queue": "root", "log": "root", "data": "postfix", "mail": "nobody"}
    for name, owner in owners.items():
        (folder / name).mkdir()
        user = pwd.getpwnam(owner)
        os.chown(folder / name, user.pw_uid, user.pw_gid)


def _create_queue(folder: Path, config: Path) -> None:
    """The queue's directories, with their owners, as ``postfix start`` would make them."""
    values = {
        "config_directory": config,
        "meta_directory": config,
        "daemon_directory": DAEMONS,
        "command_directory": "/usr/sbin",
        "queue_directory": folder / "queue",
        "data_directory": folder / "data",
        "mail_owner": "postfix",
        "setgid_group": grp.getgrnam("postdrop").gr_name,
        "MAIL_CONFIG": config,
    }
    environ = {**os.environ, **{name: str(value) for name, value in values.items()}}
    subprocess.run(
        ["sh", str(DAEMONS / "post-install"), "create-missing"],
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=30,
    )
