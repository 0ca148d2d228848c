"""BDAT in dialogues with the edge, and against a model of what RFC 3030 says of them."""

from typing import Any

from attrs import define, field, frozen
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from smtpforward import answers
from smtpforward.config.networks import Networks, network
from smtpforward.config.settings import ClientTimeouts, Limits
from smtpforward.job import Event
from smtpforward.reply import Reply
from smtpforward.server.conversation import UNREAD_LIMIT
from tests.support import (
    RECIPIENT,
    SENDER,
    Edge,
    ScriptedSession,
    ScriptedTarget,
    settings,
    split,
)

LATER = Reply(451, (b"4.7.1 later",))
COMMANDS = b"RSET\r\n" + SENDER + RECIPIENT + b"DATA\r\n"


def bdat(octets: bytes, last: bool = False) -> bytes:
    """A chunk with its command."""
    return b"BDAT %d%b\r\n%b" % (len(octets), b" LAST" if last else b"", octets)


class ChunkTests(SynchronousTestCase):
    """A message in chunks."""

    def test_one_chunk(self) -> None:
        """A message in one chunk is answered as the end of data is."""
        edge = Edge().to_recipient()
        said = edge.send(bdat(b"Subject: x\r\n\r\nbody\r\n", last=True))
        self.assertEqual(said, b"250 2.0.0 Ok: queued as 4A\r\n")
        self.assertEqual(edge.session.messages, [b"Subject: x\r\n\r\nbody\r\n"])
        self.assertEqual(edge.codes(SENDER, RECIPIENT, b"DATA\r\n"), [250, 250, 354])

    def test_each_chunk_is_answered(self) -> None:
        """With the number of its octets; DATA is asked for once."""
        edge = Edge().to_recipient()
        self.assertEqual(edge.send(bdat(b"one\r")), b"250 2.0.0 4 octets\r\n")
        self.assertEqual(edge.send(bdat(b"\ntwo")), b"250 2.0.0 4 octets\r\n")
        self.assertEqual(edge.codes(b"BDAT 0\r\n", b"NOOP\r\n", b"bdat 0 last\r\n"), [250] * 3)
        self.assertEqual(edge.session.messages, [b"one\r\ntwo\r\n"])
        self.assertEqual(edge.session.asked.count("data"), 1)

    def test_an_empty_message(self) -> None:
        """It may be empty, as after DATA."""
        edge = Edge().to_recipient()
        self.assertEqual(edge.codes(bdat(b"", last=True)), [250])
        self.assertEqual(edge.session.messages, [b""])

    def test_an_end_of_data_is_content(self) -> None:
        """What would end DATA is part of the message, and leaves with its dot stuffed."""
        edge = Edge().to_recipient()
        self.assertEqual(
            edge.codes(bdat(b"a\r\n.\r\n" + COMMANDS, last=True), b"NOOP\r\n"), [250] * 2
        )
        self.assertEqual(edge.session.messages, [b"a\r\n..\r\n" + COMMANDS])

    def test_a_missing_line_end_does_not_swallow_the_final_dot(self) -> None:
        """The last line always ends before the dot."""
        for text in (b"text", b"text\r\n.", b"."):
            target = ScriptedTarget(Event.ACCEPTED)
            edge = Edge(target=target).to_recipient()
            self.assertEqual(edge.codes(bdat(text, last=True)), [250])
            self.assertTrue(target.messages[0].endswith(text[-1:] + b"\r\n"))
            self.assertNotIn(b"\r\n.\r\n", target.messages[0])

    def test_a_session_that_waits(self) -> None:
        """Chunks wait for its answer, bounded, and are taken up again."""
        for answer, codes in ((None, [250, 250, 250]), (LATER, [451, 451, 250])):
            data: Deferred[Any] = Deferred()
            edge = Edge(ScriptedSession(data=data)).to_recipient()
            first = bdat(b"a" * (UNREAD_LIMIT + 1))
            self.assertEqual(edge.send(first), b"")
            self.assertEqual(edge.transport.producerState, "paused")
            data.callback(answer)
            self.assertEqual(edge.transport.producerState, "producing")
            self.assertEqual(edge.codes() + edge.codes(bdat(b"b", last=True), b"NOOP\r\n"), codes)

    def test_the_answer_of_the_backend_is_waited_for(self) -> None:
        """What is pipelined behind the last chunk waits."""
        answer: Deferred[Any] = Deferred()
        edge = Edge(ScriptedSession(end_of_data=answer)).to_recipient()
        self.assertEqual(edge.send(bdat(b"a\r\n", last=True) + b"QUIT\r\n"), b"")
        answer.callback(LATER)
        self.assertEqual(edge.codes(), [451, 221])

    def test_silence_in_a_chunk(self) -> None:
        """The time for a block of data runs anew with each read."""
        timeouts = ClientTimeouts(data=10)
        edge = Edge(settings_=settings(timeouts=timeouts)).to_recipient()
        edge.send(b"BDAT 100\r\n")
        edge.clock.advance(9)
        edge.send(b"a")
        edge.clock.advance(9)
        self.assertFalse(edge.closing)
        edge.clock.advance(2)
        self.assertEqual((edge.codes(), edge.closing), ([421], True))

    def test_a_client_that_goes(self) -> None:
        """What was collected is given up."""
        edge = Edge(settings_=settings(limits=Limits(memory=100))).to_recipient()
        edge.send(bdat(b"abc"), b"BDAT 10 LAST\r\nabc")
        self.assertEqual(edge.factory.memory.held, 6)
        edge.lose()
        self.assertEqual(edge.factory.memory.held, 0)
        self.assertEqual(edge.session.messages, [])

    def test_reset(self) -> None:
        """RSET, HELO and QUIT between chunks forget those."""
        for command, code in ((b"RSET\r\n", 250), (b"EHLO b\r\n", 250), (b"QUIT\r\n", 221)):
            edge = Edge().to_recipient()
            self.assertEqual(edge.codes(bdat(b"old\r\n"), command), [250, code])
            if code == 250:
                self.assertEqual(edge.codes(SENDER, RECIPIENT, bdat(b"new\r\n", True)), [250] * 3)
                self.assertEqual(edge.session.messages, [b"new\r\n"])
            else:
                edge.lose()
            self.assertEqual(edge.factory.memory.held, 0)

    def test_normalized(self) -> None:
        """A bare LF becomes CRLF for those whose clients do not know better."""
        exempt = Networks([network("192.0.2.0/24")])
        edge = Edge(settings_=settings(bare_newline_exempt=exempt)).to_recipient()
        self.assertEqual(edge.codes(bdat(b"a\n.\n"), bdat(b"b\r\n\n", last=True)), [250, 250])
        self.assertEqual(edge.session.messages, [b"a\r\n..\r\nb\r\n\r\n"])


