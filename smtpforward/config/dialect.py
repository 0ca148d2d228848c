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
from collections.abc import Iterator
from urllib.parse import quote, unquote

from attrs import define, field
from configobj import ConfigObj

from smtpforward.config.files import BLANKS, COMMENTS, NEWLINE, read_text
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
    places: dict[tuple[str, str], Place] = field(factory=dict)
    bare: frozenset[str] = frozenset()

    def read(self, path: str, report: Report) -> bool:
        """Add what the file says; whether there was one."""
        text = read_text(path, report)
        if text is None:
            return False
        section = MAIN
        for number, line in _logical_lines(path, text, report):
            place = Place(path, number)
            header = HEADER.fullmatch(line)
            if header:
                section = header[1]
                self._open(section, place, report)
            else:
                self._assign(section, line, place, report)
        return True

    def _open(self, section: str, place: Place, report: Report) -> None:
        before = self.places.get((section, ""))
        if not section:
            report.add(place, None, "the section has no name", "a name between the brackets")
        elif before and before.file == place.file:
            report.add(
                place,
                None,
                f"section [{section}] was given before, on line {before.line}",
                "one section that holds the keys of both",
            )
        self.places.setdefault((section, ""), place)
        self.sections.setdefault(section, {})

    def _assign(self, section: str, line: str, place: Place, report: Report) -> None:
        name, equals, value = line.partition("=")
        key = name.strip(BLANKS)
        if key and not equals and section in self.bare:
            self.sections[section].setdefault(key, "")
            self.places.setdefault((section, key), place)
            return
        many = key.endswith("[]")
        key = key.removesuffix("[]")
        if not equals or not key:
            report.add(place, None, *_broken(line))
            return
        held = self.sections[section].get(key)
        value = value.strip(BLANKS)
        if many and isinstance(held, list):
            held.append(value)
        elif held is not None:
            before = self.places[section, key]
            where = f"on line {before.line}" if before.file == place.file else f"at {before}"
            report.add(place, key, f"was given before, {where}", "only one of the two")
        else:
            self.sections[section][key] = [value] if many else value
            self.places[section, key] = place

    def config(self) -> ConfigObj:
        """The same as ConfigObj has it, names and values encoded."""
        lines = []
        for section, values in self.sections.items():
            if not section:
                continue
            lines.append(f"[{_encoded_name(section)}]")
            lines += [f"{_encoded_name(key)}={_encoded(value)}" for key, value in values.items()]
        return ConfigObj(lines, interpolation=False, list_values=False, raise_errors=True)


def _broken(line: str) -> tuple[str, str]:
    if line.lstrip(BLANKS).startswith("["):
        return "the section's header has no end", "[name] alone on its line"
    if "=" in line:
        return "no key stands before the =", "key=value"
    return "the line has no =", "key=value, a [section], or a comment that begins with ; or #"


def _logical_lines(path: str, text: str, report: Report) -> Iterator[tuple[int, str]]:
    """Number and text of each line that says something, continuations joined to their first."""
    first, held = 0, ""
    for number, line in enumerate(NEWLINE.split(text), 1):
        bare = line.strip(BLANKS)
        if bare.startswith(COMMENTS):
            continue
        header = bare.startswith("[") and HEADER.fullmatch(bare)
        if first and (header or not bare):
            _dangling(Place(path, first), report)
            yield first, held
            first, held = 0, ""
        if bare.endswith("\\") and not header:
            first, held = first or number, held + line.rstrip(BLANKS)[:-1]
        elif bare:
            yield first or number, held + line
            first, held = 0, ""
    if first:
        _dangling(Place(path, first), report)
        yield first, held


def _dangling(place: Place, report: Report) -> None:
    report.add(
        place,
        None,
        "a backslash at the end of the line, and nothing that continues it",
        "the rest of the value on the next line, or no backslash at the end",
    )


def _encode(text: str) -> str:
    return text if PLAIN.fullmatch(text) else quote(text, safe="")


def _encoded_name(name: str) -> str:
    return f"%{ord(name[0]):02X}{name[1:]}" if name in RESERVED else _encode(name)


def _encoded(value: str | list[str]) -> str:
    # A comma of a value is encoded, so one that is not belongs to a list; the last one says that
    # even a single member is a list.
    return _encode(value) if isinstance(value, str) else ",".join(map(_encode, value)) + ","


def decode(text: str) -> str | list[str]:
    """The value, or the list, that the file holds."""
    return [unquote(item) for item in text.split(",")[:-1]] if "," in text else unquote(text)
