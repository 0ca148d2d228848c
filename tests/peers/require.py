"""Which programs a test needs: without them it is skipped, or fails where skipping is not allowed.

``SMTPFORWARD_REQUIRE_PEERS=1`` says that they are installed: a skip would hide that they are not.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from twisted.trial.unittest import SkipTest

PACKAGES = {
    "chromium": "chromium",
    "dnsmasq": "dnsmasq-base",
    "dovecot": "dovecot-core",
    "doveconf": "dovecot-core",
    "exim4": "exim4-daemon-heavy, unpacked by make peers",
    "curl": "curl",
    "mail.mailutils": "mailutils",
    "msmtp": "msmtp",
    "mutt": "mutt",
    "nmap": "nmap",
    "postfix": "postfix",
    "postconf": "postfix",
    "fail2ban-regex": "fail2ban",
    "pflogsumm": "pflogsumm",
    "promtool": "prometheus",
    "prometheus": "prometheus",
    "smtp-sink": "postfix",
    "smtp-source": "postfix",
    "swaks": "swaks",
    "openssl": "openssl",
    "haproxy": "haproxy",
    "initdb": "postgresql",
    "postgres": "postgresql",
    "setpriv": "util-linux",
    "systemd-analyze": "systemd",
    "systemd-socket-activate": "systemd",
    "systemd-sysusers": "systemd",
    "systemd-tmpfiles": "systemd",
    "fail2ban-client": "fail2ban",
    "logrotate": "logrotate",
    "man": "man-db",
    "mandoc": "mandoc",
    "sh": "dash",
}

# Where ``make peers`` unpacks a package that conflicts with one of the others.
UNPACKED = Path("/usr/local/lib/smtpforward-peers")
# Debian has the programs of a PostgreSQL server beside its version; the latest first.
POSTGRESQL = sorted(
    Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name.zfill(4)
)[::-1]
SEARCHED = ["/usr/sbin", "/usr/bin", str(UNPACKED / "exim4/usr/sbin"), *map(str, POSTGRESQL)]
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), *SEARCHED])


def find(program: str) -> str | None:
    """The path of ``program``, also where only an administrator's ``PATH`` looks."""
    return shutil.which(program, path=SEARCH_PATH)


def require(*programs: str, environ: Mapping[str, str] = os.environ) -> list[str]:
    """The paths of ``programs``.

    :raises SkipTest: naming the Debian packages of those that are missing.
    :raises AssertionError: in place of it when ``SMTPFORWARD_REQUIRE_PEERS=1``.
    """
    paths = {program: find(program) for program in programs}
    missing = sorted({PACKAGES.get(name, name) for name, path in paths.items() if path is None})
    if missing:
        unavailable(f"needs the Debian packages: {', '.join(missing)}", environ)
    return [path for path in paths.values() if path is not None]


def require_perl(**modules: str) -> None:
    """Skip, or fail, unless Perl finds ``modules``: the Debian package of each, by its name.

    A module's name is written with ``__`` for ``::``.
    """
    [perl] = require("perl")
    for name, package in modules.items():
        use = f"use {name.replace('__', '::')};"
        if subprocess.run([perl, "-e", use], capture_output=True, check=False).returncode:
            unavailable(f"needs the Debian packages: {package}")


def require_root() -> None:
    """Skip, or fail, unless the tests run as root."""
    if os.geteuid() != 0:
        unavailable("needs root")


def unavailable(reason: str, environ: Mapping[str, str] = os.environ) -> None:
    """End the test: it cannot run here."""
    if environ.get("SMTPFORWARD_REQUIRE_PEERS") == "1":
        raise AssertionError(reason)
    raise SkipTest(reason)
