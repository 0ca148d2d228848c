"""The commands that the README and the documents show: which test runs each, and those of no other.

``RUN_BY`` names a test for every block of commands, and for every ``$`` line of a transcript; one
without an entry fails. What a block says of paths, ports and hosts is swapped for the test's own.
Not run: what takes systemd as the first process (``systemctl restart``, ``stop``, ``kill``) or a
container engine; their words are compared with the units and the image. ``make``'s longer targets
are planned (``make -n``).
"""

import importlib
import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from smtpforward.commands.main import parser
from tests.integration.recipes import BLOCK, SHELL
from tests.integration.test_queue_command import environ as queue_environ
from tests.integration.test_recipes import CERTIFICATE, KEY, TESTED_BY
from tests.peers.case import PeerTestCase
from tests.peers.clients import run
from tests.peers.gateway import TREE, environment, twistd_command, write_config
from tests.peers.ports import free_port
from tests.peers.process import Process
from tests.peers.require import require, require_root, unavailable
from tests.peers.script import Script

HERE = "tests.integration.test_commands_shown"
DOCS = TREE / "docs"
# Words with which a line is a command, wherever it stands.
COMMAND = re.compile(
    r"^ *(?:\S*/)?(smtpforward|twistd|make|pip|curl|systemctl|podman|docker|python3?|openssl|swaks)"
    r" [^=\[]*$",
    re.MULTILINE,
)
TRANSCRIPT = re.compile(r"^\$ (.*)$", re.MULTILINE)
FENCED = re.compile(r"^ *```(\w*).*?\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
# A block is known by its document and the beginning of its first line.
RUN_BY = {
    ("README.md", "make demo"): f"{HERE}.CloneTests.test_make",
    ("README.md", "make test"): f"{HERE}.CloneTests.test_make",
    ("README.md", "pip install ."): f"{HERE}.ReadmeTests.test_run_it",
    ("docs/start.md", ""): "tests.integration.test_documents.StartTests.test_as_it_stands",
    ("docs/backends.md", "smtpforward probe"): f"{HERE}.BlockTests.test_probe",
    ("docs/tls.md", "openssl s_client"): f"{HERE}.BlockTests.test_tls",
    ("docs/coming-from-haraka.md", "smtpforward check"): f"{HERE}.BlockTests.test_haraka",
    ("docs/queue.md", "install -d"): f"{HERE}.BlockTests.test_queue_directory",
    ("docs/queue-command.md", "smtpforward queue list"): f"{HERE}.BlockTests.test_queue_pipe",
    ("docs/api.md", "curl -H"): f"{HERE}.BlockTests.test_api",
    ("docs/benchmarks.md", "make bench-peers"): f"{HERE}.BlockTests.test_benchmarks",
    ("docs/logs.md", "pflogsumm"): "tests.integration.test_logs.PostfixTests.test_pflogsumm",
    (
        "docs/commands.md",
        "source <(",
    ): "tests.integration.test_completion.CompletionTests.test_bash",
    ("docs/running.md", "python3 -m venv"): f"{HERE}.CloneTests.test_install",
    ("docs/running.md", "/opt/smtpforward/bin/smtpforward"): f"{HERE}.CloneTests.test_install",
    ("docs/running.md", "/opt/smtpforward/bin/pip"): f"{HERE}.CloneTests.test_install",
    ("docs/running.md", "systemctl"): f"{HERE}.WordTests.test_systemctl",
    ("docs/running.md", "cp contrib/fail2ban"): f"{HERE}.BlockTests.test_fail2ban",
    ("docs/running.md", "podman build"): f"{HERE}.WordTests.test_podman",
    ("docs/routing.md", "$ smtpforward route"): f"{HERE}.TranscriptTests.test_routes",
    ("docs/commands.md", "$ smtpforward send"): (
        "tests.integration.test_send_command.SendTests.test_dialogue"
    ),
    ("docs/commands.md", "$ smtpforward status"): (
        "tests.integration.test_status_command.StatusTests.test_ready"
    ),
    ("docs/commands.md", "$ smtpforward trace"): (
        "tests.integration.test_trace_command.TraceTests.test_bounce"
    ),
    ("docs/queue-command.md", "$ smtpforward queue list"): (
        "tests.integration.test_queue_command.SubcommandTests.test_list"
    ),
    ("docs/queue-command.md", "$ smtpforward queue hold"): (
        "tests.integration.test_queue_command.SubcommandTests.test_changes"
    ),
    ("docs/api.md", "$ curl"): f"{HERE}.BlockTests.test_api",
    **{
        (f"docs/recipes/{page}.md", ""): f"tests.integration.test_recipes.RecipeTests.{test}"
        for page, test in TESTED_BY.items()
    },
}


def documents() -> dict[str, str]:
    """Name to text of all of them."""
    paths = [TREE / "README.md", *sorted(DOCS.rglob("*.md"))]
    return {str(path.relative_to(TREE)): path.read_text("utf-8") for path in paths}


def shown() -> list[tuple[str, str]]:
    """Document and first line of each block, and each command of a transcript."""
    found = []
    for name, text in documents().items():
        found += [(name, block.partition("\n")[0]) for block in BLOCK.findall(text)]
        found += [(name, f"$ {line}") for line in TRANSCRIPT.findall(text)]
    return found


def block(name: str, start: str) -> str:
    """The one block of a document that begins so."""
    blocks = BLOCK.findall((TREE / name).read_text("utf-8"))
    [found] = [text for text in blocks if text.startswith(start)]
    return str(found)


class TableTests(PeerTestCase):
    """``RUN_BY`` against the documents."""

    def test_every_command_has_a_test(self) -> None:
        """Each block is in the table, and nothing else; each test is there."""
        used = set()
        for name, line in shown():
            keys = [key for key in RUN_BY if key[0] == name and line.startswith(key[1])]
            self.assertTrue(keys, f"{name}: no test runs {line!r}")
            used.add(max(keys, key=lambda key: len(key[1])))
        self.assertEqual(set(RUN_BY), used)
        for test in set(RUN_BY.values()):
            module, case, method = test.rsplit(".", 2)
            known = getattr(importlib.import_module(module), case)
            self.assertTrue(callable(getattr(known, method, None)), test)

    def test_commands_stand_in_blocks(self) -> None:
        """No command stands in a block that is not one of commands; a synopsis is none."""
        for name, text in documents().items():
            for language, inside in FENCED.findall(text):
                if language != "sh" and "ID... |" not in inside:
                    self.assertEqual(COMMAND.findall(inside), [], f"{name}: {inside}")
            outside = FENCED.sub("", text)
            indented = [line for line in outside.splitlines() if line.startswith("    ")]
            self.assertEqual(COMMAND.findall("\n".join(indented)), [], name)


class ShellCase(PeerTestCase):
    """Runs blocks."""

    timeout = 400

    async def shell(
        self,
        text: str,
        swaps: Mapping[str, str],
        config: Path | None = None,
        folder: Path = TREE,
        environ: Mapping[str, str] | None = None,
    ) -> str:
        """What ``text`` prints, with other words in place of some; all its commands end well.

        :param config: ``smtpforward`` is this tree's, with these settings.
        """
        for word, other in swaps.items():
            self.assertIn(word, text)
            text = text.replace(word, other)
        head = "set -euo pipefail\n"
        if config is not None:
            head = SHELL.format(python=sys.executable, config=shlex.quote(str(config)))
        command = ["bash", "--norc", "-c", head + text]
        given = {**queue_environ(), **environment(), **(environ or {})}
        done = await run(command, 350, given, folder)
        self.assertEqual(0, done.exit_code, done.output)
        return done.output

    async def started(self, config: Path, *ports: int) -> Process:
        """A gateway with these settings, once it listens."""
        command = [*twistd_command(), "-n", "--pidfile=", "smtpforward", "--config", str(config)]
        gateway = Process(command, config.parent, environment(), "gateway")
        self.stop_later(gateway.stop)
        for port in ports:
            await gateway.until_listening(port)
        return gateway


class ReadmeTests(ShellCase):
    """``README.md``."""

    async def test_run_it(self) -> None:
        """The settings are good, and the gateway takes mail with them.

        What it is installed by, and how it is started, are the block's first and last line.
        """
        lines = block("README.md", "pip install .").splitlines(keepends=True)
        first, *middle, last = lines
        self.assertEqual((first, last), ("pip install .\n", "twistd -n --pidfile= smtpforward\n"))
        backend, port, config = self.backend(), free_port(), self.folder() / "etc"
        swaps = {
            "/etc/smtpforward": str(config),
            "listen=[::]:25": f"listen=127.0.0.1:{port}",
            "host=mail.internal.example.com": f"host=127.0.0.1\nport={backend.port}",
            "host=192.0.2.20": "host=127.0.0.1",
        }
        said = await self.shell("".join(middle), swaps, config)
        self.assertIn("relay networks: 1", said)
        await self.started(config, port)
        to = "--to bob@example.com --to carol@example.com"
        await self.shell(f"smtpforward send --server 127.0.0.1:{port} {to}\n", {}, config)
        self.assertEqual(1, len(backend.messages))


class CloneTests(ShellCase):
    """What is made in a fresh clone, with packages from an index."""

    def clone(self) -> Path:
        """The tree, as it would be fetched."""
        clone = self.folder() / "clone"
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "_trial_temp*", ".*")
        shutil.copytree(TREE, clone, ignore=ignored)
        return clone

    async def made(self, text: str, swaps: Mapping[str, str], clone: Path) -> str:
        """What it prints; the test cannot be run where nothing can be installed."""
        own = {"PYTHONPATH": "", "HOME": str(clone), "SMTPFORWARD_REQUIRE_PEERS": "0"}
        try:
            return await self.shell(text, swaps, folder=clone, environ=own)
        except AssertionError as error:
            if "No matching distribution" in str(error):
                unavailable("needs a package index", {})
            raise

    async def test_make(self) -> None:
        """The README's two: the demonstration, ended after its sample, and a test of the tests."""
        require("bash", "make")
        clone = self.clone()
        demo = await self.made(block("README.md", "make demo"), {"demo": "demo ARGS=--once"}, clone)
        self.assertIn("it lies in ", demo)
        one = {"make test": "make test TESTS=tests.test_reply"}
        self.assertIn("PASSED", await self.made(block("README.md", "make test"), one, clone))

    async def test_install(self) -> None:
        """``docs/running.md``: installation, check, upgrade, with another root.

        systemd reads its directories there (``--root``) in place of being told to.
        """
        require_root()
        require("bash", "make", "systemd-sysusers", "systemd-tmpfiles")
        clone, root = self.clone(), self.folder()
        for name in ("etc/sysusers.d", "etc/tmpfiles.d", "etc/systemd/system", "opt"):
            (root / name).mkdir(parents=True)
        at = f"--root={root}"
        swaps = {
            "/opt/smtpforward": f"{root}/opt/smtpforward",
            "/etc/": f"{root}/etc/",
            "/usr/local/": f"{root}/usr/local/",
            "systemd-sysusers &&": f"systemd-sysusers {at} &&",
            "systemd-tmpfiles --create": f"systemd-tmpfiles {at} --create",
            "systemctl daemon-reload": f"systemctl {at} list-unit-files",
        }
        text = block("docs/running.md", "python3 -m venv")
        said = await self.made(text, swaps, clone)
        self.assertRegex(said, r"(?m)^smtpforward\.service +disabled")
        self.assertTrue((root / "usr/local/share/man/man5/smtp_forward.ini.5").is_file())
        config = root / "etc" / "smtpforward"
        self.assertEqual(0o750, config.stat().st_mode & 0o777)
        (config / "smtp_forward.ini").write_text("host=192.0.2.1\n")
        program = f"{root}/opt/smtpforward/bin/smtpforward"
        check = {"/opt/smtpforward/bin/smtpforward check": f"{program} check --config {config}"}
        text = block("docs/running.md", "/opt/smtpforward/bin/smtpforward")
        enabled = {"systemctl enable --now": f"systemctl {at} enable"}
        self.assertIn("default route: 192.0.2.1", await self.made(text, check | enabled, clone))
        wants = root / "etc/systemd/system/multi-user.target.wants/smtpforward.service"
        self.assertTrue(wants.is_symlink())
        text = block("docs/running.md", "/opt/smtpforward/bin/pip")
        upgrade, checked, _ = text.splitlines(keepends=True)
        pip = {"/opt/smtpforward/bin/pip": f"{root}/opt/smtpforward/bin/pip"}
        self.assertIn("192.0.2.1", await self.made(upgrade + checked, pip | check, clone))


