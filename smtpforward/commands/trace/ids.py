"""The id of a transaction, out of what people have at hand that holds one."""

import re

_ID = r"[0-9A-F]{1,20}"
# As it stands: alone; at the end of an answer; in the Message-ID of a bounce, in its text, in a
# Received line; in a line of the log.
_FORMS = (
    re.compile(rf"({_ID})"),
    re.compile(rf".*\[({_ID})\]"),
    re.compile(rf"<?({_ID})@[^\s@>]+>?"),
    re.compile(rf".*(?:\bgave it the id|\bid=|\bid) ?({_ID})\b.*", re.DOTALL),
)


def id_in(text: str) -> str:
    """The id that ``text`` holds: an answer of the gateway's, a line of the log or of a bounce.

    ``text`` itself, without blanks around, where it holds none: a backend's own id may be meant.
    """
    text = text.strip()
    for form in _FORMS:
        match = form.fullmatch(text)
        if match is not None:
            return match[1]
    return text
