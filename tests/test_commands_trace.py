"""``smtpforward trace``: ids as people have them, log lines, and many tellings as one story."""

import bz2
import gzip
import lzma
import os
import time
from datetime import datetime

from twisted.trial.unittest import SynchronousTestCase

from smtpforward.commands.colours import Colours
from smtpforward.commands.trace.event import Told, story
from smtpforward.commands.trace.files import logs
from smtpforward.commands.trace.ids import id_in
from smtpforward.commands.trace.reading import events
from smtpforward.commands.trace.view import Story, lines
from tests.test_commands_check import CommandCase

NOON = datetime(2026, 11, 22, 12, 0, 0).timestamp()
STAMP = datetime.fromtimestamp(NOON).astimezone().strftime("%Y-%m-%dT%H:%M:%S%z")
MAIL = (
    "id=1F client=mx.example[192.0.2.1] from=<a@b> to=<c@d>,<e@f> nrcpt=2 size=12 relay=h[::1]:25"
    " delay=0.500 dsn=2.0.0 status=sent (250 Ok (queued) as 4A) [the (detail)]"
)


class IdTests(SynchronousTestCase):
    """What holds an id."""

    def test_forms(self) -> None:
        """Answers, bounces, headers, lines; anything else is left as it is."""
        for text in (
            " 1F ",
            "451 4.4.1 the next server cannot be reached, try again later [1F]",
            "<1F@gateway.example.net>",
            "1F@gateway.example.net",
            "Tue, 14 Nov 2023 22:13:20 +0000, and gave it the id 1F.",
            "\tid 1F; Sun, 22 Nov 2026 12:00:00 +0000",
            f"{STAMP} [mail] {MAIL}",
        ):
            self.assertEqual("1F", id_in(text), text)
        for text in ("4bXc9d", "queued as", ""):
            self.assertEqual(text, id_in(text))


class ReadingTests(SynchronousTestCase):
    """Lines to events."""

    def one(self, line: str, newest: float = NOON) -> list[Told]:
        """The events of ``line``."""
        return list(events(line, "log", newest))

    def test_line(self) -> None:
        """A message is two events; parentheses in a reply are its own."""
        received, sent = self.one(f"{STAMP} [mail] {MAIL}\n")
        self.assertEqual(("received", "1F", NOON - 0.5), (received.kind, received.id, received.at))
        self.assertEqual(["c@d", "e@f"], received.to)
        self.assertEqual("forwarded", sent.kind)
        self.assertEqual("250 Ok (queued) as 4A", sent.facts["reply"])
        self.assertEqual("the (detail)", sent.facts["detail"])

    def test_wrapped(self) -> None:
        """As the journal has it."""
        for line in (f"{STAMP} [mail] {MAIL}", f'{{"time": "{STAMP}", "text": "x", "id": "1F"}}'):
            found = self.one(f"Nov 22 12:00:01 host twistd[12]: {line}")
            self.assertEqual({"1F"}, {event.id for event in found}, line)

    def test_nothing(self) -> None:
        """What is no line of the log tells nothing."""
        for line in ("", "x", "{", "{}", '{"time": 3}', '{"time": "x"}', "[1]", "Nov 22 nonsense"):
            self.assertEqual([], self.one(line), line)

    def test_year(self) -> None:
        """A time without a year is the last one that is not after its file's."""
        for newest, year in ((datetime(2026, 11, 23), 2026), (datetime(2027, 1, 2), 2026)):
            line = "Nov 22 12:00:00 host smtpforward/smtpd[1]: 1F: client=x[192.0.2.1]"
            [event] = self.one(line, newest.timestamp())
            self.assertEqual(datetime(year, 11, 22, 12).timestamp(), event.at)
        [event] = self.one("Feb 29 01:00:00 h smtpforward/smtpd[1]: 1F: client=x[::1]",
                           datetime(2026, 5, 1).timestamp())  # fmt: skip
        self.assertEqual(2024, datetime.fromtimestamp(event.at).year)


