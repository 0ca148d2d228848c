"""The parameters of MAIL and RCPT: which are offered, and what their values may be."""

from collections.abc import Mapping

from smtpforward import answers
from smtpforward.reply import Reply

_BODIES = frozenset({b"7BIT", b"8BITMIME"})


def refuse_mail(parameters: Mapping[bytes, bytes], max_bytes: int) -> Reply | None:
    """The reply to MAIL parameters that cannot be taken, or ``None``.

    ``SIZE`` is RFC 1870, ``BODY`` RFC 6152; ``AUTH`` (RFC 4954 5) is accepted and means nothing.
    """
    for keyword, value in parameters.items():
        if keyword == b"SIZE":
            if not value.isdigit() or len(value) > 20:
                return answers.BAD_PARAMETER
            if int(value) > max_bytes:
                return answers.TOO_LARGE
        elif keyword == b"BODY":
            if value.upper() not in _BODIES:
                return answers.BAD_PARAMETER
        elif keyword != b"AUTH":
            return answers.UNKNOWN_PARAMETER
    return None


def refuse_rcpt(parameters: Mapping[bytes, bytes]) -> Reply | None:
    """The reply to RCPT parameters: none is offered."""
    return answers.UNKNOWN_PARAMETER if parameters else None
