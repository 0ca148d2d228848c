"""The script for fish: one ``complete`` for each option and each word, under its command."""

from collections.abc import Iterator

from smtpforward.commands.completion.tree import Command, Option, Value, all_of

# Where the line stands: its words that are commands, as far as they are.
HEAD = """\
# Completion of smtpforward for fish; made by: smtpforward completion fish
function __smtpforward_at
    set -l path
    for word in (commandline -opc)[2..-1]
        if contains -- (string join ' ' $path $word) $__smtpforward_paths
            set path $path $word
        end
    end
    test "$path" = "$argv"
end
complete -c smtpforward -f
"""


def script(root: Command) -> str:
    """The whole script."""
    commands = list(all_of(root))
    paths = " ".join(_quoted(" ".join(one.path)) for one in commands[1:])
    lines = [line for one in commands for line in _lines(one)]
    return f"set -g __smtpforward_paths {paths}\n{HEAD}" + "".join(f"{line}\n" for line in lines)


def _lines(command: Command) -> Iterator[str]:
    at = _quoted(" ".join(("__smtpforward_at", *command.path)))
    begin = f"complete -c smtpforward -n {at}"
    for one in command.inner:
        yield f"{begin} -a {one.path[-1]} -d {_quoted(one.help)}"
    for value in command.words:
        if value.choices or value.kind:
            yield f"{begin}{_value(value)}"
    for option in command.options:
        yield f"{begin}{_names(option)} -d {_quoted(option.help)}{_taken(option)}"


def _names(option: Option) -> str:
    return "".join(
        f" -l {name[2:]}" if name.startswith("--") else f" -s {name[1:]}" for name in option.names
    )


def _taken(option: Option) -> str:
    if option.value is None:
        return ""
    return f" {'-r' if option.value.kind == 'file' else '-x'}{_value(option.value)}"


def _value(value: Value) -> str:
    if value.kind == "directory":
        return " -a '(__fish_complete_directories)'"
    if value.kind == "file":
        return " -F"
    return f" -a {_quoted(' '.join(value.choices))}" if value.choices else ""


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
