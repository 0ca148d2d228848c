"""TCP ports on loopback: a free one, and whether somebody listens.

The kernel's table is asked, not the port: a connection made only to look would be counted and
logged by the program under test.
"""

import socket
from pathlib import Path

LISTEN = "0A"
TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_listening(port: int) -> bool:
    """Whether some socket of this host listens on ``port``."""
    return any(port in _listening(table) for table in TABLES if table.exists())


def _listening(table: Path) -> set[int]:
    rows = [row.split() for row in table.read_text().splitlines()[1:]]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == LISTEN}
