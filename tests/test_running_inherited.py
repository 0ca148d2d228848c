"""Sockets that a process was started with: which member of ``listen`` takes which."""

import os
import socket
from typing import Any

from twisted.internet.endpoints import AdoptedStreamServerEndpoint, _SystemdParser
from twisted.python.systemd import ListenFDs
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.running.inherited import Inherited, MismatchError, Sockets, names_of

SMTP = Inherited(3, "smtp.socket", socket.AF_INET6, ("::", 25))
LOCAL = Inherited(4, "local", socket.AF_INET, ("127.0.0.1", 25))
PATH = Inherited(5, "path", socket.AF_UNIX, "/run/smtp.sock")
ALL = (SMTP, LOCAL, PATH)


class PlaceTests(SynchronousTestCase):
    """Descriptions and sockets."""

    def taken(self, sockets: Sockets, description: str) -> Any:
        """The descriptor that it takes; else the description itself."""
        place = sockets.place(description, None)
        return place.fileno if isinstance(place, AdoptedStreamServerEndpoint) else place

    def test_address(self) -> None:
        """The socket that is bound to the same address, once; what has none is bound as ever."""
        sockets = Sockets(ALL)
        for description, taken in {
            "tcp:25:interface=127.0.0.1": 4,
            "tcp6:25:interface=\\:\\:": 3,
            "tcp:port=25:interface=127.0.0.1": "tcp:port=25:interface=127.0.0.1",
            "unix:/run/smtp.sock": 5,
            "tcp:2525": "tcp:2525",
            "ssl:25": "ssl:25",
        }.items():
            self.assertEqual(self.taken(sockets, description), taken)
        sockets.end()

    def test_as_systemd_says(self) -> None:
        """An index counts all of them; a name is the one of the unit."""
        sockets = Sockets(ALL)
        self.assertEqual(self.taken(sockets, "systemd:domain=INET:name=local"), 4)
        self.assertEqual(self.taken(sockets, "systemd:domain=UNIX:index=2"), 5)
        self.assertEqual(self.taken(sockets, "systemd:domain=INET6:index=0"), 3)

    def test_not_there(self) -> None:
        """What names a socket that is not there hears which are; so does one taken twice."""
        sockets = Sockets((SMTP,))
        sockets.place("systemd:domain=INET6:index=0", None)
        for asked in ("index=1", "name=other", "index=0"):
            error = self.assertRaises(
                MismatchError, sockets.place, f"systemd:domain=INET6:{asked}", None
            )
            self.assertIn("[::]:25 (descriptor 3, 'smtp.socket')", str(error))
        error = self.assertRaises(
            MismatchError, Sockets().place, "systemd:domain=INET:index=0", None
        )
        self.assertIn("is the socket unit started?", str(error))

    def test_left(self) -> None:
        """A socket that nobody takes is an error that names it, and the remedy."""
        sockets = Sockets(ALL)
        sockets.place("tcp6:25", None)
        error = self.assertRaises(MismatchError, sockets.end)
        self.assertIn("127.0.0.1:25 (descriptor 4, 'local'), /run/smtp.sock (desc", str(error))
        self.assertIn("listen= (smtp.ini)", str(error))

    def test_successor(self) -> None:
        """It takes what the one before had for the same description, and closes what is left."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        chosen, old = "tcp:0:interface=127.0.0.1", "tcp:26"
        sockets = Sockets(
            (
                Inherited(3, chosen, socket.AF_INET, ("127.0.0.1", 40001)),
                Inherited(writing, old, socket.AF_INET, ("0.0.0.0", 26)),
            ),
            successor=True,
        )
        self.assertEqual(self.taken(sockets, chosen), 3)
        self.assertEqual(self.taken(sockets, "tcp:27"), "tcp:27")
        sockets.end()
        self.assertEqual(os.read(reading, 1), b"")


class EnvironmentTests(SynchronousTestCase):
    """How they come in."""

    def given(self, *sockets: socket.socket) -> Sockets:
        """What is made of these."""
        numbers = [each.fileno() for each in sockets]
        return Sockets.of({}, ListenFDs(numbers, [f"n{at}" for at in range(len(numbers))]))

    def test_looked_at(self) -> None:
        """Each is made as Twisted wants it, and no child's."""
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        listening.set_inheritable(True)
        (found,) = self.given(listening)._found
        self.assertEqual(found.bound, listening.getsockname())
        self.assertEqual(found.family, socket.AF_INET)
        self.assertFalse(os.get_blocking(listening.fileno()))
        self.assertFalse(listening.get_inheritable())

    def test_no_listening_socket(self) -> None:
        """Anything else is an error."""
        with socket.socket() as idle, open(os.devnull, "rb") as file:
            for wrong in (idle, file):
                self.assertRaises(MismatchError, self.given, wrong)

    def test_forgotten(self) -> None:
        """Children do not take them for theirs."""
        environ = {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "x", "LISTEN_PID": "1", "OTHER": "y"}
        Sockets.of(environ, ListenFDs([], ())).end()
        self.assertEqual(environ, {"OTHER": "y"})

    def test_what_twisted_took(self) -> None:
        """Twisted takes the variables when it is imported, and keeps what they say here."""
        self.assertIsInstance(_SystemdParser._sddaemon, ListenFDs)
        self.assertEqual(list(_SystemdParser._sddaemon._names), [])

    def test_names(self) -> None:
        """They come through, whatever a description holds."""
        names = names_of(["tcp6:25:interface=\\:\\:", "unix:/run/a b%3A.sock"])
        self.assertEqual(names.count(":"), 1)
        self.assertNotIn(" ", names)
