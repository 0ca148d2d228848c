"""A connection to a backend: Twisted's ESMTP client up to its readiness, ours from there on.

``opening.py`` has what comes before mail; ``smtpState_from``, which is reached when all that is
done, makes the connection ready, and from then on each message is an :class:`Exchange`.

Failure policy: every end is an outcome per recipient; whatever makes replies
and commands fall out of step closes the connection.
"""

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from smtpforward.client.body import BodyProducer, FileProducer, sends_files
from smtpforward.client.errors import ConnectFailed
from smtpforward.client.exchange import Exchange, State
from smtpforward.client.opening import Opening, Phase, Security
from smtpforward.client.replies import NotAReply
from smtpforward.content import HEADER_LIMIT, Content
from smtpforward.job import Event, Job, Outcome, PoolBounds, Timeouts
from smtpforward.net import peer
from smtpforward.net.clock import Clock
from smtpforward.reply import Reply

END_OF_DATA = b".\r\n"
CLOSE_DEADLINE = 5.0
MAX_REFUSALS = 3
MAX_CHUNK = 65536
# What is not right while replies are unread.
SENDS_OR_ENDS = (State.CHUNK, State.CONTENT, State.DONE)


class Owner(Protocol):
    """Who is told what becomes of a connection: the pool."""

    def idle(self, connection: "BackendSession") -> None:
        """Ready for another message."""

    def closing(self, connection: "BackendSession") -> None:
        """Takes no further message."""

    def gone(self, connection: "BackendSession") -> None:
        """Closed."""


