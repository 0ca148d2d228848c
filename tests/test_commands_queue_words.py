"""How ``smtpforward queue`` shows values, and what it takes for arguments, without a store."""

import io
import json
import os
import re
import unicodedata
from contextlib import redirect_stdout
from typing import Any

import attrs
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.commands import main
from smtpforward.commands.queue import as_text, words
from smtpforward.envelope import Envelope, Recipient
from smtpforward.outbound import as_json, header
from smtpforward.outbound.entry import Attempt, RecipientResult, State
from tests.queuevalues import NOW, address, listed, message, shown, stats


class WordsTests(SynchronousTestCase):
    """Numbers in words."""

    def test_spans_read(self) -> None:
        """A span is numbers with units, one or several."""
        for text, seconds in (
            ("30s", 30), ("15m", 900), ("2h", 7200), ("3d", 259200), ("1d12h", 129600), ("0s", 0),
        ):  # fmt: skip
            self.assertEqual(words.seconds(text), seconds)

    def test_no_spans(self) -> None:
        """Nothing else is one, and the error says what would be."""
        for text in ("", "2", "d", "2w", "-1d", "1.5h", "2 d", "2D", "٣d", "9" * 30 + "d"):
            error = self.assertRaises(ValueError, words.seconds, text)
            self.assertIn("a span of time such as 30s", str(error))

    def test_spans_written(self) -> None:
        """Short in a column, spoken in a sentence; the latter is never too short."""
        for span, short, spoken in (
            (-5, "0s", "0 s"),
            (0.2, "0s", "1 s"),
            (59, "59s", "59 s"),
            (60, "1m", "1 min"),
            (7199, "119m", "119 min"),
            (7200, "2h", "2 h"),
            (172799, "47h", "47 h"),
            (172800, "2d", "2 days"),
            (1e9, "11574d", "11574 days"),
        ):
            self.assertEqual((words.short_span(span), words.spoken_span(span)), (short, spoken))

    def test_moments(self) -> None:
        """In UTC, to the millisecond for programs."""
        self.assertEqual(as_json.moment(NOW + 0.25), "2027-01-15T08:00:00.250Z")
        self.assertEqual(words.minute(NOW), "2027-01-15 08:00:00Z")

    def test_octets(self) -> None:
        """A size takes five characters at most."""
        for size, told in (
            (0, "0"), (999, "999"), (1000, "1.0K"), (4200, "4.1K"), (10_200, "10K"),
            (1_023_999, "1.0M"), (26_214_400, "25M"), (1 << 40, "1.0T"),
        ):  # fmt: skip
            self.assertEqual(words.octets(size), told)


class HeaderTests(SynchronousTestCase):
    """Where the header section ends."""

    def split(self, *pieces: bytes) -> tuple[list[bytes], list[bytes]]:
        """Header and body of a message that comes in ``pieces``."""
        section, body = header.header(header.lines(iter(pieces)))
        return section, list(body)

    def test_empty_line(self) -> None:
        """At the empty line, which belongs to neither."""
        self.assertEqual(
            self.split(b"A: 1\r\n 2\r\nB:3\r\n\r\nA: no\r\n\r\nend\r\n"),
            ([b"A: 1", b" 2", b"B:3"], [b"A: no", b"", b"end"]),
        )

    def test_no_empty_line(self) -> None:
        """At what is no field: the text of a message without a header is not shown as one."""
        self.assertEqual(self.split(b"A: 1\r\nsecret\r\n"), ([b"A: 1"], [b"secret"]))
        self.assertEqual(self.split(b" secret\r\nA: 1\r\n"), ([], [b" secret", b"A: 1"]))
        self.assertEqual(self.split(b"a b: secret\r\n"), ([], [b"a b: secret"]))

    def test_nothing(self) -> None:
        """Of an empty message both are empty; a header alone has no body."""
        self.assertEqual(self.split(), ([], []))
        self.assertEqual(self.split(b"\r\n"), ([], []))
        self.assertEqual(self.split(b"A: 1\r\n"), ([b"A: 1"], []))

    @given(st.lists(st.sampled_from([b"A: 1", b" 2", b"text", b"", b"."]), max_size=6), st.data())
    def test_any_seam(self, lines: list[bytes], data: st.DataObject) -> None:
        """Wherever the pieces are cut, the lines are the same."""
        whole = b"".join(line + b"\r\n" for line in lines)
        cut = data.draw(st.integers(0, len(whole)))
        self.assertEqual(list(header.lines([whole[:cut], whole[cut:]])), lines)
        self.assertEqual(list(header.lines([whole[i : i + 1] for i in range(len(whole))])), lines)

    def test_visible(self) -> None:
        """What is no text, or would move the cursor, is written out; a tab stays."""
        self.assertEqual(header.visible(b"\ta\x1b[2J\xff\r\xc3\xbc"), "\ta\\x1b[2J\\xff\\rü")