class RefusedChunkTests(SynchronousTestCase):
    """Chunks that are refused: nothing of them is ever a command."""

    def test_out_of_order(self) -> None:
        """Before MAIL or RCPT, and behind the last chunk: 503, and the octets are thrown away."""
        edge = Edge()
        edge.heard()
        refused = bdat(COMMANDS)
        self.assertEqual(edge.codes(refused, b"EHLO a\r\n", refused, SENDER), [503, 250, 503, 250])
        self.assertEqual(edge.codes(bdat(COMMANDS, last=True), SENDER), [503, 250])
        self.assertEqual(edge.codes(RECIPIENT, bdat(b"a", last=True), refused), [250, 250, 503])
        self.assertEqual(edge.session.messages, [b"a\r\n"])

    def test_a_refused_recipient(self) -> None:
        """All chunks of a pipelined message without recipients are refused and discarded."""
        edge = Edge(ScriptedSession(rcpt=Reply(550, (b"5.1.1 no",))))
        edge.send(b"EHLO a\r\n")
        whole = SENDER + RECIPIENT + bdat(COMMANDS) + bdat(COMMANDS, last=True) + b"NOOP\r\n"
        self.assertEqual(edge.codes(whole), [250, 550, 503, 503, 250])
        self.assertNotIn("data", edge.session.asked)
        self.assertEqual(edge.codes(SENDER, RECIPIENT, bdat(b"a\r\n", last=True)), [250] * 3)
        self.assertEqual(edge.session.messages, [b"a\r\n"])

    def test_never_without_its_middle(self) -> None:
        """After a chunk that failed for now, no further one is taken until the transaction ends."""
        edge = Edge(ScriptedSession(data=LATER)).to_recipient()
        self.assertEqual(edge.codes(bdat(b"one\r\n"), bdat(b"two\r\n"), RECIPIENT), [451, 451, 503])
        self.assertEqual(edge.codes(b"DATA\r\n", bdat(b"three\r\n", last=True)), [503, 451])
        self.assertEqual(edge.session.messages, [])
        self.assertEqual(edge.codes(SENDER, RECIPIENT, bdat(b"new\r\n", last=True)), [250] * 3)

    def test_a_recipient_after_the_first_chunk(self) -> None:
        """A failed chunk before RCPT does not become the beginning of a message."""
        edge = Edge().to_sender()
        self.assertEqual(edge.codes(bdat(b"one\r\n"), RECIPIENT), [503, 503])
        self.assertEqual(edge.codes(bdat(b"two\r\n", last=True)), [503])
        self.assertEqual(edge.session.messages, [])

    def test_not_mixed_with_data(self) -> None:
        """DATA, RCPT and MAIL after a chunk are out of order; the chunks go on."""
        edge = Edge().to_recipient()
        self.assertEqual(
            edge.codes(bdat(b"a\r\n"), b"DATA\r\n", RECIPIENT, SENDER), [250] + [503] * 3
        )
        self.assertEqual(edge.codes(bdat(b"b\r\n", last=True)), [250])
        self.assertEqual(edge.session.messages, [b"a\r\nb\r\n"])

    def test_too_large(self) -> None:
        """Refused where it became too large, once in the log, discarded up to its last chunk."""
        edge = Edge(settings_=settings(limits=Limits(bytes=10))).to_recipient()
        said = edge.send(bdat(b"12345678"), bdat(b"123"), bdat(b"1", last=True), b"NOOP\r\n")
        self.assertEqual(said.splitlines()[1:3], [b"552 5.3.4 message too large"] * 2)
        self.assertEqual(edge.session.asked.count("discarded"), 1)
        self.assertEqual(edge.codes(SENDER, RECIPIENT, bdat(b"1", last=True)), [250] * 3)
        self.assertEqual(edge.session.messages, [b"1\r\n"])

    def test_too_large_in_the_last_chunk(self) -> None:
        """The transaction is over with it."""
        edge = Edge(settings_=settings(limits=Limits(bytes=10))).to_recipient()
        self.assertEqual(edge.codes(bdat(b"12345678901", last=True), SENDER), [552, 250])
        self.assertEqual(edge.session.asked.count("discarded"), 1)

    def test_hopeless(self) -> None:
        """More than twice the limit is not read for nothing, in however many chunks."""
        for chunks in ([b"a" * 12, b"a" * 12], [b"a" * 5] * 5):
            edge = Edge(settings_=settings(limits=Limits(bytes=10))).to_recipient()
            self.assertEqual(edge.codes(*map(bdat, chunks), b"NOOP\r\n")[-1], 552)
            self.assertTrue(edge.closing)

    def test_no_size(self) -> None:
        """A BDAT whose octets cannot be counted ends the connection: none becomes a command."""
        for rest, code in (
            *((b"", 501), (b" LAST", 501), (b" -1", 501), (b" 1 2", 501), (b" x", 501)),
            *((b" " + b"9" * 20, 552), (b" " + b"1" * 21, 501), (b" 21", 552)),
        ):
            edge = Edge(settings_=settings(limits=Limits(bytes=10))).to_recipient()
            self.assertEqual(edge.codes(b"BDAT" + rest + b"\r\n" + COMMANDS), [code], rest)
            self.assertTrue(edge.closing)

    def test_bare_newlines(self) -> None:
        """A bare CR or LF refuses the chunk and ends the connection, at the very end too."""
        for octets in (b"a\nb\r\n", b"a\rb\r\n", b"a\r"):
            edge = Edge().to_recipient()
            self.assertEqual(
                edge.send(bdat(octets, last=True), COMMANDS), answers.BARE_NEWLINE.wire()
            )
            self.assertTrue(edge.closing)
        edge = Edge().to_recipient()
        self.assertEqual(edge.codes(bdat(b"a\n") + bdat(b"b", last=True)), [554])
        self.assertTrue(edge.closing)

    def test_many_pipelined_chunks(self) -> None:
        """Chunks that were on their way when the first was refused are no errors."""
        edge = Edge(settings_=settings(limits=Limits(errors=3))).to_sender()
        self.assertEqual(edge.codes(*[bdat(b"a")] * 9, b"RSET\r\n"), [503] * 9 + [250])
        self.assertEqual(edge.codes(*[bdat(b"a")] * 9), [503, 503, 503, 421])