class BackendSession(Opening):
    """One connection to a backend.

    :ivar messages: how many transactions it has begun.
    :ivar spare: whether it was opened for a job that took another one, and so may have lain idle.
    """

    def prepare(
        self,
        name: str,
        own_name: str | None,
        timeouts: Timeouts,
        deadline: float,
        clock: Clock,
        security: Security,
    ) -> None:
        """Everything that Twisted's constructor has no room for.

        :param deadline: when it must be ready, on the clock.
        """
        self.prepare_opening(name, own_name, timeouts, deadline, clock, security)
        self.messages = 0
        self.owner: Owner | None = None
        self.spare = False
        self._born = clock.seconds()
        self._refusals = 0
        self._exchange: Exchange | None = None
        self._job: Job | None = None
        self._done: Callable[[list[Outcome]], None] | None = None
        self._sent: float | None = None

    # -- what the pool asks

    def is_worn(self, bounds: PoolBounds, now: float) -> bool:
        """Whether it should take no further message."""
        return (
            now - self._born >= bounds.max_age
            or self.messages >= bounds.max_messages
            or self._refusals >= MAX_REFUSALS
        )

    def worn_at(self, bounds: PoolBounds) -> float:
        """When its age ends it."""
        return self._born + bounds.max_age

    def quit(self) -> None:
        """Say good-bye and close; aborted when that takes too long."""
        if self.phase is Phase.IDLE:
            self._to_closing()
            self.sendLine(b"QUIT")
            self._watch.arm(CLOSE_DEADLINE)

    def abort(self) -> None:
        """Close at once."""
        if self.phase is Phase.CLOSED:
            return
        self._to_closing()
        self._watch.disarm()
        peer.abort(self.transport)

    def _to_closing(self) -> None:
        if self.phase not in (Phase.CLOSING, Phase.CLOSED):
            self.phase = Phase.CLOSING
            if self.owner is not None:
                self.owner.closing(self)

    # -- reading

    def dataReceived(self, data: bytes) -> None:
        if self.phase is Phase.IDLE:
            # Whatever it is, it answers nothing: 421 before a FIN, most often.
            self.abort()
            return
        try:
            for reply in self._reader.feed(data):
                self._last = self._reader.empty
                if self.phase is Phase.BUSY:
                    self._take_in_exchange(reply)
                else:
                    self._take_outside(reply)
        except NotAReply as error:
            self._lost(Event.NONSENSE, f"no SMTP reply: {error}")

    def _take_outside(self, reply: Reply) -> None:
        if self.phase is Phase.OPENING:
            self._take_while_opening(reply)
        else:
            self.transport.loseConnection()

    def _take_in_exchange(self, reply: Reply) -> None:
        exchange = self._exchange
        assert exchange is not None, "busy means that there is one"
        commands = exchange.receive(reply)
        if not self._last and (commands or exchange.state in SENDS_OR_ENDS):
            if exchange.verdicts is None:
                exchange.overtaken()
            else:
                exchange.fail(Event.NONSENSE, reply, "replies before commands")
        elif commands:
            self.transport.write(commands)
        if self._last or exchange.state is not State.ENVELOPE:
            self._follow(exchange)

    # -- one transaction

    def send(self, job: Job, done: Callable[[list[Outcome]], None]) -> None:
        """Hand over one message; the connection is ready.

        :param done: called once, with one outcome per recipient; after ``give_up`` not at all. It
            raises nothing.
        """
        self.phase = Phase.BUSY
        self.messages += 1
        content = job.content
        size = len(content.prefix) + content.size
        self._job = job
        self._timeouts = job.next_hop.timeouts
        self._deadline = job.deadline
        self._sent = None
        self._exchange = exchange = Exchange(job.envelope, size, self.extensions, job.atomic)
        self._done = done
        self._last = True
        strict = job.next_hop.strict_8bit and b"8BITMIME" not in self.extensions
        if b"SMTPUTF8" in job.envelope.parameters and b"SMTPUTF8" not in self.extensions:
            commands = _begin_without_utf8(exchange, content, strict)
        elif strict:
            commands = _begin_7bit(exchange, content)
        else:
            commands = exchange.begin()
        if commands:
            self.transport.write(commands)
        self._follow(exchange)

    def _follow(self, exchange: Exchange) -> None:
        """Do what the exchange's state asks for."""
        state = exchange.state
        if state is State.ENVELOPE:
            self._await_reply()
        elif state is State.CONTENT:
            self._send_content()
        elif state is State.CHUNK:
            self._send_chunk(exchange)
        elif state is State.RESET:
            self._await_reply()
            self._report()
        elif state is State.DONE:
            self._finish()
        elif state is State.OVERTAKEN:
            self._await_reply()
        elif state is State.BROKEN:
            self.abort()
            self._report()

    def _send_chunk(self, exchange: Exchange) -> None:
        """The whole message with its command, in one write, where that is less work than DATA."""
        assert self._job is not None, "busy means that there is one"
        octets = self._job.content.octets(MAX_CHUNK)
        if octets is None:
            self.transport.write(exchange.ask())
            self._await_reply()
        elif self._job.may_send is None or self._is_allowed(self._job):
            self.transport.write(b"BDAT %d LAST\r\n%b" % (len(octets), octets))
            self._out(exchange)

    def _send_content(self) -> None:
        assert self._job is not None, "busy means that there is one"
        content = self._job.content
        if content.spooled:
            if not self._is_allowed(self._job):
                return
            self._await_reply()
            told = (self._await_reply, self._send_dot, self._unreadable)
            if content.wire_in_file and sends_files(self.transport):
                FileProducer(self.transport, content, *told).start()
            else:
                BodyProducer(self.transport, content.wire(), *told).start()
        else:
            self._send_dot(*content.wire())

    def _send_dot(self, *pieces: bytes) -> None:
        """The last pieces and the dot, in one write: from here on nothing can be kept back."""
        exchange = self._exchange
        if exchange is not None and exchange.state is State.CONTENT:
            if not self._reader.empty:
                # A reply has begun, and whatever it says, it is none to the dot.
                self._await_reply()
                return
            job = self._job
            if job is not None and job.may_send is not None and not self._is_allowed(job):
                return
            self.transport.write(b"".join((*pieces, END_OF_DATA)))
            self._out(exchange)

    def _out(self, exchange: Exchange) -> None:
        exchange.dot_sent()
        self._sent = self._clock.seconds()
        self._watch.arm(self._timeouts.dot)

    def _is_allowed(self, job: Job) -> bool:
        """Whether the message may still leave; where not, the connection is closed."""
        if job.may_send is None or job.may_send():
            return True
        self._lost(Event.NOT_ALLOWED, "what allowed the hand-over has ended: nothing was sent")
        return False

    def _unreadable(self, error: OSError) -> None:
        self._lost(Event.FAULT, f"cannot read the spooled message: {error}")

    def _finish(self) -> None:
        """The transaction is over and the connection clean."""
        done, outcomes = self._done, self._outcomes()
        self._done = self._job = None
        self._watch.disarm()
        self.phase = Phase.IDLE
        # Idle before the outcome is told: whoever hears it may have the next message at hand.
        if self.owner is not None:
            self.owner.idle(self)
        if done is not None:
            done(outcomes)

    def _report(self) -> None:
        """Tell the outcomes to who waits for them, once; the job is forgotten."""
        done, outcomes = self._done, self._outcomes()
        self._done = self._job = None
        if done is not None:
            done(outcomes)

    def _outcomes(self) -> list[Outcome]:
        job, exchange = self._job, self._exchange
        if job is None or exchange is None or exchange.verdicts is None:
            return []
        name, sent = self.peer_name, self._sent
        outcomes, refused = [], False
        for recipient, v in zip(job.envelope.recipients, exchange.verdicts, strict=True):
            dsn = b"DSN" in self.extensions if recipient.parameters else False
            refused = refused or v.event is Event.REFUSED
            outcomes.append(
                Outcome(recipient, v.event, v.stage, v.reply, name, v.detail, sent, dsn)
            )
        self._refusals += refused
        return outcomes

    # -- ends

    def give_up(self) -> None:
        """Forget the job and close: nothing is sent that could still be kept back."""
        self._done = self._job = None
        self.abort()

    @property
    def past_dot(self) -> bool:
        """Whether the dot is out and its reply is not in."""
        return self._exchange is not None and self._exchange.state is State.DOT

    def _silent_too_long(self) -> None:
        if self.phase is Phase.OPENING:
            self._fail_opening(self._broken("no reply in time"))
        elif self.phase is Phase.CLOSING:
            peer.abort(self.transport)
        else:
            self._lost(Event.DROPPED, "no reply in time")

    def _lost(self, event: Event, detail: str) -> None:
        """The connection is of no more use."""
        if self.phase is Phase.OPENING:
            self._fail_opening(ConnectFailed(event, detail))
            return
        self.abort()
        self._fail_exchange(event, detail)

    def _fail_exchange(self, event: Event, detail: str) -> None:
        exchange = self._exchange
        if exchange is not None and exchange.state not in (State.DONE, State.BROKEN):
            in_doubt = event is Event.DROPPED and exchange.state is State.DOT
            exchange.fail(Event.IN_DOUBT if in_doubt else event, None, detail)
            self._report()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        was_opening = self.phase is Phase.OPENING
        if was_opening:
            self._fail_opening(self._closed_early(reason))
        self.phase = Phase.CLOSED
        self._watch.end()
        if self.owner is not None:
            self.owner.gone(self)
        self._fail_exchange(Event.DROPPED, reason.getErrorMessage())
        # What refers to itself stays until a rare search finds it.
        own: Any = self
        own.factory = own._okresponse = own._failresponse = None


