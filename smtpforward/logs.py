"""The log under twistd: lines as Twisted writes them, with less work for that of a mail; or others.

Twisted makes the time of each event anew and puts every event together by a general formatter.
Here the time is made once a second, and a line of mail is taken as it stands. Which file it goes
to, and how that is rotated, twistd decides as ever: ``--logfile``, SIGUSR1, standard output; an
observer that is not twistd's own is left alone.

The private names of Twisted that this leans on are pinned by ``tests/test_logs.py``.
"""

import re
from collections.abc import Callable
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
    """Lets the text observers of ``publisher`` format in another way from the start on.

    :param format_event: from an event to its lines, or to ``None``.
    """

    def __init__(
        self,
        publisher: LogPublisher = globalLogPublisher,
        format_event: Callable[[LogEvent], str | None] | None = None,
    ) -> None:
        self._publisher = publisher
        self._format = format_event or LogText()

    def privilegedStartService(self) -> None:
        """Logging has begun by now."""
        Service.privilegedStartService(self)
        self._take_over()

    def startService(self) -> None:
        """So it has where nothing asks for privileges."""
        Service.startService(self)
        self._take_over()

    def _take_over(self) -> None:
        for observer in self._observers():
            observer.formatEvent = self._format

    def reopen(self) -> None:
        """Open the files anew, after something else has moved them."""
        for observer in self._observers():
            if hasattr(observer._outFile, "reopen"):
                observer._outFile.reopen()

    def _observers(self) -> list[Any]:
        observers = [o for o in self._publisher._observers if isinstance(o, FileLogObserver)]
        return [o for o in observers if o.formatEvent is self._format or _is_twisted(o.formatEvent)]


def _is_twisted(format_event: Any) -> bool:
    """Whether it is one that ``textFileLogObserver`` has made."""
    name: str = getattr(format_event, "__qualname__", "")
    return name.startswith(f"{textFileLogObserver.__qualname__}.")
