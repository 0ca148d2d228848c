"""The base of tests that start peers: each is stopped when the test ends, its folder removed."""

import os
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from tests.peers.backend import ScriptedBackend
from tests.peers.dns import NameServer
from tests.peers.dnsmasq import Dnsmasq
from tests.peers.exim import Exim
from tests.peers.gateway import Gateway
from tests.peers.postfix import Postfix
from tests.peers.postgresql import PostgreSQL
from tests.peers.relay import CountingRelay
from tests.peers.script import Script
from tests.peers.sink import SmtpSink


class PeerTestCase(TestCase):
    """Starts peers. ``timeout``: seconds for one test, its cleanup included."""

    timeout = 120

    def folder(self) -> Path:
        """A new one that every user may enter; removed at the end of the test.

        Its path is short, as those of UNIX sockets must be.
        """
        path = Path(tempfile.mkdtemp(prefix="smtpforward-"))
        path.chmod(0o755)
        self.addCleanup(shutil.rmtree, path, ignore_errors=True)
        return path

    async def gateway(
        self, backend: int, files: Mapping[str, str] | None = None, **keys: object
    ) -> Gateway:
        """A running one: see :meth:`Gateway.forwarding_to`."""
        gateway = Gateway.forwarding_to(self.folder(), backend, files, **keys)
        self.stop_later(gateway.stop)
        return await gateway.ready()

    async def sink(self, *options: str, dump: bool = False) -> SmtpSink:
        """A running ``smtp-sink``."""
        sink = SmtpSink(self.folder(), *options, dump=dump)
        self.stop_later(sink.stop)
        return await sink.ready()

    async def postfix(self, *mailboxes: str, **settings: str) -> Postfix:
        """A running Postfix with ``mailboxes`` in example.com, and more of ``main.cf``."""
        postfix = Postfix(self.folder(), *mailboxes, settings=settings)
        self.stop_later(postfix.stop)
        return await postfix.ready()

    async def exim(
        self,
        *mailboxes: str,
        authenticators: str = "",
        next_hop: str = "",
        **settings: str,
    ) -> Exim:
        """A running Exim: see there; ``settings`` are more of its main ones."""
        exim = Exim(
            self.folder(),
            *mailboxes,
            settings=settings,
            authenticators=authenticators,
            next_hop=next_hop,
        )
        self.stop_later(exim.stop)
        return await exim.ready()

    def name_server(self, host: str = "127.0.0.1") -> NameServer:
        """A name server that knows nothing yet."""
        server = NameServer(host)
        self.stop_later(server.stop)
        return server

    async def dnsmasq(self, *options: str) -> Dnsmasq:
        """A running one: see there."""
        dnsmasq = Dnsmasq(self.folder(), *options)
        self.stop_later(dnsmasq.stop)
        return await dnsmasq.ready()

    async def postgresql(self, **settings: str) -> PostgreSQL:
        """A running PostgreSQL with more of ``postgresql.conf``, and an empty database."""
        server = PostgreSQL(self.folder(), settings)
        self.stop_later(server.stop)
        return await server.ready()

    def backend(self, script: Script | Callable[[int], Script] | None = None) -> ScriptedBackend:
        """A scripted backend."""
        backend = ScriptedBackend(script)
        self.stop_later(backend.stop)
        return backend

    def relay(self, target: int) -> CountingRelay:
        """A counting relay to ``target``."""
        relay = CountingRelay(target)
        self.stop_later(relay.stop)
        return relay

    def stop_later(self, stop: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``stop`` at the end of the test, before what was asked for earlier."""
        self.addCleanup(lambda: Deferred.fromCoroutine(stop()))


def full_size() -> bool:
    """Whether load tests run at full size: ``SMTPFORWARD_FULL=1``."""
    return os.environ.get("SMTPFORWARD_FULL") == "1"
