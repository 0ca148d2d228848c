"""A login at a backend, as the lines that one mechanism sends: PLAIN (RFC 4616) or LOGIN.

Pure. The lines hold the password in base64: they go to the backend and nowhere else. A backend
that echoes them, as some do with a command that they do not know, is not quoted.
"""

import base64
from collections.abc import Sequence

from smtpforward.job import Credentials
from smtpforward.reply import Reply

COMMAND_LENGTH = 512  # with CRLF (RFC 5321 4.5.3.1.4)
HIDDEN = b"***"


def lines(credentials: Credentials) -> list[bytes]:
    """The AUTH command, then what answers each 334, in order.

    :raise ValueError: for a mechanism that is not known here.
    """
    user, password = (text.encode("utf-8") for text in (credentials.user, credentials.password))
    if credentials.mechanism == "LOGIN":
        return [b"AUTH LOGIN", base64.b64encode(user), base64.b64encode(password)]
    if credentials.mechanism != "PLAIN":
        raise ValueError(f"no such mechanism: {credentials.mechanism}")
    response = base64.b64encode(b"\0%b\0%b" % (user, password))
    command = b"AUTH PLAIN " + response
    # RFC 4954 4: a response that does not fit the command waits to be asked for.
    return [command] if len(command) + 2 <= COMMAND_LENGTH else [b"AUTH PLAIN", response]


def without_secrets(credentials: Credentials, lines_of_reply: Sequence[bytes]) -> tuple[bytes, ...]:
    """What a backend says, without anything of the login that it repeats."""
    secrets = [line.removeprefix(b"AUTH PLAIN ") for line in lines(credentials)]
    secrets = [secret for secret in secrets if not secret.startswith(b"AUTH ")]
    secrets.append(credentials.password.encode("utf-8"))
    cleaned = []
    for line in lines_of_reply:
        for secret in secrets:
            line = line.replace(secret, HIDDEN)
        cleaned.append(line)
    return tuple(cleaned)


def refusal(credentials: Credentials, code: int, text: bytes) -> Reply:
    """A backend's reply to a login, fit for the log."""
    return Reply(code, without_secrets(credentials, text.split(b"\n")))
