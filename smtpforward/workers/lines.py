"""The workers' log on its way to the parent's: a record for each event, on standard output.

A record is level, time, namespace, system and text, parted by blanks, and ends with a NUL; so a
text of several lines stays one event. The parent puts it into its own log as it stands. Where its
log has another format than lines, a ``+`` behind the level says that facts come with the text: both
as JSON. Records of mail that one round of the reactor brings are written together. What a worker's
libraries write to standard error comes line by line.

Failure policy: a worker whose parent has gone loses its lines, and nothing else.
"""

import json
import os
import time
from collections.abc import Callable

from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, globalLogPublisher
from zope.interface import implementer

from smtpforward.formats import facts_of, text_of
from smtpforward.logs import Gathering, Rounds, is_noise
from smtpforward.record import Facts

STDOUT, STDERR = 1, 2
NONE = "-"
MAIL = "mail"  # the system of what ``record.log_entry`` logs
END = b"\0"
FACTS = "+"
LEVELS = {level.name: level for level in LogLevel.iterconstants()}


@implementer(ILogObserver)
class RecordWriter:
    """Writes each event of this process as a record.

    :param descriptor: where to; it blocks when the reader is slow, as a file on a slow disk does.
    :param rounds: of the reactor, where records of mail are to be written together.
    :ivar with_facts: whether what is known by name is written, too.
    """

    def __init__(self, descriptor: int = STDOUT, rounds: Rounds | None = None) -> None:
        self._gathering: Gathering[bytes] = Gathering(rounds, self._write)
        self._descriptor = descriptor
        self.with_facts = False

    def __call__(self, event: LogEvent) -> None:
        """See ILogObserver."""
        data = record(event, self.with_facts)
        if data and not self._gathering.keeps(event, data):
            self._write(data)

    def _write(self, last: bytes = b"") -> None:
        data = b"".join([*self._gathering.taken(), last])
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            pass  # The parent has gone, and this process is about to.


def record(event: LogEvent, with_facts: bool = False) -> bytes:
    """One event; nothing for one without a text, or that nobody needs."""
    if is_noise(event):
        return b""
    facts = facts_of(event) if with_facts else None
    text = text_of(event)
    if not text:
        return b""
    mark = ""
    if facts is not None:
        mark, text = FACTS, json.dumps([text, facts])
    level = event.get("log_level") or LogLevel.info
    when = event.get("log_time") or time.time()
    namespace = _word(event.get("log_namespace"))
    head = f"{level.name}{mark} {when:.6f} {namespace} {_word(event.get('log_system'))} "
    body = text.replace("\0", "\\0")
    return (head + body).encode("utf-8", "backslashreplace") + END


def _word(text: object) -> str:
    return "_".join(str(text).split()) or NONE if text is not None else NONE


class Told:
    """What another process has logged of a message: see :class:`smtpforward.record.Entry`."""

    __slots__ = ("_facts", "_line")

    def __init__(self, line: str, facts: Facts) -> None:
        self._line = line
        self._facts = facts

    def __str__(self) -> str:
        return self._line

    def facts(self) -> Facts:
        """As they came."""
        return self._facts


class RecordReader:
    """The events of one worker into this process's log.

    :param name: of the worker: it stands behind the system that a line names.
    """

    def __init__(self, name: str, publish: Callable[[LogEvent], None] = globalLogPublisher) -> None:
        self._name = name
        self._publish = publish
        self._log = Logger(namespace="smtpforward.workers", observer=publish)  # type: ignore[arg-type]
        self._unread = {STDOUT: b"", STDERR: b""}

    def received(self, descriptor: int, data: bytes) -> None:
        """Bytes that the worker has written."""
        mark = END if descriptor == STDOUT else b"\n"
        *complete, rest = (self._unread[descriptor] + data).split(mark)
        self._unread[descriptor] = rest
        publish = self._event if descriptor == STDOUT else self._line
        for piece in complete:
            publish(piece.decode("utf-8", "backslashreplace"))

    def ended(self) -> None:
        """Nothing more will come: what is left has no end."""
        for descriptor in (STDOUT, STDERR):
            rest, self._unread[descriptor] = self._unread[descriptor], b""
            if rest:
                self._line(rest.decode("utf-8", "backslashreplace"))

    def _event(self, text: str) -> None:
        try:
            level, when, namespace, system, said = text.split(" ", 4)
            plain = level.removesuffix(FACTS)
            known, seconds = LEVELS[plain], float(when)
            facts = None
            if plain != level:
                said, facts = json.loads(said)
        except (ValueError, KeyError):
            self._line(text)  # Something in the worker has written there that should not.
            return
        origin = f"{namespace}#{plain}" if system == NONE else system
        event = {
            "log_logger": self._log,
            "log_level": known,
            "log_namespace": namespace,
            "log_source": None,
            "log_format": "{mail_line}",
            "mail_line": said if facts is None else Told(said, facts),
            "log_time": seconds,
            "log_system": f"{origin},{self._name}",
        }
        if system != MAIL:
            event["log_format"] = "{text}"
            event["text"] = said
            event["facts"] = facts
            del event["mail_line"]
        self._publish(event)

    def _line(self, text: str) -> None:
        if text.strip():
            self._log.error("worker {name}: {text}", name=self._name, text=text.rstrip())
