"""The members of ``listen``."""

from twisted.internet.endpoints import serverFromString
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.config.listen import bound_to, inherited_as, listener
from smtpforward.config.settings import Settings

GOOD = {
    "127.0.0.1:2525": "tcp:2525:interface=127.0.0.1",
    "0.0.0.0:25": "tcp:25:interface=0.0.0.0",
    "127.0.0.1": "tcp:26:interface=127.0.0.1",
    "127.0.0.1:0": "tcp:0:interface=127.0.0.1",
    "[::]:25": "tcp6:25:interface=\\:\\:",
    "[::0]:25": "tcp6:25:interface=\\:\\:",
    "[2001:db8::1]": "tcp6:26:interface=2001\\:db8\\:\\:1",
    "2525": "tcp6:2525:interface=\\:\\:",
    "tcp:8025": "tcp:8025",
    "tcp:port=8025:interface=127.0.0.1": "tcp:port=8025:interface=127.0.0.1",
    "tcp6:8025:interface=\\:\\:1": "tcp6:8025:interface=\\:\\:1",
    "tcp6:8025:100": "tcp6:8025:100",
    "tcp:8025:127.0.0.1:100": "tcp:8025:127.0.0.1:100",
    "unix:/run/smtp.sock:mode=660": "unix:/run/smtp.sock:mode=660",
    "systemd:domain=INET:index=0": "systemd:domain=INET:index=0",
}
BAD = (
    *("", "localhost:25", "127.0.0.1:65536", "127.0.0.1:x", "127.0.0.256:25", "::1", "::1:25"),
    *("[127.0.0.1]:25", "[::1", "[::1]25", "65536", "-1", "999999999999", "127.0.0.1:25:25"),
    *("tcp:", "tcp:x", "tcp:65536", "tcp:25:interface=::1", "tcp:25:interface=localhost"),
    *("tcp:25:100", "tcp6:25:\\:\\:1"),
    *("tcp:25:port=25", "tcp:25:nosuch=1", "tcp6:25:interface=127.0.0.1", "unix:", "unix:a:mode=9"),
    *("systemd:index=0", "systemd:domain=INET", "systemd:domain=X:index=0", "ssl:465"),
)


class ListenerTests(SynchronousTestCase):
    """Texts to endpoint descriptions."""

    def test_good(self) -> None:
        """Haraka's forms become endpoint strings, and endpoint strings stay what they are."""
        for text, description in GOOD.items():
            self.assertEqual(listener(text, 26).description, description)

    def test_twisted_takes_them(self) -> None:
        """Twisted parses each description (systemd's needs an inherited socket)."""
        for description in GOOD.values():
            if not description.startswith("systemd:"):
                serverFromString(MemoryReactor(), description)

    def test_bad(self) -> None:
        """Anything else is refused, with words for what would be right."""
        for text in BAD:
            error = self.assertRaises(ValueError, listener, text)
            self.assertGreater(len(str(error)), 5, text)

    def test_default(self) -> None:
        """The default of the settings class is what [::]:25 means."""
        default = (listener("[::]:25").description,)
        self.assertEqual(default, Settings.__attrs_attrs__.listen.default)


class BoundTests(SynchronousTestCase):
    """What a description is bound to, as the system has it."""

    def test_bound(self) -> None:
        """Address and port, or a path; nothing where it does not say."""
        for text, bound in {
            "tcp:25": ("0.0.0.0", 25),
            "tcp6:port=25": ("::", 25),
            "tcp:interface=127.0.0.1:port=25": ("127.0.0.1", 25),
            "tcp6:25:interface=2001\\:db8\\:0\\:\\:1": ("2001:db8::1", 25),
            "unix:/run/a\\:b.sock:mode=660": "/run/a:b.sock",
            "systemd:domain=INET:index=0": None,
            "ssl:465": None,
            "tcp:25:interface=localhost": None,
            "tcp:smtp": None,
            "tcp:1:2:3:4": None,
        }.items():
            self.assertEqual(bound_to(text), bound, text)

    def test_inherited(self) -> None:
        """The index or the name that systemd's sockets are known by."""
        for text, asked in {
            "systemd:domain=INET:index=2": (2, None),
            "systemd:domain=INET6:name=a.socket": (None, "a.socket"),
            "tcp:25": None,
        }.items():
            self.assertEqual(inherited_as(text), asked, text)
