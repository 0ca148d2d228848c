"""What a service manager is told, over a real socket."""

import os
import socket

from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.running.notify import Supervisor, reloading


class SupervisorTests(SynchronousTestCase):
    """``Supervisor``."""

    def manager(self, address: str) -> socket.socket:
        """A socket that hears."""
        hearing = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(hearing.close)
        hearing.settimeout(5)
        hearing.bind(address)
        return hearing

    def path(self) -> str:
        """One that is short enough for a socket."""
        path = os.path.relpath(self.mktemp())
        return path[-60:].replace("/", "_")

    def test_nobody(self) -> None:
        """Without a socket nothing is said, and nothing is to be passed on."""
        supervisor = Supervisor.of({"WATCHDOG_USEC": "1000000"})
        supervisor.say("READY=1")
        self.assertEqual((supervisor.watchdog, supervisor.environment()), (None, {}))

    def test_path(self) -> None:
        """A message is one datagram of lines; the environment forgets what is meant for us."""
        path = self.path()
        hearing = self.manager(path)
        self.addCleanup(os.unlink, path)
        environ = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "3000000", "OTHER": "x"}
        supervisor = Supervisor.of(environ)
        supervisor.say("READY=1", "STATUS=taking mäil")
        self.assertEqual(hearing.recv(1000), "READY=1\nSTATUS=taking mäil".encode())
        self.assertEqual(environ, {"OTHER": "x"})
        self.assertEqual(supervisor.watchdog, 3.0)
        passed_on = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "3000000"}
        self.assertEqual(supervisor.environment(), passed_on)

    def test_abstract(self) -> None:
        """A name of the abstract namespace begins with an @."""
        name = f"smtpforward-test-{os.getpid()}"
        hearing = self.manager(f"\0{name}")
        Supervisor(f"@{name}").say("WATCHDOG=1")
        self.assertEqual(hearing.recv(1000), b"WATCHDOG=1")

    def test_gone(self) -> None:
        """A socket that is not there is a warning, once."""
        lines: list[str] = []
        note = lambda event: lines.append(formatEvent(event))  # noqa: E731
        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)
        supervisor = Supervisor(self.path())
        supervisor.say("READY=1")
        supervisor.say("READY=1")
        self.assertEqual(len(lines), 1)
        self.assertIn("cannot be told", lines[0])

    def test_watchdog_of_another(self) -> None:
        """What is meant for another process, or is no number, is no watchdog."""
        for environ, watchdog in (
            ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())}, 2.0),
            ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}, None),
            ({"WATCHDOG_USEC": "soon"}, None),
            ({"WATCHDOG_USEC": "0"}, None),
            ({}, None),
        ):
            given = {**environ, "NOTIFY_SOCKET": "/run/x"}
            self.assertEqual(Supervisor.of(given).watchdog, watchdog, environ)

    def test_reloading(self) -> None:
        """The time is the monotonic clock's, in microseconds."""
        said = reloading(lambda: 1_234_567_899)
        self.assertEqual(said, ("RELOADING=1", "MONOTONIC_USEC=1234567"))
