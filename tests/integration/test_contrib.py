"""What is in ``contrib/``, read by the programs that it is for.

No container is built: that takes an engine and its registry. The Containerfile is read instruction
by instruction, and what it runs is compared with what there is.
"""

import json
import re
import shlex
import shutil
import sys

from smtpforward.commands.main import parser
from tests.integration.test_logs import LogsCase
from tests.peers.case import PeerTestCase
from tests.peers.clients import run
from tests.peers.gateway import TREE
from tests.peers.require import require

CONTRIB = TREE / "contrib"
WORST_EXPOSURE = 2.5
EXPOSURE = re.compile(r"Overall exposure level for \S+: ([0-9.]+)")
INSTALLED = "/opt/smtpforward/bin/"
# Of Docker's and Podman's builders.
INSTRUCTIONS = frozenset(
    [
        "ADD",
        "ARG",
        "CMD",
        "COPY",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "FROM",
        "HEALTHCHECK",
        "LABEL",
        "ONBUILD",
        "RUN",
        "SHELL",
        "STOPSIGNAL",
        "USER",
        "VOLUME",
        "WORKDIR",
    ]
)


class SystemdTests(PeerTestCase):
    """The units, sysusers.d and tmpfiles.d."""

    def units(self) -> list[str]:
        """Both units, with programs that are there in place of those to be installed."""
        folder = self.folder()
        for unit in (CONTRIB / "systemd").iterdir():
            text = unit.read_text("utf-8").replace(f"{INSTALLED}twistd", sys.executable)
            text = text.replace(f"{INSTALLED}smtpforward", sys.executable)
            (folder / unit.name).write_text(text, "utf-8")
        return sorted(map(str, folder.iterdir()))

    async def test_verify(self) -> None:
        """systemd finds nothing to say."""
        [program] = require("systemd-analyze")
        done = await run([program, "verify", "--man=no", *self.units()])
        self.assertEqual((done.exit_code, done.output), (0, ""))

    async def test_security(self) -> None:
        """How much the service could do, if it were taken over."""
        [program] = require("systemd-analyze")
        service = self.units()[0]
        done = await run([program, "security", "--offline=true", "--no-pager", service])
        (exposure,) = EXPOSURE.findall(done.output)
        self.assertLessEqual(float(exposure), WORST_EXPOSURE, done.output)

    def test_programs(self) -> None:
        """The unit starts the plugin, and checks with a command that there is."""
        unit = (CONTRIB / "systemd" / "smtpforward.service").read_text("utf-8")
        commands = re.findall(rf"^Exec\w+={INSTALLED}(.*)$", unit, re.M)
        self.assertEqual(commands, ["twistd -n --pidfile= smtpforward", "smtpforward check"])
        parser().parse_args(shlex.split(commands[1])[1:])

    async def test_user_and_directories(self) -> None:
        """The user can be made, and then the directories."""
        sysusers, tmpfiles = require("systemd-sysusers", "systemd-tmpfiles")
        root = self.folder()
        (root / "etc").mkdir()
        users = str(CONTRIB / "sysusers.d" / "smtpforward.conf")
        done = await run([sysusers, f"--root={root}", users])
        self.assertEqual(0, done.exit_code, done.output)
        self.assertIn("smtpforward", (root / "etc" / "passwd").read_text("utf-8"))
        directories = str(CONTRIB / "tmpfiles.d" / "smtpforward.conf")
        done = await run([tmpfiles, f"--root={root}", "--create", directories])
        self.assertEqual(0, done.exit_code, done.output)
        modes = [
            (root / at).stat().st_mode & 0o777
            for at in ("etc/smtpforward", "var/spool/smtpforward")
        ]
        self.assertEqual(modes, [0o750, 0o700])


class LogrotateTests(PeerTestCase):
    """``logrotate.d``."""

    async def test_rotated(self) -> None:
        """What a gateway appends goes on in the same file, which begins anew."""
        [program] = require("logrotate")
        folder = self.folder()
        folder.chmod(0o755)
        text = (CONTRIB / "logrotate.d" / "smtpforward").read_text("utf-8")
        # The user is not on this host.
        text = text.replace("su smtpforward smtpforward\n", "\n")
        config, log = folder / "config", folder / "mail.log"
        config.write_text(text.replace("/var/log/smtpforward", str(folder)), "utf-8")
        config.chmod(0o644)
        with log.open("a") as appending:
            appending.write("a line\n")
            appending.flush()
            options = ["--force", "--state", str(folder / "state")]
            done = await run([program, *options, str(config)])
            self.assertEqual((done.exit_code, done.output), (0, ""))
            appending.write("another\n")
        self.assertEqual(log.read_text(), "another\n")
        (rotated,) = folder.glob("mail.log.*")
        self.assertIn(rotated.suffix, (".1", ".gz"))


