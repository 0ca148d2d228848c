"""What is shown of the gateway over HTTP, wired: the part of ``service.py`` that not all run.

Failure policy: an address that cannot be listened on stops the start, as one for mail does.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from cryptography import x509
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

from smtpforward.config.settings import HTTP, Certificate, Settings
from smtpforward.figures import Figures, Key, Observation
from smtpforward.net.listening import listening
from smtpforward.questions import Question
from smtpforward.reload import Reloader
from smtpforward.web.api import API
from smtpforward.web.events import Events
from smtpforward.web.overview import Overview, Own
from smtpforward.web.page import site


class Showing(MultiService):
    """The listening ports of ``http.ini``.

    :param observe: what is to be seen now. ``ask``: what all processes answer to a question.
    :param settings: those that hold now. ``version``: of this program.
    :param places: endpoints, or descriptions of some, in place of those of ``http``.
    """

    def __init__(
        self,
        http: HTTP,
        observe: "Callable[[], Deferred[Observation]]",
        ask: "Callable[[Question], Deferred[list[Any]]]",
        settings: Callable[[], Settings],
        reloader: Reloader,
        reactor: Any,
        version: str,
        places: Sequence[Any] = (),
    ) -> None:
        MultiService.__init__(self)
        self._settings = settings
        self._reloader = reloader
        # By the settings that they were read from.
        self._expiries: tuple[object, dict[str, float]] = (None, {})
        in_thread = partial(deferToThreadPool, reactor, reactor.getThreadPool())
        overview = Overview(observe, ask, settings, self._own, version, http.queue_changes)
        self._events = Events(overview, reactor)
        api = API(overview, self._events, bool(http.user), settings().me)
        made = site(http, observe, lambda: _figures(self._own()), in_thread, api)
        for place in places or http.listen:
            listening(place, made, reactor).setServiceParent(self)

    def stopService(self) -> "Deferred[Any]":
        """Tell nobody any more."""
        self._events.stop()
        stopping: Deferred[Any] = MultiService.stopService(self)
        return stopping

    def _own(self) -> Own:
        """What only the process knows that reads the settings."""
        reloader, settings = self._reloader, self._settings()
        if settings is not self._expiries[0]:
            self._expiries = settings, dict(_expiries(settings))
        return Own(reloader.good, reloader.bad, reloader.problems, self._expiries[1])


def _figures(own: Own) -> Figures:
    """The same for the metrics."""
    values: dict[Key, float] = {
        ("reloads_total", ("good",)): own.good,
        ("reloads_total", ("bad",)): own.bad,
    }
    for name, at in own.certificates.items():
        values["certificate_expiry_timestamp_seconds", (name,)] = at
    return Figures(values)


def _expiries(settings: Settings) -> Iterator[tuple[str, float]]:
    """When each certificate expires, by the first of its names."""
    for certificate in settings.tls.certificates if settings.tls else ():
        yield _name(certificate), _end(certificate)
    shown = settings.client_tls.certificate
    if shown is not None:
        yield f"{_name(shown)} (outbound)", _end(shown)


def _name(certificate: Certificate) -> str:
    return certificate.names[0] if certificate.names else certificate.path


def _end(certificate: Certificate) -> float:
    own = x509.load_pem_x509_certificate(certificate.chain)
    return own.not_valid_after_utc.timestamp()
