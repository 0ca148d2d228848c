"""The address of a queue in PostgreSQL: ``postgresql://user@host/database?sslmode=verify-full``.

It is libpq's, with all of its parameters, environment variables and password files, and may name
several hosts. What it does not say of time is set so that a server which has gone is found out.

Failure policy: an address that is none raises ValueError without a word of it, as it may hold a
password; nothing else of this package ever shows one.
"""

from typing import Any

from attrs import field, frozen
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

PREFIXES = ("postgresql://", "postgres://")
# Seconds, but for the last, which is milliseconds that data sent may stay unacknowledged.
DEFAULTS: dict[str, str | int] = {
    "connect_timeout": 5,
    "application_name": "smtpforward",
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15000,
}


@frozen
class Address:
    """Where a queue is.

    :ivar place: for people: nothing in it is secret. ``conninfo``: what libpq is given.
    """

    place: str
    conninfo: str = field(repr=False)

    @classmethod
    def of(cls, text: str) -> "Address":
        """What ``text`` means.

        :raise ValueError: when it is no address of PostgreSQL.
        """
        given = {name: value for name, value in _given(text).items() if value is not None}
        parameters = {**DEFAULTS, **given, "client_encoding": "utf8"}
        return cls(_place(given), make_conninfo("", **parameters))


def _given(address: str) -> dict[str, Any]:
    if not address.startswith(PREFIXES):
        raise ValueError("begins with none of " + ", ".join(PREFIXES))
    try:
        return conninfo_to_dict(address)
    except ProgrammingError:
        # libpq's own words quote from it.
        raise ValueError(
            "no address that PostgreSQL's library understands; it is like"
            " postgresql://user@host:5432/database?sslmode=verify-full, with what is special in a"
            " password as %XX; an unknown parameter is a mistake too"
        ) from None


def _place(given: dict[str, Any]) -> str:
    host = given.get("host", given.get("hostaddr", "the default host"))
    port = f":{given['port']}" if "port" in given else ""
    return f"PostgreSQL at {host}{port}, database {given.get('dbname', 'of the user')}"
