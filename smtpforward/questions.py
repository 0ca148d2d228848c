"""What the processes of a gateway are asked when somebody looks: values, and so are the answers.

An answer is made of what JSON has, or a :class:`Refused`. Who asks and who answers stands in
``web/``; with ``nodes`` the parent's questions go to the workers as they are.
"""

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

PATIENCE = 2.0


@frozen
class Question:
    """One.

    :ivar kind: a word. ``about``: what it takes beside, by name.
    :ivar of_one: whether one process can answer for all: what it asks of they share.
    :ivar patience: seconds after which nobody waits for the answer any more.
    """

    kind: str
    about: Mapping[str, Any] = field(factory=dict)
    of_one: bool = False
    patience: float = PATIENCE


@frozen
class Refused:
    """An answer that is none.

    :ivar code: of HTTP. ``why``: for people.
    """

    code: int
    why: str