class Fail2BanTests(LogsCase):
    """The filter and the jail, on what a gateway has really logged."""

    async def banned(self, log: str, mode: str = "normal") -> list[str]:
        """The address of each line that is found."""
        [program] = require("fail2ban-regex")
        path = self.folder() / "mail.log"
        path.write_text(log, "utf-8")
        source = CONTRIB / "fail2ban" / "filter.d" / "smtpforward.conf"
        done = await run([program, "--out", "ip", str(path), f"{source}[mode={mode}]"])
        self.assertEqual(0, done.exit_code, done.output)
        return done.output.split()

    async def test_found(self) -> None:
        """Who relays and who guesses passwords is found; what a backend refuses is not."""
        gateway = await self.logged("line")
        self.assertEqual(await self.banned(gateway.stdout), ["127.0.0.1"] * 3)

    async def test_workers(self) -> None:
        """So it is with workers."""
        gateway = await self.logged("line", nodes=1)
        self.assertEqual(await self.banned(gateway.stdout), ["127.0.0.1"] * 3)

    async def test_names_that_mislead(self) -> None:
        """What a client calls itself or its recipients bans nobody else."""
        at = "2026-11-22T14:00:00+0000"
        log = (
            f"{at} [smtpforward.server.login.Logins#info] login of a from 192.0.2.99 failed"
            " from 192.0.2.1 failed\n"
            f"{at} [smtpforward.server.login.Logins#info] login of a from 192.0.2.99 failed"
            " from 192.0.2.1\n"
            f"{at} [mail] id=1A client=unknown[192.0.2.2] from=<client=x[192.0.2.99]@example.org>"
            " to=<b@example.org> nrcpt=0 size=0 relay=none delay=0.000 dsn=5.7.1 status=bounced"
            " (550 5.7.1 no relaying)\n"
            f'{at} [mail] id=1B client=unknown[192.0.2.3] from=<"x y[1]: [mail] id=1'
            " client=z[192.0.2.99] relay=none dsn=5.7.1 status=bounced (550 5.7.1"
            ' "@example.org> to=<b@example.com> nrcpt=1 size=9 relay=mx[192.0.2.9]:25 delay=0.010'
            " dsn=2.0.0 status=sent (250 2.0.0 Ok)\n"
        )
        banned = await self.banned(log)
        self.assertNotIn("192.0.2.99", banned)
        self.assertEqual(banned[:2], ["192.0.2.1", "192.0.2.2"])

    async def test_journal(self) -> None:
        """The same line as the journal has it, with its own time and name before it."""
        line = (
            "2026-11-22T14:00:00+0000 host twistd[123]: 2026-11-22T14:00:00+0000"
            " [smtpforward.server.login.Logins#info,1] login of a from 192.0.2.1 failed\n"
        )
        self.assertEqual(await self.banned(line), ["192.0.2.1"])

    async def test_turned_away(self) -> None:
        """Too many connections count in the aggressive mode only."""
        line = (
            "2026-11-22T14:00:00+0000 [smtpforward.server.factory.GatewayFactory#info] 192.0.2.7 is"
            " turned away: 421 4.7.0 too many connections from your address\n"
        )
        self.assertEqual(await self.banned(line), [])
        self.assertEqual(await self.banned(line, "aggressive"), ["192.0.2.7"])

    async def test_jail(self) -> None:
        """fail2ban reads the jail with the filter."""
        [program] = require("fail2ban-client")
        config = self.folder() / "fail2ban"
        shutil.copytree("/etc/fail2ban", config)
        for jail in (config / "jail.d").iterdir():
            jail.unlink()
        for part in ("filter.d", "jail.d"):
            shutil.copy(CONTRIB / "fail2ban" / part / "smtpforward.conf", config / part)
        done = await run([program, "-c", str(config), "--test"])
        self.assertEqual(0, done.exit_code, done.output)


class ContainerfileTests(PeerTestCase):
    """The Containerfile, as far as it can be read without an engine."""

    def instructions(self) -> list[tuple[str, str]]:
        """Name and arguments of each."""
        text = (CONTRIB / "container" / "Containerfile").read_text("utf-8")
        text = re.sub(r"(?m)^#.*\n", "", text)
        lines = re.sub(r"\\\n", " ", text).splitlines()
        return [(name, rest.strip()) for name, _, rest in (x.partition(" ") for x in lines) if name]

    def test_instructions(self) -> None:
        """It begins with a base, each instruction is one, and lists are JSON."""
        found = self.instructions()
        self.assertEqual(found[0], ("FROM", "python:3-slim AS build"))
        self.assertLessEqual({name for name, _ in found}, INSTRUCTIONS)
        for name, rest in found:
            if name in ("CMD", "ENTRYPOINT", "VOLUME"):
                self.assertTrue(all(isinstance(word, str) for word in json.loads(rest)), rest)

    async def test_commands(self) -> None:
        """What it runs is there; what RUN says is good shell."""
        [shell] = require("sh")
        found = self.instructions()
        last = dict(found)
        started = [*json.loads(last["ENTRYPOINT"]), *json.loads(last["CMD"])]
        self.assertEqual(started, ["twistd", "-n", "--pidfile=", "smtpforward"])
        health = json.loads(last["HEALTHCHECK"].partition("CMD ")[2])
        self.assertEqual(health[0], "smtpforward")
        parser().parse_args(health[1:])
        for name, rest in found:
            if name == "RUN":
                done = await run([shell, "-n", "-c", rest])
                self.assertEqual((done.exit_code, done.output), (0, ""), rest)

    def test_rights(self) -> None:
        """Not root, by number, so that an orchestrator can see it; the queue is on a volume."""
        last = dict(self.instructions())
        self.assertRegex(last["USER"], r"^[1-9]\d*:[1-9]\d*$")
        self.assertEqual(json.loads(last["VOLUME"]), ["/var/lib/smtpforward"])
        self.assertNotIn("/", last["FROM"])

    def test_extras(self) -> None:
        """The packages that it installs beside are those that setup.cfg names."""
        setup = (TREE / "setup.cfg").read_text("utf-8")
        (asked,) = re.findall(r"/src\[([a-z0-9,]+)\]", str(self.instructions()))
        for extra in asked.split(","):
            self.assertRegex(setup, rf"(?m)^{extra} =$")
