"""Haraka's dialect of ini files."""

import os
import string

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.config.dialect import MAIN, Document, decode
from smtpforward.config.problems import Report

PRINTABLE = st.characters(exclude_categories=("C", "Z"), include_characters=" \t")


def written(case: SynchronousTestCase, data: bytes, name: str = "a.ini") -> str:
    """The path of a new file with ``data``."""
    directory = case.mktemp()
    os.makedirs(directory)
    path = os.path.join(directory, name)
    with open(path, "wb") as file:
        file.write(data)
    return path


class DialectCase(SynchronousTestCase):
    """Reads one file."""

    def read(self, data: bytes) -> Document:
        """The document; ``self.problems`` are its problems as (line, key, message)."""
        self.path = written(self, data)
        report = Report()
        document = Document()
        document.read(self.path, report)
        self.problems = [(p.line, p.key, p.message) for p in report.problems]
        return document

    def value(self, data: bytes) -> object:
        """What ConfigObj has for ``key`` at the top level."""
        return decode(self.read(data).config()[MAIN]["key"])


class ValueTests(DialectCase):
    """A value is literal."""

    def test_hostile_values(self) -> None:
        """What ConfigObj takes for quotes, comments, lists or interpolation is the value itself."""
        for text in (
            "a#b",
            "#",
            '"quoted"',
            "'",
            '"""',
            "'''",
            "%(host)s",
            "$host",
            "a, b,",
            ",",
            "a;b",
            "=x=",
            "a\\b",
            "[x]",
            "100%",
            "%41",
            "é\u2028\x0b\x85ü",
        ):
            self.assertEqual(self.value(b"key=" + text.encode() + b"\n"), text)
            self.assertEqual(self.problems, [])

    @given(st.text(PRINTABLE).map(lambda text: text.strip(" \t")))
    def test_any_printable_value(self, text: str) -> None:
        """Every printable value comes through unchanged, but for blanks at its ends."""
        if text.endswith("\\"):
            text += "."
        self.assertEqual(self.value(f"key = {text} \n".encode()), text)
        self.assertEqual(self.problems, [])

    @given(st.lists(st.text(PRINTABLE).map(lambda text: text.strip(" \t") + "."), min_size=1))
    def test_any_printable_list(self, texts: list[str]) -> None:
        """The members of a list are literal as well, and one alone is still a list."""
        self.assertEqual(self.value("".join(f"key[]={t}\n" for t in texts).encode()), texts)
        self.assertEqual(self.problems, [])

    def test_empty(self) -> None:
        """A value may be empty."""
        self.assertEqual(self.value(b"key=\n"), "")
        self.assertEqual(self.value(b"key[]=\n"), [""])

    @given(st.text(string.printable + "é\\[]=;#'\"", max_size=200))
    def test_any_text(self, text: str) -> None:
        """Whatever stands in a file, reading it ends in problems, never in an exception."""
        self.read(text.encode()).config()


