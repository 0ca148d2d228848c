"""Haraka with its ``queue/smtp_forward``, from npm: ``make bench-peers`` puts it where it is."""

import shutil
from pathlib import Path

from benchmarks.forward.systems import TLS, Setup
from tests.peers.ports import free_port
from tests.peers.process import Process
from tests.peers.require import UNPACKED, find

PACKAGE = UNPACKED / "haraka" / "node_modules" / "Haraka"
# It would ask a name server about each client.
NO_LOOKUP = """\
exports.hook_lookup_rdns = function (next, connection) {
    next(OK, 'client.example.org')
}
"""
# RFC 7919, ffdhe2048: without a file it would make others, for minutes, on one core.
PARAMETERS = """\
-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
"""


class Haraka(Process):
    """A running one.

    :param nodes: processes that share the port; 0 for one that does everything.
    """

    def __init__(self, setup: Setup, nodes: int) -> None:
        self.port = free_port()
        folder = setup.folder / "haraka"
        self._write(folder, setup, nodes)
        command = [find("node") or "", str(PACKAGE / "bin" / "haraka"), "-c", str(folder)]
        super().__init__(command, setup.folder, name="haraka")

    def _write(self, folder: Path, setup: Setup, nodes: int) -> None:
        """Its directory: the shipped one, with these files in place of its own."""
        shutil.copytree(PACKAGE / "config", folder / "config")
        modules = folder / "node_modules"
        modules.symlink_to(PACKAGE.parent)
        (folder / "plugins").mkdir()
        (folder / "plugins" / "no_lookup.js").write_text(NO_LOOKUP)
        tls = "tls\n" if setup.tls is TLS.SENDERS else ""
        forward_tls = str(setup.tls is TLS.BACKEND).lower()
        files = {
            "me": "haraka.example.com\n",
            "host_list": "example.com\n",
            "plugins": f"no_lookup\n{tls}rcpt_to.in_host_list\nqueue/smtp_forward\n",
            "smtp.ini": f"listen=127.0.0.1:{self.port}\nnodes={nodes}\npublic_ip=127.0.0.1\n",
            "smtp_forward.ini": f"host=127.0.0.1\nport={setup.sink.port}\n"
            f"enable_tls={forward_tls}\n",
            "tls.ini": f"key={setup.certificate}\ncert={setup.certificate}\ndhparam=dhparams.pem\n",
            "dhparams.pem": PARAMETERS,
        }
        for name, text in files.items():
            (folder / "config" / name).write_text(text)


def one(setup: Setup) -> Haraka:
    """One process."""
    return Haraka(setup, 0)


def two(setup: Setup) -> Haraka:
    """A parent and two of them, by Node's cluster."""
    return Haraka(setup, 2)


def missing() -> str:
    """What it lacks here."""
    if find("node") is None:
        return "node"
    return "" if PACKAGE.exists() else "Haraka (make bench-peers)"
