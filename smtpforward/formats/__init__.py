"""The log in other forms than lines of text: what is known of an event, by name."""

from twisted.logger import LogEvent, LogLevel, eventAsText, formatEvent

from smtpforward.record import Facts


def facts_of(event: LogEvent) -> Facts | None:
    """What is known of it by name, where that is more than its text."""
    entry = event.get("mail_line")
    if entry is None or isinstance(entry, str):
        facts: Facts | None = event.get("facts")
        return facts
    entry_facts: Facts = entry.facts()
    return entry_facts


def text_of(event: LogEvent) -> str:
    """What it says, with its traceback where it has one; empty for one that says nothing."""
    entry = event.get("mail_line")
    if entry is not None:
        return str(entry)
    if "log_failure" in event:
        return eventAsText(event, includeTimestamp=False, includeSystem=False)
    return formatEvent(event)


def level_of(event: LogEvent) -> str:
    """Its level in a word; that of what libraries log in the old way is ``info``, or an error."""
    level = event.get("log_level")
    if level is None:
        level = LogLevel.critical if event.get("isError") else LogLevel.info
    name: str = level.name
    return name


def system_of(event: LogEvent) -> str:
    """What part has said it, as the lines of text have it."""
    system = event.get("log_system")
    return str(system or event.get("log_namespace") or "-")
