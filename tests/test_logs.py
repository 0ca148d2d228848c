"""The log under twistd: the same text, and whose it is."""

import contextlib
import io
import os
from typing import Any

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from twisted.application.app import AppLogger
from twisted.internet import reactor
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IReactorUDP
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import (
    FileLogObserver,
    LogEvent,
    LogLevel,
    LogPublisher,
    formatEventAsClassicLogText,
    globalLogPublisher,
    jsonFileLogObserver,
    textFileLogObserver,
)
from twisted.names.client import Resolver
from twisted.python.logfile import LogFile
from twisted.scripts.twistd import _SomeApplicationRunner
from twisted.trial.unittest import SynchronousTestCase, TestCase

from smtpforward.logs import Gathered, LogText, Rounds, TextLog, is_noise
from smtpforward.net.outbox import Outbox


def mail_event(line: str, when: float) -> LogEvent:
    """What ``record.log_entry`` publishes, formatted."""
    return {
        "log_level": LogLevel.info,
        "log_namespace": "smtpforward.mail",
        "log_format": "{mail_line}",
        "mail_line": line,
        "log_time": when,
        "log_system": "mail",
    }


LINES = st.text(st.characters(blacklist_categories=("Cc", "Cs")), min_size=1)
TIMES = st.floats(0, 4e9)


class TextTests(TestCase):
    """``LogText`` writes what Twisted writes."""

    @given(st.lists(st.tuples(LINES, TIMES), max_size=5))
    @examples(max_examples=100, deadline=None)
    def test_mail(self, events: list[tuple[str, float]]) -> None:
        """The line of a mail, whatever stands in it and whenever it was."""
        text = LogText()
        for line, when in events:
            event = mail_event(line, when)
            self.assertEqual(text(event), formatEventAsClassicLogText(event))

    async def test_questions_to_the_dns(self) -> None:
        """What Twisted says of the socket of each question is left out, and nothing else."""
        events: list[LogEvent] = []
        publisher: Any = events.append
        globalLogPublisher.addObserver(publisher)
        self.addCleanup(globalLogPublisher.removeObserver, publisher)
        resolver = Resolver(servers=[("127.0.0.1", 9)], timeout=(0,))
        with contextlib.suppress(DeferredTimeout, ConnectError):
            await resolver.lookupAddress("a.example")
        port = IReactorUDP(reactor).listenUDP(0, DatagramProtocol())  # type: ignore[call-arg]
        number = port.getHost().port
        await port.stopListening()
        said = [event["message"][0] for event in events if event.get("message")]
        self.assertGreater(len(said), 5, said)
        left = [event for event in events if LogText()(event)]
        starting = f"DatagramProtocol starting on {number}"
        self.assertEqual(left[0]["message"][0], starting)
        self.assertEqual({is_noise(event) for event in left}, {False})

    @given(st.lists(st.tuples(LINES, st.none() | TIMES), max_size=5))
    @examples(max_examples=100, deadline=None)
    def test_everything_else(self, events: list[tuple[str, float | None]]) -> None:
        """Any other event, with and without a time."""
        text = LogText()
        for said, when in events:
            event: LogEvent = {
                "log_level": LogLevel.warn,
                "log_namespace": "smtpforward.x",
                "log_format": "{said}\nand more",
                "said": said,
                "log_time": when,
            }
            self.assertEqual(text(event), formatEventAsClassicLogText(event))

    def test_nothing_to_say(self) -> None:
        """An event without a format makes no line."""
        self.assertIsNone(LogText()({"log_time": 1.0}))

    def test_one_second_after_the_other(self) -> None:
        """The time that is kept is that of its second alone."""
        text = LogText()
        stamps = [(text(mail_event("x", when)) or "").split()[0] for when in (1.0, 1.9, 2.0, 1.0)]
        self.assertEqual(stamps[0], stamps[1])
        self.assertNotEqual(stamps[1], stamps[2])
        self.assertEqual(stamps[0], stamps[3])


