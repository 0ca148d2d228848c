"""The gateway itself, as ``twistd`` starts it, with a configuration directory of its own."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.peers.ports import free_port
from tests.peers.process import Process

TREE = Path(__file__).resolve().parents[2]
ME = "gateway.example.com"

Files = dict[str, str]


def twistd_command() -> list[str]:
    """How this interpreter runs ``twistd``."""
    beside = Path(sys.executable).with_name("twistd")
    if beside.exists():
        return [sys.executable, str(beside)]
    return [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]


def environment() -> dict[str, str]:
    """What makes ``twistd`` find the plugin of this tree, wherever it is started."""
    path = [str(TREE), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(path), "PYTHONUNBUFFERED": "1"}


def three_files(port: int, backend: int, **keys: object) -> Files:
    """The smallest useful directory: who listens, where mail goes, who may relay.

    :param keys: more keys of ``smtp_forward.ini``, top level.
    """
    forward = {"host": "127.0.0.1", "port": backend, "enable_tls": "false", **keys}
    return {
        "smtp.ini": f"listen=127.0.0.1:{port}\n",
        "smtp_forward.ini": "".join(f"{key}={value}\n" for key, value in forward.items()),
        "relay_acl_allow": "127.0.0.0/8\n",
    }


def write_config(folder: Path, files: Mapping[str, str]) -> Path:
    """The directory ``config`` in ``folder``, holding ``files``."""
    config = folder / "config"
    config.mkdir()
    for name, text in files.items():
        path = config / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    return config


class Gateway(Process):
    """A running gateway.

    :param command: what runs ``twistd``, where it is not :func:`twistd_command`.
    :ivar port: of 127.0.0.1, where it takes mail.
    """

    def __init__(
        self,
        folder: Path,
        files: Mapping[str, str],
        port: int,
        *more: str,
        command: Sequence[str] = (),
    ) -> None:
        self.port = port
        config = write_config(folder, files)
        arguments = ["-n", "--pidfile=", "smtpforward", "--config", str(config), *more]
        super().__init__(
            [*(command or twistd_command()), *arguments], folder, environment(), "gateway"
        )

    @classmethod
    def forwarding_to(
        cls, folder: Path, backend: int, files: Mapping[str, str] | None = None, **keys: object
    ) -> "Gateway":
        """One with the directory of :func:`three_files` and a name.

        :param backend: port of the one backend.
        :param files: more files, or others in place of these.
        """
        port = free_port()
        directory = {**three_files(port, backend, **keys), "me": f"{ME}\n", **(files or {})}
        return cls(folder, directory, port)

    async def ready(self) -> "Gateway":
        """Itself, once it listens."""
        await self.until_listening(self.port)
        return self