# -- the model

NAMES = {b"MAIL": SENDER, b"RCPT": RECIPIENT, b"RSET": b"RSET\r\n", b"NOOP": b"NOOP\r\n"}
MOST = 24


@frozen
class Step:
    """A command of a session; BDAT has octets."""

    verb: bytes
    octets: bytes = b""
    last: bool = False

    @property
    def wire(self) -> bytes:
        return bdat(self.octets, self.last) if self.verb == b"BDAT" else NAMES[self.verb]


@define
class Model:
    """What a server makes of a session, told in the words of RFC 3030."""

    messages: list[bytes] = field(factory=list)
    codes: list[int] = field(factory=list)
    sender: bool = False
    recipients: int = 0
    message: bytes | None = None
    failure: int = 0

    def take(self, step: Step) -> None:
        """One command."""
        begun = self.message is not None or self.failure
        if step.verb == b"BDAT":
            self.codes.append(self.chunk(step))
            if step.last:
                self.end()
        elif step.verb == b"MAIL":
            self.codes.append(503 if self.sender else 250)
            self.sender = True
        elif step.verb == b"RCPT":
            good = self.sender and not begun
            self.codes.append(250 if good else 503)
            self.recipients += bool(good)
        else:
            self.codes.append(250)
            if step.verb == b"RSET":
                self.end()

    def chunk(self, step: Step) -> int:
        """The code of the answer to a chunk."""
        if not self.sender:
            return 503
        if not self.failure and not self.recipients:
            self.failure = 503
        if not self.failure:
            self.message = (self.message or b"") + step.octets
            self.failure = 552 if len(self.message) > MOST else 0
        if step.last and not self.failure:
            assert self.message is not None
            text = self.message if self.message.endswith(b"\r\n") else self.message + b"\r\n"
            self.messages.append(text if self.message else b"")
        return self.failure or 250

    def end(self) -> None:
        """The transaction is over."""
        self.sender, self.recipients, self.message, self.failure = False, 0, None, 0