class Writes(io.StringIO):
    """Keeps what it is given as it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []

    def write(self, text: str) -> int:
        """See io.TextIOBase."""
        self.written.append(text)
        return len(text)

    def ends(self) -> list[list[str]]:
        """By write, the last word of each line."""
        return [[line.split()[-1] for line in text.splitlines()] for text in self.written]


class ServiceTests(SynchronousTestCase):
    """Whose formatting is replaced, and which files are opened anew."""

    def running(self, *observers: FileLogObserver, rounds: Rounds | None = None) -> TextLog:
        """The service, started on a publisher with ``observers``."""
        log = TextLog(LogPublisher(*observers), rounds=rounds)
        log.startService()
        self.addCleanup(log.stopService)
        return log

    def test_twistd_s_observer_is_known(self) -> None:
        """The observer that twistd makes is one of those."""
        kind: type[AppLogger] = _SomeApplicationRunner.loggerFactory
        observer = kind({"nodaemon": True, "logfile": ""})._getLogObserver()
        log = self.running(observer)
        self.assertIsInstance(observer.formatEvent, Gathered)
        before = observer.formatEvent
        log.privilegedStartService()
        self.assertIs(observer.formatEvent, before)

    def test_others_are_left_alone(self) -> None:
        """An observer that writes something else goes on with it."""
        json = jsonFileLogObserver(io.StringIO())
        own = FileLogObserver(io.StringIO(), lambda event: "mine")
        before = [json.formatEvent, own.formatEvent]
        self.running(json, own)
        self.assertEqual([json.formatEvent, own.formatEvent], before)

    def test_the_line_arrives(self) -> None:
        """What is published stands in the file, as Twisted would have put it."""
        out, plain = io.StringIO(), io.StringIO()
        log = self.running(textFileLogObserver(out))
        event = mail_event("id=1 {x}", 5.0)
        log._publisher(event)
        textFileLogObserver(plain)(event)
        self.assertEqual(out.getvalue(), plain.getvalue())

    def test_together(self) -> None:
        """Lines of mail that come in a round of the reactor are written at its end, all at once."""
        out, rounds = Writes(), Outbox()
        log = self.running(textFileLogObserver(out), rounds=rounds)
        log._publisher(mail_event("before", 1.0))
        rounds.open = True
        for line in ("one", "two"):
            log._publisher(mail_event(line, 1.0))
        self.assertEqual(out.ends(), [["before"]])
        rounds.end()
        rounds.open = True
        log._publisher(mail_event("three", 1.0))
        rounds.end()
        self.assertEqual(out.ends(), [["before"], ["one", "two"], ["three"]])

    def test_in_order(self) -> None:
        """Anything else is written at once, and what has come before it stands before it."""
        out, rounds = Writes(), Outbox()
        log = self.running(textFileLogObserver(out), rounds=rounds)
        rounds.open = True
        log._publisher(mail_event("one", 1.0))
        log._publisher({**mail_event("", 1.0), "log_format": "other", "mail_line": None})
        log._publisher({"log_time": 1.0})
        log._publisher(mail_event("two", 1.0))
        self.assertEqual(out.ends(), [["one", "other"]])
        rounds.end()
        self.assertEqual(out.ends(), [["one", "other"], ["two"]])

    def test_several(self) -> None:
        """Each observer has all lines."""
        rounds = Outbox()
        files = [Writes(), Writes()]
        log = self.running(*map(textFileLogObserver, files), rounds=rounds)
        rounds.open = True
        log._publisher(mail_event("one", 1.0))
        rounds.end()
        self.assertEqual([file.ends() for file in files], [[["one"]], [["one"]]])

    def test_reopen(self) -> None:
        """After the file has been moved, lines go to a new one of its name."""
        path = self.mktemp()
        file = LogFile.fromFullPath(os.path.abspath(path))
        self.addCleanup(lambda: file.close())
        log = self.running(textFileLogObserver(file), textFileLogObserver(io.StringIO()))
        log._publisher(mail_event("one", 1.0))
        os.rename(path, f"{path}.moved")
        log.reopen()
        log._publisher(mail_event("two", 1.0))
        with open(path, encoding="utf-8") as new, open(f"{path}.moved", encoding="utf-8") as old:
            self.assertEqual([new.read()[-4:], old.read()[-4:]], ["two\n", "one\n"])
