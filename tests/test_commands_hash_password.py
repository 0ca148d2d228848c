"""``smtpforward hash-password``."""

import io
import sys
from collections.abc import Iterator
from unittest import skipIf

from smtpforward import passwords
from smtpforward.commands import hash_password
from tests.test_commands_check import CommandCase


class Terminal(io.StringIO):
    """Standard input that is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


class HashPasswordTests(CommandCase):
    """From a pipe and from a terminal."""

    def typed(self, *answers: str) -> None:
        """Standard input is a terminal where ``answers`` are typed."""
        given: Iterator[str] = iter(answers)
        self.patch(sys, "stdin", Terminal())
        self.patch(hash_password, "getpass", lambda prompt: next(given))

    def test_pipe(self) -> None:
        """The first line is the password, taken once."""
        for text in ("hunter2\n", "hunter2", "hunter2\r\nmore\n"):
            self.patch(sys, "stdin", io.StringIO(text))
            self.assertEqual(self.run_main("hash-password", "--scheme", "scrypt"), 0)
            (secret,) = self.out
            self.assertTrue(passwords.verify(secret, b"hunter2"))

    def test_terminal(self) -> None:
        """It is asked for twice, and what is printed does not hold it."""
        self.typed("hunter2", "hunter2")
        self.assertEqual(self.run_main("hash-password", "--scheme", "scrypt"), 0)
        self.assertTrue(passwords.verify(self.out[0], b"hunter2"))
        self.assertNotIn("hunter2", self.out[0])

    def test_wrong(self) -> None:
        """Two that differ, and an empty one, are wrong input: 65."""
        self.typed("hunter2", "hunter3")
        self.assertEqual(self.run_main("hash-password"), 65)
        self.assertEqual((self.out, self.err), ([], ["the two passwords differ"]))
        self.patch(sys, "stdin", io.StringIO("\n"))
        self.assertEqual(self.run_main("hash-password"), 65)
        self.assertEqual(self.run_main("hash-password", "hunter2"), 64)

    @skipIf(passwords.argon2 is None, "argon2-cffi is not installed")
    def test_default(self) -> None:
        """argon2 where it is installed."""
        self.patch(sys, "stdin", io.StringIO("hunter2\n"))
        self.assertEqual(self.run_main("hash-password"), 0)
        self.assertTrue(self.out[0].startswith("$argon2id$"))

    def test_unavailable(self) -> None:
        """argon2 without its package is unavailable: 69."""
        self.patch(passwords, "argon2", None)
        self.patch(sys, "stdin", io.StringIO("hunter2\n"))
        self.assertEqual(self.run_main("hash-password", "--scheme", "argon2"), 69)
        self.assertIn("argon2-cffi", self.err[0])
