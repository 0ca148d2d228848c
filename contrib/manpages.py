"""Writes the manual pages: ``python -m contrib.manpages DIRECTORY``, from the project's root.

Nothing in them is written twice: commands and options come from the parsers, all else from
``docs/settings.md`` and ``docs/running.md``. So they are made when a package is, and not kept.
Failure policy: Markdown that is not understood here raises; a page never lacks a part.
"""

import argparse
import os
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from smtpforward.commands.main import parser
from smtpforward.service import Options

ROOT = Path(__file__).resolve().parent.parent
PROJECT = "smtpforward"
SPANS = re.compile(r"`([^`]+)`|\*\*([^*]+)\*\*|\*([^*]+)\*|\[((?:`[^`]*`|[^\]])*)\]\([^)]*\)")
SEE_ALSO = ("smtpforward(1)", "smtp_forward.ini(5)", "smtpforward\\-twistd(8)", "twistd(1)")
# The chapters of docs/running.md that belong to the service's page.
SERVICE = (
    *("Sockets of systemd", "Restart without refusing", "The watchdog"),
    *("Signals", "Exit codes", "Environment", "Logs"),
)


def main(arguments: list[str]) -> int:
    """Write all pages; the exit code."""
    if len(arguments) != 1:
        print("usage: python -m contrib.manpages DIRECTORY", file=sys.stderr)
        return 64
    directory = Path(arguments[0])
    directory.mkdir(parents=True, exist_ok=True)
    for name, page in pages():
        (directory / name).write_text(page, "utf-8")
    return 0


def pages() -> Iterator[tuple[str, str]]:
    """File name and text of each page."""
    yield "smtpforward.1", _page("smtpforward", 1, "tools of a mail gateway", _commands())
    title = "settings of the mail gateway smtpforward"
    yield "smtp_forward.ini.5", _page("smtp_forward.ini", 5, title, _settings())
    title = "mail gateway, as a twistd service"
    yield "smtpforward-twistd.8", _page("smtpforward-twistd", 8, title, _service())


def _page(name: str, section: int, title: str, body: Iterable[str]) -> str:
    own = f"{escaped(name)}({section})"
    also = ", ".join(f"\\fB{page[:-3]}\\fR{page[-3:]}" for page in SEE_ALSO if page != own)
    lines = [
        '.\\" Made by contrib/manpages.py.',
        f'.TH {name.upper()} {section} {_day()} {PROJECT} "Mail gateway"',
        ".SH NAME",
        f"{escaped(name)} \\- {escaped(title)}",
        *body,
        ".SH SEE ALSO",
        also,
    ]
    return "\n".join(_filled(lines)) + "\n"


def _day() -> str:
    """Of the source, where whoever makes the package says so; else today."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    when = datetime.fromtimestamp(int(given), UTC) if given else datetime.now(UTC)
    return when.strftime("%Y-%m-%d")


def _filled(lines: Iterable[str]) -> Iterator[str]:
    """Text in lines of a length that roff's tools want; examples stay as they are."""
    as_it_is, before = False, ""
    for line in lines:
        if line == ".PP" and before.startswith(".S"):
            continue  # A chapter's first paragraph begins with the chapter.
        before = line
        if line in (".nf", ".fi"):
            as_it_is = line == ".nf"
        if as_it_is or line.startswith("."):
            yield line
            continue
        for part in textwrap.wrap(line, 79, break_long_words=False, break_on_hyphens=False):
            yield f"\\&{part}" if part.startswith((".", "'")) else part


def escaped(text: str) -> str:
    """``text`` as roff shows it."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    text = text.replace("^", "\\(ha").replace("~", "\\(ti")
    return f"\\&{text}" if text.startswith((".", "'", "\\(aq")) else text


# -- smtpforward(1)


def _commands() -> Iterator[str]:
    top = parser()
    yield from (".SH SYNOPSIS", _synopsis(top.prog, "COMMAND [OPTION ...]"))
    yield from (".SH DESCRIPTION", escaped(top.description or ""), ".SH OPTIONS")
    yield from _options(top)
    yield ".SH COMMANDS"
    for command in _leaves(top):
        yield f".SS {escaped(command.prog)}"
        yield from _command(command)
    yield from (".SH EXIT STATUS", "As in \\fBsysexits.h\\fR:")
    for code, meaning in EXIT_STATUS.items():
        yield from (".TP", str(code), escaped(meaning))
    yield from (".SH FILES", ".TP", "\\fI/etc/smtpforward\\fR", "The settings.")


EXIT_STATUS = {
    0: "It is as it should be.",
    64: "The command line is wrong.",
    65: "What was given is wrong.",
    66: "There is no such directory of settings.",
    69: "A backend, the queue or the gateway cannot be had.",
    78: "The settings are wrong; each problem is on standard error.",
}


def _leaves(one: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The commands that have none below them."""
    below = [action for action in one._actions if isinstance(action, argparse._SubParsersAction)]
    for action in below:
        for command in action.choices.values():
            yield from _leaves(command)
    if not below:
        yield one


