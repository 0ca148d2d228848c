"""``auth_type``, ``auth_user`` and ``auth_pass`` towards a backend to :class:`Credentials`.

Rules: all three or none. ``auth_pass_file`` stands for an ``auth_pass`` and cannot stand beside
one. No message shows the name or the password.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

from smtpforward.config.files import read_secret
from smtpforward.config.problems import Place, Report
from smtpforward.config.values import WrongValueError
from smtpforward.job import Credentials

TYPE, USER, PASSWORD, FILE = "auth_type", "auth_user", "auth_pass", "auth_pass_file"
KEYS = (TYPE, USER, PASSWORD, FILE)
Values = Mapping[str, Any]
At = Callable[[str], Place | None]


def with_password(own: Values, at: At, root: str, report: Report) -> Values:
    """What one section sets, the password file read.

    :param at: where the section sets a key, if it does.
    """
    path, place = own.get(FILE), at(FILE)
    if path is None or place is None:
        return own
    values = {key: value for key, value in own.items() if key != FILE}
    other = at(PASSWORD)
    if other is not None:
        message = f"{PASSWORD} is set as well, on line {other.line}"
        report.add(place, FILE, message, "only one of the two")
        return values
    full = os.path.join(root, path)
    report.reads(full)
    try:
        values[PASSWORD] = read_secret(full, "the password alone")
    except WrongValueError as error:
        report.add(place, FILE, error.message, error.remedy)
        # Nothing built from it is used.
        values[PASSWORD] = "-"
    return values


def check(values: Values, at: At, report: Report) -> None:
    """Report a login that is not complete, at the section that gives a part of it.

    :param values: what holds for the section, inherited or its own.
    """
    given = [key for key in (TYPE, USER, PASSWORD) if values.get(key)]
    missing = [key for key in (TYPE, USER, PASSWORD) if not values.get(key)]
    set_here = [key for key in KEYS if at(key)]
    # A value that is wrong is missing here, and reported already.
    wrong = [key for key in missing if at(key) and values.get(key) is None]
    if not (given and missing and set_here) or wrong:
        return
    place = at(set_here[0])
    assert place is not None
    message = f"{missing[0]} is not set, and without it nobody logs in"
    remedy = "auth_type=plain or auth_type=login" if missing[0] == TYPE else f"{missing[0]}=..."
    report.add(place, set_here[0], message, f"{remedy}, or none of auth_type, auth_user, auth_pass")


def build(values: Values) -> Credentials | None:
    """The login, where all of it is there."""
    parts = [values.get(key) for key in (TYPE, USER, PASSWORD)]
    return Credentials(str(parts[0]).upper(), str(parts[1]), str(parts[2])) if all(parts) else None
