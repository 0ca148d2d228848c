"""A backend's bytes, to the reader of replies and to a session with one message.

The first byte is the size of the segments (0: lines), the second chooses what the session is for.
"""

import re
from collections.abc import Sequence

from twisted.internet.task import Clock

from smtpforward.client.connect import BackendFactory
from smtpforward.client.replies import MAX_LINE, NotAReply, ReplyReader
from smtpforward.job import Event, Outcome
from smtpforward.reply import Reply
from tests.clientsupport import SERVER, TIMEOUTS, Wire, make_job

HEAD = 2
_LINE = re.compile(rb"([2-5][0-5][0-9])(?:([ -])([^\n]*?))?\r?\n")
_TAKEN = (*("220", "25.", "25.", "25.", "354", "25."),)
_BY_HELO = (*("220", "50[024]", "25.", "25.", "25.", "354", "25."),)


def one(data: bytes) -> None:
    """The reader and the session."""
    if len(data) < HEAD:
        return
    size, said = data[0], data[HEAD:]
    pieces = [said[at : at + size] for at in range(0, len(said), size)] if size else []
    pieces = pieces or said.splitlines(keepends=True)
    whole, fell = _read([said])
    assert _read(pieces) == (whole, fell)
    expected = _expected(said)
    assert [(reply.code, reply.lines) for reply in whole] == expected[: len(whole)]
    assert fell or len(whole) == len(expected)
    _session(pieces, [code for code, _ in expected], data[1])


def _read(pieces: Sequence[bytes]) -> tuple[list[Reply], bool]:
    """The replies, and whether what came is none any more."""
    reader = ReplyReader()
    replies: list[Reply] = []
    try:
        for piece in pieces:
            for reply in reader.feed(piece):
                replies.append(reply)
            assert len(reader._unread) <= MAX_LINE + 1
    except NotAReply:
        return replies, True
    return replies, False


def _expected(said: bytes) -> list[tuple[int, tuple[bytes, ...]]]:
    """The replies by the grammar alone, up to the first line that is none; bounds left out."""
    replies: list[tuple[int, tuple[bytes, ...]]] = []
    lines: list[bytes] = []
    code, at = b"", 0
    while match := _LINE.match(said, at):
        if lines and match[1] != code:
            break
        code, at = match[1], match.end()
        lines.append(match[3] or b"")
        if match[2] != b"-":
            replies.append((int(code), tuple(lines)))
            lines = []
    return replies


def _session(pieces: Sequence[bytes], codes: Sequence[int], flags: int) -> None:
    """A connection that opens, takes one message, and ends."""
    clock = Clock()
    factory = BackendFactory(SERVER, "gateway.example", TIMEOUTS, 1e9, clock)
    ready: list[object] = []
    outcomes: list[list[Outcome]] = []
    factory.result.addBoth(ready.append)
    session = factory.buildProtocol(None)
    wire = Wire()
    wire.protocol = session
    session.makeConnection(wire)
    job = make_job(3 if flags & 1 else 1, atomic=not flags & 2)
    for piece in pieces:
        if wire.disconnecting:
            break
        wire.protocol.dataReceived(piece)
        if ready == [session] and not session.messages and not wire.disconnecting:
            session.send(job, outcomes.append)
    wire.lose()
    assert len(ready) == 1
    assert len(outcomes) == (session.messages > 0)
    assert clock.getDelayedCalls() == []
    for outcome in outcomes[0] if outcomes else ():
        if outcome.event is Event.ACCEPTED and not flags & 1:
            said = "".join(map(str, codes))
            assert any(re.match("".join(steps), said) for steps in (_TAKEN, _BY_HELO)), codes
            assert b"\r\n.\r\n" in wire.sent()
