"""``http.ini`` to what is shown of the gateway over HTTP; nothing where it says no ``listen``.

Rules: a name and a password are given together. What is listened on from other hosts without them
gives a warning, and so does a queue that anyone may change.
"""

import ipaddress
import os
import re
from importlib.util import find_spec
from typing import Any

from smtpforward import passwords
from smtpforward.config.dialect import MAIN
from smtpforward.config.files import read_secret
from smtpforward.config.listen import listener
from smtpforward.config.problems import Place, Report
from smtpforward.config.reading import Reading
from smtpforward.config.settings import HTTP
from smtpforward.config.values import WrongValueError

FILE = "http.ini"
DEFAULT_PORT = 80
PACKAGE = "prometheus_client"
INTERFACE = re.compile(r"interface=((?:\\.|[^:\\])*)")


def build(reading: Reading, path: str, report: Report) -> HTTP | None:
    """What ``http.ini`` says, read from ``path``."""
    main: dict[str, Any] = dict(reading.values[MAIN])
    places = {key: place for (section, key), place in reading.places.items() if section == MAIN}
    if not main["listen"]:
        return None
    if find_spec(PACKAGE) is None:
        message = "needs the package prometheus-client, which is not installed"
        remedy = "pip install 'smtpforward[metrics]', or no listen"
        report.add(places.get("listen", Place(path)), "listen", message, remedy)
    descriptions = tuple(listener(text, DEFAULT_PORT).description for text in main["listen"])
    password = _password(main, places, os.path.dirname(path), report)
    user = main["user"] or ""
    if bool(user) != bool(password):
        given, missing = ("user", "password") if user else ("password", "user")
        place = places.get(given) or places.get("password_file") or Place(path)
        report.add(place, given, f"{missing} is not set", "both of them, or neither")
    if password and not passwords.is_hash(password):
        report.warn(f"{Place(path)}: the password is not hashed; smtpforward hash-password does it")
    for text, description in zip(main["listen"], descriptions, strict=True):
        if not user and not _is_local(description):
            report.warn(
                f"{Place(path)}: whoever reaches {text} sees the mail that passes: user is not set"
            )
    changes = bool(main["queue_changes"])
    if changes and not user:
        place = places.get("queue_changes", Place(path))
        report.warn(f"{place}: whoever reaches the page may change the queue: user is not set")
    return HTTP(descriptions, user, password, changes)


def _password(main: dict[str, Any], places: dict[str, Place], root: str, report: Report) -> str:
    name = main["password_file"]
    if name is None:
        return main["password"] or ""
    place = places["password_file"]
    if main["password"]:
        report.add(place, "password_file", "password is set as well", "only one of the two")
        return "-"
    full = os.path.join(root, name)
    report.reads(full)
    try:
        secret = read_secret(full, "the password or its hash alone")
        fault = passwords.fault(secret)
        if fault is not None:
            raise WrongValueError(fault, "what smtpforward hash-password prints, or a password")
    except WrongValueError as error:
        report.add(place, "password_file", error.message, error.remedy)
        return "-"
    return secret


def _is_local(description: str) -> bool:
    """Whether only this host reaches an endpoint, as far as its description tells."""
    if description.startswith("unix:"):
        return True
    match = INTERFACE.search(description)
    address = match[1].replace("\\:", ":") if match else ""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
