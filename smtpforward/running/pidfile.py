"""The file with twistd's process id, while one gateway hands over to the next.

twistd does not start while the file names a process that lives, and removes it at its end: so the
one that hands over takes it away before, and leaves it alone afterwards.
"""

import os
from collections.abc import MutableMapping
from typing import Any


class PidFile:
    """That file, if twistd has one.

    :param options: of twistd itself; ``None`` where something else runs the service.
    """

    def __init__(self, options: MutableMapping[str, Any] | None) -> None:
        self._options = options if options is not None else {}

    @property
    def _path(self) -> str:
        return self._options.get("pidfile") or ""

    def give_way(self) -> None:
        """Let another twistd make it.

        :raise OSError: when it cannot be removed.
        """
        if self._path:
            os.unlink(self._path)

    def take_back(self) -> None:
        """No other twistd came to be."""
        if self._path:
            with open(self._path, "w", encoding="ascii") as file:
                file.write(str(os.getpid()))

    def leave(self) -> None:
        """It is another twistd's."""
        self._options["pidfile"] = ""
