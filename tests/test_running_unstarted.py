"""What is said where an address is not to be had."""

import io
import os
import socket
import sys

from twisted.internet import reactor
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.running.unstarted import say_in_a_line, words

# TEST-NET-1 of RFC 5737: no machine has it.
NOBODYS = "192.0.2.1"


class WordsTests(SynchronousTestCase):
    """``words``, of what Twisted's ports really raise."""

    def tcp(self, port: int, interface: str) -> str:
        """What a port that cannot be had gives."""
        error = self.assertRaises(
            CannotListenError, reactor.listenTCP, port, Factory(), interface=interface
        )
        return words(error)

    def test_taken(self) -> None:
        """By another socket, whatever the interface."""
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        port = taken.getsockname()[1]
        why = "Address already in use; another program listens there"
        self.assertEqual(f"cannot listen on 127.0.0.1:{port}: {why}", self.tcp(port, "127.0.0.1"))
        self.assertEqual(f"cannot listen on *:{port}: {why}", self.tcp(port, ""))

    def test_no_such_address(self) -> None:
        """IPv4, and IPv6 in brackets."""
        why = "Cannot assign requested address; this machine has no such address"
        self.assertEqual(f"cannot listen on {NOBODYS}:2525: {why}", self.tcp(2525, NOBODYS))
        error = CannotListenError(
            "2001:db8::1", 2525, OSError(99, "Cannot assign requested address")
        )
        self.assertEqual(f"cannot listen on [2001:db8::1]:2525: {why}", words(error))

    def test_path(self) -> None:
        """One in no folder, and one whose lock is held."""
        path = os.path.join(self.mktemp(), "socket")
        error = self.assertRaises(CannotListenError, reactor.listenUNIX, path, Factory())
        self.assertEqual(f"cannot listen on {path}: No such file or directory", words(error))
        held = CannotListenError(None, b"/run/x", "Cannot acquire lock")
        self.assertEqual(
            "cannot listen on /run/x: Cannot acquire lock; another program listens there",
            words(held),
        )
        barred = CannotListenError(None, b"/run/x", PermissionError(13, "Permission denied"))
        self.assertEqual("cannot listen on /run/x: Permission denied", words(barred))


class LineTests(SynchronousTestCase):
    """``say_in_a_line``."""

    def said(self, error: Exception) -> str:
        """On standard error, when ``error`` ends the process."""
        self.patch(sys, "excepthook", sys.excepthook)
        self.patch(sys, "stderr", io.StringIO())
        say_in_a_line()
        sys.excepthook(type(error), error, None)
        return str(sys.stderr.getvalue())  # type: ignore[attr-defined]

    def test_address(self) -> None:
        """It is one line."""
        why = PermissionError(13, "Permission denied")
        self.assertEqual(
            "cannot listen on *:25: Permission denied; it takes root, or CAP_NET_BIND_SERVICE, to"
            " listen on a port below 1024\n",
            self.said(CannotListenError("", 25, why)),
        )

    def test_any_other(self) -> None:
        """What nobody foresaw is said as Python says it."""
        self.assertEqual("ValueError: unforeseen\n", self.said(ValueError("unforeseen")))
