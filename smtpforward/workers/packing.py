"""Settings as they travel to a worker: many sections in small parts.

To unpickle is one call of C, during which no other thread of the worker goes on, and a mail of a
hundred thousand sections would wait for it. Each part takes about a millisecond, and the sections
themselves are made in Python, which gives way. What sections share is sent once, and shared again.
"""

import pickle
from collections.abc import Iterable, Iterator
from io import BytesIO
from itertools import islice

from attrs import astuple, evolve, field, frozen

from smtpforward.config.settings import Route, Settings

PART = 1000  # sections


@frozen
class _Part:
    """Some sections.

    :ivar keys: under which they are found. ``names``: as they are written.
    :ivar contents: of each the number of what it holds.
    :ivar new: what is held for the first time, in the order of the numbers.
    """

    keys: list[str] = field(factory=list)
    names: list[str] = field(factory=list)
    contents: list[int] = field(factory=list)
    new: list[tuple[object, ...]] = field(factory=list)


def packed(settings: Settings) -> bytes:
    """``settings``, for :func:`unpacked`."""
    file = BytesIO()
    # One for all parts: it keeps in mind what it has written already.
    pickler = pickle.Pickler(file, pickle.HIGHEST_PROTOCOL)
    pickler.dump(evolve(settings, routes=evolve(settings.routes, sections={})))
    for part in _parts(settings.routes.sections.items()):
        pickler.dump(part)
    pickler.dump(None)
    return file.getvalue()


def _parts(sections: Iterable[tuple[str, Route]]) -> Iterator[_Part]:
    numbers: dict[tuple[object, ...], int] = {}
    left = iter(sections)
    while some := list(islice(left, PART)):
        part = _Part()
        for key, route in some:
            name, *rest = astuple(route, recurse=False)
            content = tuple(rest)
            if content not in numbers:
                numbers[content] = len(numbers)
                part.new.append(content)
            part.keys.append(key)
            part.names.append(name)
            part.contents.append(numbers[content])
        yield part


def unpacked(data: bytes) -> Settings:
    """The settings that :func:`packed` was given. In a thread."""
    unpickler = pickle.Unpickler(BytesIO(data))  # noqa: S301 -- as in channel.py
    settings: Settings = unpickler.load()
    sections: dict[str, Route] = {}
    contents: list[tuple[object, ...]] = []
    while part := unpickler.load():
        contents += part.new
        for key, name, number in zip(part.keys, part.names, part.contents, strict=True):
            sections[key] = Route(name, *contents[number])
    return evolve(settings, routes=evolve(settings.routes, sections=sections))
