"""A client that measures: how long each mail took. Run as ``python -m benchmarks.common.client``.

It does what smtp-source does, which has no TLS and tells no times: sessions side by side, one
command at a time, no pipelining. Its last line is JSON: see :class:`Told`. Failure policy: the
first answer that is none of 2xx and 3xx, or a connection that ends, ends it; what it was is told.
"""

import argparse
import json
import signal
import socket
import ssl
import threading
from collections.abc import Generator
from time import monotonic

from attrs import Factory, asdict, define

from benchmarks.common.talk import Loop, Talk, Wire

LINE = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n"
HEADER = (
    b"From: sender@example.org\r\nTo: rcpt@example.com\r\nSubject: measured\r\n"
    b"Date: Mon, 1 Jun 2026 00:00:00 +0000\r\nMessage-ID: <1@client.example.org>\r\n\r\n"
)


@define
class Told:
    """What it has seen.

    :ivar seconds: from the first connection to the last answer. ``latencies``: of each mail, in
        seconds: a session, where each mail has one of its own, or a transaction.
    :ivar fault: what went wrong, or nothing.
    """

    seconds: float = 0.0
    latencies: list[float] = Factory(list)
    fault: str = ""


class RefusedError(Exception):
    """An answer that is neither 2xx nor 3xx."""


class Client:
    """Sessions that share the mails between them.

    :param options: see :func:`options`.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._left = options.messages
        self._body = HEADER + LINE * max(1, (options.size - len(HEADER)) // len(LINE))
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        self.told = Told()

    def run(self) -> None:
        """All of it."""
        loop, began = Loop(), monotonic()
        try:
            self._all(loop)
        except (RefusedError, EOFError, OSError) as error:
            self.told.fault = f"{type(error).__name__}: {error}"
        self.told.seconds = monotonic() - began

    def _all(self, loop: Loop) -> None:
        while self._left or len(loop):
            while self._left and len(loop) < self._options.sessions:
                self._start(loop)
            loop.turn()

    def _start(self, loop: Loop) -> None:
        wire = Wire(socket.create_connection(("127.0.0.1", self._options.port)))
        self._left -= 1
        loop.start(wire, self._session(wire))

    def _session(self, wire: Wire) -> Talk:
        began = monotonic()
        yield from _answered(wire)
        yield from self._hello(wire)
        while True:
            yield from self._mail(wire)
            if not self._options.reuse:
                yield from _ask(wire, b"QUIT\r\n")
            self.told.latencies.append(monotonic() - began)
            if not (self._options.reuse and self._left):
                break
            self._left -= 1
            began = monotonic()
        if self._options.reuse:
            yield from _ask(wire, b"QUIT\r\n")
        wire.close()

    def _hello(self, wire: Wire) -> Talk:
        yield from _ask(wire, b"EHLO client.example.org\r\n")
        if self._options.starttls:
            yield from _ask(wire, b"STARTTLS\r\n")
            yield from wire.secure(self._context, server_side=False)
            yield from _ask(wire, b"EHLO client.example.org\r\n")

    def _mail(self, wire: Wire) -> Talk:
        yield from _ask(wire, b"MAIL FROM:<sender@example.org>\r\n")
        yield from _ask(wire, b"RCPT TO:<rcpt@example.com>\r\n")
        yield from _ask(wire, b"DATA\r\n")
        yield from _ask(wire, self._body + b".\r\n")


def probe(options: argparse.Namespace) -> Told:
    """Mails one after the other, with pauses, until SIGTERM; one at least."""
    told, began, ended = Told(), monotonic(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    print("ready", flush=True)
    while not told.latencies or not ended.is_set():
        client = Client(options)
        client.run()
        told.latencies += client.told.latencies
        told.fault = client.told.fault
        if told.fault:
            break
        ended.wait(options.every)
    told.seconds = monotonic() - began
    return told


def _ask(wire: Wire, command: bytes) -> Generator[None, None, bytes]:
    wire.send(command)
    return (yield from _answered(wire))


def _answered(wire: Wire) -> Generator[None, None, bytes]:
    reply = yield from wire.reply()
    if reply[:1] not in (b"2", b"3"):
        raise RefusedError(reply.decode("utf-8", "backslashreplace").strip())
    return reply


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="of 127.0.0.1")
    parser.add_argument("--sessions", type=int, default=1)
    parser.add_argument("--messages", type=int, default=1)
    parser.add_argument("--size", type=int, default=4096, help="bytes of a message")
    parser.add_argument("--reuse", action="store_true", help="many mails a session")
    parser.add_argument("--starttls", action="store_true")
    parser.add_argument("--every", type=float, help="seconds between mails, until SIGTERM")
    return parser.parse_args()


if __name__ == "__main__":
    asked = options()
    if asked.every is None:
        client = Client(asked)
        client.run()
        told = client.told
    else:
        told = probe(asked)
    print(json.dumps(asdict(told)))
