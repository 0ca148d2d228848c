"""``auth_flat_file.ini`` to :class:`Logins`. No message shows a secret."""

from typing import Any

from smtpforward import passwords
from smtpforward.config.problems import Place, Report
from smtpforward.config.reading import Reading
from smtpforward.config.settings import Logins

FILE = "auth_flat_file.ini"


def build(reading: Reading, path: str, report: Report) -> Logins:
    """The logins of a file that was read from ``path``; none without users."""
    core: Any = reading.values["core"]
    users: Any = reading.values.get("users", {})
    methods = core["methods"] or ()
    for text in _remarks(users, methods):
        report.warn(f"{Place(path)}: {text}")
    return Logins(methods if users else (), users, core["constrain_sender"])


def _remarks(users: dict[str, str], methods: tuple[str, ...]) -> list[str]:
    hashed = sum(map(passwords.is_hash, users.values()))
    found = []
    if users and not methods:
        found.append("nobody can log in: [core] methods is not set, such as methods=PLAIN,LOGIN")
    if len(users) > hashed:
        found.append(
            f"{len(users) - hashed} of {len(users)} secrets are not hashed;"
            " smtpforward hash-password makes hashes"
        )
    if hashed and "CRAM-MD5" in methods:
        found.append(
            f"CRAM-MD5 cannot work for the {hashed} of {len(users)} users whose secrets are hashed"
        )
    return found