class ListTextTests(SynchronousTestCase):
    """The table of ``list``."""

    def rows(self, *entries: Any, width: int | None = None, verbose: bool = False) -> list[str]:
        """The table."""
        table = as_text.columns(width)
        return [
            as_text.heading(table),
            *(line for one in entries for line in as_text.listed(table, one, NOW, verbose)),
        ]

    def test_piped(self) -> None:
        """Each entry is one line with everything, however long it is."""
        long = "a" * 60 + "@" + "b" * 50 + ".example"
        head, short, longer = self.rows(
            listed(),
            listed(message("8A", long, "x@a.example", "y@a.example"), destination="d" * 40),
        )
        self.assertEqual(
            " ".join(short.split()),
            "63A93AEC9D20C 4.1K 2h 3 in 4 min ann@example.com example.org 1 451 4.7.1 try later",
        )
        for title, text in (
            ("NEXT", "in 4"), ("SENDER", "ann@"), ("DESTINATION", "example.org "),
            ("LAST", "451"),
        ):  # fmt: skip
            self.assertEqual(head.index(title), short.index(text), title)
        self.assertIn(f" {long} {'d' * 40} ", longer)
        self.assertTrue(longer.endswith("   2 451 4.7.1 try later"), longer)

    def test_terminal(self) -> None:
        """At a terminal no line is wider than it is, and what is cut has a mark."""
        wide = listed(
            message("63A93AEC9D20C0F", "ü" * 70 + "@example.com"),
            destination="漢字" * 30 + ".example",
            last="450 " + "long " * 50,
        )
        for width in (100, 101, 120, 200):
            lines = self.rows(listed(), wide, width=width)
            for line in lines:
                self.assertLessEqual(sum(map(_cells, line)), width)
            self.assertEqual(lines[2].count("…"), 3)
            self.assertEqual("…" in lines[1], width < 120)

    def test_narrow_terminal(self) -> None:
        """Narrower than 100 cells, lines wrap: what they would lose is what is asked for."""
        self.assertEqual(self.rows(listed(), width=40), self.rows(listed(), width=100))

    def test_next(self) -> None:
        """When an entry is attempted next is said in words."""
        for entry, told in (
            (listed(), "in 4 min"),
            (listed(due=NOW), "now"),
            (listed(due=NOW - 9, held=True), "held"),
            (listed(due=NOW - 9, leased=True), "being attempted"),
        ):
            self.assertEqual(as_text.following(entry, NOW), told)

    def test_verbose(self) -> None:
        """``-v``: a line for each recipient that is still to go."""
        entry = listed(message("8A", "", "x@a.example", "ü@a.example"))
        lines = self.rows(entry, verbose=True)
        self.assertEqual(lines[2:], ["    to <x@a.example>", "    to <ü@a.example>"])
        self.assertIn(" <> ", lines[1])

    def test_no_forged_line(self) -> None:
        """What a server said cannot begin a line, or move the cursor."""
        [_, line] = self.rows(listed(last="451 a\r\n\x1b[2Jb\u202e", destination="x\ny"))
        self.assertIn("451 a\\r\\n\\x1b[2Jb\\u202e", line)
        self.assertIn(" x\\ny ", line)


