"""The rules of the edge's ports."""

from twisted.trial.unittest import SynchronousTestCase

from smtpforward.server.ports import Port, is_loopback, rules_of
from tests.support import settings
from tests.tlssupport import server_tls


class PortTests(SynchronousTestCase):
    """What holds where."""

    def test_rules(self) -> None:
        """Mail between servers anywhere, users on 587 and on ``smtps_port``."""
        given = settings()
        self.assertEqual(rules_of(given, 25), Port(False, True, False))
        self.assertEqual(rules_of(given, 0), Port(False, True, False))
        self.assertEqual(rules_of(given, 587), Port(False, True, True))
        self.assertEqual(rules_of(given, 465), Port(True, True, True))
        self.assertEqual(rules_of(settings(smtps_port=2465), 465), Port(False, True, False))

    def test_no_starttls(self) -> None:
        """Ports can be left out."""
        given = settings(tls=server_tls(no_starttls_ports=frozenset({587})))
        self.assertEqual(rules_of(given, 587), Port(False, False, True))
        self.assertTrue(rules_of(given, 25).starttls)

    def test_loopback(self) -> None:
        """A socket of the file system is on this host, too."""
        for ip, local in (
            ("127.0.0.1", True),
            ("127.1.2.3", True),
            ("::1", True),
            ("local", True),
            ("192.0.2.1", False),
            ("fe80::1%eth0", False),
        ):
            self.assertEqual(is_loopback(ip), local, ip)
