"""``smtp.ini`` and ``connection.ini``: where the gateway listens, and what a client may take."""

import os
import tempfile
from typing import Any

from smtpforward.config.dialect import MAIN
from smtpforward.config.listen import Listener, listener
from smtpforward.config.problems import Place, Report
from smtpforward.config.reading import Reading
from smtpforward.config.settings import Limits

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
    )


def listen(server: Reading, has_certificate: bool, report: Report) -> tuple[str, ...]:
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
    if not (has_certificate or main["auth_allow_plaintext"]):
        _warn_of_submission(texts, found, report)
    return tuple(one.description for one in found)


def _warn_of_submission(texts: tuple[str, ...], found: list[Listener], report: Report) -> None:
    for text, one in zip(texts, found, strict=True):
        if one.port == SUBMISSION_PORT:
            report.warn(
                f"nobody but loopback can log in on {text}: there is no certificate in tls.ini,"
                " and auth_allow_plaintext is not true"
            )


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
