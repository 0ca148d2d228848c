"""What text outside ASCII may stand in an address (RFC 6531), and the A-labels of its domain.

Stricter than the RFC where another server, a log or a reader could see another address than was
meant: no control, blank, unassigned or private character, nothing invisible but the two joiners
that scripts need, and nothing whose compatibility form (NFKD) holds an ASCII sign or blank, such as
a full-width ``@``. A domain is of U-labels as RFC 5891 has them, without any mapping but that to
lower case. Local parts are not normalized: the backend knows its own.
"""

import unicodedata

import idna

_JOINERS = "\u200c\u200d"  # Persian and the scripts of India need them (RFC 5892 A.1, A.2)
_REFUSED = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"})
MAX_DOMAIN = 255


def is_fit(text: bytes) -> bool:
    """Whether ``text`` is UTF-8 and each of its characters outside ASCII may be in an address."""
    try:
        characters = text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return all(character.isascii() or _is_fit(character) for character in characters)


def _is_fit(character: str) -> bool:
    if character in _JOINERS:
        return True
    if unicodedata.category(character) in _REFUSED:
        return False
    parts = unicodedata.normalize("NFKD", character)
    return all(part.isalnum() for part in parts if part.isascii())


def a_labels(domain: bytes) -> str:
    """The ASCII form of a domain, lower case.

    :raise ValueError: when a label outside ASCII is no U-label, or the whole is too long.
    """
    # Label by label: idna would split at other dots, too.
    labels = domain.decode("utf-8").lower().split(".")
    name = ".".join(
        label if label.isascii() else idna.alabel(label).decode("ascii") for label in labels
    )
    if len(name) > MAX_DOMAIN:
        raise ValueError("domain too long")
    return name
