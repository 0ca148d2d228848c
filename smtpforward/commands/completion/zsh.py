"""The script for zsh: a function for each command, with ``_arguments``."""

from collections.abc import Iterator

from smtpforward.commands.completion.tree import Command, Option, Value, all_of

HEAD = """\
#compdef smtpforward
# Completion of smtpforward for zsh; made by: smtpforward completion zsh
"""
# Loaded from $fpath the file is the function's body; sourced, it names the function.
TAIL = """\
if [[ $funcstack[1] == _smtpforward ]]; then
    _smtpforward "$@"
else
    compdef _smtpforward smtpforward
fi
"""


def script(root: Command) -> str:
    """The whole script."""
    return HEAD + "".join(map(_function, all_of(root))) + TAIL


def _name(path: tuple[str, ...]) -> str:
    return "_".join(("_smtpforward", *(word.replace("-", "_") for word in path)))


def _function(command: Command) -> str:
    specs = "".join(f" \\\n        {_quoted(spec)}" for spec in _specs(command))
    lines = [f"{_name(command.path)}() {{"]
    if not command.inner:
        return "\n".join([*lines, f"    _arguments -s{specs}", "}\n"])
    lines += [
        "    local curcontext=$curcontext state line",
        "    local -a commands",
        f"    _arguments -C{specs} \\",
        "        '1: :->command' '*:: :->inner'",
        "    case $state in",
        "        command)",
        "            commands=(",
        *(f"                {_quoted(_told(one))}" for one in command.inner),
        "            )",
        "            _describe command commands ;;",
        "        inner)",
        "            case $words[1] in",
        *(f"                {one.path[-1]}) {_name(one.path)} ;;" for one in command.inner),
        "            esac ;;",
        "    esac",
        "}\n",
    ]
    return "\n".join(lines)


def _told(command: Command) -> str:
    return f"{command.path[-1]}:{_plain(command.help)}"


def _specs(command: Command) -> Iterator[str]:
    for option in command.options:
        yield from _option(option)
    for number, value in enumerate(command.words, 1):
        if not (value.choices or value.kind):
            continue  # its message would keep zsh from putting an option in
        place = "*" if number == len(command.words) and not value.choices else str(number)
        yield f"{place}{_value(value)}"


def _option(option: Option) -> Iterator[str]:
    """One for each name; one excludes the others, unless it may be repeated."""
    others = "*" if option.repeated else f"({' '.join(option.names)})"
    for name in option.names:
        if option.value is None:
            yield f"{others}{name}[{_plain(option.help)}]"
        else:
            join = "=" if name.startswith("--") else "+"
            yield f"{others}{name}{join}[{_plain(option.help)}]{_value(option.value)}"


def _value(value: Value) -> str:
    actions = {"directory": "_directories", "file": "_files"}
    action = f"({' '.join(value.choices)})" if value.choices else actions.get(value.kind, " ")
    return f":{_plain(value.name)}:{action}"


def _plain(text: str) -> str:
    """Without what ends a part of a specification."""
    return "".join(f"\\{c}" if c in "[]:\\" else c for c in text)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
