"""The log as JSON: one object a line, whose keys are those of ``docs/logs.md``."""

import json
from datetime import datetime

from twisted.logger import LogEvent

from smtpforward.formats import facts_of, level_of, system_of, text_of
from smtpforward.logs import is_noise


class JSONLog:
    """Formats events as objects, one a line. Whatever cannot be encoded is escaped."""

    __slots__ = ()

    def __call__(self, event: LogEvent) -> str | None:
        """One line, or ``None`` for an event that says nothing."""
        if is_noise(event):
            return None
        facts, known = facts_of(event), {}
        if facts is None or "mail_line" not in event:
            known["text"] = text_of(event)
            if not known["text"]:
                return None
        head = {
            "time": timestamp(event.get("log_time")),
            "level": level_of(event),
            "system": system_of(event),
        }
        return json.dumps({**head, **known, **(facts or {})}) + "\n"


def timestamp(when: float | None) -> str | None:
    """As RFC 3339 has it, to the millisecond, in local time; ``None`` where nobody said when."""
    return (
        None
        if when is None
        else datetime.fromtimestamp(when).astimezone().isoformat(timespec="milliseconds")
    )
