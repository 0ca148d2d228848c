"""The fault matrix: where a backend fails, how, on which connection, with how many recipients.

Pure: the cells, each one's script, and what must come of it. A cell is left out where what it says
cannot be: an opening that fails is never that of a reused connection, no reply can come before
there is a connection, and nothing lies idle that has not been used. ``faultcells.py`` plays them.
"""

import enum
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import field, frozen

from tests.integration.forwarding import GREETING, PIPELINING, at
from tests.peers.script import GO_AHEAD, TAKEN, Action, Script, Step, Swallow


class Point(enum.Enum):
    """Where the backend fails; in the order in which a message comes by."""

    CONNECT = "at the connect"
    ACCEPTED = "before the greeting"
    GREETING = "at the greeting"
    EHLO = "at EHLO"
    STARTTLS_OFFERED = "at STARTTLS, `enable_tls=true`"
    STARTTLS = "at STARTTLS, `enable_tls=required`"
    HANDSHAKE_OFFERED = "in the TLS handshake, `enable_tls=true`"
    HANDSHAKE = "in the TLS handshake, `enable_tls=required`"
    EHLO_INSIDE = "at EHLO inside TLS"
    AUTH = "at AUTH"
    MAIL = "at MAIL"
    RCPT = "at RCPT; of three, at the second"
    DATA = "at DATA"
    MESSAGE = "in the middle of the message"
    DOT = "at the dot, before the reply"
    HALF = "half-way in the reply to the dot"
    AFTER = "just after the reply to the dot"
    RSET = "at RSET, after a refused recipient"
    IDLE = "while the connection lies idle"


class How(enum.Enum):
    """What it does there."""

    CLOSE = "close"
    RESET = "reset"
    SILENCE = "silence"
    TEMPORARY = "4xx"
    PERMANENT = "5xx"
    CLOSING = "421"
    GARBAGE = "garbage"


class Connection(enum.Enum):
    """Which connection meets the fault."""

    FRESH = "fresh"
    REUSED = "reused"
    REPLACEMENT = "replacing a reused one"


OPENING = frozenset(list(Point)[: list(Point).index(Point.MAIL)])
SECURED = frozenset({Point.STARTTLS, Point.HANDSHAKE, Point.EHLO_INSIDE, Point.AUTH})
OFFERED = frozenset({Point.STARTTLS_OFFERED, Point.HANDSHAKE_OFFERED})
MUTE = (How.CLOSE, How.RESET, How.SILENCE)
SAYINGS = {
    How.TEMPORARY: b"450 4.2.0 Come back\r\n",
    How.PERMANENT: b"550 5.7.1 Go away\r\n",
    How.CLOSING: b"421 4.3.2 Shutting down\r\n",
    How.GARBAGE: b"hello\r\n",
}
NO_SUCH_USER = b"550 5.1.1 No such user\r\n"
BAD_SEQUENCE = b"503 5.5.1 Bad sequence of commands\r\n"
ACCEPTED = "250 2.0.0"


@frozen
class Cell:
    """One fault.

    :ivar recipients: one or three.
    """

    point: Point
    how: How
    connection: Connection
    recipients: int

    @property
    def number(self) -> int:
        """That of the connection that fails, from 1."""
        return 2 if self.connection is Connection.REPLACEMENT else 1

    @property
    def begun_before(self) -> bool:
        """Whether a message has been taken before."""
        return self.connection is not Connection.FRESH


def cells() -> Iterator[Cell]:
    """All that can be, in the order of the table."""
    for point in Point:
        for connection in Connection:
            for recipients in (1, 3):
                for how in How:
                    cell = Cell(point, how, connection, recipients)
                    if possible(cell):
                        yield cell


def possible(cell: Cell) -> bool:
    """The rule by which a cell stands in the table."""
    if cell.point is Point.CONNECT:
        # RST is the refusal; what answers no SYN is silent. No other connection may live.
        return cell.how in (How.RESET, How.SILENCE) and cell.connection is Connection.FRESH
    if cell.point is Point.ACCEPTED and cell.how not in MUTE:
        return False  # That is a greeting.
    if cell.point in OPENING:
        return cell.connection is not Connection.REUSED
    if cell.point is Point.IDLE:
        return cell.connection is Connection.REUSED
    return cell.connection is not Connection.REPLACEMENT


def expected(cell: Cell) -> tuple[str, int]:
    """What the table of answers says: the sender's code, and how many dots the backend got."""
    point, how = cell.point, cell.how
    if point in (Point.AFTER, Point.IDLE):
        return ACCEPTED, 1
    if point is Point.RSET:
        return ("550 5.1.1" if cell.recipients == 1 else "451 4.5.3"), 0
    if point in (Point.DOT, Point.HALF):
        return _at_the_dot(point, how), 1
    if point in OPENING:
        answer = _opening(point, how)
    elif cell.connection is Connection.REUSED and how in (*MUTE, How.CLOSING):
        answer = ACCEPTED  # Replaced by a fresh one, in silence.
    elif point is Point.RCPT and cell.recipients > 1 and how in (How.TEMPORARY, How.PERMANENT):
        answer = "451 4.5.3"
    else:
        answer = _plainly(how) or _said(how)
    return answer, int(answer == ACCEPTED)


def _plainly(how: How) -> str:
    """What is no refusal of the message, before the dot."""
    if how in MUTE:
        return "451 4.4.1"
    return {How.CLOSING: "451 4.3.2", How.GARBAGE: "451 4.4.2"}.get(how, "")


def _said(how: How) -> str:
    return SAYINGS[how][:9].decode()