class BlockTests(ShellCase):
    """The blocks of single pages."""

    async def test_probe(self) -> None:
        """``docs/backends.md``."""
        backend = self.backend()
        section = f"host=127.0.0.1\nport={backend.port}\n[example.com]\nhost=127.0.0.1\n"
        config = write_config(self.folder(), {"smtp_forward.ini": section})
        said = await self.shell(block("docs/backends.md", "smtpforward probe"), {}, config)
        self.assertEqual(2, said.count("result: ready for mail"))
        self.assertIn("route: example.com", said)

    async def test_tls(self) -> None:
        """``docs/tls.md``: openssl and swaks find TLS on both ports."""
        require("openssl", "swaks")
        backend, port, secure = self.backend(), free_port(), free_port()
        listen = f"listen=127.0.0.1:{port},127.0.0.1:{secure}\nsmtps_port={secure}\n"
        forward = f"host=127.0.0.1\nport={backend.port}\n"
        files = {"smtp.ini": listen, "smtp_forward.ini": forward, "host_list": "example.com\n"}
        own = {"tls_key.pem": KEY, "tls_cert.pem": CERTIFICATE}
        config = write_config(self.folder(), {**files, **own})
        await self.started(config, port, secure)
        swaps = {
            "mx.example.com:25": f"127.0.0.1:{port}",
            "mx.example.com:465": f"127.0.0.1:{secure}",
            "--server mx.example.com": f"--server 127.0.0.1 --port {port}",
        }
        said = await self.shell(block("docs/tls.md", "openssl"), swaps)
        self.assertEqual(2, said.count("BEGIN CERTIFICATE"))
        self.assertIn("=== TLS started", said)
        [message] = backend.messages
        self.assertIn(b"with ESMTPS", message.plain)

    async def test_haraka(self) -> None:
        """``docs/coming-from-haraka.md``, with files of Haraka's."""
        files = {
            "plugins": "tls\nrcpt_to.in_host_list\nqueue/smtp_forward\n",
            "smtp_forward.ini": "; host to connect to\nhost=192.0.2.1\nport=2555\n",
            "host_list": "example.com\n",
        }
        config = write_config(self.folder(), files)
        swaps = {"/path/to/haraka/config": str(config)}
        text = block("docs/coming-from-haraka.md", "smtpforward check")
        said = await self.shell(text, swaps, config)
        self.assertIn("note: enable_outbound is not set", said)
        self.assertIn("<user@example.com>: to 192.0.2.1:2555", said)

    async def test_queue_directory(self) -> None:
        """``docs/queue.md``, for a user that this host has."""
        require_root()
        place = self.folder() / "queue"
        swaps = {
            "-o smtpforward -g smtpforward": "-o nobody -g nogroup",
            "/var/lib/smtpforward": str(place),
        }
        await self.shell(block("docs/queue.md", "install -d"), swaps)
        self.assertEqual(0o700, place.stat().st_mode & 0o777)

    async def test_queue_pipe(self) -> None:
        """``docs/queue-command.md``: what failed with such an answer is tried again."""
        require("jq")
        script = Script(replies={"RCPT": b"451 4.7.1 greylisted\r\n"})
        backend = self.backend(lambda number: script if number == 1 else Script())
        gateway, config, _ = await self.queueing(backend.port, "temp_fail_intervals=1d\n")
        text = block("docs/queue-command.md", "smtpforward queue list")
        await gateway.until(lambda: "status=deferred" in gateway.output(), "the first attempt")
        # xargs starts programs, not functions.
        program = f"{sys.executable} -m smtpforward.commands.main queue retry --config {config}"
        await self.shell(text, {"xargs -r smtpforward queue retry": f"xargs -r {program}"}, config)
        await backend.until_taken(1)

    async def queueing(self, port: int, more: str = "") -> tuple[Process, Path, int]:
        """A gateway that has queued a message, its settings and its HTTP port."""
        listen, http = free_port(), free_port()
        queue = f"store=sqlite:{self.folder()}/queue.sqlite3\nsmart_host=127.0.0.1:{port}\n"
        files = {
            "smtp.ini": f"listen=127.0.0.1:{listen}\n",
            "smtp_forward.ini": f"host=127.0.0.1\nport={port}\nenable_outbound=false\n",
            "outbound.ini": queue + more,
            "relay_acl_allow": "127.0.0.1\n",
            "http.ini": f"listen=127.0.0.1:{http}\nqueue_changes=true\n",
        }
        config = write_config(self.folder(), files)
        gateway = await self.started(config, listen, http)
        send = f"smtpforward send --server 127.0.0.1:{listen} --from ann@example.com"
        await self.shell(f"{send} --to bob@example.net\n", {}, config)
        return gateway, config, http

    async def test_api(self) -> None:
        """``docs/api.md``: one transaction is found; an id that is not there changes nothing."""
        require("curl")
        backend = self.backend()
        *_, http = await self.queueing(backend.port)
        here = {"127.0.0.1:8026": f"127.0.0.1:{http}"}
        self.assertIn('{"changed": 0}', await self.shell(block("docs/api.md", "curl"), here))
        [line] = TRANSCRIPT.findall((DOCS / "api.md").read_text("utf-8"))
        swaps = {**here, "ann@example.com": "ANN@example.com"}
        self.assertIn('"from": "ann@example.com"', await self.shell(line, swaps))

    async def test_benchmarks(self) -> None:
        """``docs/benchmarks.md``: make knows what to do. ``test_benchmarks`` runs them, small."""
        require("make")
        text = block("docs/benchmarks.md", "make bench-peers")
        said = await self.shell(text.replace("make ", "make -n "), {})
        for module in ("benchmarks.forward ", "benchmarks.forward --full", "benchmarks.scaling"):
            self.assertIn(f"python -m {module}", said)

    async def test_fail2ban(self) -> None:
        """``docs/running.md``: what is copied. ``test_contrib`` has fail2ban read it."""
        place = self.folder()
        for name in ("filter.d", "jail.d"):
            (place / name).mkdir()
        text = block("docs/running.md", "cp contrib/fail2ban")
        await self.shell(text, {"/etc/fail2ban": str(place)})
        copied = sorted(str(path.relative_to(place)) for path in place.rglob("*.conf"))
        self.assertEqual(copied, ["filter.d/smtpforward.conf", "jail.d/smtpforward.conf"])


