"""What parent and workers say to each other: values, each sent whole.

Slots: a worker wants some, is granted some, gives some back. A number in flight belongs to whoever
is on its way to get it, so both sides may speak at once and the sum is never exceeded.
"""

from collections.abc import Hashable
from typing import Any

from attrs import field, frozen

from smtpforward.config.settings import Settings
from smtpforward.figures import Observation
from smtpforward.questions import Question


@frozen
class Start:
    """Parent: take mail.

    :ivar number: of this worker, from 1. ``nodes``: how many there are.
    :ivar listeners: file descriptors of listening sockets.
    """

    number: int
    nodes: int
    settings: Settings = field(repr=False)
    listeners: tuple[int, ...]


@frozen
class Apply:
    """Parent: these settings hold from now on."""

    settings: Settings = field(repr=False)


@frozen
class Stop:
    """Parent: accept nothing more, let what is in flight end, and go."""


@frozen
class Want:
    """Worker: jobs wait because the share of ``key`` is too small.

    :ivar bound: of the whole gateway.
    :ivar target: how many slots it would use in all; 0: what it has is enough.
    """

    key: Hashable
    bound: int
    target: int


@frozen
class Give:
    """Worker: so many slots are free, and yours again. It ends what a :class:`Want` said."""

    key: Hashable
    slots: int


@frozen
class Grant:
    """Parent: so many slots more are yours. It ends what a :class:`Cap` said."""

    key: Hashable
    slots: int


@frozen
class Cap:
    """Parent: give back what you have beyond ``slots``, as soon as messages in flight allow."""

    key: Hashable
    slots: int


@frozen
class Scarce:
    """Parent: whether others wait for slots, so that none is to lie idle."""

    key: Hashable
    scarce: bool


@frozen
class Told:
    """Worker, through the parent, to all others: a fact of ``kind``."""

    kind: str
    fact: tuple[Any, ...] = field(repr=False)


@frozen
class Ask:
    """Parent: what is to be seen of you? ``number``: of the question."""

    number: int


@frozen
class Seen:
    """Worker: the answer to the question of that number."""

    number: int
    observation: Observation = field(repr=False)


@frozen
class Put:
    """Parent: a question to you. ``number``: of its round."""

    number: int
    question: Question


@frozen
class Said:
    """Worker: the answer to the question of that round."""

    number: int
    answer: Any = field(repr=False)


Message = Start | Apply | Stop | Want | Give | Grant | Cap | Scarce | Told | Ask | Seen | Put | Said
