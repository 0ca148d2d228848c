"""Secrets of logins: hashed for ``auth_flat_file.ini``, and compared with what a client sends.

A secret is an argon2 hash, a scrypt hash of the form ``$scrypt$ln=15,r=8,p=1$SALT$HASH`` (base64
without padding), or else the password itself. Verifying a hash takes tens of milliseconds of
CPU: outside of tests, in a thread. argon2 needs the package ``argon2-cffi``, the extra ``argon2``.
"""

import base64
import binascii
import hashlib
import hmac
import os
import re

from attrs import frozen

try:
    import argon2
except ImportError:
    argon2 = None  # type: ignore[assignment]

ARGON2, SCRYPT = "argon2", "scrypt"
SCHEMES = (ARGON2, SCRYPT)
PREFIXES = ("$argon2", "$scrypt$")
SCRYPT_FORM = re.compile(
    r"\$scrypt\$ln=([0-9]{1,2}),r=([0-9]{1,2}),p=([0-9]{1,2})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)"
)
# What other programs make: taken for the password itself, it would let in whoever reads the file.
FOREIGN_FORM = re.compile(r"\$(?:1|2[abxy]?|5|6|7|y|gy|md5|sha1|pbkdf2[a-z0-9-]*)\$.+")
ROUNDS, BLOCK, PARALLEL = 15, 8, 1
MOST_MEMORY = 1 << 30


class UnavailableError(Exception):
    """The scheme needs a package that is not installed; the text says which."""


def default_scheme() -> str:
    """argon2 where its package is installed, else scrypt."""
    return SCRYPT if argon2 is None else ARGON2


def hash_secret(password: str, scheme: str) -> str:
    """A hash of ``password``, with a new salt.

    :raise UnavailableError: when ``scheme`` cannot be had here.
    """
    if scheme == SCRYPT:
        return str(_Scrypt(ROUNDS, BLOCK, PARALLEL, os.urandom(16)).of(password.encode()))
    if argon2 is None:
        raise UnavailableError("argon2 needs the package argon2-cffi")
    return argon2.PasswordHasher().hash(password)


def verify(secret: str, password: bytes) -> bool:
    """Whether ``password`` is what ``secret`` stands for; in time that tells nothing about it.

    :raise UnavailableError: when the hash's scheme cannot be had here.
    """
    if secret.startswith("$scrypt$"):
        known = _Scrypt.parse(secret)
        return known is not None and hmac.compare_digest(known.hash, known.of(password).hash)
    if secret.startswith("$argon2"):
        return _verify_argon2(secret, password)
    return hmac.compare_digest(secret.encode(), password)


def is_hash(secret: str) -> bool:
    """Whether the secret is a hash, by how it begins."""
    return secret.startswith(PREFIXES)


def fault(secret: str) -> str | None:
    """Why no password can be compared with ``secret``, in words that do not show it."""
    if not secret:
        return "is empty"
    if FOREIGN_FORM.fullmatch(secret):
        return "is a hash of a kind that is not known here"
    if secret.startswith("$scrypt$") and _Scrypt.parse(secret) is None:
        return "begins like a scrypt hash and is none"
    return _argon2_fault(secret) if secret.startswith("$argon2") else None


def _verify_argon2(secret: str, password: bytes) -> bool:
    if argon2 is None:
        raise UnavailableError("argon2 needs the package argon2-cffi")
    try:
        return argon2.PasswordHasher().verify(secret, password)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHash):
        return False


def _argon2_fault(secret: str) -> str | None:
    if argon2 is None:
        return "is an argon2 hash, and the package argon2-cffi is not installed"
    try:
        argon2.extract_parameters(secret)
    except argon2.exceptions.InvalidHash:
        return "begins like an argon2 hash and is none"
    return None


@frozen
class _Scrypt:
    rounds: int
    block: int
    parallel: int
    salt: bytes
    hash: bytes = b""

    @classmethod
    def parse(cls, text: str) -> "_Scrypt | None":
        """What the text says; nothing when it is no such hash or asks for too much memory."""
        match = SCRYPT_FORM.fullmatch(text)
        if match is None:
            return None
        rounds, block, parallel = map(int, match.group(1, 2, 3))
        try:
            known = cls(rounds, block, parallel, _decoded(match[4]), _decoded(match[5]))
        except binascii.Error:
            return None
        good = rounds and block and parallel and known.memory <= MOST_MEMORY
        return known if good and len(known.hash) >= 16 else None

    @property
    def memory(self) -> int:
        """Bytes that the computation takes, and a little more."""
        return 128 * self.block * ((1 << self.rounds) + self.parallel + 2)

    def of(self, password: bytes) -> "_Scrypt":
        """The same with the hash of ``password``."""
        hashed = hashlib.scrypt(
            password,
            salt=self.salt,
            n=1 << self.rounds,
            r=self.block,
            p=self.parallel,
            maxmem=self.memory,
            dklen=len(self.hash) or 32,
        )
        return _Scrypt(self.rounds, self.block, self.parallel, self.salt, hashed)

    def __str__(self) -> str:
        parameters = f"ln={self.rounds},r={self.block},p={self.parallel}"
        return f"$scrypt${parameters}${_encoded(self.salt)}${_encoded(self.hash)}"


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii").rstrip("=")


def _decoded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
