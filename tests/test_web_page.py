"""The HTTP side without sockets: what is asked, what is answered, and what goes wrong."""

import json
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.test.requesthelper import DummyRequest

from smtpforward.config.settings import HTTP
from smtpforward.figures import Figures, Observation
from smtpforward.web.page import site

SEEN = Observation(Figures({("open_connections", ()): 2}))
NOT_READY = Observation(Figures(), ("one", "two"))


class PageTests(SynchronousTestCase):
    """The site."""

    def asked(
        self, path: bytes, observed: "Deferred[Observation]", method: bytes = b"GET", **http: Any
    ) -> Any:
        """The request, after it has been looked up and rendered."""
        own = Figures({("reloads_total", ("good",)): 1})
        made = site(
            HTTP((), **http),
            lambda: observed,
            lambda: own,
            lambda call, *args: succeed(call(*args)),
            Resource(),
        )
        request: Any = DummyRequest([path])
        request.method = method
        request.path = b"/" + path
        root: Resource = made.resource
        rendered = root.getChildWithDefault(path, request).render(request)
        if isinstance(rendered, bytes):
            request.write(rendered)
            request.finish()
        return request

    def test_metrics(self) -> None:
        """What is observed, what is the gateway's own, and whether it is ready."""
        request = self.asked(b"metrics", succeed(SEEN))
        body = b"".join(request.written).decode()
        self.assertIn("smtpforward_open_connections 2.0\n", body)
        self.assertIn('smtpforward_reloads_total{result="good"} 1.0\n', body)
        self.assertIn("smtpforward_ready 1.0\n", body)
        self.assertIn("process_open_fds ", body)
        [length] = request.responseHeaders.getRawHeaders(b"content-length")
        self.assertEqual(int(length), len(body))

    def test_not_ready(self) -> None:
        """503 with the reasons; the metrics say it as well, with 200."""
        request = self.asked(b"readyz", succeed(NOT_READY))
        self.assertEqual(request.responseCode, 503)
        told = json.loads(b"".join(request.written))
        self.assertEqual(told, {"ready": False, "reasons": ["one", "two"]})
        request = self.asked(b"metrics", succeed(NOT_READY))
        self.assertIn(b"smtpforward_ready 0.0\n", b"".join(request.written))
        self.assertIsNone(request.responseCode)

    def test_head(self) -> None:
        """HEAD has the headers alone."""
        request = self.asked(b"readyz", succeed(SEEN), b"HEAD")
        self.assertEqual(request.written, [])
        [length] = request.responseHeaders.getRawHeaders(b"content-length")
        self.assertGreater(int(length), 0)

    def test_fault(self) -> None:
        """What is not foreseen is a 500, and stands in the log."""
        request = self.asked(b"metrics", fail(ZeroDivisionError()))
        self.assertEqual((request.responseCode, request.finished), (500, 1))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_asker_goes(self) -> None:
        """Whoever has gone is not answered, and nothing is logged."""
        observed: Deferred[Observation] = Deferred()
        request = self.asked(b"metrics", observed)
        request.processingFailed(Failure(ConnectionLost()))
        self.assertTrue(observed.called)
        self.assertEqual((request.written, request.finished), ([], 0))

    def test_login(self) -> None:
        """Metrics are behind the login, health is not."""
        login = {"user": "prom", "password": "secret"}
        self.assertEqual(self.asked(b"metrics", succeed(SEEN), **login).responseCode, 401)
        self.assertIsNone(self.asked(b"readyz", succeed(SEEN), **login).responseCode)
        alive = self.asked(b"healthz", succeed(SEEN), **login)
        self.assertEqual(json.loads(b"".join(alive.written)), {"alive": True})
