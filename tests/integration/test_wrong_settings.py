"""Wrong settings: all are told in one run, by the service and by ``check``, and nothing starts.

Each problem is one line: file, line, key, what is wrong, what would be right.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from tests.peers.case import PeerTestCase
from tests.peers.clients import Finished, run
from tests.peers.gateway import environment, twistd_command, write_config
from tests.peers.ports import free_port, is_listening

EX_CONFIG = 78
SECRET = "correct-horse-battery"
FILES = {
    "me": "mail_example\n",
    "smtp.ini": """\
listen=127.0.0.1:{port}
inactivity_timeout=soon
nodes=many
[max]
byts=1000
bytes=1000
[sizes]
bytes=1000
""",
    "connection.ini": """\
; smtp.ini and this file are one
spool_dir={folder}/absent
[max]
bytes=2000
""",
    "smtp_forward.ini": f"""\
host=127.0.0.1
port=70000
max_conections=3
colour=blue
enable_tls=perhaps
reply_timeout=-3
timeout=10
timeout=20
max_age 240 {SECRET}
auth_pass={SECRET}
split_routes=perhaps
[example..com]
host=a.example
[example.org]
check_recipient=true
host=one.example two.example
""",
    "outbound.ini": """\
store=sqlite:absent/queue.sqlite3
temp_fail_intervals=5m, often
""",
    "relay_acl_allow": """\
