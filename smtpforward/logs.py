"""The log under twistd: text as Twisted writes it, with less work for the line of a mail.

Twisted makes the time of each event anew and puts every event together by a general formatter.
Here the time is made once a second, and a line of mail is taken as it stands. Which file it goes
to, and how that is rotated, twistd decides as ever: ``--logfile``, SIGUSR1, standard output; an
observer that is not twistd's own is left alone.

The private names of Twisted that this leans on are pinned by ``tests/test_logs.py``.
"""

import re
from typing import Any

from twisted.application.service import Service
from twisted.logger import (
    FileLogObserver,
    LogEvent,
    LogPublisher,
    formatEventAsClassicLogText,
    formatTime,
    globalLogPublisher,
    textFileLogObserver,
)

NOISE = re.compile(
    r"DNSDatagramProtocol starting on |\(UDP Port \d+ Closed\)"
    r"|(?:Starting|Stopping) protocol <twisted\.names\."
)


def is_noise(event: LogEvent) -> bool:
    """Whether it is one of those that Twisted has for the socket of each question to the DNS."""
    message = event.get("message") or ("",)
    return NOISE.match(str(message[0])) is not None


class LogText:
    """Formats events as :func:`twisted.logger.textFileLogObserver` does."""

    __slots__ = ("_second", "_stamp")

    def __init__(self) -> None:
        self._second = -1
        self._stamp = ""

    def __call__(self, event: LogEvent) -> str | None:
        """One line, or ``None`` for an event that says nothing."""
        line = event.get("mail_line")
        if line is None:
            return None if is_noise(event) else formatEventAsClassicLogText(event, self._time)
        return f"{self._time(event['log_time'])} [{event['log_system']}] {line}\n"

    def _time(self, when: float | None) -> str:
        """As RFC 3339 has it, to the second, in local time."""
        if when is None:
            return formatTime(when)
        second = int(when)
        if second != self._second:
            self._stamp = formatTime(when)
            self._second = second
        return self._stamp


class TextLog(Service):
    """Lets the text observers of ``publisher`` format by :class:`LogText` from the start on."""

    def __init__(self, publisher: LogPublisher = globalLogPublisher) -> None:
        self._publisher = publisher

    def startService(self) -> None:
        """Logging has begun by now."""
        Service.startService(self)
        for observer in self._observers():
            observer.formatEvent = LogText()

    def reopen(self) -> None:
        """Open the files anew, after something else has moved them."""
        for observer in self._observers():
            if hasattr(observer._outFile, "reopen"):
                observer._outFile.reopen()

    def _observers(self) -> list[Any]:
        observers = [o for o in self._publisher._observers if isinstance(o, FileLogObserver)]
        return [o for o in observers if _writes_text(o.formatEvent)]


def _writes_text(format_event: Any) -> bool:
    """Whether it is ours, or one that ``textFileLogObserver`` has made."""
    maker = textFileLogObserver.__qualname__
    return isinstance(format_event, LogText) or format_event.__qualname__.startswith(f"{maker}.")
