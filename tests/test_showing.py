"""What only the process knows that reads the settings."""

from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.config.settings import HTTP, ClientTLS
from smtpforward.reload import Reloader
from smtpforward.showing import Showing, _figures
from tests.support import settings
from tests.test_server_tls import TLS


class OwnTests(SynchronousTestCase):
    """Reloads and certificates."""

    def showing(self, **changes: Any) -> Showing:
        """What shows a gateway that listens nowhere."""
        in_thread: Any = None
        self.given = settings(**changes)
        self.reloader = Reloader(lambda: self.given, lambda given: None, {}, Clock(), in_thread)
        nobody: Any = None
        reactor: Any = MemoryReactorClock()
        reactor.getThreadPool = lambda: None
        return Showing(
            HTTP(()), nobody, nobody, lambda: self.given, self.reloader, reactor, version="1"
        )

    def test_figures(self) -> None:
        """Good and bad readings, and the end of each certificate under its name."""
        showing = self.showing(tls=TLS)
        self.reloader.good, self.reloader.bad = 2, 1
        values = _figures(showing._own()).values
        self.assertEqual(values["reloads_total", ("good",)], 2)
        self.assertEqual(values["reloads_total", ("bad",)], 1)
        for certificate in TLS.certificates:
            key = ("certificate_expiry_timestamp_seconds", (certificate.names[0],))
            self.assertGreater(values[key], 1_700_000_000)

    def test_read_once(self) -> None:
        """The certificates are looked at anew when the settings have changed."""
        showing = self.showing(tls=TLS)
        first = showing._own().certificates
        self.assertIs(showing._own().certificates, first)
        self.given = settings()
        self.assertEqual(showing._own().certificates, {})

    def test_outbound(self) -> None:
        """The one that backends are shown is told apart from that of the edge."""
        [edge] = TLS.certificates
        showing = self.showing(tls=TLS, client_tls=ClientTLS(certificate=edge))
        name = edge.names[0]
        told = showing._own().certificates
        self.assertEqual([name, f"{name} (outbound)"], list(told))
        self.assertEqual(told[name], told[f"{name} (outbound)"])

    def test_without_tls(self) -> None:
        """Without a certificate none expires."""
        self.assertEqual(len(_figures(self.showing()._own()).values), 2)

    def test_problems(self) -> None:
        """Those of the last reading, if it could not be applied."""
        showing = self.showing()
        self.assertEqual(showing._own().problems, ())
        self.reloader.problems = ("a problem",)
        self.assertEqual(showing._own().problems, ("a problem",))