def _synopsis(program: str, arguments: str) -> str:
    return f"\\fB{escaped(program)}\\fR {escaped(arguments)}"


def _command(command: argparse.ArgumentParser) -> Iterator[str]:
    usage = " ".join(command.format_usage().split()).removeprefix(f"usage: {command.prog} ")
    yield _synopsis(command.prog, usage)
    yield ".PP"
    yield escaped(command.description or "")
    yield from _options(command)


def _options(one: argparse.ArgumentParser) -> Iterator[str]:
    formatter = argparse.HelpFormatter(one.prog)
    for action in one._actions:
        if isinstance(action, argparse._SubParsersAction) or action.dest == "help":
            continue
        yield from (".TP", f"\\fB{escaped(formatter._format_action_invocation(action))}\\fR")
        yield escaped(formatter._expand_help(action) if action.help else "See above.")


# -- smtpforward-twistd(8)


def _service() -> Iterator[str]:
    yield ".SH SYNOPSIS"
    yield _synopsis("twistd", "[-n] [--pidfile=] smtpforward [--config DIR] [--listen ENDPOINT]")
    yield from (".SH DESCRIPTION", escaped(Options.longdesc), ".SH OPTIONS")
    options = Options()
    short = {long: key for key, long in options.synonyms.items() if len(key) == 1}
    for name in (option.rstrip("=") for option in options.longOpt):
        words = " ".join((options.docs[name] or "").split())
        spelt = f"-{short[name]}, --{name}" if name in short else f"--{name}"
        default = options.defaults.get(name)
        yield from (".TP", f"\\fB{escaped(spelt)}\\fR")
        yield escaped(words + (f" Default: {default}" if default else ""))
    chapters = _chapters(ROOT / "docs" / "running.md")
    for title in SERVICE:
        yield f".SH {escaped(title.upper())}"
        yield from markdown(chapters[title])
    yield from (".SH FILES",)
    yield from markdown(chapters[""])


# -- smtp_forward.ini(5)


def _settings() -> Iterator[str]:
    for title, text in _chapters(ROOT / "docs" / "settings.md").items():
        yield f".SH {spans(title) if title else 'DESCRIPTION'}"
        yield from markdown(text)


# -- Markdown


def _chapters(path: Path) -> dict[str, list[str]]:
    """The lines of each chapter by its title; those before the first by none."""
    found: dict[str, list[str]] = {"": []}
    current = found[""]
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("## "):
            current = found.setdefault(line[3:], [])
        elif not line.startswith("# "):
            current.append(line)
    return found


def markdown(lines: list[str]) -> Iterator[str]:
    """Paragraphs, lists, tables and examples, as the project's documents have them.

    :raise ValueError: for anything else.
    """
    for block in _blocks(lines):
        first = block[0]
        if first.startswith("| "):
            yield from _table(block)
        elif first.startswith(("    ", "```")):
            yield from _example(block)
        elif first.startswith("- "):
            yield from _list(block)
        elif first.startswith(("#", "<", ">", "1. ")):
            raise ValueError(f"not understood: {first}")
        else:
            yield from (".PP", spans(" ".join(block)))


def _blocks(lines: list[str]) -> Iterator[list[str]]:
    """What stands between empty lines; an example keeps its own."""
    block: list[str] = []
    for line in [*lines, ""]:
        fenced = bool(block) and block[0].startswith("```") and block.count("```") < 1
        if line or fenced:
            block.append(line)
        elif block:
            yield block
            block = []


def _table(rows: list[str]) -> Iterator[str]:
    """A paragraph for each row: the first cell, then the meaning, then what is behind it."""
    heads, _, *body = [[cell.strip() for cell in row.strip()[1:-1].split("|")] for row in rows]
    for name, meaning, *more in body:
        behind = [f"{h}: {c}" for h, c in zip(heads[2:], more, strict=True) if c]
        text = "; ".join(behind)
        yield from (".TP", spans(name), spans(f"{meaning} ({text})" if text else meaning))


def _example(lines: list[str]) -> Iterator[str]:
    shown = [line for line in lines if not line.startswith("```")]
    indent = 4 if lines[0].startswith("    ") else 0
    yield from (".PP", ".RS 4", ".nf")
    yield from (escaped(line[indent:]) for line in shown)
    yield from (".fi", ".RE")


def _list(lines: list[str]) -> Iterator[str]:
    items: list[list[str]] = []
    for line in lines:
        if line.startswith("- "):
            items.append([line[2:]])
        else:
            items[-1].append(line.strip())
    for item in items:
        yield from (".IP \\(bu 2", spans(" ".join(item)))


def spans(text: str) -> str:
    """A paragraph's text with its bold words; a link is its words."""
    found, at = "", 0
    for match in SPANS.finditer(text):
        found += escaped(text[at : match.start()])
        code, bold, italic, link = match.groups()
        if link is not None:
            found += spans(link)
        elif italic is not None:
            found += f"\\fI{escaped(italic)}\\fR"
        else:
            found += f"\\fB{escaped(code or bold)}\\fR"
        at = match.end()
    found += escaped(text[at:])
    return f"\\&{found}" if found.startswith((".", "'")) else found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
