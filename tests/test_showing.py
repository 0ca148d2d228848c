"""What only the process knows that reads the settings."""

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.reload import Reloader
from smtpforward.showing import _own
from tests.support import settings
from tests.test_server_tls import TLS


class OwnTests(SynchronousTestCase):
    """Reloads and certificates."""

    def test_figures(self) -> None:
        """Good and bad readings, and the end of each certificate under its name."""
        in_thread: Any = None
        reloader = Reloader(settings, lambda given: None, {}, Clock(), in_thread)
        reloader.good, reloader.bad = 2, 1
        values = _own(lambda: settings(tls=TLS), reloader).values
        self.assertEqual(values["reloads_total", ("good",)], 2)
        self.assertEqual(values["reloads_total", ("bad",)], 1)
        for certificate in TLS.certificates:
            key = ("certificate_expiry_timestamp_seconds", (certificate.names[0],))
            self.assertGreater(values[key], 1_700_000_000)

    def test_without_tls(self) -> None:
        """Without a certificate none expires."""
        in_thread: Any = None
        reloader = Reloader(settings, lambda given: None, {}, Clock(), in_thread)
        self.assertEqual(len(_own(settings, reloader).values), 2)