OCTETS = st.lists(
    st.sampled_from([b".\r\n", b"\r\n.\r\n", b"a", b".", b"RSET\r\n", b"BDAT 3 LAST\r\n"]),
    max_size=3,
).map(b"".join)
CHUNK = st.builds(Step, st.just(b"BDAT"), OCTETS, st.booleans())
COMMAND = st.sampled_from([Step(name) for name in NAMES])
MESSAGE = st.lists(CHUNK, min_size=1, max_size=4).map(
    lambda chunks: [Step(b"MAIL"), Step(b"RCPT"), *chunks]
)
SESSIONS = st.lists(st.one_of(MESSAGE, st.lists(st.one_of(COMMAND, CHUNK), max_size=4)), max_size=5)


class ModelTests(SynchronousTestCase):
    """Pipelined sessions however they are cut."""

    @given(SESSIONS, st.lists(st.integers(0, 2000), max_size=8), st.booleans())
    @examples(max_examples=300, deadline=None)
    def test_any_split(self, parts: list[list[Step]], cuts: list[int], bytewise: bool) -> None:
        """The same messages and the same answers as the model's."""
        steps = [step for part in parts for step in part]
        model = Model()
        for step in steps:
            model.take(step)
        wire = b"".join(step.wire for step in steps)
        limits = Limits(bytes=MOST, errors=1000)
        edge = Edge(settings_=settings(limits=limits))
        edge.send(b"EHLO a\r\n")
        sent = 0
        received: list[int] = []
        for piece in split(wire, range(len(wire)) if bytewise else cuts):
            sent += len(piece)
            received += edge.codes(piece)
            if edge.closing:
                break
        expected = model.codes
        if edge.closing:  # More than twice the limit came for nothing.
            expected = model.codes[: len(received)]
            self.assertIn(received[-1], (503, 552))
        self.assertEqual(received, expected)
        plain = [b"".join(content.plain()) for content in edge.session.contents]
        self.assertEqual(edge.session.messages, [wired(m) for m in model.messages[: len(plain)]])
        self.assertTrue(edge.closing or len(plain) == len(model.messages))


def wired(plain: bytes) -> bytes:
    """``plain`` dot-stuffed."""
    return (b"\n" + plain).replace(b"\n.", b"\n..")[1:]