# who may relay
127.0.0.0/99
192.0.2.7/24
gateway.example
""",
    "host_list_regex": "(\n",
}
# Place; what is wrong; what would be right.
PROBLEMS = (
    ("me:1", "'mail_example' is no host name", "a line such as mail.example.com"),
    ("smtp.ini:2: inactivity_timeout", "'soon' is wrong", "a positive number of seconds"),
    ("smtp.ini:3: nodes", "'many' is wrong", "a whole number from 0 to 255, or cpus"),
    ("smtp.ini:5: byts", "is not known here", "did you mean bytes?"),
    ("smtp.ini:7", "section [sizes] is not known here", "one of [max], [headers]"),
    ("connection.ini:2: spool_dir", "absent' is no directory", "an existing directory"),
    ("connection.ini:4: bytes", "smtp.ini:6", "only one of the two"),
    ("smtp_forward.ini:2: port", "'70000' is wrong", "a whole number from 1 to 65535"),
    ("smtp_forward.ini:3: max_conections", "is not known", "did you mean max_connections?"),
    ("smtp_forward.ini:4: colour", "is not known here", "one of check_recipient, "),
    ("smtp_forward.ini:5: enable_tls", "'perhaps' is wrong", "true or false"),
    ("smtp_forward.ini:6: reply_timeout", "'-3' is wrong", "a positive number of seconds"),
    ("smtp_forward.ini:8: timeout", "was given before, on line 7", "only one of the two"),
    ("smtp_forward.ini:9", "the line has no =", "key=value"),
    ("smtp_forward.ini:10: auth_pass", "auth_type is not set", "auth_type=plain"),
    ("smtp_forward.ini:11: split_routes", "'perhaps' is wrong", "defer or queue"),
    ("smtp_forward.ini:12", "'example..com' is no domain", "a section such as [example.com]"),
    ("smtp_forward.ini:15: check_recipient", "is not known here", "before the first section"),
    ("smtp_forward.ini:16: host", "is wrong", "one host name or IP address"),
    ("outbound.ini:1: store", "absent' is no directory", "make it, for the gateway's user"),
    ("outbound.ini:2: temp_fail_intervals", "'5m, often' is wrong", "such as 1m, 5m*2, 1h*3"),
    ("host_list", "cannot be read: Is a directory", "a file that this user can read"),
    ("host_list_regex:1", "'(' is no regular expression", "one such as"),
    ("relay_acl_allow:2", "'127.0.0.0/99' is no address or network", "192.0.2.0/24"),
    ("relay_acl_allow:3", "'192.0.2.7/24' is no", "192.0.2.0/24 for the network"),
    ("relay_acl_allow:4", "'gateway.example' is no address or network", "192.0.2.7"),
)
MISSING = (("smtp_forward.ini", "is not there", "this file, with at least host=NAME in it"),)
WITHOUT_ROUTES = ("me", "outbound.ini", "relay_acl_allow")
Problems = tuple[tuple[str, str, str], ...]


class WrongSettingsTests(PeerTestCase):
    """Both ways to read the directory."""

    def directory(self, files: Mapping[str, str], port: int) -> Path:
        """The files, with ``port`` and their folder filled in."""
        folder = self.folder()
        filled = {
            name: text.replace("{port}", str(port)).replace("{folder}", str(folder))
            for name, text in files.items()
        }
        return write_config(folder, filled)

    async def both(self, config: Path) -> tuple[Finished, Finished]:
        """What the service says of the directory, and what ``check`` says."""
        service = [*twistd_command(), "-n", "--pidfile=", "smtpforward"]
        check = [sys.executable, "-m", "smtpforward.commands.main", "check"]
        started = await self.read(service, config)
        return started, await self.read(check, config)

    async def read(self, command: list[str], config: Path) -> Finished:
        """Run to its end."""
        arguments = [*command, "--config", str(config)]
        return await run(arguments, environ=environment(), folder=config.parent)

    def assert_told(self, done: Finished, config: Path, problems: Problems) -> None:
        """Exactly these problems, a line each, in order; and the exit code of wrong settings."""
        self.assertEqual(EX_CONFIG, done.exit_code, done.output)
        told = [line for line in done.output.splitlines() if line.startswith(f"{config}/")]
        self.assertEqual(len(problems), len(told), done.output)
        for line, (place, wrong, right) in zip(told, problems, strict=True):
            self.assertTrue(line.startswith(f"{config}/{place}: "), line)
            said, _, remedy = line.removeprefix(f"{config}/{place}: ").partition("; ")
            self.assertIn(wrong, said)
            self.assertIn(right, remedy)
        self.assertNotIn("Traceback", done.output)
        self.assertNotIn(SECRET, done.output)

    async def test_all_at_once(self) -> None:
        """Every wrong setting of every file is named in one run, and nothing listens."""
        port = free_port()
        config = self.directory(FILES, port)
        (config / "host_list").mkdir()
        service, check = await self.both(config)
        self.assert_told(service, config, PROBLEMS)
        self.assert_told(check, config, PROBLEMS)
        self.assertIn(f"{len(PROBLEMS)} problems in {config}", check.output)
        self.assertFalse(is_listening(port))
        self.assertNotIn("starting", service.output.lower())

    async def test_one(self) -> None:
        """One wrong setting among good ones is enough."""
        port = free_port()
        files = {
            "smtp.ini": "listen=127.0.0.1:{port}\n",
            "smtp_forward.ini": "host=127.0.0.1\nenable_tls=false\nport=0\n",
            "relay_acl_allow": "127.0.0.0/8\n",
        }
        config = self.directory(files, port)
        expected = (("smtp_forward.ini:3: port", "'0' is wrong", "a whole number from 1 to 65535"),)
        for done in await self.both(config):
            self.assert_told(done, config, expected)
        self.assertFalse(is_listening(port))

    async def test_no_routes(self) -> None:
        """Without ``smtp_forward.ini`` nothing starts; what else is wrong is told as well."""
        port = free_port()
        config = self.directory({"smtp.ini": "listen=127.0.0.1:{port}\n"}, port)
        for done in await self.both(config):
            self.assert_told(done, config, MISSING)
        config = self.directory({name: FILES[name] for name in WITHOUT_ROUTES}, port)
        others = [one for one in PROBLEMS if one[0].startswith(WITHOUT_ROUTES)]
        for done in await self.both(config):
            self.assert_told(done, config, (others[0], *MISSING, *others[1:]))
        self.assertFalse(is_listening(port))

    async def test_unreadable(self) -> None:
        """A file that is there and cannot be read, or is not UTF-8, is not taken for empty."""
        config = self.directory({"smtp_forward.ini": "host=127.0.0.1\nenable_tls=false\n"}, 0)
        (config / "me").symlink_to(config / "absent")
        (config / "host_list").mkdir()
        (config / "relay_acl_allow").write_bytes(b"127.0.0.1\n\xff\n")
        expected = (
            ("me", "points to a file that is not there", "an existing file"),
            ("host_list", "cannot be read: Is a directory", "a file that this user can read"),
            ("relay_acl_allow:2", "is not UTF-8", "the file saved as UTF-8"),
        )
        for done in await self.both(config):
            self.assert_told(done, config, expected)
