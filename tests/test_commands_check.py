"""The ``smtpforward`` command and its ``check``."""

import io
import json
import os
from contextlib import redirect_stderr, redirect_stdout

from twisted.trial.unittest import SynchronousTestCase

from smtpforward.commands.main import main
from smtpforward.config import store
from tests.test_config_tls import PAIR


class CommandCase(SynchronousTestCase):
    """Runs the command and keeps what it says."""

    def setUp(self) -> None:
        """A queue would lie in a folder of this test."""
        folder = os.path.abspath(self.mktemp())
        os.makedirs(folder)
        self.patch(store, "DEFAULT_FILE", os.path.join(folder, "queue.sqlite3"))

    def run_main(self, *arguments: str) -> int:
        """The exit code; ``self.out`` and ``self.err`` are the lines."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            try:
                code = main(arguments)
            except SystemExit as exit:
                code = int(exit.code or 0)
        self.out, self.err = out.getvalue().splitlines(), err.getvalue().splitlines()
        return code

    def directory(self, forward: str, **files: str) -> str:
        """A configuration directory."""
        path = self.mktemp()
        os.makedirs(path)
        files = {"me": "mail.example\n", "smtp_forward.ini": forward, **files}
        for name, text in files.items():
            with open(os.path.join(path, name), "w", encoding="utf-8") as file:
                file.write(text)
        return path


class CheckTests(CommandCase):
    """``smtpforward check``."""

    def test_good(self) -> None:
        """Good settings are summed up, and the exit code is 0."""
        path = self.directory("host=192.0.2.1\ncheck_recipient=yes\n[a.example]\n")
        self.assertEqual(self.run_main("check", "--config", path), 0)
        self.assertEqual(self.err, [])
        self.assertEqual(
            self.out[:11],
            [
                "name: mail.example",
                "listen: tcp6:25:interface=\\:\\:",
                "processes: one",
                "default route: 192.0.2.1:25",
                "sections: 1",
                "hosts: 0",
                "sections are hosts: yes",
                "relay networks: 0",
                "certificates: none",
                "logins: 0 users, no methods",
                "outbound queue: none",
            ],
        )

    def test_json(self) -> None:
        """One document: the same words; or each problem, which standard error has as well."""
        path = self.directory("host=192.0.2.1\nenable_tls=no\n")
        self.assertEqual(self.run_main("check", "--json", "--config", path), 0)
        [line] = self.out
        document = json.loads(line)
        self.assertEqual(document["settings"]["default route"], "192.0.2.1:25")
        self.assertEqual((document["problems"], len(document["settings"])), ([], 11))
        self.assertTrue(document["notes"][0].startswith("enable_outbound is not set"))
        self.assertTrue(document["warnings"][0].startswith("nobody's mail is accepted"))
        path = self.directory("host=192.0.2.1\nport=x\n")
        self.assertEqual(self.run_main("check", "--json", "--config", path), 78)
        problem = {
            "file": os.path.join(path, "smtp_forward.ini"),
            "line": 2,
            "key": "port",
            "message": "'x' is wrong",
            "remedy": "a whole number from 1 to 65535",
        }
        self.assertEqual(json.loads(self.out[0]), {"problems": [problem]})
        self.assertEqual(len(self.err), 2)

    def test_queue(self) -> None:
        """Where the queue is kept, and where it sends mail; no password is shown."""
        for text, said in {
            "store=sqlite:/q.sqlite3": "sqlite:/q.sqlite3, to MX hosts",
            "store=sqlite:/q.sqlite3\nsmart_host=a.example\ndisabled=yes": "sqlite:/q.sqlite3,"
            " to the smart host a.example:25, delivery disabled",
            "store=postgresql://u:hunter2@h/d": "PostgreSQL, to MX hosts",
        }.items():
            path = self.directory("host=192.0.2.1\n", **{"outbound.ini": text})
            self.assertEqual(self.run_main("check", "--config", path), 0, self.err)
            self.assertEqual(self.out[10], f"outbound queue: {said}")
            self.assertNotIn("hunter2", "".join(self.out))

    def test_notes_and_warnings(self) -> None:
        """Defaults that are not Haraka's are noted; what is unusual is a warning."""
        path = self.directory("host=192.0.2.1\nenable_tls=no\n")
        self.assertEqual(self.run_main("check", "--config", path), 0)
        note, warning = self.out[11:]
        self.assertTrue(note.startswith("note: enable_outbound is not set in smtp_forward.ini"))
        self.assertTrue(warning.startswith("warning: nobody's mail is accepted"))

    def test_certificates_and_logins(self) -> None:
        """Certificates are listed by their names, users are counted."""
        files = {name: data.decode() for name, data in PAIR.items()}
        files["auth_flat_file.ini"] = "[core]\nmethods=PLAIN\n[users]\na=b\nc=d\n"
        path = self.directory("host=192.0.2.1\n", **files)
        self.assertEqual(self.run_main("check", "--config", path), 0)
        self.assertIn("certificates: mail.example.com *.example.net", self.out)
        self.assertIn("logins: 2 users, PLAIN", self.out)

    def test_bad(self) -> None:
        """Every problem is a line on standard error, the last line counts, the exit code is 78."""
        path = self.directory("host=192.0.2.1\nport=x\nprot=1\n")
        self.assertEqual(self.run_main("check", "--config", path), 78)
        file = os.path.join(path, "smtp_forward.ini")
        self.assertEqual(
            self.err,
            [
                f"{file}:2: port: 'x' is wrong; a whole number from 1 to 65535",
                f"{file}:3: prot: is not known here; did you mean port?",
                f"2 problems in {path}",
            ],
        )
        self.assertEqual(self.out, [])

    def test_missing_directory(self) -> None:
        """A directory that is not there is missing input: 66."""
        self.assertEqual(self.run_main("check", "--config", "nowhere"), 66)
        self.assertIn("nowhere", self.err[0])

    def test_default_directory(self) -> None:
        """The help names the default directory."""
        self.assertEqual(self.run_main("check", "--help"), 0)
        self.assertIn("/etc/smtpforward", " ".join(self.out))


class MainTests(CommandCase):
    """The command line."""

    def test_usage(self) -> None:
        """A wrong or missing subcommand is a usage error: 64."""
        self.assertEqual(self.run_main("chekc"), 64)
        self.assertEqual(self.run_main(), 64)

    def test_version(self) -> None:
        """--version names the program."""
        self.assertEqual(self.run_main("--version"), 0)
        self.assertTrue(self.out[0].startswith("smtpforward "))