def _at_the_dot(point: Point, how: How) -> str:
    if point is Point.HALF or how in (*MUTE, How.GARBAGE):
        return "451 4.4.2"
    return _plainly(how) or _said(how)


def _opening(point: Point, how: How) -> str:
    if point is Point.HANDSHAKE_OFFERED:
        return ACCEPTED  # TLS was merely offered: a fresh connection goes without.
    if point is Point.HANDSHAKE or (point is Point.EHLO_INSIDE and how in MUTE):
        return "451 4.7.5"  # It may be our certificate that is refused, up to the first reply.
    if how in (How.TEMPORARY, How.PERMANENT):
        if point is Point.STARTTLS_OFFERED:
            return ACCEPTED
        return {Point.STARTTLS: "451 4.7.5", Point.AUTH: "451 4.7.0"}.get(point, "451 4.4.1")
    return _plainly(how)


@frozen
class Means:
    """What scripts need beside themselves.

    :ivar silence: a step: the gateway's time runs out. ``greeting``: so too, where no command of
        its has come.
    :ivar pause: a step that the test releases, for what comes while nothing is asked.
    :ivar tls: the backend's, for ``startTLS``.
    """

    silence: Step
    no_greeting: Step
    pause: Step
    tls: Any = field(repr=False)


def script(cell: Cell, number: int, means: Means) -> Script:
    """What the backend says on its connection ``number``."""
    good = good_script(cell, means)
    faults: Mapping[str, tuple[int, Step]] = {}
    if number == cell.number:
        faults = _faults(cell, means)
    elif number < cell.number:
        faults = {"MAIL": (2, Action.CLOSE)}
    replies = {verb: at(when, step, good.step(verb)) for verb, (when, step) in faults.items()}
    greeting = faults.get(GREETING, (1, good.greeting))[1]
    return Script(greeting, good.extensions, {**good.replies, **replies})


def good_script(cell: Cell, means: Means) -> Script:
    """A backend without a fault, with the TLS and the login that the point needs."""
    plain = Script(extensions=PIPELINING)
    if cell.point not in SECURED | OFFERED:
        return plain

    def ehlo(conversation: Any, command: bytes) -> Step:
        more = "AUTH PLAIN" if conversation.transport.TLS else "STARTTLS"
        return Script(extensions=(*PIPELINING, more)).ehlo()

    def start_tls(conversation: Any, command: bytes) -> Step:
        conversation.transport.write(READY)
        conversation.transport.startTLS(means.tls)
        return b""

    logged_in = b"235 2.7.0 Ok\r\n"
    return Script(replies={"EHLO": ehlo, "STARTTLS": start_tls, "AUTH": logged_in})


READY = b"220 2.0.0 Ready\r\n"
VERBS = {
    Point.ACCEPTED: GREETING,
    Point.GREETING: GREETING,
    Point.EHLO_INSIDE: "EHLO",
    Point.STARTTLS_OFFERED: "STARTTLS",
    Point.HANDSHAKE: "STARTTLS",
    Point.HANDSHAKE_OFFERED: "STARTTLS",
    Point.MESSAGE: "DATA",
    **dict.fromkeys((Point.DOT, Point.HALF, Point.AFTER, Point.IDLE), "."),
}


def _faults(cell: Cell, means: Means) -> dict[str, tuple[int, Step]]:
    """By verb: at which time it is not answered as usual, and what comes instead."""
    point, reused = cell.point, cell.connection is Connection.REUSED
    verb = VERBS.get(point, point.name)
    occurrence = 1 + (reused and point is not Point.IDLE) + (point is Point.EHLO_INSIDE)
    step = _step(cell, means)
    several = cell.recipients > 1
    if point is Point.RCPT:
        return {verb: (occurrence + several, step)}
    if point is Point.RSET:
        faults: dict[str, tuple[int, Step]] = {verb: (1, step)}
        faults["RCPT"] = (1 + reused + several, NO_SUCH_USER)
        return faults if several else {**faults, "DATA": (1 + reused, BAD_SEQUENCE)}
    return {verb: (occurrence, step)}


def _step(cell: Cell, means: Means) -> Step:
    point, how = cell.point, cell.how
    if how is How.SILENCE and point in (Point.ACCEPTED, Point.GREETING):
        return (b"220 back", means.no_greeting) if point is Point.GREETING else means.no_greeting
    step = _act(how, means)
    if point is Point.GREETING and how in MUTE:
        return (b"220 back", step)
    if point in (Point.HANDSHAKE, Point.HANDSHAKE_OFFERED):
        return (READY, Swallow(1), step)
    if point is Point.MESSAGE:
        # Closed with input unread, TCP may take back what was said: 421 alone, then.
        return (GO_AHEAD, Swallow(100_000), SAYINGS[how] if how is How.CLOSING else step)
    if point is Point.HALF:
        return (b"250 2.0" if how in MUTE else b"250-2.0.0 Ok\r\n", step)
    if point in (Point.AFTER, Point.IDLE) and how is How.SILENCE:
        # It is noticed when the next message comes.
        return (TAKEN, Swallow(1), step)
    if point is Point.AFTER:
        return (TAKEN, step) if how in MUTE else (TAKEN + SAYINGS[how], Action.SILENCE)
    return (TAKEN, means.pause, step) if point is Point.IDLE else step


def _act(how: How, means: Means) -> Step:
    if how is How.SILENCE:
        return means.silence
    if how is How.CLOSING:
        return (SAYINGS[how], Action.CLOSE)
    return SAYINGS[how] if how in SAYINGS else Action[how.name]


def committed(cell: Cell) -> bool:
    """Whether a backend that got the dot keeps the message: it has not said that it does not."""
    return cell.point is not Point.DOT or cell.how in (*MUTE, How.GARBAGE)
