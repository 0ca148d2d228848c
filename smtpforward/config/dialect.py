"""Haraka's ini dialect, translated into what ConfigObj reads.

Rules: a value is literal from the ``=`` to the end of its line, without blanks at its ends;
comments are whole lines that begin with ``;`` or ``#``; a line that ends in a backslash goes on
in the next one that is no comment; ``key[]=value`` adds to a list; what stands before the first
section belongs to ``[main]``. Names and values are percent-encoded for ConfigObj, whose own
quotes, comments and lists would change them, and decoded by :func:`decode`.

What breaks the rules is a problem, and reading goes on. A broken line is never shown: it may hold
a secret.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import quote, unquote

from attrs import define, field
from configobj import ConfigObj

from smtpforward.config.files import BLANKS, COMMENTS, lines_of, read_text
from smtpforward.config.places import Places
from smtpforward.config.problems import Place, Report

MAIN = "main"
HEADER = re.compile(r"[ \t]*\[[ \t]*([^\]]*?)[ \t]*\][ \t]*")
PLAIN = re.compile(r"[A-Za-z0-9_.-]*")
# Names that mean something to ConfigObj: in a file they are encoded.
RESERVED = frozenset({"DEFAULT", "__many__", "___many___"})


@define
class Document:
    """What one or several files say, read as one.

    :ivar sections: by name, then by key; a value, or a list of them. One without a name is a
        problem, and its keys go nowhere.
    :ivar places: of each ``(section, key)``, and of a section's header as ``(section, "")``.
    :ivar bare: the sections whose lines may be keys alone.
    """

    sections: dict[str, dict[str, str | list[str]]] = field(factory=lambda: {MAIN: {}}, repr=False)
    places: Places = field(factory=Places)
    bare: frozenset[str] = frozenset()

    def read(self, path: str, report: Report) -> bool:
        """Add what the file says; whether there was one."""
        text = read_text(path, report)
        if text is None:
            return False
        self.places.begin(path)
        section = MAIN
        for number, line, header in _logical_lines(path, text, report):
            if header:
                section = header[1]
                self._open(section, path, number, report)
            else:
                self._assign(section, line, path, number, report)
        return True

    def _open(self, section: str, path: str, number: int, report: Report) -> None:
        before = self.places.get((section, "")) if section in self.sections else None
        place = Place(path, number)
        if not section:
            report.add(place, None, "the section has no name", "a name between the brackets")
        elif before and before.file == place.file:
            report.add(
                place,
                None,
                f"section [{section}] was given before, on line {before.line}",
                "one section that holds the keys of both",
            )
        self.places.add(section, "", number)
        self.sections.setdefault(section, {})

    def _assign(self, section: str, line: str, path: str, number: int, report: Report) -> None:
        name, equals, value = line.partition("=")
        key = name.strip(BLANKS)
        if key and not equals and section in self.bare:
            self.sections[section].setdefault(key, "")
            self.places.add(section, key, number)
            return
        many = key.endswith("[]")
        key = key.removesuffix("[]")
        if not equals or not key:
            report.add(Place(path, number), None, *_broken(line))
            return
        held = self.sections[section].get(key)
        value = value.strip(BLANKS)
        if many and isinstance(held, list):
            held.append(value)
        elif held is not None:
            before = self.places[section, key]
            where = f"on line {before.line}" if before.file == path else f"at {before}"
            report.add(
                Place(path, number), key, f"was given before, {where}", "only one of the two"
            )
        else:
            self.sections[section][key] = [value] if many else value
            self.places.add(section, key, number)

    def config(self, names: Iterable[str] | None = None) -> ConfigObj:
        """These sections, or all, as ConfigObj has them, names and values encoded."""
        chosen = filter(None, self.sections if names is None else names)
        return as_config((name, self.sections[name].items()) for name in chosen)


def as_config(
    sections: Iterable[tuple[str, Iterable[tuple[str, str | Sequence[str]]]]],
) -> ConfigObj:
    """Sections with their keys and values as ConfigObj has them, names and values encoded."""
    lines = []
    for section, values in sections:
        lines.append(f"[{encoded_name(section)}]")
        lines += [f"{encoded_name(key)}={_encoded(value)}" for key, value in values]
    return ConfigObj(lines, interpolation=False, list_values=False, raise_errors=True)


def _broken(line: str) -> tuple[str, str]:
    if line.lstrip(BLANKS).startswith("["):
        return "the section's header has no end", "[name] alone on its line"
    if "=" in line:
        return "no key stands before the =", "key=value"
    return "the line has no =", "key=value, a [section], or a comment that begins with ; or #"


def _logical_lines(
    path: str, text: str, report: Report
) -> Iterator[tuple[int, str, re.Match[str] | None]]:
    """Number and text of each line that says something, continuations joined to their first.

    With each the match of ``HEADER``, where it is one.
    """
    first, held = 0, ""
    for number, line in enumerate(lines_of(text), 1):
        bare = line.strip(BLANKS)
        if bare.startswith(COMMENTS):
            continue
        header = HEADER.fullmatch(bare) if bare.startswith("[") else None
        if first and (header or not bare):
            _dangling(Place(path, first), report)
            yield first, held, _header(held)
            first, held = 0, ""
        if bare.endswith("\\") and not header:
            first, held = first or number, held + line.rstrip(BLANKS)[:-1]
        elif first:
            yield first, held + line, _header(held + line)
            first, held = 0, ""
        elif bare:
            yield number, line, header
    if first:
        _dangling(Place(path, first), report)
        yield first, held, _header(held)


def _header(line: str) -> re.Match[str] | None:
    return HEADER.fullmatch(line)


def _dangling(place: Place, report: Report) -> None:
    report.add(
        place,
        None,
        "a backslash at the end of the line, and nothing that continues it",
        "the rest of the value on the next line, or no backslash at the end",
    )


def _encode(text: str) -> str:
    return text if PLAIN.fullmatch(text) else quote(text, safe="")


def encoded_name(name: str) -> str:
    """A section's or a key's name in ConfigObj."""
    return f"%{ord(name[0]):02X}{name[1:]}" if name in RESERVED else _encode(name)


def _encoded(value: str | Sequence[str]) -> str:
    # A comma of a value is encoded, so one that is not belongs to a list; the last one says that
    # even a single member is a list.
    return _encode(value) if isinstance(value, str) else ",".join(map(_encode, value)) + ","


def decode(text: str) -> str | list[str]:
    """The value, or the list, that the file holds."""
    return [unquote(item) for item in text.split(",")[:-1]] if "," in text else unquote(text)
