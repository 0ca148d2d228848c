"""The workers' log: records out of one process, events into another's."""

import os
from typing import Any

from twisted.logger import LogEvent, Logger, LogLevel, formatEvent, formatEventAsClassicLogText
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.net.outbox import Outbox
from smtpforward.workers.lines import STDERR, STDOUT, RecordReader, RecordWriter, record


class LinesCase(SynchronousTestCase):
    """A worker's log on its way."""

    def setUp(self) -> None:
        """Nothing has been read."""
        self.events: list[LogEvent] = []
        self.reader = RecordReader("2", self.events.append)
        self.wire = b""
        self.log = Logger(namespace="some.where", observer=self.write)  # type: ignore[arg-type]

    def write(self, event: LogEvent) -> None:
        """Make a record of it."""
        self.wire += record(event)

    def read(self, data: bytes, descriptor: int = STDOUT) -> list[str]:
        """The texts of the events that come of it."""
        self.events.clear()
        self.reader.received(descriptor, data)
        return [formatEvent(event) for event in self.events]


class RecordTests(LinesCase):
    """Events there and back."""

    def test_there_and_back(self) -> None:
        """Level, time, namespace and text arrive; the worker's number stands behind the system."""
        self.log.warn("{me} is {what}", me="a", what="b")
        self.assertEqual(self.read(self.wire), ["a is b"])
        [event] = self.events
        self.assertIs(event["log_level"], LogLevel.warn)
        self.assertEqual(event["log_namespace"], "some.where")
        self.assertEqual(event["log_system"], "some.where#warn,2")
        line = formatEventAsClassicLogText({**event, "log_time": None})
        self.assertEqual(line, "- [some.where#warn,2] a is b\n")

    def test_time(self) -> None:
        """It is the time at which the worker said it."""
        self.write({"log_format": "x", "log_time": 1234567.5})
        self.read(self.wire)
        self.assertEqual(self.events[-1]["log_time"], 1234567.5)

    def test_system(self) -> None:
        """A system of its own stays, without blanks."""
        self.write({"log_format": "x", "log_system": "mail"})
        self.write({"log_format": "x", "log_system": "a b"})
        self.read(self.wire)
        self.assertEqual([event["log_system"] for event in self.events], ["mail,2", "a_b,2"])

    def test_as_it_stands(self) -> None:
        """Braces, NULs and what is no ASCII are no format and no end."""
        self.log.info("{text}", text="{0} {a!r} }{ \0 ü \ud800")
        self.assertEqual(self.read(self.wire), ["{0} {a!r} }{ \\0 ü \\ud800"])

    def test_several_lines(self) -> None:
        """A traceback is one event."""
        try:
            raise ZeroDivisionError("oops")
        except ZeroDivisionError:
            self.log.failure("fault", Failure())
        [text] = self.read(self.wire)
        self.assertTrue(text.startswith("fault\nTraceback"), text)
        self.assertIn("ZeroDivisionError: oops", text)
        self.assertIs(self.events[0]["log_level"], LogLevel.critical)

    def test_pieces(self) -> None:
        """Records arrive however they are cut."""
        for number in range(3):
            self.log.info("no {number}", number=number)
        texts: list[str] = []
        for at in range(len(self.wire)):
            texts += self.read(self.wire[at : at + 1])
        self.assertEqual(texts, ["no 0", "no 1", "no 2"])

    def test_nothing_to_say(self) -> None:
        """An event without a text is no record."""
        self.write({"log_format": ""})
        self.assertEqual(self.wire, b"")


class StandardErrorTests(LinesCase):
    """What libraries write."""

    def test_lines(self) -> None:
        """Each line is an error with the worker's number; blank ones are none."""
        texts = self.read(b"one\n\ntwo\nthr", STDERR)
        self.assertEqual(texts, ["worker 2: one", "worker 2: two"])
        self.assertIs(self.events[0]["log_level"], LogLevel.error)

    def test_rest(self) -> None:
        """What has no end when the worker ends is not lost."""
        self.read(b"half", STDERR)
        self.reader.ended()
        self.reader.ended()
        self.assertEqual([formatEvent(event) for event in self.events], ["worker 2: half"])

    def test_print(self) -> None:
        """What is no record, on standard output, is told as it is."""
        self.assertEqual(self.read(b"hello world\0"), ["worker 2: hello world"])


class WriterTests(SynchronousTestCase):
    """The end of a pipe."""

    def setUp(self) -> None:
        """A pipe."""
        self.read_end, self.write_end = os.pipe()
        self.addCleanup(os.close, self.write_end)

    def event(self, text: str) -> dict[str, Any]:
        return {"log_format": text, "log_time": 1.0, "log_namespace": "n"}

    def test_writes(self) -> None:
        """A record for each event."""
        self.addCleanup(os.close, self.read_end)
        writer = RecordWriter(self.write_end)
        writer(self.event("x"))
        writer(self.event("y"))
        expected = b"info 1.000000 n - x\0info 1.000000 n - y\0"
        self.assertEqual(os.read(self.read_end, 1000), expected)

    def test_together(self) -> None:
        """Records of mail are written at the end of a round, or before anything else that comes."""
        self.addCleanup(os.close, self.read_end)
        os.set_blocking(self.read_end, False)
        rounds = Outbox()
        writer = RecordWriter(self.write_end, rounds)
        rounds.open = True
        for line in ("a", "b"):
            writer({"log_format": "{mail_line}", "mail_line": line, "log_time": 1.0})
        self.assertRaises(BlockingIOError, os.read, self.read_end, 1)
        rounds.end()
        mail = b"info 1.000000 - - a\0info 1.000000 - - b\0"
        self.assertEqual(os.read(self.read_end, 1000), mail)
        rounds.open = True
        writer({"log_format": "{mail_line}", "mail_line": "c", "log_time": 1.0})
        writer(self.event("x"))
        rounds.end()
        expected = b"info 1.000000 - - c\0info 1.000000 n - x\0"
        self.assertEqual(os.read(self.read_end, 1000), expected)

    def test_nobody_reads(self) -> None:
        """When the parent has gone its lines are lost, and nothing else happens."""
        os.close(self.read_end)
        RecordWriter(self.write_end)(self.event("x"))
