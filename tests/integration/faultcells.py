"""Plays cells of the fault matrix: sockets, reactor and gateway are real, only its time is not.

A backend that falls silent moves the gateway's clock beyond the timeout, so no cell takes time.
"""

import socket
from typing import Any

from attrs import frozen
from twisted.internet import reactor, ssl
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread

from smtpforward.config import load
from smtpforward.gateway import Gateway
from smtpforward.net.reactor import WriteThroughReactor
from tests.integration.faultmatrix import (
    OFFERED,
    SECURED,
    Cell,
    How,
    Means,
    Point,
    committed,
    script,
)
from tests.integration.forwarding import FIRST, NEXT
from tests.integration.tlsservers import CA, CERTIFICATES
from tests.peers.backend import ScriptedBackend
from tests.peers.case import PeerTestCase
from tests.peers.conversation import Message
from tests.peers.gateway import ME, three_files, write_config
from tests.peers.ports import free_port
from tests.peers.raw import Answer, RawClient
from tests.peers.script import Action, Held, Step
from tests.peers.wait import until

TIMEOUT = 100.0
KEYS = {"reply_timeout": TIMEOUT, "dot_timeout": TIMEOUT, "forward_timeout": 240}
LOGIN = {"auth_type": "plain", "auth_user": "user", "auth_pass": "secret"}
# More than both ends of a connection hold on its way, where the backend's is narrow.
LONG = b"Subject: long\r\n\r\n" + b"0123456789abcdef\r\n" * 400_000 + b".\r\n"
BEFORE, TESTED, AFTERWARDS = "before@example.com", "rcpt@example.com", "next@example.com"
OTHERS = ("second@example.com", "third@example.com")


@frozen
class Found:
    """What came of a cell.

    :ivar answer: code and enhanced code that the sender heard.
    :ivar dots: how often the backend got the message to its dot.
    :ivar kept: how often it keeps it.
    """

    answer: str
    dots: int
    kept: int


class CellCase(PeerTestCase):
    """Plays cells."""

    async def play(self, cell: Cell) -> Found:
        """One cell; what comes after it, the next message, is asserted here."""
        play = Play(self, cell)
        try:
            return await play.run()
        finally:
            await play.end()