class WordTests(PeerTestCase):
    """What is not run: its words, against what they are about."""

    def test_systemctl(self) -> None:
        """The units are those of ``contrib/systemd``, and the signal is one that is handled."""
        text = (DOCS / "running.md").read_text("utf-8")
        lines = [line for found in BLOCK.findall(text) for line in found.splitlines()]
        units = {path.name for path in (TREE / "contrib" / "systemd").iterdir()}
        commands = [shlex.split(line) for line in lines if line.startswith("systemctl ")]
        verbs = {"enable", "restart", "kill", "daemon-reload"}
        self.assertEqual({words[1] for words in commands}, verbs)
        for words in commands:
            for unit in [word for word in words[2:] if not word.startswith("-")]:
                self.assertIn(unit if "." in unit else f"{unit}.service", units)
            if words[1] == "kill":
                self.assertEqual(words[2:4], ["--signal=USR2", "--kill-whom=main"])

    def test_podman(self) -> None:
        """``docs/running.md`` shows a part of what ``docs/recipes/container.md`` does."""
        build, start = _lines(block("docs/running.md", "podman build"))
        other, whole = _lines(block("docs/recipes/container.md", "podman build"))
        self.assertEqual(build, other)
        self.assertLessEqual(set(start), set(whole))


def _lines(text: str) -> list[list[str]]:
    return [shlex.split(line) for line in text.replace("\\\n", "").splitlines()]


