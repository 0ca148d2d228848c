"""Who may ask: what a browser says of where a request comes from."""

from twisted.trial.unittest import SynchronousTestCase

from smtpforward.web.origin import cross_site, elsewhere

GOOD = {"content-type": "application/json", "x-smtpforward": "1", "host": "gateway:8026"}


class CrossSiteTests(SynchronousTestCase):
    """A request that changes something."""

    def objection(self, **changes: str | None) -> str | None:
        """What is said against it."""
        headers = GOOD | {name.replace("_", "-"): value for name, value in changes.items()}
        return cross_site(headers.get)

    def test_taken(self) -> None:
        """One of a program, or of a page of the same origin."""
        self.assertIsNone(self.objection())
        self.assertIsNone(self.objection(content_type="Application/JSON; charset=utf-8"))
        self.assertIsNone(self.objection(origin="http://GATEWAY:8026", host="gateway:8026"))
        self.assertIsNone(self.objection(origin="https://gateway", host="Gateway"))
        self.assertIsNone(self.objection(sec_fetch_site="same-origin"))

    def test_not_taken(self) -> None:
        """All that a page of another site can have a browser send."""
        for changes in (
            {"content_type": None},
            {"content_type": "text/plain; application/json"},
            {"x_smtpforward": None},
            {"x_smtpforward": "2"},
            {"origin": "null"},
            {"origin": "http://gateway"},
            {"origin": "http://gateway:8026.evil.example"},
            {"origin": "http://evil.example/http://gateway:8026"},
            {"origin": "http://[gateway:8026"},
            {"origin": "http://gateway:8026", "host": None},
            {"sec_fetch_site": "cross-site"},
            {"sec_fetch_site": "same-site"},
            {"sec_fetch_site": "none"},
        ):
            self.assertIsNotNone(self.objection(**changes), changes)


class ElsewhereTests(SynchronousTestCase):
    """Names that lead here."""

    def test_ours(self) -> None:
        """Addresses, localhost, and this host's own name."""
        for host in ("127.0.0.1", "127.0.0.1:8026", "[::1]:80", "[::1]", "192.0.2.1", "localhost"):
            self.assertFalse(elsewhere(host, "mx.example.com"), host)
        for host in ("LOCALHOST:1", "x.localhost", "MX.example.com:8026"):
            self.assertFalse(elsewhere(host, "mx.Example.com"), host)

    def test_others(self) -> None:
        """Any other name, and what is none."""
        for host in (None, "", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example",
                     "x@", "[::1", "notlocalhost", "mx.example.com.evil.example"):  # fmt: skip
            self.assertTrue(elsewhere(host, "mx.example.com"), host)
