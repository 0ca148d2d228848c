"""A configuration directory: settings, or problems that each fit on a line and name their file.

The parts of the input, with two NULs between them, are files; a part's first byte says which.
"""

import os
import tempfile
from datetime import UTC, datetime

from smtpforward import config

FILES = (
    *("smtp_forward.ini", "smtp.ini", "connection.ini", "tls.ini", "auth_flat_file.ini"),
    *("host_list", "host_list_regex", "relay_acl_allow", "me"),
)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def one(data: bytes) -> None:
    """Load the directory."""
    with tempfile.TemporaryDirectory() as directory:
        for part in data.split(b"\0\0"):
            if part:
                name = FILES[part[0] % len(FILES)]
                with open(os.path.join(directory, name), "wb") as file:
                    file.write(part[1:])
        try:
            settings = config.load(directory, hostname=lambda: "host.example", now=lambda: NOW)
        except config.ConfigurationError as error:
            _check(error, directory)
            return
        assert all(warning.isprintable() for warning in settings.warnings)
        assert settings.limits.bytes > 0


def _check(error: config.ConfigurationError, directory: str) -> None:
    lines = str(error).split("\n")
    assert len(lines) == len(error.problems) > 0
    assert all(line.isprintable() and directory in line for line in lines)
