"""``smtp.ini`` and ``connection.ini``: where the gateway listens, and what a client may take."""

import os
import tempfile
from typing import Any

from smtpforward.config.dialect import MAIN
from smtpforward.config.listen import Listener, listener
from smtpforward.config.problems import Place, Report
from smtpforward.config.reading import Reading
from smtpforward.config.settings import ClientTimeouts, Limits, Logins

FILES = ("smtp.ini", "connection.ini")
SUBMISSION_PORT = 587
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
