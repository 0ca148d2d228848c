"""The script for bash (4 and later): ``complete -F`` with one ``case`` for each command."""

from collections.abc import Iterator

from smtpforward.commands.completion.tree import Command, Value, all_of

HEAD = r"""# Completion of smtpforward for bash; made by: smtpforward completion bash
_smtpforward() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local path= words= kind= word option=
    COMPREPLY=()
    # --name=value is three words here.
    if [[ $current == "=" ]]; then
        option=$before current=
    elif [[ $before == "=" ]]; then
        option=${COMP_WORDS[COMP_CWORD - 2]}
    else
        option=$before
    fi
    for word in "${COMP_WORDS[@]:1:COMP_CWORD - 1}"; do
        case "$path $word" in
"""
MIDDLE = r"""        esac
    done
    case "$path $option" in
"""
SECOND = r"""        *)
            [[ $before == "=" || ${COMP_WORDS[COMP_CWORD]} == "=" ]] && return
            case "$path" in
"""
TAIL = r"""            esac
            ;;
    esac
    case "$kind" in
        directory|file)
            compopt -o filenames 2>/dev/null
            mapfile -t COMPREPLY < <(compgen -A "$kind" -- "$current") ;;
        *) mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current") ;;
    esac
}
complete -F _smtpforward smtpforward
"""


def script(root: Command) -> str:
    """The whole script."""
    commands = list(all_of(root))
    paths = "".join(
        f'            "{_key(one.path[:-1])} {one.path[-1]}") path="{_key(one.path)}" ;;\n'
        for one in commands[1:]
    )
    values = "".join(line for one in commands for line in _values(one))
    words = "".join(map(_words, commands))
    return f"{HEAD}{paths}{MIDDLE}{values}{SECOND}{words}{TAIL}"


def _key(path: tuple[str, ...]) -> str:
    return "".join(f" {word}" for word in path)


def _values(command: Command) -> Iterator[str]:
    """What each option takes."""
    for option in command.options:
        if option.value is not None:
            keys = "|".join(f'"{_key(command.path)} {name}"' for name in option.names)
            yield f"        {keys}) {_set(option.value)} ;;\n"


def _set(value: Value) -> str:
    return f"kind={value.kind}" if value.kind else f'words="{" ".join(value.choices)}"'


def _words(command: Command) -> str:
    """Options behind a dash; else subcommands and what may stand alone, and options without any."""
    options = " ".join(name for option in command.options for name in option.names)
    alone = [one.path[-1] for one in command.inner]
    alone += [choice for value in command.words for choice in value.choices]
    kinds = {value.kind for value in command.words} - {""}
    set_kind = "".join(f" [[ $current == -* ]] || kind={kind};" for kind in sorted(kinds))
    set_words = f'words="{options}";'
    if alone:
        set_words += f' [[ $current == -* ]] || words="{" ".join(alone)}";'
    return f'                "{_key(command.path)}") {set_words}{set_kind};\n'
