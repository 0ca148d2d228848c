"""BDAT (RFC 3030): a message in chunks of a size that is said beforehand.

Rules: the octets of a chunk are read before it is answered, and those of a refused one too. A chunk
that fails leaves its transaction nothing but its end: all further ones get the same answer, so that
a message never arrives without its middle. LAST ends the transaction, whatever its answer.

Failure policy: ``conversation.py``; a BDAT whose octets cannot be counted, or are too many, ends
the connection.
"""

from typing import Any, TypeVar

from twisted.python.failure import Failure

from smtpforward import answers
from smtpforward.config.settings import Settings
from smtpforward.envelope import Client
from smtpforward.net.clock import Clock
from smtpforward.reply import Reply
from smtpforward.server.chunks import ChunkedArrival, Chunks, parse
from smtpforward.server.conversation import Conversation
from smtpforward.server.data import Arrival
from smtpforward.server.phase import Phase

AnArrival = TypeVar("AnArrival", bound=Arrival)


class Chunking(Conversation):
    """A conversation in which messages come, in chunks or as a subclass has it."""

    def __init__(self, settings: Settings, client: Client, clock: Clock) -> None:
        Conversation.__init__(self, settings, client, clock)
        self._arrival: Arrival | None = None
        self._chunks: Chunks | None = None

    # -- what a subclass adds

    def _refuse_chunks_now(self) -> Reply | None:
        """The reply to a first chunk that comes out of order."""
        raise NotImplementedError

    def _data_ended(self, arrival: Any) -> None:
        """The message is complete, or has been refused and discarded."""
        raise NotImplementedError

    def _end_transaction(self) -> None:
        """Forget the transaction."""
        raise NotImplementedError

    # -- a message while it arrives

    def _new_arrival(self, kind: type[AnArrival]) -> AnArrival:
        settings = self._settings
        self._data_patience = settings.data_timeout
        return kind(
            settings.spool_dir,
            settings.limits,
            self.factory.memory,
            settings.normalizes(self._client.ip),
        )

    def _close_content(self) -> None:
        self._chunks = None
        if self._arrival is not None:
            content = self._arrival.content
            self._arrival = None
            content.close()

    def _discarded(self, refusal: Reply) -> Reply:
        """The answer to a message that was refused while it came; the session has it logged."""
        try:
            reply: Reply = self._session.discarded(refusal)
        except Exception:
            self._session_failed(Failure())
            return answers.LOCAL_FAULT
        return reply

    def _session_failed(self, failure: Failure) -> None:
        """It was told something for which nobody waits."""
        self.log.failure("a fault in the session of {ip}", failure, ip=self._client.ip)

    # -- chunks

    def do_BDAT(self, rest: bytes) -> None:
        most = 2 * self._settings.limits.bytes
        chunk = parse(rest, most)
        if isinstance(chunk, Reply):
            # Nobody knows where the next command begins.
            self._cut_off(chunk)
            return
        chunks = self._chunks
        if chunks is not None:
            chunks.begin(chunk)
            self._read_chunk(chunks)
            return
        self._chunks = Chunks(chunk, most)
        refusal = self._refuse_chunks_now()
        if refusal is None:
            self._ask(self._session.data, self._first_answered)
        else:
            self._first_answered(refusal)

    def _first_answered(self, refusal: Reply | None) -> None:
        """Whether chunks may come is known now."""
        chunks = self._chunks
        assert chunks is not None, "BDAT has come"
        if refusal is None:
            chunks.arrival = self._arrival = self._new_arrival(ChunkedArrival)
        chunks.refusal = refusal
        self._read_chunk(chunks)

    def _read_chunk(self, chunks: Chunks) -> None:
        """Take of the chunk what has come with the command, or while it was considered."""
        self.phase = Phase.CHUNK
        self._watch.arm(self._data_patience)
        self._chunk_received(self._unread.chunk(chunks.left))
        if self._paused:
            self._bound_unread(len(self._unread))

    def _chunk_received(self, data: bytes) -> None:
        chunks = self._chunks
        assert chunks is not None, "octets come after BDAT"
        rest = chunks.feed(data)
        if chunks.hopeless:
            self._cut_off(self._refused(chunks))
        elif rest is not None:
            self.phase = Phase.ANSWERING
            if rest:
                self._unread.append(rest)
            self._chunk_ended(chunks)

    def _chunk_ended(self, chunks: Chunks) -> None:
        arrival = chunks.arrival
        if chunks.chunk.last and arrival is not None and chunks.refusal is None:
            arrival.finish()
            self._data_ended(arrival)
        elif chunks.failed:
            self._refuse_chunk(chunks)
        else:
            self._send(answers.chunk_taken(chunks.chunk.size))

    def _refuse_chunk(self, chunks: Chunks) -> None:
        reply = self._refused(chunks)
        if chunks.arrival is not None and chunks.arrival.breach:
            self._cut_off(reply)
        elif not self.in_transaction:
            self._chunks = None
            self._reply(reply)
        else:
            if chunks.chunk.last:
                self._end_transaction()
            # It counts as no error: chunks may be on their way when the first is refused.
            self._send(reply)

    def _refused(self, chunks: Chunks) -> Reply:
        """The answer to this chunk and those that follow; of a message's the log has a line."""
        if chunks.refusal is None:
            assert chunks.arrival is not None, "it is the message that is refused"
            assert chunks.arrival.refusal is not None, "so it has a refusal"
            chunks.refusal = self._discarded(chunks.arrival.refusal)
        return chunks.refusal
