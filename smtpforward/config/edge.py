"""``smtp.ini`` and ``connection.ini``: where the gateway listens, and what a client may take."""

import os
import tempfile
from collections.abc import Sequence
from typing import Any

from smtpforward.config import checks_net
from smtpforward.config.dialect import MAIN
from smtpforward.config.listen import Listener, listener
from smtpforward.config.networks import Networks
from smtpforward.config.problems import Place, Report
from smtpforward.config.reading import Reading
from smtpforward.config.settings import ClientTimeouts, DebugSession, Limits, Logins, Routes
from smtpforward.config.values import WrongValueError, near

FILES = ("smtp.ini", "connection.ini")
SUBMISSION_PORT = 587
OPTION = "--debug-session"
Values = dict[str, Any]


def limits(server: Reading) -> Limits:
    """What one client may take."""
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
        header_bytes=most["header_bytes"],
        connections=most["connections"],
        connections_per_ip=most["connections_per_ip"],
        errors_per_ip=most["errors_per_ip"],
        memory=most["memory"],
    )


def timeouts(server: Reading) -> ClientTimeouts:
    """How long a client may be silent."""
    given: Values = server.values["timeouts"]
    return ClientTimeouts(given["first_command"], given["command"], given["data"])


def listen(
    server: Reading, has_certificate: bool, logins: Logins, report: Report
) -> tuple[str, ...]:
    """The endpoints: those of ``listen``, else all addresses with ``port``."""
    main: Values = server.values[MAIN]
    key = "listen" if main["listen"] else "port"
    place = server.places.get((MAIN, key), Place(FILES[0]))
    texts = main["listen"] or (f"[::]:{main['port']}",)
    found: list[Listener] = []
    for text in texts:
        one = listener(text, main["port"])
        if one.port != 0 and one in found:
            report.add(place, key, f"{text} is given twice", "each address and port once")
        elif one.port == main["smtps_port"] and not has_certificate:
            message = f"{text} is to speak TLS at once, and there is no certificate"
            report.add(place, key, message, "key and cert in tls.ini, or another port")
        found.append(one)
    why = _why_no_logins(main, has_certificate, logins)
    if why:
        submission = (SUBMISSION_PORT, main["smtps_port"])
        for text, one in zip(texts, found, strict=True):
            if one.port in submission:
                report.warn(f"{text} is for who logs in, and {why}")
    return tuple(one.description for one in found)


def _why_no_logins(main: Values, has_certificate: bool, logins: Logins) -> str:
    """Why nobody, or hardly anybody, can log in; empty when it is possible."""
    if not logins.methods:
        return "nobody can: auth_flat_file.ini has no methods or no users"
    if not (has_certificate or main["auth_allow_plaintext"]):
        return (
            "nobody but loopback can: there is no certificate in tls.ini, and"
            " auth_allow_plaintext is not true"
        )
    return ""


def debug_session(
    server: Reading, more: Sequence[str], routes: Routes | None, report: Report
) -> DebugSession | None:
    """Whose dialogues are shown: those that the file names, and those of the command line.

    :param more: the values of ``--debug-session``.
    :param routes: those that may be named; ``None`` where what they are is not known.
    """
    given: Values = server.values[MAIN]
    place = server.places.get((MAIN, "debug_session"), Place(FILES[0]))
    found = []
    if given["debug_session"]:
        found.append((place, "debug_session", given["debug_session"]))
    if more:
        option = Place(OPTION)
        try:
            found.append((option, "", checks_net.sessions(list(more))))
        except WrongValueError as error:
            report.add(option, None, error.message, error.remedy)
    known = frozenset(routes.sections) | {""} if routes else None
    clients, names = Networks(), set[str]()
    for where, key, (networks, named) in found:
        clients = clients.joined(networks)
        for name in named:
            if known is not None and name not in known:
                remedy = f"a section of smtp_forward.ini, or default{near(name, known)}"
                report.add(where, key or None, f"there is no section {name}", remedy)
            names.add(name)
    if not (clients or names):
        return None
    report.warn("debug_session: dialogues are in the log, with the addresses of all mail in them")
    return DebugSession(clients, frozenset(names))


def spool_dir(server: Reading, root: str, report: Report) -> str:
    """Where large messages are kept: ``spool_dir``, else the system's directory."""
    given: Values = server.values[MAIN]
    if given["spool_dir"]:
        return str(given["spool_dir"])
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:
        message = "is not set, and the system has no directory for temporary files"
        place = Place(os.path.join(root, FILES[1]))
        report.add(place, "spool_dir", message, "spool_dir=DIRECTORY")
        return ""
