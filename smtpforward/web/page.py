"""The HTTP side: ``/metrics``, ``/healthz`` and ``/readyz``, beside the page and its API.

What is asked for is made in the reactor's thread, from values that are at hand, or of which one is
waited for a moment. A login, where the settings ask for one, is for all but health: that is for
supervisors that have none, and tells no secret. Failure policy: what is not foreseen is a 500,
with its traceback in the log; no mail hears of it.
"""

import json
from collections.abc import Callable
from typing import Any

from prometheus_client import ProcessCollector
from prometheus_client.registry import Collector
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import INTERNAL_SERVER_ERROR, SERVICE_UNAVAILABLE
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from smtpforward.config.settings import HTTP
from smtpforward.figures import Figures, Observation, together
from smtpforward.web.login import InThread, behind_login
from smtpforward.web.metrics import exposed
from smtpforward.web.requests import BoundedRequest
from smtpforward.web.static import INDEX, File, folder

Observe = Callable[[], "Deferred[Observation]"]
TIMEOUT = 60


class _Page(Resource):
    """Something that is made of an observation."""

    isLeaf = True
    log = Logger()

    def __init__(self, observe: Observe) -> None:
        Resource.__init__(self)
        self._observe = observe

    def render_GET(self, request: Request) -> int:
        """See Resource; HEAD is the same."""
        asking = self._observe()
        request.notifyFinish().addErrback(lambda _: asking.cancel())
        asking.addCallback(self._answer, request).addErrback(self._failed, request)
        return NOT_DONE_YET

    def _answer(self, seen: Observation, request: Request) -> None:
        body, content_type = self.made(seen, request)
        request.setHeader(b"content-type", content_type.encode("ascii"))
        request.setHeader(b"content-length", b"%d" % len(body))
        request.setHeader(b"cache-control", b"no-store")
        if request.method != b"HEAD":
            request.write(body)
        request.finish()

    def _failed(self, failure: Failure, request: Request) -> None:
        if failure.check(CancelledError):
            return  # Who asked has gone.
        self.log.failure("a fault while answering {path}", failure, path=request.path.decode())
        request.setResponseCode(INTERNAL_SERVER_ERROR)
        request.finish()

    def made(self, seen: Observation, request: Request) -> tuple[bytes, str]:
        """The body and its content type."""
        raise NotImplementedError


class Metrics(_Page):
    """``/metrics``.

    :param own: figures of the gateway as a whole, beside those that are observed.
    """

    def __init__(self, observe: Observe, own: Callable[[], Figures]) -> None:
        _Page.__init__(self, observe)
        self._own = own
        self._process: Collector = ProcessCollector(registry=None)

    def made(self, seen: Observation, request: Request) -> tuple[bytes, str]:
        """See :class:`_Page`."""
        ready = Figures({("ready", ()): float(not seen.reasons)})
        figures = together([seen.figures, self._own(), ready])
        return exposed(figures, request.getHeader("accept") or "", self._process)


class Ready(_Page):
    """``/readyz``: 200, or 503 with the reasons."""

    def made(self, seen: Observation, request: Request) -> tuple[bytes, str]:
        """See :class:`_Page`."""
        if seen.reasons:
            request.setResponseCode(SERVICE_UNAVAILABLE)
        return _json({"ready": not seen.reasons, "reasons": list(seen.reasons)})


class Alive(Resource):
    """``/healthz``: who answers is alive."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        """See Resource."""
        body, content_type = _json({"alive": True})
        request.setHeader(b"content-type", content_type.encode("ascii"))
        return body


def _json(value: object) -> tuple[bytes, str]:
    return json.dumps(value).encode("ascii") + b"\n", "application/json"


class QuietSite(Site):
    """A site that does not log each request."""

    noisy = False

    def logPrefix(self) -> str:
        """See ILoggingContext."""
        return "status page"

    def log(self, request: Any) -> None:
        """Not worth a line."""


def site(
    http: HTTP, observe: Observe, own: Callable[[], Figures], in_thread: InThread, api: Resource
) -> QuietSite:
    """The whole site.

    :param in_thread: calls a function in a thread: a password that is hashed takes its time.
    :param api: what stands under ``/api``.
    """
    root = Resource()
    for name, resource in {
        b"": File(INDEX),
        b"static": folder(),
        b"api": api,
        b"metrics": Metrics(observe, own),
    }.items():
        root.putChild(name, behind_login(resource, http, in_thread))
    root.putChild(b"healthz", Alive())
    root.putChild(b"readyz", Ready(observe))
    made = QuietSite(root, requestFactory=BoundedRequest, timeout=TIMEOUT)
    made.displayTracebacks = False
    return made
