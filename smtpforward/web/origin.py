"""Who may ask, by what a browser says of where a request comes from. Pure.

A page of another site can have a browser send requests here, with the login that it remembers. It
cannot read the answers, and what it can send without asking first ("simple" requests of the Fetch
standard) has neither a content type of JSON nor a header of ours: whatever changes something wants
both. What a browser tells of the origin is believed as well.

Without a login there is one more way: a name of another site that leads to this host's address (DNS
rebinding) makes its page one of the same origin. So without one a request has to name this host as
nobody else's name can: by its address, as ``localhost``, or by the name in ``me``.
"""

import ipaddress
from collections.abc import Callable
from urllib.parse import urlsplit

MARK = "x-smtpforward"
TYPE = "application/json"
Header = Callable[[str], str | None]


def elsewhere(host: str | None, me: str) -> bool:
    """Whether ``host``, the header of that name, may be the name of another site."""
    try:
        name = urlsplit(f"//{host or ''}").hostname or ""
    except ValueError:
        return True
    if name in ("localhost", me.lower()) or name.endswith(".localhost"):
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return True
    return False


def cross_site(header: Header) -> str | None:
    """Why a request that changes something is not taken; ``None`` where it is.

    :param header: the value of a header, by its name in lower case.
    """
    kind = (header("content-type") or "").partition(";")[0].strip().lower()
    if kind != TYPE:
        return f"the content type is not {TYPE}"
    if header(MARK) != "1":
        return "without the header X-Smtpforward: 1"
    if header("sec-fetch-site") not in (None, "same-origin"):
        return "of another site"
    origin, host = header("origin"), header("host")
    if origin is not None and (host is None or _place(origin) != host.lower()):
        return "of another origin"
    return None


def _place(origin: str) -> str:
    """Host and port of an origin as a ``Host`` header has them; empty for ``null``."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
