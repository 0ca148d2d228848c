"""The log under twistd: lines as Twisted writes them, with less work for that of a mail; or others.

Twisted makes the time of each event anew and puts every event together by a general formatter.
Here the time is made once a second, a line of mail is taken as it stands, and those of one round of
the reactor are written together. Which file they go to, and how that is rotated, twistd decides as
ever: ``--logfile``, SIGUSR1, standard output; an observer that is not twistd's own is left alone.

The private names of Twisted that this leans on are pinned by ``tests/test_logs.py``.
"""

import re
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, AnyStr, Generic, Protocol

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

Format = Callable[[LogEvent], str | None]
# The event that says nothing but that what waits is to be written.
WRITE: LogEvent = {}


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


class Rounds(Protocol):
    """The rounds of the reactor; see ``net/outbox.py``."""

    @property
    def open(self) -> bool:
        """Whether one goes on."""

    def write_later(self, write: Callable[[], None]) -> None:
        """``write`` is called at its end."""


class Gathering(Generic[AnyStr]):
    """Lines of mail that wait for the end of the reactor's round.

    Anything else is to be written at once, behind what waits: so all stay in order. Mail is logged
    in the reactor's thread, what else there is in any.

    :param rounds: none where nothing waits.
    :param write: writes what :meth:`taken` gives; called at the end of a round.
    """

    __slots__ = ("_rounds", "_waiting", "_write")

    def __init__(self, rounds: Rounds | None, write: Callable[[], None]) -> None:
        self._rounds = rounds
        self._write = write
        self._waiting: deque[AnyStr] = deque()

    def keeps(self, event: LogEvent, line: AnyStr) -> bool:
        """Whether ``line``, which is that of ``event``, waits from now on."""
        if self._rounds is None or not self._rounds.open or "mail_line" not in event:
            return False
        if not self._waiting:
            self._rounds.write_later(self._write)
        self._waiting.append(line)
        return True

    def taken(self) -> list[AnyStr]:
        """All that waits, which does so no longer."""
        taken: list[AnyStr] = []
        while self._waiting:
            try:
                taken.append(self._waiting.popleft())
            except IndexError:  # pragma: no cover -- another thread has taken the last one
                break
        return taken


class Gathered:
    """In place of an observer's formatting: what it writes, and when."""

    __slots__ = ("_format", "_gathering")

    def __init__(
        self, observer: FileLogObserver, format_event: Format, rounds: Rounds | None
    ) -> None:
        self._format = format_event
        self._gathering: Gathering[str] = Gathering(rounds, partial(observer, WRITE))

    def __call__(self, event: LogEvent) -> str | None:
        """Lines to be written now, or ``None``."""
        text = self._format(event) or "" if event is not WRITE else ""
        if text and self._gathering.keeps(event, text):
            return None
        return "".join([*self._gathering.taken(), text]) or None


class TextLog(Service):
    """Lets the text observers of ``publisher`` format in another way from the start on.

    :param format_event: from an event to its lines, or to ``None``.
    :param rounds: where those of mail are to be written together.
    """

    def __init__(
        self,
        publisher: LogPublisher = globalLogPublisher,
        format_event: Format | None = None,
        rounds: Rounds | None = None,
    ) -> None:
        self._publisher = publisher
        self._format = format_event or LogText()
        self._rounds = rounds

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
            if not isinstance(observer.formatEvent, Gathered):
                observer.formatEvent = Gathered(observer, self._format, self._rounds)

    def reopen(self) -> None:
        """Open the files anew, after something else has moved them."""
        for observer in self._observers():
            if hasattr(observer._outFile, "reopen"):
                observer._outFile.reopen()

    def _observers(self) -> list[Any]:
        observers = [o for o in self._publisher._observers if isinstance(o, FileLogObserver)]
        return [o for o in observers if _is_ours(o.formatEvent)]


def _is_ours(format_event: Any) -> bool:
    """Whether it has been taken over, or is one that ``textFileLogObserver`` has made."""
    if isinstance(format_event, Gathered):
        return True
    name: str = getattr(format_event, "__qualname__", "")
    return name.startswith(f"{textFileLogObserver.__qualname__}.")
