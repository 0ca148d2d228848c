"""Which files a configuration was read from, and whether they have changed since.

A stamp is taken before its file is read: what changes in between is seen as a change later.
"""

import os
from collections.abc import Iterable, Mapping

# Time of the content and of the inode in nanoseconds, size in bytes, inode; ``None`` where there is
# no file. The inode's time tells of permissions that have been put right.
Stamp = tuple[int, int, int, int] | None
Stamps = Mapping[str, Stamp]


def stamp(path: str) -> Stamp:
    """What ``path``, or what it points to, is now."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)


def changed(stamps: Stamps) -> bool:
    """Whether any of the files is not what it was."""
    return any(stamp(path) != known for path, known in stamps.items())


def directories(stamps: Stamps) -> Iterable[str]:
    """Where a change of any of the files shows.

    What holds them, or will hold them once it is there; those that are directories themselves; and
    what holds a symbolic link to a directory.
    """
    found = {path for path in stamps if os.path.isdir(path)}
    for path in stamps:
        found.add(_existing(os.path.dirname(os.path.abspath(path))))
    links = [path for path in found if os.path.islink(path)]
    return sorted(found.union(map(os.path.dirname, links)))


def _existing(directory: str) -> str:
    """``directory``, or what of its path is there."""
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    return directory
