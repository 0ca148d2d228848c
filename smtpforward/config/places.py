"""Where each key of each section stands: by file, section and key the number of a line.

A place is made when it is asked for: there is one for each line of all files, and few are wanted.
"""

from collections.abc import Iterator, Mapping

from smtpforward.config.problems import Place


class Places(Mapping[tuple[str, str], Place]):
    """By ``(section, key)``; a section's header as ``(section, "")``. Of several, the first."""

    def __init__(self) -> None:
        self._files: list[tuple[str, dict[str, dict[str, int]]]] = []

    def begin(self, path: str) -> None:
        """What is added from now on stands in this file."""
        self._files.append((path, {}))

    def add(self, section: str, key: str, line: int) -> None:
        """``key`` stands on this line, counted from 1, if it stands nowhere yet."""
        self._files[-1][1].setdefault(section, {}).setdefault(key, line)

    def sets(self, section: str, key: str) -> bool:
        """Whether the key is set, or the header there."""
        return any(key in lines.get(section, ()) for _, lines in self._files)

    def __getitem__(self, asked: tuple[str, str]) -> Place:
        section, key = asked
        for path, lines in self._files:
            line = lines.get(section, {}).get(key)
            if line is not None:
                return Place(path, line)
        raise KeyError(asked)

    def __contains__(self, asked: object) -> bool:
        return isinstance(asked, tuple) and self.sets(*asked)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        found: dict[tuple[str, str], None] = {}
        for _, lines in self._files:
            for name, keys in lines.items():
                found.update(dict.fromkeys((name, key) for key in keys))
        return iter(found)

    def __len__(self) -> int:
        return sum(1 for _ in self)
