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

from smtpforward.config.settings import HTTP, Settings
from smtpforward.figures import Figures, Key, Observation
from smtpforward.net.listening import listening
from smtpforward.reload import Reloader
from smtpforward.web.page import site


class Showing(MultiService):
    """The listening ports of ``http.ini``.

    :param observe: what is to be seen now. ``settings``: those that hold now.
    :param places: endpoints, or descriptions of some, in place of those of ``http``.
    """

    def __init__(
        self,
        http: HTTP,
        observe: "Callable[[], Deferred[Observation]]",
        settings: Callable[[], Settings],
        reloader: Reloader,
        reactor: Any,
        places: Sequence[Any] = (),
    ) -> None:
        MultiService.__init__(self)
        own = partial(_own, settings, reloader)
        in_thread = partial(deferToThreadPool, reactor, reactor.getThreadPool())
        made = site(http, observe, own, in_thread)
        for place in places or http.listen:
            listening(place, made, reactor).setServiceParent(self)


def _own(settings: Callable[[], Settings], reloader: Reloader) -> Figures:
    """What only the process knows that reads the settings."""
    values: dict[Key, float] = {
        ("reloads_total", ("good",)): reloader.good,
        ("reloads_total", ("bad",)): reloader.bad,
    }
    values.update(_expiries(settings()))
    return Figures(values)


def _expiries(settings: Settings) -> Iterator[tuple[Key, float]]:
    """When each certificate expires, by the first of its names."""
    for certificate in settings.tls.certificates if settings.tls else ():
        own = x509.load_pem_x509_certificate(certificate.chain)
        name = certificate.names[0] if certificate.names else certificate.path
        yield (
            ("certificate_expiry_timestamp_seconds", (name,)),
            own.not_valid_after_utc.timestamp(),
        )
