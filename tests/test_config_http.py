"""``http.ini``: what is shown, to whom, and what is wrong with it."""

import os

from smtpforward import config
from smtpforward.config import http
from smtpforward.config.settings import HTTP
from tests.test_config_load import DirectoryCase

HASH = "$scrypt$ln=15,r=8,p=1$c2FsdHNhbHRzYWx0c2FsdA$" + "A" * 43


class HTTPTests(DirectoryCase):
    """The file."""

    def http(self, text: str, **files: str) -> HTTP | None:
        """What it says; without warnings but for the ones that a test asks for."""
        return self.load(http_ini=text, **files).http

    def warnings(self, **files: str) -> tuple[str, ...]:
        """All that the settings warn of."""
        return self.load(**files).warnings

    def wrong(self, text: str, **files: str) -> list[tuple[str | None, int | None, str]]:
        """Key, line and text of its problems."""
        with self.assertRaises(config.ConfigurationError) as caught:
            self.http(text, **files)
        for problem in caught.exception.problems:
            self.assertEqual(os.path.basename(problem.file), "http.ini")
        return [(p.key, p.line, p.message) for p in caught.exception.problems]

    def test_nothing(self) -> None:
        """Without the file, or without ``listen``, nothing is shown."""
        self.assertIsNone(self.load().http)
        self.assertIsNone(self.http("user=a\npassword=b\n"))

    def test_listen(self) -> None:
        """As in smtp.ini, but for the port of a host alone."""
        found = self.http("listen=127.0.0.1:8026,[::1]:8026,127.0.0.2,unix:/run/x.sock\n")
        assert found is not None
        self.assertEqual(
            found.listen,
            (
                "tcp:8026:interface=127.0.0.1",
                "tcp6:8026:interface=\\:\\:1",
                "tcp:80:interface=127.0.0.2",
                "unix:/run/x.sock",
            ),
        )
        self.assertEqual(self.warnings(http_ini="listen=127.0.0.1:8026,[::1]:1,unix:/x\n"), ())

    def test_seen_from_elsewhere(self) -> None:
        """What other hosts reach without a password gives a warning."""
        for listen in ("8026", "[::]:8026", "192.0.2.1:8026", "tcp:8026"):
            (warning,) = self.warnings(http_ini=f"listen={listen}\n")
            self.assertIn(f"whoever reaches {listen} sees the mail that passes", warning)
        login = f"listen=8026\nuser=a\npassword={HASH}\n"
        self.assertEqual(self.warnings(http_ini=login), ())

    def test_login(self) -> None:
        """A plain password gives a warning; no repr shows one."""
        found = self.http("listen=127.0.0.1:1\nuser=a\npassword=secret word\n")
        assert found is not None
        self.assertEqual((found.user, found.password), ("a", "secret word"))
        self.assertNotIn("secret", repr(found))
        (warning,) = self.warnings(http_ini="listen=127.0.0.1:1\nuser=a\npassword=secret word\n")
        self.assertIn("the password is not hashed", warning)
        self.assertNotIn("secret word", warning)

    def test_queue_changes(self) -> None:
        """Only where it says so; anyone who may is a warning."""
        listen = "listen=127.0.0.1:1\n"
        for text, changes in (("", False), ("queue_changes=false\n", False)):
            found = self.http(listen + text)
            assert found is not None
            self.assertEqual(found.queue_changes, changes)
        login = f"{listen}queue_changes=true\nuser=a\npassword={HASH}\n"
        found = self.http(login)
        assert found is not None
        self.assertTrue(found.queue_changes)
        self.assertEqual(self.warnings(http_ini=login), ())
        (warning,) = self.warnings(http_ini=f"{listen}queue_changes=true\n")
        self.assertIn("http.ini:2: whoever reaches the page may change the queue", warning)
        [(key, line, _)] = self.wrong(f"{listen}queue_changes=perhaps\n")
        self.assertEqual((key, line), ("queue_changes", 2))

    def test_half_a_login(self) -> None:
        """A name or a password alone is a problem."""
        listen = "listen=127.0.0.1:1\n"
        self.assertEqual(self.wrong(f"{listen}user=a\n"), [("user", 2, "password is not set")])
        [(key, line, said)] = self.wrong(f"{listen}password={HASH}\n")
        self.assertEqual((key, line, said), ("password", 2, "user is not set"))

    def test_password_file(self) -> None:
        """It is read beside the file; both keys at once are one too many."""
        text = "listen=127.0.0.1:1\nuser=a\npassword_file=secret\n"
        found = self.http(text, secret=f"{HASH}\n")
        assert found is not None
        self.assertEqual(found.password, HASH)
        [(key, line, said)] = self.wrong(text, secret="")
        self.assertEqual((key, line), ("password_file", 3))
        self.assertIn("is empty", said)
        [(key, _, said)] = self.wrong(f"{text}password={HASH}\n", secret=HASH)
        self.assertEqual((key, said), ("password_file", "password is set as well"))
        self.assertEqual(self.wrong(text, secret="$scrypt$x\n")[0][0], "password_file")

    def test_without_the_package(self) -> None:
        """What it takes and is not there is told with what installs it."""
        self.patch(http, "find_spec", lambda name: None)
        self.assertIsNone(self.load().http)
        [(key, line, said)] = self.wrong("listen=127.0.0.1:1\n")
        self.assertEqual((key, line), ("listen", 1))
        self.assertIn("needs the package prometheus-client", said)

    def test_of_haraka(self) -> None:
        """What Haraka has there and this gateway lacks is ignored, with a warning."""
        (warning,) = self.warnings(http_ini="listen=127.0.0.1:1\ndocroot=/x\n")
        self.assertIn("docroot", warning)
