"""The states of a client's conversation: what the next bytes from it are."""

import enum


class Phase(enum.Enum):
    """What the next bytes from the client are."""

    ANSWERING = "they wait: an answer is owed"
    COMMAND = "a command line"
    DATA = "message data"
    CHUNK = "the octets of a chunk"
    LOGIN = "a line of a login"
    UNHEARD = "they wait: the client does not read its answers"
    CLOSING = "of no interest any more"


WAITING = frozenset({Phase.ANSWERING, Phase.UNHEARD})