def _begin_7bit(exchange: Exchange, content: Content) -> bytes:
    """The first commands to a backend that gets no 8-bit bytes (RFC 6152 3)."""
    try:
        fits = content.is_ascii()
    except OSError as error:
        return exchange.decline(Event.FAULT, f"cannot read the spooled message: {error}")
    if not fits:
        return exchange.decline(Event.EIGHT_BIT, "8-bit bytes, and the backend has no 8BITMIME")
    return exchange.begin()


def _begin_without_utf8(exchange: Exchange, content: Content, strict: bool) -> bytes:
    """The first commands to a backend without SMTPUTF8, for a client that gave it (RFC 6531 3.5).

    They are none, unless it is certain that no header is outside ASCII.
    """
    try:
        fits = (not strict and _has_ascii_headers(content)) or content.is_ascii()
    except OSError as error:
        return exchange.decline(Event.FAULT, f"cannot read the spooled message: {error}")
    if not fits:
        return exchange.decline(Event.UTF8, "a message outside ASCII, and no SMTPUTF8")
    return exchange.begin_in_ascii()


def _has_ascii_headers(content: Content) -> bool:
    """Whether the one header is ASCII: a message in parts, or in a message, has further ones."""
    header = content.lowered_header()
    alone = b"multipart" not in header and b"message/" not in header
    return alone and header.isascii() and len(header) < HEADER_LIMIT
