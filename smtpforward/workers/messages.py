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
from smtpforward.workers.packing import packed, unpacked

PIECE = 2**16


@frozen
class Start:
    """Parent: take mail.

    :ivar number: of this worker, from 1. ``nodes``: how many there are.
    :ivar listeners: file descriptors of listening sockets.
    :ivar succeeds: whether another gateway hands over to this one, and may still deliver mail.
    """

    number: int
    nodes: int
    settings: Settings = field(repr=False)
    listeners: tuple[int, ...]
    succeeds: bool = False


@frozen
class Piece:
    """Parent: what comes before the data of the next ``Apply``."""

    data: bytes = field(repr=False)


@frozen
class Apply:
    """Parent: these settings hold from now on.

    :ivar data: the settings, packed by themselves: many of them take long, and both ends do that
        in a thread.
    """

    data: bytes = field(repr=False)

    @classmethod
    def of(cls, settings: Settings) -> "Apply":
        """The message with these settings."""
        return cls(packed(settings))

    def pieces(self) -> "list[Piece | Apply]":
        """The same in several messages, which a worker takes one by one between its other work."""
        cuts = range(0, max(1, len(self.data)), PIECE)
        *first, last = [self.data[at : at + PIECE] for at in cuts]
        return [*map(Piece, first), Apply(last)]

    @property
    def settings(self) -> Settings:
        """What it brings."""
        return unpacked(self.data)


@frozen
class Up:
    """Worker: mail is taken."""


@frozen
class Stop:
    """Parent: accept nothing more, let what is in flight end, and go.

    :ivar leaving: others take mail on the same sockets, so clients that are here may send more.
    """

    leaving: bool = False


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


Message = (
    Start
    | Piece
    | Apply
    | Up
    | Stop
    | Want
    | Give
    | Grant
    | Cap
    | Scarce
    | Told
    | Ask
    | Seen
    | Put
    | Said
)
