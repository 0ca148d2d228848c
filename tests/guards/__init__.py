"""What keeps each known fault away, and the test that notices when it is gone."""

import attrs


@attrs.frozen
class Guard:
    """One guard in the source.

    :ivar test: the test that fails without it, as trial names it.
    :ivar file: where the guard stands, from the project's root.
    :ivar before: its text, which stands there just once.
    :ivar after: what it is replaced by to take it out.
    """

    test: str
    file: str
    before: str
    after: str
