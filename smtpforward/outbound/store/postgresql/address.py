"""The address of a queue in PostgreSQL: ``postgresql://user@host/database?sslmode=verify-full``.

It is libpq's, with all of its parameters, environment variables and password files, and may name
several hosts. What it does not say of time is set so that a server which has gone is found out.

Failure policy: an address that is none raises ValueError without a word of it, as it may hold a
password; nothing else of this package ever shows one.
"""

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

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

Parameters = dict[str, str | int]


def parameters_of(address: str) -> Parameters:
    """What to connect with.

    :raise ValueError: when ``address`` is none of PostgreSQL.
    """
    if not address.startswith(PREFIXES):
        raise ValueError("begins with none of " + ", ".join(PREFIXES))
    try:
        given = conninfo_to_dict(address)
    except ProgrammingError:
        # libpq's own words quote from it.
        raise ValueError(
            "no address that PostgreSQL's library understands; it is like"
            " postgresql://user@host:5432/database?sslmode=verify-full, with what is special in a"
            " password as %XX; an unknown parameter is a mistake too"
        ) from None
    return {
        **DEFAULTS,
        **{name: value for name, value in given.items() if value is not None},
        "client_encoding": "utf8",
    }


def place(parameters: Parameters) -> str:
    """Where that is, for people: nothing in it is secret."""
    host = parameters.get("host", parameters.get("hostaddr", "the default host"))
    port = f":{parameters['port']}" if "port" in parameters else ""
    return f"PostgreSQL at {host}{port}, database {parameters.get('dbname', 'of the user')}"
