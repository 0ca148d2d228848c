"""A client's bytes at the edge, beside the model of what must be heard.

The first three bytes choose the settings, the size of the segments (or lines, each when it is due),
and which answers of the session come late.
"""

from collections import deque
from functools import lru_cache

from twisted.internet.task import Clock

from smtpforward.config.settings import Settings
from smtpforward.envelope import Client
from smtpforward.net.tls import ServerContexts
from tests.fuzz.edgemachine import PlannedSession, Speaker, settings_of
from tests.fuzz.edgemodel import Rules
from tests.support import Edge

HEAD = 3


@lru_cache(maxsize=64)
def _rules(flags: int) -> tuple[Rules, Settings]:
    small, normalize = bool(flags & 1), bool(flags & 2)
    rules = Rules(
        errors=5 if small else 20,
        unrecognized=3 if small else 10,
        bytes=200 if small and not normalize else 26214400,
        header_bytes=50 if small and not normalize else 1048576,
        normalize=normalize,
        starttls=bool(flags & 4),
        logins=bool(flags & 8),
        clear_logins=bool(flags & 16),
        submission=bool(flags & 32),
    )
    return rules, settings_of(rules)


def _pieces(data: bytes, size: int) -> list[bytes]:
    if not size:
        return data.splitlines(keepends=True)
    return [data[at : at + size] for at in range(0, len(data), size)]


def one(data: bytes) -> None:
    """One connection from its beginning to its end."""
    if len(data) < HEAD:
        return
    rules, given = _rules(data[0] & 63)
    late = data[2]
    clock = Clock()
    edge = Edge(settings_=given, clock=clock)
    edge.lose()
    if rules.starttls:
        edge.factory.contexts = _ANY_CONTEXTS
    plans = deque("later" if late & 1 << bit else "yes" for bit in range(8))
    sessions: list[PlannedSession] = []

    def session(client: Client) -> PlannedSession:
        sessions.append(PlannedSession(plans))
        return sessions[-1]

    edge.factory._sessions = session
    speaker = Speaker(edge, rules, sessions, "192.0.2.1")
    speaker.follow()
    for piece in _pieces(data[HEAD:], data[1]):
        speaker.says([piece])
        speaker.check()
        _catch_up(speaker, clock)
        speaker.check()
    speaker.lose()
    assert clock.getDelayedCalls() == []
    assert edge.factory.memory.held == 0


def _catch_up(speaker: Speaker, clock: Clock) -> None:
    """What was to be answered late is answered, and time passes where an answer waits for it."""
    for session in speaker.mine:
        for question in list(session.pending):
            speaker.fire(session, question, "yes")
    if speaker.model.sleeps:
        clock.advance(8.0)
        speaker.model.tick(clock.seconds())
        speaker.follow()


class _AnyContexts(ServerContexts):
    """Of no use but to be there."""

    def __init__(self) -> None:
        pass


_ANY_CONTEXTS = _AnyContexts()
