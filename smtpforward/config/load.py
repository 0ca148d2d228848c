"""A configuration directory to :class:`Settings`.

Rules: ``smtp_forward.ini`` must be there, every other file may be missing. All problems of all
files are reported at once, in the order of files and lines; with a single one there are no
settings.
"""

import os
import socket
import tempfile
from collections.abc import Callable
from typing import Any

from smtpforward.config import lists, routes
from smtpforward.config.dialect import MAIN, Document
from smtpforward.config.listen import Listener, listener
from smtpforward.config.problems import ConfigurationError, Place, Problem, Report
from smtpforward.config.reading import NOT_YET, Reading, check
from smtpforward.config.settings import Access, Limits, Routes, Settings
from smtpforward.config.spec import FORWARD, SERVER

FORWARD_FILE = "smtp_forward.ini"
SERVER_FILES = ("smtp.ini", "connection.ini")
LIST_FILES = ("host_list", "host_list_regex", "relay_acl_allow")
FILES = ("me", *SERVER_FILES, FORWARD_FILE, *LIST_FILES)
# Files of the design that will change what the gateway does, once it reads them.
UNREAD = ("tls.ini", "auth_flat_file.ini", "outbound.ini", "http.ini")
IN_THE_CLEAR = (
    "connections to backends are in the clear for now, whatever they offer; "
    "enable_tls=false in smtp_forward.ini says so and silences this"
)
NOTHING_ACCEPTED = (
    "nobody's mail is accepted: host_list, host_list_regex and relay_acl_allow are empty, "
    "and check_recipient is not true"
)
Values = dict[str, Any]


def load(
    directory: str | os.PathLike[str], *, hostname: Callable[[], str] = socket.getfqdn
) -> Settings:
    """Read the whole directory.

    :param hostname: asked for this host's name when there is no ``me``.
    :raises ConfigurationError: with all that is wrong.
    """
    root = os.fspath(directory)
    report = Report()
    me, given = lists.read_me(os.path.join(root, "me"), hostname, report)
    server = _server(root, report)
    main: Values = server.values[MAIN]
    forward = _forward(root, report)
    found = forward and routes.build(forward, os.path.join(root, FORWARD_FILE), me, report)
    access = _access(root, report)
    listen = _listen(server, report)
    spool_dir = main["spool_dir"] or _temporary(root, report)
    if not (forward and found) or report.problems:
        raise ConfigurationError(tuple(sorted(report.problems, key=_position)))
    _warn(root, server, forward, found, access, report)
    return Settings(
        me=me,
        routes=found,
        access=access,
        limits=_limits(server),
        own_name=me if given else None,
        listen=listen,
        inactivity_timeout=main["inactivity_timeout"],
        force_shutdown_timeout=main["force_shutdown_timeout"],
        spool_dir=spool_dir,
        warnings=tuple(report.warnings),
    )


def _position(problem: Problem) -> tuple[int, int]:
    name = os.path.basename(problem.file)
    return FILES.index(name) if name in FILES else -1, problem.line or 0


def _server(root: str, report: Report) -> Reading:
    document = Document()
    for name in SERVER_FILES:
        document.read(os.path.join(root, name), report)
    return check(document, SERVER, report)


def _forward(root: str, report: Report) -> Reading | None:
    path = os.path.join(root, FORWARD_FILE)
    document = Document()
    if document.read(path, report):
        return check(document, FORWARD, report)
    if not os.path.lexists(path):
        report.add(Place(path), None, "is not there", "this file, with at least host=NAME in it")
    return None


def _access(root: str, report: Report) -> Access:
    hosts, pattern, relays = (os.path.join(root, name) for name in LIST_FILES)
    return Access(
        lists.read_hosts(hosts, report),
        lists.read_host_pattern(pattern, report),
        lists.read_relays(relays, report),
    )


def _limits(server: Reading) -> Limits:
    main: Values = server.values[MAIN]
    most: Values = server.values["max"]
    # No message is longer than ``bytes``: one that may have so many in memory is never spooled.
    spool_after = most["bytes"] if main["spool_after"] == -1 else main["spool_after"]
    return Limits(
        bytes=most["bytes"],
        spool_after=spool_after,
        line_length=most["line_length"],
        recipients=most["recipients"],
        errors=most["errors"],
        unrecognized_commands=most["unrecognized_commands"],
        max_received=int(str(server.values["headers"]["max_received"])),
    )


def _listen(server: Reading, report: Report) -> tuple[str, ...]:
    """The endpoints: those of ``listen``, else all addresses with ``port``."""
    main: Values = server.values[MAIN]
    key = "listen" if main["listen"] else "port"
    place = server.places.get((MAIN, key), Place(SERVER_FILES[0]))
    texts = main["listen"] or (f"[::]:{main['port']}",)
    found: list[Listener] = []
    for text in texts:
        one = listener(text, main["port"])
        if one.port != 0 and one in found:
            report.add(place, key, f"{text} is given twice", "each address and port once")
        elif one.port == main["smtps_port"]:
            message = f"{text} is to speak TLS at once, which {NOT_YET}"
            report.add(place, key, message, "another port")
        found.append(one)
    return tuple(one.description for one in found)


def _temporary(root: str, report: Report) -> str:
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:
        message = "is not set, and the system has no directory for temporary files"
        place = Place(os.path.join(root, SERVER_FILES[1]))
        report.add(place, "spool_dir", message, "spool_dir=DIRECTORY")
        return ""


def _warn(
    root: str, server: Reading, forward: Reading, found: Routes, access: Access, report: Report
) -> None:
    if forward.values[MAIN]["enable_tls"] is None:
        report.warn(IN_THE_CLEAR)
    inactivity: Values = server.values[MAIN]
    for text in routes.late_first(found, inactivity["inactivity_timeout"]):
        report.warn(text)
    for text in routes.backscatter(found):
        report.warn(text)
    ignored = [*server.ignored, *forward.ignored]
    if ignored:
        report.warn(f"this gateway lacks, and ignores: {', '.join(ignored)}")
    unread = [name for name in UNREAD if os.path.lexists(os.path.join(root, name))]
    if unread:
        report.warn(f"this version does not read: {', '.join(unread)}")
    if not (access.hosts or access.host_pattern or access.relays or found.check_recipient):
        report.warn(NOTHING_ACCEPTED)