class TranscriptTests(ShellCase):
    """Transcripts."""

    async def test_routes(self) -> None:
        """``docs/routing.md`` has what is printed, word for word."""
        sections = {"example1.com": "5", "example2.com": "5", "example3.com": "6"}
        forward = "host=1.2.3.4\n" + "".join(
            f"[{name}]\nhost=1.2.3.{last}\n" for name, last in sections.items()
        )
        files = {
            "smtp_forward.ini": f"{forward}[example4.com]\nenable_outbound=false\n",
            "outbound.ini": f"store=sqlite:{self.folder()}/queue.sqlite3\n",
            "host_list": "".join(f"{name}\n" for name in sections),
        }
        config = write_config(self.folder(), files)
        text = (DOCS / "routing.md").read_text("utf-8")
        transcripts = [inside for _, inside in FENCED.findall(text) if inside.startswith("$ ")]
        self.assertEqual(2, len(transcripts))
        for transcript in transcripts:
            command, _, told = transcript.removeprefix("$ ").partition("\n")
            refused = " || test $? = 1" if " 452 " in told else ""
            self.assertEqual(told, await self.shell(f"{command}{refused}\n", {}, config))

    def test_words(self) -> None:
        """Each command of a transcript is one that the parser takes."""
        lines = [line for name, line in shown() if line.startswith("$ smtpforward ")]
        self.assertGreater(len(lines), 6)
        for line in lines:
            parser().parse_args(shlex.split(line)[2:])