class StoryTests(SynchronousTestCase):
    """Many tellings, one story."""

    def told(self, at: float, kind: str, source: str, **facts: object) -> Told:
        """One of id 1F."""
        return Told(at, kind, "1F", facts, (source,))

    def test_doubles(self) -> None:
        """The same attempt of two sources is one, with the facts and the time of the better."""
        [one] = story(
            [
                self.told(10.0, "attempt", "log", to=["a"], status="sent", relay=None),
                self.told(9.25, "attempt", "queue", to=["a"], status="sent", relay="h:25"),
            ]
        )
        self.assertEqual((9.25, "h:25"), (one.at, one.facts["relay"]))
        self.assertEqual({"queue", "log"}, set(one.sources))

    def test_no_doubles(self) -> None:
        """Others are not: another recipient, another result, another time, the same source."""
        first = self.told(10.0, "attempt", "log", to=["a"], status="deferred")
        for other in (
            self.told(10.0, "attempt", "queue", to=["b"], status="deferred"),
            self.told(10.0, "attempt", "queue", to=["a"], status="sent"),
            self.told(13.5, "attempt", "queue", to=["a"], status="deferred"),
            self.told(10.0, "attempt", "log", to=["a"], status="deferred"),
            Told(10.0, "attempt", "2B", {"to": ["a"], "status": "deferred"}, ("queue",)),
        ):
            self.assertEqual(2, len(story([first, other])), other)

    def test_order(self) -> None:
        """In time order; in one second as things go."""
        kinds = ["forwarded", "received", "bounce", "attempt"]
        told = [self.told(1.0, kind, "log", status=kind) for kind in kinds]
        self.assertEqual(
            ["received", "forwarded", "attempt", "bounce"], [one.kind for one in story(told)]
        )

    def test_postfix_parts(self) -> None:
        """The lines of one message in Postfix's form are one of each."""
        told = [
            self.told(1.0, "received", "log", client="c"),
            self.told(1.0, "received", "log", size=3),
            self.told(0.5, "received", "gateway", to=["a", "b"]),
            self.told(1.2, "forwarded", "gateway", status="sent"),
            self.told(1.0, "attempt", "log", to=["a"], status="sent"),
            self.told(1.0, "attempt", "log", to=["b"], status="sent"),
        ]
        received, forwarded = story(told)
        self.assertEqual(("c", 3), (received.facts["client"], received.facts["size"]))
        self.assertEqual(("forwarded", {"gateway", "log"}),
                         (forwarded.kind, set(forwarded.sources)))  # fmt: skip


class ViewTests(SynchronousTestCase):
    """``lines``."""

    def attempt(self, reply: str) -> str:
        """That of one attempt with a detail, as far as its answer goes."""
        facts = {"to": ["a@b"], "status": "deferred", "relay": "h:25", "reply": reply}
        told = Told(0.0, "attempt", "1F", {**facts, "detail": "h:25: refused"}, ("queue",))
        first, _ = lines(Story("1F", ["1F"], [told], {}), Colours(False))
        return first.partition(" by h:25 ")[2]

    def test_detail(self) -> None:
        """It follows the answer, unless that says it, as the queue has it."""
        self.assertEqual("(451 later) [h:25: refused]", self.attempt("451 later"))
        self.assertEqual("(451 later (h:25: refused))", self.attempt("451 later (h:25: refused)"))


class FilesTests(CommandCase):
    """Logs and what rotation has made of them."""

    def test_rotated(self) -> None:
        """Packed or not, by number or by date; others of a similar name are not."""
        folder = self.mktemp()
        os.makedirs(folder)
        log = os.path.join(folder, "mail.log")
        data = b"one 1F\nother\n"
        packed = {".2.gz": gzip.compress, "-20261122.bz2": bz2.compress, ".3.xz": lzma.compress}
        for name, pack in {"": bytes, ".1": bytes, ".old": bytes, "x": bytes, **packed}.items():
            with open(log + name, "wb") as file:
                file.write(pack(data))
        found = logs([log, f"{log}.1"])
        self.assertEqual(
            {"mail.log", "mail.log.1", "mail.log.2.gz", "mail.log-20261122.bz2", "mail.log.3.xz"},
            {os.path.basename(one.path) for one in found},
        )
        self.assertEqual(5, len(found))
        for one in found:
            read: list[int] = []
            self.assertEqual(["one 1F\n"], list(one.holding([b"1F"], read.append)), one.path)
            self.assertEqual(sum(read), one.size, one.path)
            self.assertLess(abs(one.written - time.time()), 3600)
        os.remove(log)
        self.assertEqual(4, len(logs([log])))

    def test_not_there(self) -> None:
        """A log that never was is 66, and so is a directory; broken text is no trouble."""
        config = self.directory("host=192.0.2.1\n")
        for name in ("nowhere.log", config):
            code = self.run_main("trace", "--config", config, "--log", name, "1F")
            self.assertEqual(66, code)
            self.assertTrue(self.err[-1].startswith(f"{name}: "), self.err)
