"""In what state an entry is, by the time of its store; one word, the same in every output."""

from smtpforward.outbound.entry import Listed


def state(entry: Listed, now: float) -> str:
    """``leased``: being attempted. ``held``. ``due``: attempted next. ``deferred``: later."""
    if entry.leased:
        return "leased"
    if entry.held:
        return "held"
    return "due" if entry.due <= now else "deferred"
