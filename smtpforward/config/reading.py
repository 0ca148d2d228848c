"""Checks what a document says against its spec, and hands on what is good.

Rules: every wrong, unknown and replaced key is a problem at its own line. A wrong value is replaced
by the default, so that what is built from the values finds the problems between keys as well;
nothing built that way is ever used. Time is linear in the number of sections, and what is equal in
sections of any name is checked once.
"""

from collections.abc import Iterable, Iterator, Mapping

from attrs import field, frozen
from configobj import ConfigObj

from smtpforward.config import alike
from smtpforward.config.checks import LiteralValidator
from smtpforward.config.dialect import MAIN, Document, decode, encoded_name
from smtpforward.config.places import Places
from smtpforward.config.problems import Report
from smtpforward.config.spec import LEAVE_OUT, WHOLE_SECTION, Spec
from smtpforward.config.values import WrongValueError, near

MANY = "__many__"
REPLACED = "is a key that Haraka itself has given up"
Values = dict[str, object]


@frozen
class Reading:
    """The good values of a document.

    :ivar values: by section, then by key. ``main`` and the sections that a spec names have every
        key; a section of any name has those that it sets, and those that set the same share them.
    :ivar places: of each ``(section, key)`` that is set, and of the headers as ``(section, "")``.
    :ivar ignored: the keys that Haraka documents and this gateway lacks.
    """

    values: Mapping[str, Values] = field(repr=False)
    places: Places
    ignored: tuple[str, ...]


def check(document: Document, spec: Spec, report: Report) -> Reading:
    """Validate ``document`` and report all that is wrong with it."""
    known = ConfigObj(spec.text.splitlines(), interpolation=False, list_values=False, _inspec=True)
    free, named = [], list(document.sections)
    if MANY in known.sections:
        free = [name for name in named if name and encoded_name(name) not in known]
        named = [name for name in named if encoded_name(name) in known]
    config = document.config(named)
    config.configspec = known
    judge = _Judge(document, spec, known, report)
    outcome = config.validate(LiteralValidator(), preserve_errors=True)
    errors = outcome if isinstance(outcome, dict) else {}
    unknown = set(config.extra_values)
    ignored: list[str] = []
    values = {}
    for name in config.sections:
        section = str(decode(name))
        if name in unknown:
            ignored += judge.unknown_section(section)
        else:
            values[section] = judge.values(section, config[name], errors.get(name))
            ignored += judge.unknown_keys(section, config[name].extra_values)
    if free:
        values |= judge.free(free, known[MANY], ignored)
    return Reading(values, document.places, tuple(ignored))


class _Judge:
    """What the spec says about each section and key."""

    def __init__(self, document: Document, spec: Spec, known: ConfigObj, report: Report) -> None:
        self._document = document
        self._spec = spec
        self._keys = {name: tuple(known[name].scalars) for name in known.sections}
        self._report = report

    def values(self, section: str, entries: ConfigObj, outcome: object) -> Values:
        """The good values of one section; what is wrong with the others is reported.

        :param outcome: the validator's: by key where not all is well, with the errors.
        """
        errors = outcome if isinstance(outcome, dict) else {}
        given = self._document.sections.get(section, {})
        values = {}
        for encoded in entries.scalars:
            key = str(decode(encoded))
            error = errors.get(encoded)
            if isinstance(error, Exception):
                self._wrong(section, key, error)
                if encoded in entries.default_values:
                    values[key] = entries.default_values[encoded]
            else:
                values[key] = entries[encoded]
                if key in given:
                    self._without_effect(section, key)
        return values

    def free(
        self, names: Iterable[str], many: Mapping[str, str], ignored: list[str]
    ) -> dict[str, Values]:
        """The good values of sections of any name; what is wrong in each of them is reported.

        :param many: the checks of their keys. ``ignored``: gets the keys that are lacking here.
        """
        given = self._document.sections
        found = alike.check({name: given[name] for name in names}, many)
        successors = [key for home, key in self._spec.replaced if home == MAIN]
        for name, content in found.items():
            for key, error in content.wrong.items():
                self._wrong(name, key, error)
            for key in successors:
                if key in content.values:
                    self._without_effect(name, key)
            if content.unknown:
                ignored += self.unknown_keys(name, content.unknown)
        return {name: content.values for name, content in found.items()}

    def unknown_section(self, section: str) -> Iterator[str]:
        """A section that the spec does not name: lacking, if it holds anything, or a problem."""
        if WHOLE_SECTION in self._spec.lacking.get(section, ()):
            if self._document.sections[section]:
                yield f"[{section}]"
            return
        known = [name for name in self._keys if name != MAIN]
        remedy = "one of " + ", ".join(f"[{name}]" for name in known)
        self._report.add(
            self._document.places[section, ""],
            None,
            f"section [{section}] is not known here",
            remedy + near(section, known),
        )

    def unknown_keys(self, section: str, keys: Iterable[str]) -> Iterator[str]:
        """Keys that the spec does not name: lacking, or problems."""
        for encoded in keys:
            key = str(decode(encoded))
            if key in self._spec.lacking.get(section, ()):
                yield key if section == MAIN else f"[{section}] {key}"
            else:
                place = self._document.places[section, key]
                self._report.add(place, key, "is not known here", self._remedy(section, key))

    def _remedy(self, section: str, key: str) -> str:
        if section not in self._keys and key in self._spec.main_only:
            return "write it before the first section: it holds for the whole file"
        home = [name for name, keys in self._keys.items() if key in keys and name != MANY]
        if home:
            where = f"in [{home[0]}]" if home[0] != MAIN else "before the first section"
            return f"write it {where}"
        known = self._working(section)
        if not known:
            homes = (f"[{name}]" for name in self._keys if name != MAIN)
            return "write it in " + " or ".join(homes)
        close = near(key, known)
        return close.removeprefix("; ") or "one of " + ", ".join(known)

    def _working(self, section: str) -> list[str]:
        name = section if section in self._keys else MANY
        replaced = self._spec.replaced
        return [key for key in self._keys[name] if (self._home(name), key) not in replaced]

    def _home(self, section: str) -> str:
        """The section whose rules hold: those of a section of any name are the top level's."""
        return section if section in self._keys and section != MANY else MAIN

    def _wrong(self, section: str, key: str, error: Exception) -> None:
        message, remedy = (
            (error.message, error.remedy)
            if isinstance(error, WrongValueError)
            else (str(error), LEAVE_OUT)
        )
        self._report.add(self._document.places[section, key], key, message, remedy)

    def _without_effect(self, section: str, key: str) -> None:
        """Report a key that another has replaced."""
        successor = self._spec.replaced.get((self._home(section), key))
        if successor:
            place = self._document.places[section, key]
            self._report.add(place, key, REPLACED, f"{successor} in its place")
