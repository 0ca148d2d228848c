"""A real PostgreSQL server of a test's own, with an empty database for a queue.

It has its own data directory, a copy of one that ``initdb`` makes once in a test run, an
unprivileged port of 127.0.0.1 and a socket in its folder, and writes to disk as one in use does.
It refuses to run as root: then it runs as its package's user. Its role ``queue`` has a password
over TCP, and needs none at the socket.
"""

import atexit
import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import psycopg

from tests.peers.cpu import family
from tests.peers.ports import free_port
from tests.peers.process import Process
from tests.peers.require import require
from tests.peers.wait import until

USER = "postgres"
PASSWORD = "a secret with %, @ and / in it"
QUOTED = "a%20secret%20with%20%25%2C%20%40%20and%20%2F%20in%20it"

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "on",
    "synchronous_commit": "on",
    "max_connections": "60",
    "shared_buffers": "16MB",
    "timezone": "UTC",
    # A killed server is started again at once.
    "restart_after_crash": "off",
}
FIRST = (
    f"CREATE ROLE queue LOGIN PASSWORD '{PASSWORD}'",
    "CREATE DATABASE queue OWNER queue",
)


def _as_user() -> list[str]:
    """What a command begins with, to be run by one who may."""
    if os.geteuid() != 0:
        return []
    return [*require("setpriv"), "--reuid", USER, "--regid", USER, "--init-groups"]


@cache
def _template() -> Path:
    """A data directory that no server has used."""
    folder = Path(tempfile.mkdtemp(prefix="smtpforward-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if os.geteuid() == 0:
        shutil.chown(folder, USER, USER)
    data = folder / "data"
    [initdb, postgres] = require("initdb", "postgres")
    options = ["--no-sync", "--locale=C", "--encoding=UTF8", "--wal-segsize=4"]
    auth = ["--auth-host=scram-sha-256", "--auth-local=trust", "-U", "postgres"]
    _run([initdb, "-D", str(data), *options, *auth], folder)
    for statement in FIRST:
        _run([postgres, "--single", "-F", "-D", str(data), "postgres"], folder, statement)
    return data


def _run(command: list[str], folder: Path, given: str = "") -> None:
    done = subprocess.run(
        [*_as_user(), *command],
        cwd=folder,
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )
    # A server of one user ends well whatever became of what it was asked.
    if done.returncode or "ERROR:" in done.stdout:
        raise AssertionError(f"{command[0]} ended with {done.returncode}:\n{done.stdout}")


async def shared() -> "PostgreSQL":
    """A running one that all tests of this process may use, each with a database of its own."""
    return await _shared().ready()


@cache
def _shared() -> "PostgreSQL":
    folder = Path(tempfile.mkdtemp(prefix="smtpforward-"))
    folder.chmod(0o755)
    server = PostgreSQL(folder)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(server.kill)
    return server


class PostgreSQL(Process):
    """A running server. It needs a folder that every user may enter.

    :param settings: more of ``postgresql.conf``.
    :param port: where a server of this folder listened before, to start it again there.
    """

    def __init__(
        self, folder: Path, settings: Mapping[str, str] | None = None, port: int | None = None
    ) -> None:
        [program] = require("postgres")
        self.port = port or free_port()
        self._settings = dict(settings or {})
        self._names = itertools.count(1)
        data = folder / "data"
        if not data.exists():
            # Everything as it is there, the owner included.
            subprocess.run(["cp", "-a", str(_template()), str(data)], check=True, timeout=60)
        sockets = folder / "sockets"
        sockets.mkdir(exist_ok=True)
        if os.geteuid() == 0:
            shutil.chown(sockets, USER, USER)
        values = {
            **SETTINGS,
            "port": str(self.port),
            "unix_socket_directories": str(sockets),
            **self._settings,
        }
        options = [part for name, value in values.items() for part in ("-c", f"{name}={value}")]
        command = [*_as_user(), program, "-D", str(data), *options]
        super().__init__(command, folder, name="postgresql")

    async def ready(self) -> "PostgreSQL":
        """Itself, once it takes connections."""
        await self.until(
            lambda: "is ready to accept connections" in self.stderr, "taking connections"
        )
        return self

    async def again(self) -> "PostgreSQL":
        """Another one in its place, once this one has ended."""
        return await PostgreSQL(self.folder, self._settings, self.port).ready()

    @property
    def address(self) -> str:
        """Of its database, over TCP, with the password."""
        return self.address_of("queue")

    def address_of(self, database: str) -> str:
        """The same of another database."""
        return f"postgresql://queue:{QUOTED}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """The name of one that is empty."""
        name = f"queue{next(self._names)}"
        self.sql(f"CREATE DATABASE {name} OWNER queue", "postgres", "postgres")
        return name

    @property
    def socket_address(self) -> str:
        """Of its database, at its socket."""
        folder = str(self.folder / "sockets").replace("/", "%2F")
        return f"postgresql://queue@{folder}:{self.port}/queue"

    def sql(self, statement: str, user: str = "queue", database: str = "queue") -> list[Any]:
        """The rows that come of a statement, which is committed."""
        where = f"host={self.folder / 'sockets'} port={self.port} user={user} dbname={database}"
        with psycopg.connect(where, autocommit=True, connect_timeout=10) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def freeze(self) -> None:
        """Stop it, and all of its processes, where they are: nobody answers, nothing is closed."""
        # First the one that makes new ones.
        self.signal(signal.SIGSTOP)
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let what was frozen go on."""
        self._signal_all(signal.SIGCONT)

    async def stop(self) -> None:
        """A fast shutdown, which ends the sessions that there are: for cleanup."""
        if self.exit_code is None:
            self.thaw()
            # TERM would wait until the last client has gone.
            self.signal(signal.SIGINT)
            with contextlib.suppress(AssertionError):
                await self.ended()
        self.kill()

    async def crash(self) -> None:
        """End it at once, as a loss of power does, and wait until nothing of it is left."""
        pids = family(self.pid)
        self.kill()
        await until(lambda: not any(map(_runs, pids)), "the end of the server's processes")

    def kill(self) -> None:
        # Its processes are sessions of their own.
        pids = family(self.pid) if self.exit_code is None else set()
        super().kill()
        for pid in pids - {self.pid}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _signal_all(self, number: signal.Signals) -> None:
        for pid in family(self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text("utf-8", "backslashreplace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    # One that nobody has waited for holds nothing any more.
    return state.rpartition(")")[2].split()[0] != "Z"
