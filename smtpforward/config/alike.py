"""Sections of any name, checked by what they hold: whatever is equal in many of them, once.

Rules: a check sees a key and its value and nothing else, so each value of a key goes to ConfigObj
and its validator one time, however many sections have it; sections that hold the same share their
good values. What is wrong is told with each content, for every section that has it.
"""

from collections.abc import Container, Iterable, Mapping

from attrs import field, frozen
from configobj import ConfigObj

from smtpforward.config.checks import LiteralValidator
from smtpforward.config.dialect import as_config, encoded_name

Value = str | tuple[str, ...]
Given = Mapping[str, str | list[str]]
Items = tuple[tuple[str, Value], ...]


@frozen
class Content:
    """What some sections hold.

    :ivar values: the good ones, by key. ``wrong``: why the others are none.
    :ivar unknown: the keys of which no check speaks, encoded as ConfigObj has them.
    """

    values: dict[str, object] = field(factory=dict, repr=False)
    wrong: dict[str, Exception] = field(factory=dict)
    unknown: list[str] = field(factory=list)


def check(sections: Mapping[str, Given], checks: Mapping[str, str]) -> dict[str, Content]:
    """What each section holds.

    :param checks: of each key that such a section may have, in the validator's words.
    """
    contents: dict[Items, Content] = {}
    found = {}
    for name, given in sections.items():
        items = _items(given)
        content = contents.get(items)
        if content is None:
            content = contents[items] = Content()
        found[name] = content
    outcome = _judged(_asked(contents, checks), checks)
    for items, content in contents.items():
        _fill(content, items, outcome)
    return found


def _items(given: Given) -> Items:
    return tuple([(k, v if isinstance(v, str) else tuple(v)) for k, v in given.items()])


def _asked(contents: Iterable[Items], checks: Container[str]) -> dict[str, dict[Value, str]]:
    """The values that each key has anywhere, numbered."""
    asked: dict[str, dict[Value, str]] = {}
    for items in contents:
        for key, value in items:
            if key in checks:
                numbers = asked.setdefault(key, {})
                numbers.setdefault(value, str(len(numbers)))
    return asked


def _fill(content: Content, items: Items, outcome: Mapping[str, Mapping[Value, object]]) -> None:
    for key, value in items:
        if key not in outcome:
            content.unknown.append(encoded_name(key))
            continue
        meant = outcome[key][value]
        if isinstance(meant, Exception):
            content.wrong[key] = meant
        else:
            content.values[key] = meant


def _judged(
    asked: Mapping[str, Mapping[Value, str]], checks: Mapping[str, str]
) -> dict[str, dict[Value, object]]:
    """What each value of each key means, or the error that it is.

    To ConfigObj a key is a section here, and its values are numbered.
    """
    config = as_config(
        (key, ((number, value) for value, number in numbers.items()))
        for key, numbers in asked.items()
    )
    spec = [line for key in asked for line in (f"[{key}]", f"__many__ = {checks[key]}")]
    config.configspec = ConfigObj(spec, interpolation=False, list_values=False, _inspec=True)
    result = config.validate(LiteralValidator(), preserve_errors=True)
    errors = result if isinstance(result, dict) else {}
    meant: dict[str, dict[Value, object]] = {}
    for key, numbers in asked.items():
        of_key = errors.get(key)
        wrong = of_key if isinstance(of_key, dict) else {}
        right = config[key]
        meant[key] = {
            value: wrong[number] if isinstance(wrong.get(number), Exception) else right[number]
            for value, number in numbers.items()
        }
    return meant