class ShowTextTests(SynchronousTestCase):
    """The text of ``show``."""

    def test_everything(self) -> None:
        """Envelope, recipients, entries, attempts, header, in this order."""
        first = Recipient(address("bob@example.org"), {b"NOTIFY": b"NEVER"})
        envelope = Envelope(
            address("ann@example.com"),
            (first, Recipient(address("x@example.net"))),
            {b"SMTPUTF8": b"", b"BODY": b"8BITMIME"},
        )
        of = message(envelope=envelope)
        entry = listed(of, recipients=(first,))
        value = attrs.evolve(shown(of), entries=(entry,), states=(State.QUEUED, State.FAILED))
        self.assertEqual(
            list(as_text.shown(value, [b"Subject: hi", b"\tyou"], NOW)),
            [
                "message 63A93AEC9D20C",
                "  received: 2027-01-15 05:58:20Z, 2 h ago, app[192.0.2.7]",
                "  size: 4200 bytes",
                "  from: <ann@example.com> SMTPUTF8 BODY=8BITMIME",
                "  to: <bob@example.org> NOTIFY=NEVER: queued",
                "  to: <x@example.net>: failed",
                "entry 17: to example.org, by outbound",
                "  next attempt: in 4 min (2027-01-15 08:04:00Z)",
                "  failed attempts: 3",
                "  still to go: <bob@example.org>",
                "attempt at 2027-01-15 07:59:00Z: mx.example.org[192.0.2.9]:25, 1.250 s",
                "  <bob@example.org>: queued: 451 4.7.1 try later",
                "  <x@example.net>: queued: 451 4.7.1 try later",
                "header:",
                "    Subject: hi",
                "    \tyou",
            ],
        )

    def test_unknown(self) -> None:
        """Where there is no origin, and no server, the lines say so, or nothing."""
        attempt = Attempt(NOW, 0.0, "", (RecipientResult(0, State.QUEUED, "\x07"),))
        of = message(origin="", sender="")
        lines = list(as_text.shown(attrs.evolve(shown(of), attempts=(attempt,)), [], NOW))
        self.assertIn("  received: 2027-01-15 05:58:20Z, 2 h ago", lines)
        self.assertIn("  from: <>", lines)
        self.assertEqual(lines[-3][-18:], "no server, 0.000 s")
        self.assertEqual(lines[-2], "  <bob@example.org>: queued: \\x07")

    def test_no_forged_line(self) -> None:
        """A line of the message is further in than any of the command's own."""
        lines = list(as_text.shown(shown(), [b"message 1", b"\x1b]0;x\x07"], NOW))
        self.assertEqual(lines[-2:], ["    message 1", "    \\x1b]0;x\\x07"])
        own = lines[: lines.index("header:")]
        self.assertFalse([line for line in own if line.startswith("   ")])


class StatsTextTests(SynchronousTestCase):
    """The text of ``stats``."""

    def test_everything(self) -> None:
        """Totals, the oldest, and a table of destinations."""
        self.assertEqual(
            list(as_text.stats(stats(), NOW)),
            [
                "messages: 5, 12KB",
                "entries: 10",
                "  due now: 1",
                "  deferred: 2",
                "  held: 3",
                "  being attempted: 4",
                "oldest: 2027-01-13 00:26:40Z, 2 days ago",
                "",
                "DESTINATION             ENTRIES OLDEST",
                "example.org                   4     2d",
                "a.long.name.example.net       1    59s",
            ],
        )

    def test_empty(self) -> None:
        """Of an empty queue there is no more than the numbers."""
        lines = list(as_text.stats(stats(oldest=None, destinations=()), NOW))
        self.assertEqual(lines[-1], "  being attempted: 4")


class JsonTests(SynchronousTestCase):
    """The documents: their keys are a promise."""

    def test_listed(self) -> None:
        """An entry."""
        entry = listed(message("8A", "", "x@a.example", "ü@a.example"))
        self.assertEqual(
            as_json.listed(entry, NOW),
            {
                "id": "8A",
                "received": "2027-01-15T05:58:20.000Z",
                "size": 4200,
                "origin": "app[192.0.2.7]",
                "sender": "",
                "entry": 17,
                "destination": "example.org",
                "delivery": "outbound",
                "to": ["x@a.example", "ü@a.example"],
                "attempts": 3,
                "state": "deferred",
                "due": "2027-01-15T08:04:00.000Z",
                "last": "451 4.7.1 try later",
            },
        )

    def test_states(self) -> None:
        """One word for what the list says in several."""
        for changes, word in (
            ({}, "deferred"), ({"due": NOW}, "due"), ({"held": True}, "held"),
            ({"leased": True}, "leased"),
        ):  # fmt: skip
            self.assertEqual(as_json.listed(listed(**changes), NOW)["state"], word)

    def test_shown(self) -> None:
        """A message; bytes that are no UTF-8 are written out."""
        recipient = Recipient(address("bob@example.org"), {b"ORCPT": b"rfc822;\xff"})
        envelope = Envelope(address("ann@example.com"), (recipient,), {b"BODY": b"8BITMIME"})
        document = as_json.shown(shown(message(envelope=envelope)), [b"Subject: \xff"], NOW)
        self.assertEqual(
            document["recipients"],
            [
                {
                    "address": "bob@example.org",
                    "parameters": {"ORCPT": "rfc822;\\xff"},
                    "state": "queued",
                }
            ],
        )
        self.assertEqual(
            document["attempts"],
            [
                {
                    "at": "2027-01-15T07:59:00.000Z",
                    "took": 1.25,
                    "peer": "mx.example.org[192.0.2.9]:25",
                    "results": [
                        {
                            "address": "bob@example.org",
                            "state": "queued",
                            "reply": "451 4.7.1 try later",
                        }
                    ],
                }
            ],
        )
        self.assertEqual(document["parameters"], {"BODY": "8BITMIME"})
        self.assertEqual(document["header"], ["Subject: \\xff"])
        [entry] = document["entries"]
        self.assertEqual(entry.keys() | document.keys(), _ALL_KEYS)

    def test_stats(self) -> None:
        """Numbers; an empty queue has no oldest message."""
        document = as_json.stats(stats())
        self.assertEqual(
            [document[key] for key in ("messages", "octets", "entries", "due", "deferred")],
            [5, 12345, 10, 1, 2],
        )
        self.assertEqual([document["held"], document["leased"]], [3, 4])
        self.assertEqual(document["oldest"], "2027-01-13T00:26:40.000Z")
        self.assertEqual(
            document["destinations"][1],
            {
                "destination": "a.long.name.example.net",
                "entries": 1,
                "oldest": "2027-01-15T07:59:01.000Z",
            },
        )
        self.assertIsNone(as_json.stats(stats(oldest=None))["oldest"])

    @given(st.text())
    @example("\x00\x1b[2J\x7f\x9b\u202e")
    def test_dumped(self, text: str) -> None:
        """One line of printable ASCII, and nothing is lost."""
        line = as_json.dumped({"last": text})
        self.assertTrue(line.isascii() and line.isprintable(), ascii(line))
        self.assertEqual(json.loads(line), {"last": text})


