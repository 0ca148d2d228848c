"""A member of ``listen`` to the description of a Twisted endpoint.

Takes Haraka's forms (``HOST:PORT`` with ``[...]`` around IPv6, a host alone, a port alone) and
endpoint strings of the kinds in :data:`KINDS`. Raises ``ValueError`` with what would be right: a
description that comes out of here fails at most because of what the system says.
"""

import ipaddress
import re

from attrs import frozen
from twisted.internet.endpoints import quoteStringArgument

FORMS = "HOST:PORT such as 127.0.0.1:25 or [::]:25, or an endpoint string such as tcp:25"
PORT = "a port from 0 to 65535"
# The parameters of each kind of endpoint, in Twisted's order: they may stand without a name in it.
KINDS = {
    "tcp": ("port", "interface", "backlog"),
    "tcp6": ("port", "backlog", "interface"),
    "systemd": ("domain", "index", "name"),
    "unix": ("address", "mode", "backlog", "lockfile"),
}
COLON = re.compile(r"(?<!\\):")
ESCAPED = re.compile(r"\\(.)")
HOST_PORT = re.compile(r"(?:\[(?P<v6>[^\]]*)\]|(?P<v4>[^:\[\]]*))(?::(?P<port>[0-9]+))?")
PATTERNS = {
    "port": (re.compile(r"[0-9]{1,5}"), PORT),
    "backlog": (re.compile(r"[0-9]{1,5}"), "backlog=NUMBER"),
    "domain": (re.compile(r"INET6?|UNIX"), "domain=INET, INET6 or UNIX"),
    "index": (re.compile(r"[0-9]{1,5}"), "index=NUMBER"),
    "mode": (re.compile(r"[0-7]{3,4}"), "mode=OCTAL such as 660"),
    "lockfile": (re.compile(r"[01]"), "lockfile=0 or 1"),
}


@frozen
class Listener:
    """Where to listen: an endpoint description, and its TCP port if it has one."""

    description: str
    port: int | None = None


def listener(text: str, default_port: int = 25) -> Listener:
    """What one member of ``listen`` means; ``default_port`` is for a host alone."""
    kind = text.partition(":")[0]
    if kind in KINDS:
        return _endpoint(kind, text)
    if text.isascii() and text.isdecimal():
        return _tcp("::", text)
    match = HOST_PORT.fullmatch(text)
    if match is None:
        raise ValueError(FORMS)
    return _tcp(_ip(match["v6"], 6) or _ip(match["v4"], 4), match["port"] or str(default_port))


def _tcp(host: str, port: str) -> Listener:
    kind = "tcp6" if ":" in host else "tcp"
    number = _port(port)
    return Listener(f"{kind}:{number}:interface={quoteStringArgument(host)}", number)


def _ip(text: str | None, version: int) -> str:
    """The address, or nothing when none is given."""
    if text is None:
        return ""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(FORMS) from None
    if address.version != version:
        raise ValueError(FORMS)
    return str(address)


def _port(text: str) -> int:
    if len(text) > 5 or int(text) > 65535:
        raise ValueError(PORT)
    return int(text)


def _endpoint(kind: str, text: str) -> Listener:
    given = _parameters(kind, COLON.split(text)[1:])
    for name, (pattern, remedy) in PATTERNS.items():
        if name in given and not pattern.fullmatch(given[name]):
            raise ValueError(remedy)
    if kind == "systemd" and ("domain" not in given or ("index" in given) == ("name" in given)):
        raise ValueError("systemd:domain=INET:index=0, or name=NAME in place of the index")
    if kind == "unix" and not given.get("address"):
        raise ValueError("unix:PATH")
    if not kind.startswith("tcp"):
        return Listener(text)
    if "interface" in given:
        _ip(given["interface"].replace("\\:", ":"), 6 if kind == "tcp6" else 4)
    if "port" not in given:
        raise ValueError(f"{kind}:PORT")
    return Listener(text, _port(given["port"]))


def bound_to(description: str) -> tuple[str, int] | str | None:
    """The address and port, or the path, that an endpoint is bound to; ``None``: it does not say.

    As ``socket.getsockname`` has it: addresses in their shortest form.
    """
    kind, given = _taken_apart(description)
    if kind == "unix":
        return given.get("address")
    if kind not in ("tcp", "tcp6") or not given.get("port", "").isdecimal():
        return None
    host = given.get("interface") or ("::" if kind == "tcp6" else "0.0.0.0")  # noqa: S104
    try:
        return str(ipaddress.ip_address(host)), int(given["port"])
    except ValueError:
        return None


def inherited_as(description: str) -> tuple[int | None, str | None] | None:
    """Index or name of the socket that a ``systemd:`` endpoint wants; ``None`` for other kinds."""
    kind, given = _taken_apart(description)
    if kind != "systemd":
        return None
    index = given.get("index", "")
    return int(index) if index.isdecimal() else None, given.get("name")


def _taken_apart(description: str) -> tuple[str, dict[str, str]]:
    """Its kind and parameters; none of a kind that is not known."""
    kind, *arguments = COLON.split(description)
    if kind not in KINDS:
        return kind, {}
    try:
        given = _parameters(kind, arguments)
    except ValueError:
        return kind, {}
    return kind, {name: ESCAPED.sub(r"\1", value) for name, value in given.items()}


def _parameters(kind: str, arguments: list[str]) -> dict[str, str]:
    """The arguments by name; those without one take the first names in order."""
    free = iter(KINDS[kind])
    given: dict[str, str] = {}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not equals:
            name, value = next(free, ""), argument
        if name not in KINDS[kind] or name in given:
            raise ValueError(f"{kind}: with {', '.join(KINDS[kind])}, each once")
        given[name] = value
    return given


@frozen
class Door:
    """Where this host reaches a listener: ``path`` of a UNIX socket, else ``host`` and ``port``."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.path or f"{host}:{self.port}"


def door(description: str) -> Door | None:
    """Where this host reaches the endpoint of ``description``.

    ``None`` where nothing tells: port 0, and sockets that systemd hands over.
    """
    kind, *arguments = COLON.split(description)
    given = {
        name: value.replace("\\:", ":") for name, value in _parameters(kind, arguments).items()
    }
    if kind == "unix":
        return Door(path=given["address"])
    if not given.get("port", "0").strip("0"):
        return None
    everywhere, loopback = ("::", "::1") if kind == "tcp6" else ("0.0.0.0", "127.0.0.1")  # noqa: S104
    host = given.get("interface") or everywhere
    return Door(loopback if host == everywhere else host, int(given["port"]))
