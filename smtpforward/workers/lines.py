"""The workers' log on its way to the parent's: a record for each event, on standard output.

A record is level, time, namespace, system and text, parted by blanks, and ends with a NUL; so a
text of several lines stays one event. The parent puts it into its own log as it stands. What a
worker's libraries write to standard error comes line by line.

Failure policy: a worker whose parent has gone loses its lines, and nothing else.
"""

import os
import time
from collections.abc import Callable

from twisted.logger import (
    ILogObserver,
    LogEvent,
    Logger,
    LogLevel,
    eventAsText,
    formatEvent,
    globalLogPublisher,
)
from zope.interface import implementer

from smtpforward.logs import is_noise

STDOUT, STDERR = 1, 2
NONE = "-"
MAIL = "mail"  # the system of the lines that ``record.log_line`` writes
END = b"\0"
LEVELS = {level.name: level for level in LogLevel.iterconstants()}


@implementer(ILogObserver)
class RecordWriter:
    """Writes each event of this process as a record.

    :param descriptor: where to; it blocks when the reader is slow, as a file on a slow disk does.
    """

    def __init__(self, descriptor: int = STDOUT) -> None:
        self._descriptor = descriptor

    def __call__(self, event: LogEvent) -> None:
        """See ILogObserver."""
        data = record(event)
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            pass  # The parent has gone, and this process is about to.


def record(event: LogEvent) -> bytes:
    """One event; nothing for one without a text, or that nobody needs."""
    if is_noise(event):
        return b""
    if "log_failure" in event:
        text = eventAsText(event, includeTimestamp=False, includeSystem=False)
    else:
        text = event.get("mail_line") or formatEvent(event)
    if not text:
        return b""
    level = event.get("log_level") or LogLevel.info
    when = event.get("log_time") or time.time()
    namespace = _word(event.get("log_namespace"))
    head = f"{level.name} {when:.6f} {namespace} {_word(event.get('log_system'))} "
    body = text.replace("\0", "\\0")
    return (head + body).encode("utf-8", "backslashreplace") + END


def _word(text: object) -> str:
    return "_".join(str(text).split()) or NONE if text is not None else NONE


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
            known, seconds = LEVELS[level], float(when)
        except (ValueError, KeyError):
            self._line(text)  # Something in the worker has written there that should not.
            return
        origin = f"{namespace}#{level}" if system == NONE else system
        event = {
            "log_logger": self._log,
            "log_level": known,
            "log_namespace": namespace,
            "log_source": None,
            "log_format": "{mail_line}",
            "mail_line": said,
            "log_time": seconds,
            "log_system": f"{origin},{self._name}",
        }
        if system != MAIL:
            event["log_format"] = "{text}"
            event["text"] = event.pop("mail_line")
        self._publish(event)

    def _line(self, text: str) -> None:
        if text.strip():
            self._log.error("worker {name}: {text}", name=self._name, text=text.rstrip())