class DocumentTests(SynchronousTestCase):
    """``docs/queue-command.md`` against the command."""

    def setUp(self) -> None:
        """Read it."""
        root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        with open(os.path.join(root, "docs", "queue-command.md"), encoding="utf-8") as file:
            self.text = file.read()

    def test_synopsis(self) -> None:
        """Its subcommands and their options are those that there are."""
        told = dict(re.findall(r"^smtpforward queue (\w+) +(.*)$", self.text.split("```")[1], re.M))
        parser = main.parser()
        for name in ("list", "show", "retry", "hold", "release", "delete", "flush", "stats"):
            usage = io.StringIO()
            with redirect_stdout(usage), self.assertRaises(SystemExit):
                parser.parse_args(["queue", name, "--help"])
            known = set(re.findall(r"--?[a-z-]+", usage.getvalue().partition("\n\n")[0]))
            synopsis = told.pop(name)
            expected = {"-h", "--config", "--json", *re.findall(r"--?[a-z-]+", synopsis)}
            if "FILTERS" in synopsis:
                expected.update(re.findall(r"`(--[a-z-]+)", self.chapter("Filters")))
            self.assertEqual(known, expected, name)
        self.assertEqual(told, {})

    def chapter(self, heading: str) -> str:
        """The text of one chapter."""
        return self.text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]

    def test_table(self) -> None:
        """The table that it shows is the command's."""
        entries = (
            listed(),
            listed(
                message("63A93AEC9D211", "app@example.com", "x@a.example", "y@a.example",
                        size=812, received=NOW - 720),
                destination="example.net", due=NOW, attempts=0, last="",
            ),
            listed(message("63A93AEC9D230", "", size=1300, received=NOW - 40), held=True,
                   attempts=1, last="450 4.2.0 full"),
        )  # fmt: skip
        table = as_text.columns(None)
        lines = [as_text.heading(table)]
        lines += [line for one in entries for line in as_text.listed(table, one, NOW, False)]
        self.assertIn("\n".join(["$ smtpforward queue list", *lines, "```"]), self.text)

    def test_keys(self) -> None:
        """The keys that it promises are those that there are."""
        rows = dict(re.findall(r"^\| `(\w+)` \| (`id`.*|`messages`.*) \|$", self.text, re.M))
        told = {name: set(re.findall(r"`(\w+)`", row)) for name, row in rows.items()}
        of = message()
        self.assertEqual(told["list"], as_json.listed(listed(of), NOW).keys())
        self.assertEqual(told["stats"], _keys(as_json.stats(stats())))
        document = {**as_json.shown(shown(of), [], NOW), "entries": []}
        self.assertEqual(told["show"] - {"list", "body"}, _keys(document))


def _keys(value: Any) -> set[str]:
    """All keys of a document, the inner ones too."""
    if isinstance(value, list):
        return set().union(*map(_keys, value))
    return set(value).union(*map(_keys, value.values())) if isinstance(value, dict) else set()


_ALL_KEYS = {
    *("id", "received", "size", "origin", "sender", "parameters", "recipients", "entries"),
    *("attempts", "header", "entry", "destination", "delivery", "to", "state", "due", "last"),
}


def _cells(character: str) -> int:
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
