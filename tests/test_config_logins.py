"""``auth_flat_file.ini``."""

import os

from smtpforward import passwords
from smtpforward.config.settings import Logins
from tests.test_config_load import DirectoryCase

HASH = passwords.hash_secret("hunter2", "scrypt")
CORE = "[core]\nmethods=PLAIN,LOGIN\n[users]\n"


class LoginsTests(DirectoryCase):
    """Users, their secrets, and the mechanisms."""

    def logins(self, text: str) -> Logins:
        """What a good file gives; ``self.warnings`` are its warnings."""
        settings = self.load(auth_flat_file_ini=text)
        self.warnings = settings.warnings
        return settings.logins

    def test_none(self) -> None:
        """Without the file, and without users, nobody can log in and no mechanism is offered."""
        self.assertEqual(self.load().logins, Logins())
        self.assertEqual(self.logins("[core]\nmethods=CRAM-MD5\n[users]\n; matt=test\n"), Logins())
        self.assertEqual(self.warnings, ())

    def test_haraka_example(self) -> None:
        """Haraka's example: a list of mechanisms, and names with and without a domain."""
        logins = self.logins(
            "[core]\nmethods=PLAIN,LOGIN,CRAM-MD5\nconstrain_sender=false\n\n"
            "[users]\nuser1=password1\nuser@example.com=password2\n"
        )
        self.assertEqual(logins.methods, ("PLAIN", "LOGIN", "CRAM-MD5"))
        self.assertEqual(logins.users, {"user1": "password1", "user@example.com": "password2"})
        self.assertFalse(logins.constrain_sender)
        self.assertNotIn("password", repr(logins))

    def test_methods(self) -> None:
        """Their order is kept; case and repetition do not count; a list may be one of lines."""
        for text, methods in {
            "methods= login , plain,LOGIN": ("LOGIN", "PLAIN"),
            "methods[]=cram-md5\nmethods[]=PLAIN": ("CRAM-MD5", "PLAIN"),
        }.items():
            self.assertEqual(self.logins(f"[core]\n{text}\n[users]\na=b\n").methods, methods)

    def test_literal(self) -> None:
        """A name is literal up to the first =, a secret from there to the end of its line."""
        for name, secret in {
            "a b": "c d",
            "x%40y": "100% #1; 'ok', \"=\"",
            "__many__": "__many__",
            "DEFAULT": "None",
            "ü@bücher.example": "ß=",
            "a,b": "default=x",
        }.items():
            self.assertEqual(self.logins(f"{CORE}{name} = {secret} \n").users, {name: secret})

    def test_hashes(self) -> None:
        """Hashes give no warning; plain ones give one in all, which counts them."""
        self.assertEqual(self.logins(f"{CORE}a={HASH}\n").users, {"a": HASH})
        self.assertEqual(self.warnings, ())
        self.logins(f"{CORE}a={HASH}\nb=hunter2\nc=hunter2\n")
        (warning,) = self.warnings
        self.assertIn("2 of 3 secrets are not hashed", warning)
        self.assertNotIn("hunter2", warning)

    def test_cram_md5(self) -> None:
        """CRAM-MD5 needs the password: that it cannot work with a hash is told."""
        self.logins(f"[core]\nmethods=CRAM-MD5\n[users]\na={HASH}\n")
        (warning,) = self.warnings
        self.assertIn("CRAM-MD5 cannot work for the 1 of 1 users", warning)

    def test_no_methods(self) -> None:
        """Users without a mechanism cannot log in, which is told."""
        self.assertEqual(self.logins(f"[users]\na={HASH}\n").methods, ())
        self.assertIn("[core] methods is not set", self.warnings[0])

    def test_users_are_accepted(self) -> None:
        """A gateway that takes mail of its users alone takes somebody's."""
        settings = self.load(
            smtp_forward_ini="host=a.example\n", auth_flat_file_ini=f"{CORE}a={HASH}\n"
        )
        self.assertEqual(settings.warnings, ())

    def test_wrong(self) -> None:
        """What is wrong is a problem at its line, and shows no secret."""
        for text, line, key, words in (
            ("[core]\nmethods=PLAIN,DIGEST-MD5\n", 2, "methods", "'DIGEST-MD5' is wrong"),
            ("[core]\nconstrain_sender=hunter2\n", 2, "constrain_sender", "is wrong"),
            ("[core]\nmethod=PLAIN\n", 2, "method", "not known"),
            ("[user]\na=hunter2\n", 1, None, "[user] is not known"),
            ("a=hunter2\n", 1, "a", "is not known"),
            (f"{CORE}a=\n", 4, "a", "is empty"),
            (f"{CORE}a[]=hunter2\n", 4, "a", "is a list"),
            (f"{CORE}a=hunter2\na=hunter2\n", 5, "a", "was given before"),
            (f"{CORE}hunter2\n", 4, None, "has no ="),
            (f"{CORE}a=$scrypt$ln=15,r=8,p=1$hunter2\n", 4, "a", "scrypt hash and is none"),
            (f"{CORE}a=$argon2id$hunter2\n", 4, "a", "argon2 hash"),
            (f"{CORE}a=$2y$10$hunter2\n", 4, "a", "a kind that is not known"),
        ):
            problem = self.only(auth_flat_file_ini=text)
            self.assertEqual((problem.line, problem.key), (line, key), text)
            self.assertEqual(os.path.basename(problem.file), "auth_flat_file.ini")
            self.assertIn(words, problem.message)
            if "constrain" not in text:
                self.assertNotIn("hunter2", str(problem))

    def test_remedies(self) -> None:
        """A key in the wrong place is told where it belongs."""
        self.assertEqual(self.only(auth_flat_file_ini="methods=PLAIN").remedy, "write it in [core]")
        remedy = self.only(auth_flat_file_ini="bob=x").remedy
        self.assertEqual(remedy, "write it in [core] or [users]")