class LineTests(DialectCase):
    """Lines, comments, continuations, sections."""

    def test_comments(self) -> None:
        """Whole lines that begin with ; or # are comments, also behind blanks."""
        document = self.read(b"; a=1\n  # b=2\n\t;c\n\nkey=x ; no comment\n")
        self.assertEqual(document.sections, {MAIN: {"key": "x ; no comment"}})

    def test_line_ends(self) -> None:
        """A byte order mark and CRLF change nothing."""
        document = self.read(b"\xef\xbb\xbfa=1\r\nb=2\r\n[s]\r\nc=3")
        self.assertEqual(document.sections, {MAIN: {"a": "1", "b": "2"}, "s": {"c": "3"}})

    def test_continuation(self) -> None:
        """A backslash at the end goes on in the next line that is no comment."""
        document = self.read(b"a=1,\\\n; between\n  2,\\ \n3\nb=4\n")
        self.assertEqual(document.sections[MAIN], {"a": "1,  2,3", "b": "4"})
        self.assertEqual(document.places[MAIN, "a"].line, 1)
        self.assertEqual(document.places[MAIN, "b"].line, 5)

    def test_dangling_continuation(self) -> None:
        """A backslash that nothing follows is a problem, and swallows no other key."""
        for rest in (b"\nb=1\n", b"[s]\nb=1\n", b""):
            document = self.read(b"a=x\\\n" + rest)
            self.assertEqual(document.sections[MAIN]["a"], "x")
            self.assertEqual([line for line, _, _ in self.problems], [1])

    def test_main(self) -> None:
        """[main] is the top level."""
        document = self.read(b"a=1\n[main]\nb=2\n[s]\nb=3\n")
        self.assertEqual(document.sections, {MAIN: {"a": "1", "b": "2"}, "s": {"b": "3"}})

    def test_key_and_section_of_one_name(self) -> None:
        """A key may be called like a section."""
        config = self.read(b"max=1\n[max]\nmax=2\n").config()
        self.assertEqual(config["max"]["max"], "2")
        self.assertEqual(config[MAIN]["max"], "1")

    def test_reserved_names(self) -> None:
        """Names that mean something to ConfigObj come through as others do."""
        config = self.read(b"[DEFAULT]\na=1\n[__many__]\na=1\n[[x]]\n").config()
        self.assertEqual([decode(name) for name in config], [MAIN, "DEFAULT", "__many__"])

    def test_brackets_are_no_key(self) -> None:
        """Nothing before ``[]=`` is no key, and once was a ParseError of ConfigObj's."""
        for line in (b"[]=1\n", b" [] = 1\n"):
            document = self.read(b"a=1\n" + line)
            self.assertEqual([problem[0] for problem in self.problems], [2])
            self.assertEqual(document.config()[MAIN], {"a": "1"})

    def test_lone_backslash_is_no_key(self) -> None:
        """Nor is a continuation of nothing, where keys may stand alone."""
        path = written(self, b"[hosts]\n\\\n\nexample.com\n")
        document, report = Document(bare=frozenset({"hosts"})), Report()
        document.read(path, report)
        self.assertEqual([problem.line for problem in report.problems], [2, 2])
        self.assertEqual(document.config()["hosts"], {"example.com": ""})

    def test_no_equals(self) -> None:
        """A line without = is a problem that does not show the line: it may hold a secret."""
        self.read(b"a=1\n\nauth_pass hunter2\n=x\n[s\n[]\n")
        self.assertEqual(
            self.problems,
            [
                (3, None, "the line has no ="),
                (4, None, "no key stands before the ="),
                (5, None, "the section's header has no end"),
                (6, None, "the section has no name"),
            ],
        )

    def test_twice(self) -> None:
        """A key or section that is given twice names both lines."""
        self.read(b"a=1\\\n1\na=2\na[]=3\n[s]\nx=1\n[t]\nx=1\n[s]\nx=2\n")
        self.assertEqual(
            self.problems,
            [
                (3, "a", "was given before, on line 1"),
                (4, "a", "was given before, on line 1"),
                (9, None, "section [s] was given before, on line 5"),
                (10, "x", "was given before, on line 6"),
            ],
        )

    def test_two_files(self) -> None:
        """Files that are one share their sections, and a key in both is a problem."""
        report = Report()
        document = Document()
        first = written(self, b"a=1\n[max]\nb=1\n")
        document.read(first, report)
        document.read(written(self, b"[max]\nc=1\nb=2\n", "b.ini"), report)
        self.assertEqual(document.sections["max"], {"b": "1", "c": "1"})
        self.assertEqual([p.message for p in report.problems], [f"was given before, at {first}:3"])

    def test_not_utf8(self) -> None:
        """Bytes that are not UTF-8 are a problem at their line."""
        self.read(b"a=1\r\nb=\xff\r\n")
        self.assertEqual(self.problems, [(2, None, "is not UTF-8")])
