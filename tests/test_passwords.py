"""Secrets of logins."""

from base64 import b64encode
from unittest import skipIf

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smtpforward import passwords
from smtpforward.passwords import fault, hash_secret, is_hash, verify

# RFC 7914, section 12: scrypt("pleaseletmein", "SodiumChloride", 16384, 8, 1).
RFC_7914 = "$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$" + b64encode(
    bytes.fromhex(
        "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
        "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887"
    )
).decode().rstrip("=")


class PlainTests(SynchronousTestCase):
    """A secret that is the password itself."""

    @given(st.text(min_size=1), st.text())
    def test_any(self, password: str, other: str) -> None:
        """It verifies itself and nothing else."""
        if not is_hash(password):
            self.assertTrue(verify(password, password.encode()))
            self.assertEqual(verify(password, other.encode()), password == other)

    def test_bytes(self) -> None:
        """What a client sends need not be UTF-8."""
        self.assertFalse(verify("ü", b"\xfc"))


class ScryptTests(SynchronousTestCase):
    """The form that needs nothing but Python."""

    def test_known(self) -> None:
        """The vector of RFC 7914."""
        self.assertTrue(verify(RFC_7914, b"pleaseletmein"))
        self.assertFalse(verify(RFC_7914, b"pleaseletmeout"))
        self.assertIsNone(fault(RFC_7914))

    @settings(max_examples=5, deadline=None)
    @given(st.text(min_size=1))
    def test_round_trip(self, password: str) -> None:
        """What was hashed is verified, under another salt each time."""
        secret = hash_secret(password, "scrypt")
        self.assertTrue(secret.startswith("$scrypt$ln=15,r=8,p=1$"))
        self.assertTrue(is_hash(secret))
        self.assertTrue(verify(secret, password.encode()))
        self.assertFalse(verify(secret, password.encode() + b"x"))
        self.assertNotEqual(secret, hash_secret(password, "scrypt"))

    def test_broken(self) -> None:
        """What only begins like one verifies nothing, and asks for no great memory."""
        for text in (
            "$scrypt$",
            RFC_7914[:60],
            RFC_7914.replace("ln=14", "ln=0"),
            RFC_7914.replace("ln=14", "ln=40"),
            RFC_7914.replace("p=1", "p=x"),
            RFC_7914.replace("U29kaXVtQ2hsb3JpZGU", "A"),
            RFC_7914 + "$",
        ):
            self.assertFalse(verify(text, b"pleaseletmein"), text)
            self.assertFalse(verify(text, text.encode()), text)
            self.assertIn("scrypt", fault(text) or "")


class Argon2Tests(SynchronousTestCase):
    """The form that needs argon2-cffi."""

    @skipIf(passwords.argon2 is None, "argon2-cffi is not installed")
    def test_round_trip(self) -> None:
        """What was hashed is verified; what is broken is not."""
        secret = hash_secret("ü b", "argon2")
        self.assertTrue(secret.startswith("$argon2id$"))
        self.assertTrue(is_hash(secret))
        self.assertIsNone(fault(secret))
        self.assertTrue(verify(secret, "ü b".encode()))
        self.assertFalse(verify(secret, b"u b"))
        for broken in (secret[:40], "$argon2id$v=19$x"):
            self.assertFalse(verify(broken, b"x"))
        self.assertIn("argon2", fault("$argon2id$v=19$x") or "")

    def test_absent(self) -> None:
        """Without the package its hashes are a fault, and scrypt is the default."""
        self.patch(passwords, "argon2", None)
        self.assertEqual(passwords.default_scheme(), "scrypt")
        self.assertIn("argon2-cffi is not installed", fault("$argon2id$v=19$x") or "")
        self.assertRaises(passwords.UnavailableError, verify, "$argon2id$v=19$x", b"x")
        self.assertRaises(passwords.UnavailableError, hash_secret, "x", "argon2")


class FaultTests(SynchronousTestCase):
    """Secrets with which no login could succeed, or a wrong one would."""

    def test_faults(self) -> None:
        """An empty secret, and another program's hash, whose reader could log in with it."""
        self.assertEqual(fault(""), "is empty")
        for text in (
            "$2b$12$abcdefg",
            "$6$salt$hash",
            "$1$a$b",
            "$y$j9T$a$b",
            "$pbkdf2-sha256$1$a",
        ):
            self.assertIn("not known", fault(text) or "", text)
        for text in ("hunter2", "$", "$1", "$money$", "pa$$6$x"):
            self.assertIsNone(fault(text), text)