class Play:
    """One cell: a backend, a gateway and a client of its own."""

    def __init__(self, case: PeerTestCase, cell: Cell) -> None:
        self.cell = cell
        self.clock = Clock()
        self.case = case
        self.pause = Held(b"")
        means = Means(self._silence, self._no_greeting, self.pause, _contexts())
        self._script = lambda number: script(cell, number, means)
        self._plugs: list[socket.socket] = []
        self.backend: ScriptedBackend | None = None
        port = self._no_backend() if cell.point is Point.CONNECT else self._listen()
        self.gateway = self._forward(port)
        self.client: RawClient | None = None

    # -- the parts

    def _listen(self, port: int = 0) -> int:
        self.backend = ScriptedBackend(self._script, port)
        if self.cell.point is Point.MESSAGE:
            self.backend.narrow()
        return self.backend.port

    def _no_backend(self) -> int:
        """A port that refuses, or answers no SYN."""
        if self.cell.how is How.RESET:
            return free_port()
        plug = socket.create_server(("127.0.0.1", 0), backlog=0)
        self._plugs.append(plug)
        for _ in range(4):
            one = socket.socket()
            self._plugs.append(one)
            one.setblocking(False)
            one.connect_ex(plug.getsockname())
        port: int = plug.getsockname()[1]
        return port

    def _forward(self, port: int) -> Gateway:
        cell, folder, keys = self.cell, self.case.folder(), dict[str, object](KEYS)
        if cell.point is Point.CONNECT:
            keys["connect_timeout"] = 0.5  # the reactor's own time
        files = {"me": f"{ME}\n"}
        if cell.point in OFFERED:
            keys["enable_tls"] = "true"
        if cell.point in SECURED:
            keys.update(LOGIN, enable_tls="required")
            CA.cert_pem.write_to_path(str(folder / "roots.pem"))
            files["tls.ini"] = f"[outbound]\nca={folder}/roots.pem\n"
        if cell.point is Point.MESSAGE:
            files["connection.ini"] = f"spool_after=0\nspool_dir={folder}\n"
        config = write_config(folder, {**three_files(0, port, **keys), **files})
        gateway = Gateway(load(config), WriteThroughReactor(reactor), clock=self.clock)
        gateway.privilegedStartService()
        gateway.startService()
        return gateway

    # -- time

    def _silence(self, conversation: object, command: bytes) -> Step:
        """The gateway waits for a reply that does not come."""
        reactor.callLater(0, self.clock.advance, TIMEOUT + 1)
        return Action.SILENCE

    def _no_greeting(self, conversation: object, command: bytes) -> Step:
        """It may not even know yet that it is connected."""

        async def wait() -> None:
            due = self.clock.seconds() + TIMEOUT
            await until(lambda: due in [c.getTime() for c in self.clock.calls], "its patience")
            self.clock.advance(TIMEOUT + 1)

        Deferred.fromCoroutine(wait())
        return Action.SILENCE

    # -- what happens

    async def run(self) -> Found:
        port: int = self.gateway.ports()[0].getHost().port
        self.client = client = await deferToThread(RawClient, port, 30.0)
        await deferToThread(client.hello)
        if self.cell.begun_before:
            assert _said(await self._send(FIRST, BEFORE)) == "250 2.0.0"
        if self.cell.point is Point.IDLE and self.cell.how is not How.SILENCE:
            await self._fail_while_idle()
        rcpts = (TESTED, *OTHERS)[: self.cell.recipients]
        answer = await self._send(LONG if self.cell.point is Point.MESSAGE else FIRST, *rcpts)
        await self._assert_next()
        taken = self._taken(TESTED)
        for message in taken:
            assert message.rcpts == _commands(*rcpts), (self.cell, message.rcpts)
        kept = len(taken) if committed(self.cell) else 0
        return Found(_said(answer), len(taken), kept)

    async def _send(self, wire: bytes, *rcpts: str) -> Answer:
        assert self.client is not None, "it is there by now"
        return await deferToThread(self.client.transaction, [wire], *rcpts)

    async def _fail_while_idle(self) -> None:
        await until(lambda: self.pause.waiting, "idleness")
        self.pause.release()
        await until(lambda: not self._idle(), "the end of the idle connection")

    def _idle(self) -> int:
        return sum(pool.counts()["idle"] for pool in self.gateway.target.pools)

    async def _assert_next(self) -> None:
        """The next message reaches its own recipients, once, and nobody else's has."""
        for plug in self._plugs:
            plug.close()
        if self.backend is None:
            self._listen(self.gateway.settings.routes.default.next_hop.servers[0].port)
        answer = await self._send(NEXT, AFTERWARDS, "other@example.com")
        assert _said(answer) == "250 2.0.0", (self.cell, answer)
        [message] = self._taken(AFTERWARDS)
        assert message.rcpts == _commands(AFTERWARDS, "other@example.com"), self.cell
        assert message.wire.endswith(NEXT[: -len(b".\r\n")]), self.cell

    def _taken(self, recipient: str) -> list[Message]:
        assert self.backend is not None, "it listens by now"
        return [m for m in self.backend.messages if _commands(recipient)[0] in m.rcpts]

    async def end(self) -> None:
        """Stop all three."""
        if self.client is not None:
            self.client.close()
        stopping = self.gateway.stopService()
        # What waits for its reply for ever is closed by the clock.
        while not stopping.called:
            await deferLater(reactor, 0)
            self.clock.advance(1)
        await stopping
        for plug in self._plugs:
            plug.close()
        if self.backend is not None:
            await self.backend.stop()


def _said(answer: Answer) -> str:
    return f"{answer.code} {answer.text.split()[0]}"


def _commands(*recipients: str) -> tuple[bytes, ...]:
    return tuple(f"RCPT TO:<{recipient}>".encode() for recipient in recipients)


def _contexts() -> Any:
    pair = CERTIFICATES["right"].private_key_and_cert_chain_pem.bytes()
    return ssl.PrivateCertificate.loadPEM(pair).options()
