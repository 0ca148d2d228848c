"""A sink that has STARTTLS, which smtp-sink lacks: ``python -m benchmarks.common.starttlssink``.

It takes every message, counts it, and keeps nothing. The count is in the file that it is given, in
decimal. It offers what smtp-sink does, and STARTTLS. It ends when its parent has.
"""

import argparse
import os
import socket
import ssl

from benchmarks.common.talk import Loop, Talk, Wire

END = b"\r\n.\r\n"
BACKLOG = 1024
LOOK_EVERY = 1.0
OFFERS = b"250-sink.example.com\r\n250-PIPELINING\r\n250-8BITMIME\r\n%b250 SIZE 52428800\r\n"


class Sink:
    """One listener and its sessions.

    :param path: of the file with the count. ``context``: without one there is no STARTTLS.
    """

    def __init__(self, port: int, path: str, context: ssl.SSLContext | None) -> None:
        self._listener = socket.create_server(("127.0.0.1", port), backlog=BACKLOG)
        self._listener.setblocking(False)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        self._context = context
        self._count = 0
        self._loop = Loop()

    def run(self) -> None:
        """Until the parent has gone."""
        parent, counted = os.getppid(), -1
        self._loop.listen(self._listener, self._session)
        while os.getppid() == parent:
            if counted != self._count:
                counted = self._count
                os.pwrite(self._file, b"%12d" % counted, 0)
            self._loop.turn(LOOK_EVERY)

    def _session(self, wire: Wire) -> Talk:
        try:
            wire.send(b"220 sink.example.com ESMTP\r\n")
            yield from self._commands(wire)
        except (EOFError, OSError):
            pass
        wire.close()

    def _commands(self, wire: Wire) -> Talk:
        secured = self._context is None
        while True:
            command = (yield from wire.line())[:4].upper()
            if command in (b"EHLO", b"HELO"):
                wire.send(OFFERS % (b"" if secured else b"250-STARTTLS\r\n"))
            elif command == b"STAR" and self._context is not None and not secured:
                wire.send(b"220 2.0.0 go ahead\r\n")
                yield from wire.secure(self._context, server_side=True)
                secured = True
            elif command == b"DATA":
                wire.send(b"354 go ahead\r\n")
                yield from skip_message(wire)
                self._count += 1
                wire.send(b"250 2.0.0 taken\r\n")
            elif command == b"QUIT":
                return wire.send(b"221 2.0.0 bye\r\n")
            else:
                wire.send(b"250 2.1.0 ok\r\n")


def skip_message(wire: Wire) -> Talk:
    """Read to the end of a message, and leave what follows it in the buffer."""
    # The end may be at the very beginning, after the line end of DATA.
    seen = b"\r\n" + wire.buffer
    while (end := seen.find(END)) < 0:
        wire.buffer = b""
        yield from wire.more()
        seen = seen[-4:] + wire.buffer
    wire.buffer = seen[end + len(END) :]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", required=True, help="the file with the count")
    parser.add_argument("--certificate", help="PEM file of a key and its chain")
    asked = parser.parse_args()
    context = None
    if asked.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(asked.certificate)
    Sink(asked.port, asked.count, context).run()


if __name__ == "__main__":
    main()
