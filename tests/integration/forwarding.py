"""The gateway in the test's own process, between a raw client and a scripted backend.

Sockets and reactor are real. A backend can be told to misbehave at one occurrence of a command and
to be good before and after it, so that a test sees what the next message gets.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.threads import deferToThread
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher

from smtpforward.config import load
from smtpforward.gateway import Gateway
from smtpforward.net.reactor import WriteThroughReactor
from tests.peers.backend import ScriptedBackend
from tests.peers.case import PeerTestCase
from tests.peers.gateway import ME, three_files, write_config
from tests.peers.raw import Answer, RawClient
from tests.peers.script import Script, Step
from tests.peers.wait import until

GREETING = ""  # in place of a verb
PIPELINING = ("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES")
NOTHING = ()
EXTENSIONS: tuple[tuple[str, ...], ...] = (PIPELINING, NOTHING)
OWN = re.compile(r"(\d{3} \d\.\d\.\d) \S.* \[([0-9A-F]+)\]")
STAGES = ("MAIL", "RCPT", "DATA", ".")
FIRST, NEXT = (b"Subject: %b\r\n\r\n..dot\r\nlast\r\n.\r\n" % name for name in (b"first", b"next"))
LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 1_000_000 + b".\r\n"


def at(occurrence: int, step: Step, good: Step) -> Step:
    """``step`` when it is asked for the ``occurrence``-th time, from 1; else ``good``."""
    asked = 0

    def choose(conversation: object, command: bytes) -> Step:
        nonlocal asked
        asked += 1
        return step if asked == occurrence else good

    return choose


def faulty(
    steps: Mapping[str, Step], extensions: tuple[str, ...] = PIPELINING, occurrence: int = 1
) -> Script:
    """A good backend but for ``steps``, by verb: each is played once, on whatever connection."""
    good = Script(extensions=extensions)
    replies = {verb: at(occurrence, step, good.step(verb)) for verb, step in steps.items()}
    greeting = (
        at(occurrence, steps[GREETING], good.greeting) if GREETING in steps else good.greeting
    )
    return Script(greeting, extensions, replies)


def reply(code: int, text: str) -> bytes:
    """A reply of one line."""
    return f"{code} {text}\r\n".encode()


def rows(steps: Iterable[tuple[str, Step]]) -> Iterable[tuple[str, Script, object]]:
    """Each step with and without PIPELINING: verb, script, the row's name."""
    for verb, step in steps:
        for extensions in EXTENSIONS:
            yield verb, faulty({verb: step}, extensions), (verb, step, extensions)


