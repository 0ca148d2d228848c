"""The API of a gateway that runs on this host, asked over HTTP where ``http.ini`` says it is.

Failure policy: whoever cannot be asked is a :class:`NotAskedError` with an exit code: 69 where
nobody answers, 77 where the login is missing or wrong, 78 where ``http.ini`` tells no address.
"""

import argparse
import base64
import http.client
import json
import os
import socket
from collections.abc import Iterator
from typing import Any

from smtpforward import passwords
from smtpforward.commands import settings as directory
from smtpforward.config.files import read_secret
from smtpforward.config.listen import Door, door
from smtpforward.config.settings import HTTP
from smtpforward.config.values import WrongValueError

EX_NOINPUT = 66
EX_UNAVAILABLE = 69
EX_NOPERM = 77
PATIENCE = 15.0
MOST = 64 * 1024 * 1024
PASSWORD = "SMTPFORWARD_HTTP_PASSWORD"  # noqa: S105 -- the name of a variable


class NotAskedError(Exception):
    """There is no answer; its text says why. ``code``: the exit code."""

    def __init__(self, text: str, code: int = EX_UNAVAILABLE) -> None:
        super().__init__(text)
        self.code = code


class _Connection(http.client.HTTPConnection):
    """To a door."""

    def __init__(self, place: Door) -> None:
        super().__init__(place.host or "localhost", place.port or 80, timeout=PATIENCE)
        self._path = place.path

    def connect(self) -> None:
        """See HTTPConnection."""
        if not self._path:
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(self._path)


class API:
    """What answers at one of ``doors``, tried in order.

    :param login: name and password; ``None`` for no login.
    """

    def __init__(self, doors: tuple[Door, ...], login: tuple[str, str] | None = None) -> None:
        self._doors = doors
        self._headers = {"Accept": "application/json"}
        if login is not None:
            token = base64.b64encode(":".join(login).encode("utf-8")).decode("ascii")
            self._headers["Authorization"] = f"Basic {token}"

    def get(self, path: str) -> Any:
        """The document at ``path``; ``None`` where there is none of that name (404).

        :raise NotAskedError: when nobody gives an answer that can be used.
        """
        problems = []
        for place in self._doors:
            try:
                code, body = self._asked(place, path)
            except (OSError, http.client.HTTPException) as error:
                problems.append(f"{place}: {error or type(error).__name__}")
                continue
            return _document(place, code, body)
        raise NotAskedError(f"no gateway answers: {'; '.join(problems)}")

    def _asked(self, place: Door, path: str) -> tuple[int, bytes]:
        connection = _Connection(place)
        try:
            connection.request("GET", path, headers=self._headers)
            response = connection.getresponse()
            return response.status, response.read(MOST)
        finally:
            connection.close()


def _document(place: Door, code: int, body: bytes) -> Any:
    if code in (401, 403):
        told = "the login is wrong" if code == 401 else "it does not allow that"
        raise NotAskedError(f"{place}: {told}", EX_NOPERM)
    if code == 404:
        return None
    try:
        document = json.loads(body)
    except ValueError:
        raise NotAskedError(f"{place}: {code}, and no JSON: no smtpforward is there") from None
    if code != 200:
        why = document.get("error", "") if isinstance(document, dict) else ""
        raise NotAskedError(f"{place}: {code} {why}")
    return document


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Offer what says how to log in."""
    parser.add_argument(
        "--password-file",
        metavar="FILE",
        help=f"the password of http.ini, which may hold its hash alone; or ${PASSWORD}",
    )


def api_of(config: str, arguments: argparse.Namespace) -> API:
    """The API of the gateway whose settings are in the directory ``config``.

    :raise NotAskedError: when ``http.ini`` does not tell where it is, or how to log in.
    """
    told = directory.read(config).http
    if told is None:
        text = f"{os.path.join(config, 'http.ini')}: listen is not set, so no gateway can be asked"
        raise NotAskedError(text, directory.EX_CONFIG)
    doors = tuple(_doors(told))
    if not doors:
        text = f"{os.path.join(config, 'http.ini')}: listen does not tell where the gateway listens"
        raise NotAskedError(text, directory.EX_CONFIG)
    return API(doors, _login(told, arguments.password_file))


def _doors(told: HTTP) -> Iterator[Door]:
    for description in told.listen:
        found = door(description)
        if found is not None:
            yield found


def _login(told: HTTP, file: str | None) -> tuple[str, str] | None:
    if not told.user:
        return None
    if file is not None:
        return told.user, _read(file)
    given = os.environ.get(PASSWORD)
    if given:
        return told.user, given
    if passwords.is_hash(told.password):
        text = f"http.ini holds only a hash: --password-file FILE or ${PASSWORD} has the password"
        raise NotAskedError(text, EX_NOPERM)
    return told.user, told.password


def _read(file: str) -> str:
    try:
        return read_secret(file, "the password alone")
    except WrongValueError as error:
        raise NotAskedError(f"{file}: {error.message}; {error.remedy}", EX_NOINPUT) from None
