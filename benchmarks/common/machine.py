"""What a figure was measured on and with: it stands beside every one."""

import json
import os
import platform
import re
import resource
import sqlite3
import ssl
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import twisted
from tests.peers.require import UNPACKED, find

MISSING = "not installed"
MOST_FILES = 65536
NUMBER = re.compile(r"\d+(\.\d+)+")
VERSION_COMMANDS = {
    "Postfix": ("postconf", "-d", "-h", "mail_version"),
    "HAProxy": ("haproxy", "-v"),
    "Node": ("node", "--version"),
    "PostgreSQL": ("postgres", "--version"),
}


def facts(*programs: str) -> dict[str, str]:
    """What this machine is, and the versions of what runs here.

    :param programs: names of ``VERSION_COMMANDS``, of libraries, or one of the others here.
    """
    return {
        "CPU": f"{os.cpu_count()} x {_processor()}",
        "memory": f"{_memory() / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "Twisted": str(twisted.__version__),
        "SQLite": sqlite3.sqlite_version,
        **{name: _version(name) for name in programs},
        "commit": commit(),
        "load before": load(),
    }


def load() -> str:
    """How many processes want to run, on average over the last minute."""
    return f"{os.getloadavg()[0]:.2f}"


def commit() -> str:
    """Which state of the project this is."""
    tree = Path(__file__).resolve().parents[2]
    told = _output(["git", "-C", str(tree), "describe", "--always", "--dirty"])
    return told or "unknown"


def command() -> str:
    """How this measurement was started."""
    program = sys.argv[0]
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None:
        program = f"-m {spec.name.removesuffix('.__main__')}"
    return " ".join(["python", program, *sys.argv[1:]])


def file_system(folder: Path) -> str:
    """Its type and the device that ``folder`` lies on."""
    told = _output(["findmnt", "-n", "-o", "FSTYPE,SOURCE", "-T", str(folder)])
    return " on ".join(told.split()) or "unknown"


def allow_many_files() -> None:
    """As many as this process and what it starts may have."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, MOST_FILES), hard))


def _version(name: str) -> str:
    if name == "Haraka":
        return _haraka()
    if name == "OpenSSL":
        return ssl.OPENSSL_VERSION.split()[1]
    if name not in VERSION_COMMANDS:
        return _library(name)
    program, *options = VERSION_COMMANDS[name]
    path = find(program)
    if path is None:
        return MISSING
    told = NUMBER.search(_output([path, *options]))
    return told[0] if told else "unknown"


def _library(name: str) -> str:
    """The version of a library, which need not be there."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return MISSING


def _haraka() -> str:
    path = UNPACKED / "haraka" / "node_modules" / "Haraka" / "package.json"
    return str(json.loads(path.read_text())["version"]) if path.exists() else MISSING


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