class ForwardingCase(PeerTestCase):
    """Starts gateways in this process, and knows what they have logged."""

    def setUp(self) -> None:
        self.events: list[LogEvent] = []
        observer = cast(ILogObserver, self.events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def forward(
        self, backend: int, files: Mapping[str, str] | None = None, **keys: object
    ) -> Gateway:
        """A gateway that listens: :func:`three_files`, ``me``, and ``files`` beside or over them.

        :param backend: port of the one backend.
        :param keys: more keys of ``smtp_forward.ini``, top level.
        """
        directory = {**three_files(0, backend, **keys), "me": f"{ME}\n", **(files or {})}
        config = write_config(self.folder(), directory)
        gateway = Gateway(load(config), self.reactor())
        gateway.privilegedStartService()
        gateway.startService()
        self.addCleanup(gateway.stopService)
        return gateway

    def reactor(self) -> Any:
        """What gateways run on."""
        return WriteThroughReactor(reactor)

    async def client(self, gateway: Gateway) -> RawClient:
        """A client that has said EHLO."""
        port: int = gateway.ports()[0].getHost().port
        client = await deferToThread(RawClient, port, 20.0)
        self.addCleanup(client.close)
        await deferToThread(client.hello)
        return client

    # -- what is said

    async def ask(self, client: RawClient, command: str) -> Answer:
        """The reply to one command."""
        return await deferToThread(client.ask, command)

    async def send(self, client: RawClient, *rcpts: str, wire: bytes = FIRST) -> Answer:
        """The last reply to one message."""
        return await deferToThread(client.transaction, [wire], *rcpts)

    async def send_behind(self, client: RawClient, wire: bytes = FIRST) -> Callable[[], Any]:
        """Send a message and do not wait for its answer; what does so."""
        for command in ("MAIL FROM:<sender@example.org>", "RCPT TO:<rcpt@example.com>", "DATA"):
            await self.ask(client, command)
        sending = ensureDeferred(deferToThread(client.send, wire))
        # A client that is gone while it sends is what some tests want.
        sending.addErrback(lambda failure: failure.trap(OSError))
        return lambda: deferToThread(client.answer)

    # -- what must hold

    def assert_own(self, answer: Answer, expected: str, row: object = None) -> None:
        """An answer in the gateway's own words: code, enhanced code, id, its line in the log."""
        said = f"{answer.code} {answer.text}"
        match = OWN.fullmatch(said)
        assert match is not None, (row, said)
        self.assertEqual(expected, match[1], (row, said))
        lines = [line for line in self.log_lines() if line.startswith(f"id={match[2]} client=")]
        self.assertEqual(1, len(lines), (row, said, self.log_lines()))
        self.assertIn(f"({said})", lines[0], row)
        self.assertIn(f" dsn={expected[4:]} ", lines[0], row)

    def assert_said(self, answer: Answer, expected: str, row: object = None) -> None:
        """Exactly this answer: code, enhanced code and text."""
        self.assertEqual(expected, f"{answer.code} {answer.text}", row)

    async def assert_next(
        self, client: RawClient, backend: ScriptedBackend, row: object = None
    ) -> None:
        """The next message of the session reaches its own recipients once, and nothing else."""
        before = len(backend.messages)
        answer = await self.send(client, "next@example.com", "other@example.com", wire=NEXT)
        self.assert_said(answer, "250 2.0.0 Ok: taken", row)
        [message] = backend.messages[before:]
        expected = (b"RCPT TO:<next@example.com>", b"RCPT TO:<other@example.com>")
        self.assertEqual(expected, message.rcpts, row)
        self.assertEqual(NEXT, message.wire[message.wire.find(b"Subject") :] + b".\r\n", row)

    # -- what was logged

    def log_lines(self) -> list[str]:
        """The gateway's own, without tracebacks."""
        return [formatEvent(event) for event in self._own() if "log_failure" not in event]

    def log_errors(self) -> list[str]:
        """Those that ask for someone to look."""
        return [formatEvent(e) for e in self._own() if e["log_level"] >= LogLevel.error]

    def _own(self) -> Iterable[LogEvent]:
        return (e for e in self.events if e.get("log_namespace", "").startswith("smtpforward."))


class TableCase(ForwardingCase):
    """Plays rows of the table: one message that meets a fault, and the next one."""

    async def play(
        self, script: Script, **keys: object
    ) -> tuple[Answer, RawClient, ScriptedBackend]:
        """Send one message: the answer, the client and the backend."""
        backend = self.backend(script)
        client = await self.client(self.forward(backend.port, None, **keys))
        return await self.send(client), client, backend

    async def travels(self, script: Script, expected: str, row: object) -> ScriptedBackend:
        """The answer is the backend's, and the next message gets through."""
        answer, client, backend = await self.play(script)
        self.assert_said(answer, expected, row)
        await self.assert_next(client, backend, row)
        return backend

    async def is_ours(
        self, script: Script, expected: str, row: object, **keys: object
    ) -> ScriptedBackend:
        """The answer is the gateway's own, and the next message gets through."""
        answer, client, backend = await self.play(script, **keys)
        self.assert_own(answer, expected, row)
        await self.assert_next(client, backend, row)
        return backend

    async def is_ours_and_ends(
        self, script: Script, expected: str, row: object, **keys: object
    ) -> None:
        """As ``is_ours``, and the connection is never used again."""
        backend = await self.is_ours(script, expected, row, **keys)
        await until(lambda: backend.conversations[0].ended, f"{row}: the end of the connection")
        self.assertEqual(2, backend.connections.total, row)
