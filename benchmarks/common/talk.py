"""SMTP by hand on many sockets at once, for a client and a sink that cost as little as Python can.

A session is a generator: it yields when it must wait for more to read. TLS is OpenSSL's own, on the
socket itself. Failure policy: a session that ends early raises ``EOFError`` inside its generator.
"""

import select
import socket
import ssl
from collections.abc import Callable, Generator

CHUNK = 262_144
Talk = Generator[None, None, None]


class Wire:
    """One socket, with or without TLS; ``buffer`` is what was read and not yet used."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        self.sock = sock
        self.buffer = b""

    def read(self) -> None:
        """Take what there is; ``EOFError`` when it is over.

        :raise BlockingIOError: when there is nothing.
        """
        try:
            data = self.sock.recv(CHUNK)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None
        if not data:
            raise EOFError
        self.buffer += data

    def more(self) -> Talk:
        """Wait until there is more in the buffer."""
        while True:
            # Each in turn: to try at once would be to go on with one for as long as it is quick.
            if not (isinstance(self.sock, ssl.SSLSocket) and self.sock.pending()):
                yield
            try:
                return self.read()
            except BlockingIOError:
                continue

    def send(self, data: bytes) -> None:
        """All of it; waits where the other side is slow to read."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self.sock.send(rest) :]
            except (ssl.SSLWantWriteError, BlockingIOError):
                select.select([], [self.sock], [])
            except ssl.SSLWantReadError:
                select.select([self.sock], [], [])

    def secure(self, context: ssl.SSLContext, server_side: bool) -> Talk:
        """The handshake."""
        # What it is called on is detached, and the number of the file stays.
        secured = context.wrap_socket(
            self.sock, server_side=server_side, do_handshake_on_connect=False
        )
        self.sock, self.buffer = secured, b""
        while True:
            try:
                return secured.do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                yield

    def reply(self) -> Generator[None, None, bytes]:
        """The next reply, all its lines."""
        start = 0
        while True:
            end = self.buffer.find(b"\r\n", start)
            if end < 0:
                yield from self.more()
            elif self.buffer[start + 3 : start + 4] == b"-":
                start = end + 2
            else:
                reply, self.buffer = self.buffer[: end + 2], self.buffer[end + 2 :]
                return reply

    def line(self) -> Generator[None, None, bytes]:
        """The next line, without its end."""
        while (end := self.buffer.find(b"\r\n")) < 0:
            yield from self.more()
        line, self.buffer = self.buffer[:end], self.buffer[end + 2 :]
        return line

    def close(self) -> None:
        """At once."""
        self.sock.close()


class Loop:
    """Runs talks until all have ended."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._talks: dict[int, Talk] = {}
        self._listener: socket.socket | None = None

    def start(self, wire: Wire, talk: Talk) -> None:
        """One more; its socket is closed when it has ended."""
        number = wire.sock.fileno()
        self._epoll.register(number, select.EPOLLIN)
        self._talks[number] = talk
        self._step(number)

    def listen(self, listener: socket.socket, session: Callable[[Wire], Talk]) -> None:
        """Start a talk for each connection that comes."""
        self._listener, self._session = listener, session
        self._epoll.register(listener.fileno(), select.EPOLLIN)

    def __len__(self) -> int:
        return len(self._talks)

    def turn(self, timeout: float = -1) -> None:
        """Go on with those that have something to read."""
        for number, _ in self._epoll.poll(timeout):
            if self._listener is not None and number == self._listener.fileno():
                self._accept(self._listener)
            else:
                self._step(number)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                wire = Wire(listener.accept()[0])
            except BlockingIOError:
                return
            self.start(wire, self._session(wire))

    def _step(self, number: int) -> None:
        # One event may end a talk whose number is taken by the next one before this turn is over.
        talk = self._talks.get(number)
        if talk is None:
            return
        try:
            next(talk)
        except StopIteration:
            del self._talks[number]
