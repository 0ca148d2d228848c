"""Domains whose MX hosts are a sink, nobody, and one that never says a word, all on loopback."""

import contextlib
import socket
from collections.abc import Iterable

from benchmarks.common.bench import Bench
from tests.peers.dns import NameServer
from tests.peers.sink import SmtpSink

LIVE, REFUSED, SILENT = "live.test", "refused.test", "silent.test"
SILENT_IP = "127.0.0.3"
IPS = {LIVE: "127.0.0.1", REFUSED: "127.0.0.2", SILENT: SILENT_IP}


class Places:
    """A name server, and what it leads to: one port, of three addresses.

    Of ``SILENT`` the kernel takes a connection or two, which nobody ever accepts; then it
    swallows what would open another one.
    """

    def __init__(self, bench: Bench, sink: SmtpSink) -> None:
        self.sink = sink
        self.names = NameServer()
        bench.later(self.names.stop)
        for domain in IPS:
            self.add(domain, domain)
        self._deaf = socket.socket()
        self._deaf.bind((SILENT_IP, sink.port))
        self._deaf.listen(0)
        bench.later(self._close)

    async def _close(self) -> None:
        with contextlib.suppress(OSError):
            self._deaf.close()

    def add(self, domain: str, like: str) -> None:
        """One more domain, with an MX host of its own where that of ``like`` is."""
        host = f"mx.{domain}"
        self.names.mx(domain, (10, host))
        self.names.address(host, IPS[like])

    def add_all(self, domains: Iterable[str], like: str) -> None:
        """The same for several."""
        for domain in domains:
            self.add(domain, like)

    def settings(self) -> dict[str, object]:
        """What ``outbound.ini`` says of them."""
        nameserver = f"127.0.0.1:{self.names.port}"
        return {"mx_port": self.sink.port, "local_mx_ok": "true", "nameservers": nameserver}


async def places(bench: Bench) -> Places:
    """Those of one measurement."""
    return Places(bench, await bench.keep(SmtpSink(bench.folder())).ready())
