"""The parameters of MAIL and RCPT: which are offered, and what their values may be.

``SIZE`` is RFC 1870, ``BODY`` RFC 6152, ``SMTPUTF8`` RFC 6531, ``RET``, ``ENVID``, ``NOTIFY`` and
``ORCPT`` are RFC 3461; ``AUTH`` (RFC 4954 5) is checked and means nothing. No value that is passed
on holds a control character, encoded or not.
"""

import re
from collections.abc import Callable, Mapping

from smtpforward import answers
from smtpforward.reply import Reply

# RFC 3461 4: printable, ``+`` and ``=`` encoded; a control character may not be, encoded either.
_XTEXT = rb"(?:[\x21-\x2a\x2c-\x3c\x3e-\x7e]|\+(?:[2-6][0-9A-Fa-f]|7[0-9A-Ea-e]))+"
_IS_XTEXT = re.compile(_XTEXT)
# RFC 6533 3: the address type utf-8 may be UTF-8, which the grammar has checked by now.
_ORIGINAL = re.compile(
    rb"[a-z0-9][a-z0-9-]*;%b|utf-8;(?:[\x80-\xff]|%b)+" % (_XTEXT, _XTEXT), re.IGNORECASE
)
_BODIES = frozenset({b"7BIT", b"8BITMIME"})
_RETURNS = frozenset({b"FULL", b"HDRS"})
_NOTIFY_FOR = frozenset({b"SUCCESS", b"FAILURE", b"DELAY"})
MAX_ENVID = 100
MAX_ORCPT = 500
MAX_AUTH = 500


def _is_envelope_id(value: bytes) -> bool:
    return len(value) <= MAX_ENVID and _IS_XTEXT.fullmatch(value) is not None


def _is_identity(value: bytes) -> bool:
    return len(value) <= MAX_AUTH and _IS_XTEXT.fullmatch(value) is not None


def _is_notify(value: bytes) -> bool:
    words = value.upper().split(b",")
    return words == [b"NEVER"] or (_NOTIFY_FOR.issuperset(words) and len({*words}) == len(words))


def _is_original(value: bytes) -> bool:
    return len(value) <= MAX_ORCPT and _ORIGINAL.fullmatch(value) is not None


_OF_MAIL: Mapping[bytes, Callable[[bytes], bool]] = {
    b"SIZE": lambda value: value.isdigit() and len(value) <= 20,
    b"BODY": lambda value: value.upper() in _BODIES,
    b"SMTPUTF8": lambda value: not value,
    b"RET": lambda value: value.upper() in _RETURNS,
    b"ENVID": _is_envelope_id,
    b"AUTH": _is_identity,
}
_OF_RCPT: Mapping[bytes, Callable[[bytes], bool]] = {
    b"NOTIFY": _is_notify,
    b"ORCPT": _is_original,
}


_NONE: Mapping[bytes, Callable[[bytes], bool]] = {}


def refuse_mail(
    parameters: Mapping[bytes, bytes], max_bytes: int, extended: bool = True
) -> Reply | None:
    """The reply to MAIL parameters that cannot be taken, or ``None``.

    :param extended: whether the client said EHLO; HELO offers none.
    """
    if not parameters:
        return None
    refusal = _refuse(parameters, _OF_MAIL if extended else _NONE)
    if refusal is None and int(parameters.get(b"SIZE", 0)) > max_bytes:
        return answers.TOO_LARGE
    return refusal


def refuse_rcpt(parameters: Mapping[bytes, bytes], extended: bool = True) -> Reply | None:
    """The reply to RCPT parameters that cannot be taken, or ``None``."""
    return _refuse(parameters, _OF_RCPT if extended else _NONE) if parameters else None


def _refuse(
    parameters: Mapping[bytes, bytes], offered: Mapping[bytes, Callable[[bytes], bool]]
) -> Reply | None:
    for keyword, value in parameters.items():
        is_good = offered.get(keyword)
        if is_good is None:
            return answers.UNKNOWN_PARAMETER
        if not is_good(value):
            return answers.BAD_PARAMETER
    return None
