"""A client that says exactly what it is told, cut into segments as it is told.

It blocks: a test runs it in a thread.
"""

import random
import socket
import struct
from collections.abc import Iterable, Iterator
from types import TracebackType

from attrs import frozen


@frozen
class Answer:
    """One complete reply: its code, and its text without codes, lines joined by LF."""

    code: int
    text: str


class RawClient:
    """A connection to a port of 127.0.0.1. Each write is sent at once (TCP_NODELAY).

    :param source: the address, of 127.0.0.0/8, from which it comes.
    :raises OSError: from all methods: refused, reset, or silent for ``timeout`` seconds.
    """

    def __init__(self, port: int, timeout: float = 60.0, source: str = "127.0.0.1") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout, (source, 0))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> "RawClient":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def send(self, *segments: bytes) -> None:
        """Send each segment in a write of its own."""
        for segment in segments:
            self._socket.sendall(segment)

    def answer(self) -> Answer:
        """The next reply.

        :raises EOFError: when the connection is closed in place of it.
        """
        lines: list[str] = []
        while True:
            line = self._file.readline()
            if not line.endswith(b"\n"):
                raise EOFError(f"closed after {lines}, {line!r}")
            lines.append(line[4:].decode("utf-8", "backslashreplace").rstrip("\r\n"))
            if line[3:4] != b"-":
                return Answer(int(line[:3]), "\n".join(lines))

    def ask(self, command: str) -> Answer:
        """Send one command; the reply."""
        self.send(command.encode() + b"\r\n")
        return self.answer()

    def hello(self) -> Answer:
        """Wait for the greeting, say EHLO; its reply."""
        self.answer()
        return self.ask("EHLO client.example.org")

    def transaction(
        self, segments: Iterable[bytes], *rcpts: str, sender: str = "sender@example.org"
    ) -> Answer:
        """One message whose wire form, the dot line included, is ``segments``; the last reply.

        A refusal before the message is the last reply as well.
        """
        commands = [f"MAIL FROM:<{sender}>"]
        commands += [f"RCPT TO:<{rcpt}>" for rcpt in rcpts or ("rcpt@example.com",)]
        for command in (*commands, "DATA"):
            answer = self.ask(command)
            if answer.code >= 400:
                return answer
        self.send(*segments)
        return self.answer()

    def end(self) -> None:
        """Send no more; what comes can still be read."""
        self._socket.shutdown(socket.SHUT_WR)

    def at_end(self) -> bool:
        """Whether the other side closes without a further byte."""
        return self._file.read(1) == b""

    def reset(self) -> None:
        """End it with RST in place of FIN."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        self._file.close()
        self._socket.close()


def bytewise(data: bytes) -> Iterator[bytes]:
    """``data`` byte by byte."""
    return (data[at : at + 1] for at in range(len(data)))


def in_chunks(data: bytes, source: random.Random, longest: int = 9000) -> Iterator[bytes]:
    """``data`` in pieces of random length."""
    at = 0
    while at < len(data):
        size = source.randint(1, longest)
        yield data[at : at + size]
        at += size
